"""Several processes that answer one objective together: who computes what, and how they exchange it."""

from __future__ import annotations

import math
import os
import pickle
import signal
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from itertools import accumulate, pairwise
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")

_PROBLEM = "processes"
# a launcher and a terminal may both send the signal for one Ctrl-C
_SAME_REQUEST_SECONDS = 10.0


class ProcessError(RuntimeError):
    """Another process failed, ended, did not answer in time, or left the common path."""


class Processes:
    """One process that does all the work: what an objective uses unless it is given another one.

    Every method is called by all processes in the same order; each returns the same everywhere unless it says otherwise.

    Attributes:
        rank: number of this process, from 0.
        count: number of processes.
        device: where the samples of this process are computed; None leaves it to the user.
    """

    rank: int = 0
    count: int = 1
    device: torch.device | None = None

    @property
    def first(self) -> bool:
        """Whether this is the process that writes records."""
        return self.rank == 0

    def exchange(self, request: Sequence[object], work: Callable[[], Tensor]) -> Tensor:
        """The rows that ``work()`` returns in every process, in the order of the processes.

        Args:
            request: what is computed: texts, numbers, tensors; the same in every process.
            work: returns (k, L) float64 on the CPU, of the same shape in every process.

        Raises:
            ProcessError: if another process failed in its work, ended, or asks for something else.
            KeyboardInterrupt: if one of the processes was asked to stop, in all of them.
        """
        return work()

    def pause(self) -> None:
        """To be called within ``work`` where it may be given up because a process was asked to stop."""

    def texts(self, own: list[str]) -> list[str]:
        """The texts of all processes, in order."""
        return [text for part in self.everyone(("texts",), own) for text in part]

    def everyone(self, request: Sequence[object], own: T) -> list[T]:
        """The values of all processes, in order, through the host; see :meth:`exchange`."""
        return [own]

    def gather(self, own: T) -> list[T]:
        """In the first process the values of all, in order; in the others their own."""
        return [own]

    def share(self, work: Callable[[], T]) -> T:
        """What ``work()`` returns, or raises, in the first process; the others do not call it."""
        return work()

    def agree(self, verdict: bool) -> bool:
        """The verdict of the first process, for decisions that clocks are part of."""
        return verdict


class _Stopped(Exception):
    """Work given up half-way."""


class TorchProcesses(Processes):
    """Processes of ``torch.distributed``; made by :func:`launched`, inside of which it is used.

    Every exchange has two parts:

    1. A header of three numbers from every process: a checksum of the request, whether the work failed, whether the process
       was asked to stop. All processes see all headers and end together: with the error where the work failed and a
       :class:`ProcessError` elsewhere, or with KeyboardInterrupt everywhere.
    2. The rows of all processes (all-gather). Every process sums them in the same order, so that all have the same bits, and
       the sum does not depend on which process computed which row.

    Args:
        device: of the samples of this process.
        timeout: seconds to wait for the others.
    """

    def __init__(self, device: torch.device, timeout: float) -> None:
        import torch.distributed as dist

        self._dist = dist
        self.rank, self.count, self.device = dist.get_rank(), dist.get_world_size(), device
        self._timeout, self._asked, self._obeyed = timeout, False, -math.inf
        # headers, texts and records stay on the host
        self._control: Any = (
            None if device.type == "cpu" else dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout))
        )

    def exchange(self, request: Sequence[object], work: Callable[[], Tensor]) -> Tensor:
        error: Exception | None = None
        rows = torch.empty(0)
        try:
            rows = work()
        except _Stopped:
            pass
        except Exception as found:
            error = found
        heads = self._all(torch.tensor([[_checksum(request), error is not None, self._asked]]), host=True)
        if error is not None:
            raise error
        if bool(heads[:, 1].any()):
            failed = heads[:, 1].nonzero().flatten().tolist()
            raise ProcessError(
                f"{_PROBLEM}: found a failure in process {failed[0]} of {self.count}; its message says why"
            )
        if bool(heads[:, 2].any()):
            self._asked, self._obeyed = False, time.monotonic()
            raise KeyboardInterrupt
        if bool((heads[:, 0] != heads[0, 0]).any()):
            raise ProcessError(
                f"{_PROBLEM}: found different requests ({request[0]!r} in process {self.rank}), expected the same theta "
                "and accuracy in all; give every process the same start, settings and seeds, and no clock to decide by"
            )
        return self._all(rows)

    def pause(self) -> None:
        if self._asked:
            raise _Stopped

    def everyone(self, request: Sequence[object], own: T) -> list[T]:
        self.exchange(request, lambda: torch.empty(1, 0, dtype=torch.float64))
        found: list[Any] = [None] * self.count
        with self._named():
            self._dist.all_gather_object(found, own, group=self._control)
        return found

    def gather(self, own: T) -> list[T]:
        found: list[Any] | None = [None] * self.count if self.first else None
        with self._named():
            self._dist.gather_object(own, found, dst=0, group=self._control)
        return [own] if found is None else found

    def share(self, work: Callable[[], T]) -> T:
        answer: list[Any] = [None, None]
        if self.first:
            try:
                answer[0] = work()
            except Exception as error:
                answer[1] = error
        with self._named():
            self._dist.broadcast_object_list(answer, src=0, group=self._control)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    def agree(self, verdict: bool) -> bool:
        rows = self.exchange(("verdict",), lambda: torch.tensor([[float(verdict)]], dtype=torch.float64))
        return bool(rows[0, 0])

    def ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: all processes end together at the next exchange."""
        if time.monotonic() - self._obeyed > _SAME_REQUEST_SECONDS:
            self._asked = True

    def _all(self, rows: Tensor, host: bool = False) -> Tensor:
        """(count * k, L) rows of all processes."""
        assert self.device is not None
        sent = rows.contiguous() if host else rows.to(self.device).contiguous()
        found = [torch.empty_like(sent) for _ in range(self.count)]
        with self._named():
            self._dist.all_gather(found, sent, group=self._control if host else None)
        return torch.cat(found).to(rows.device)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, pickle.UnpicklingError) as error:
            raise ProcessError(
                f"{_PROBLEM}: process {self.rank} of {self.count} lost the others: one of them ended, or did not answer "
                f"within {self._timeout:g} s; look for its message ({str(error).splitlines()[0][:200]})"
            ) from error


def _checksum(request: Sequence[object]) -> int:
    value = 0
    for part in request:
        content = part.detach().cpu().numpy().tobytes() if isinstance(part, Tensor) else repr(part).encode()
        value = zlib.crc32(content, value)
    return value


def backend_of(device: torch.device) -> str:
    """The transport between processes whose samples are on such devices: gloo for the CPU, NCCL for NVIDIA GPUs.

    Raises:
        ValueError: for other devices.
    """
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device: found '{device}', expected 'cpu' or 'cuda' for several processes")
    return "nccl" if device.type == "cuda" else "gloo"


@contextmanager
def launched(device: str | torch.device = "cpu", timeout: float = 1800.0) -> Iterator[Processes]:
    """The processes that ``torchrun`` started; a single one where it did not.

    Inside, Ctrl-C and SIGTERM end all processes together: at the next chunk of samples, with KeyboardInterrupt from the
    evaluation under way. ``torchrun`` tells every process its number, the number of all and where they meet, in the
    environment (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT).

    Args:
        device: of the samples; 'cuda' means the GPU with the number of the process on its machine.
        timeout: seconds to wait for another process before giving up; longer than the longest evaluation.

    Raises:
        ValueError: if the device cannot be used by several processes, or ``timeout`` is not positive.
    """
    if not timeout > 0:
        raise ValueError(f"timeout: found {timeout}, expected a positive number of seconds")
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    import torch.distributed as dist

    where = torch.device(device)
    backend = backend_of(where)
    if where.type == "cuda":
        where = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(where)
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    earlier: dict[int, Any] = {}
    try:
        processes = TorchProcesses(where, timeout)
        if threading.current_thread() is threading.main_thread():
            earlier = {n: signal.signal(n, processes.ask_to_stop) for n in (signal.SIGINT, signal.SIGTERM)}
        yield processes
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
        dist.destroy_process_group()


class Shards:
    """Which process keeps which samples: ``shards`` contiguous parts of nearly equal size, as many in each process.

    The number of shards, not that of processes, decides the result: each shard has its own share of the accuracy asked for,
    and sums run over shards in their order.

    Args:
        samples: number of samples N.
        shards: number of parts; as many as processes if None.
        processes: who computes them.

    Raises:
        ValueError: if the number of shards is no multiple of the processes'.

    Attributes:
        count: number of shards.
        kept: for every process the first of its samples, and the one after its last.
        own: that of this process.
    """

    def __init__(self, samples: int, shards: int | None, processes: Processes) -> None:
        count = processes.count if shards is None else shards
        if count < 1 or count % processes.count:
            raise ValueError(
                f"shards: found {count} for {processes.count} processes, expected a positive multiple of that number"
            )
        each = count // processes.count
        self.count, self._hosted = count, range(processes.rank * each, (processes.rank + 1) * each)
        sizes = [samples // count + (shard < samples % count) for shard in range(count)]
        ends = list(accumulate(sizes))
        self._ends = torch.tensor(ends[:-1], dtype=torch.int64)
        edges = [0, *ends[each - 1 :: each]]
        self.kept = list(pairwise(edges))
        self.own = self.kept[processes.rank]

    def positions(self, index: Tensor) -> list[Tensor]:
        """For every shard, where its samples stand among ``index`` (M,)."""
        if self.count == 1:
            return [torch.arange(index.numel(), device=index.device)]
        owner = torch.bucketize(index, self._ends.to(index.device), right=True)
        return [(owner == shard).nonzero().flatten() for shard in range(self.count)]

    def hosted(self, parts: Sequence[T]) -> Sequence[T]:
        """Those of one value for every shard that belong to this process."""
        return parts[self._hosted.start : self._hosted.stop]
