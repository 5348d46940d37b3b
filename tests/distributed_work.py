"""What the processes of ``test_distributed.py`` do, and how they are started."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bilearn.callbacks import Callback, Progress
from bilearn.distributed import ProcessError, Processes, launched
from bilearn.fidelities import LeastSquares
from bilearn.learner import Learner
from bilearn.penalties import L2, ConditionNumber
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.run_directory import RunDirectory
from bilearn.stochastic import VarianceReduced
from bilearn.upper import LBFGSB, DynamicDFO, FixedAccuracy, GaussNewton, InexactSGD, Polynomial, TorchOptimizer
from bilearn.variational import VariationalEnergy

POINT = torch.tensor([-0.5, -1.2, -1.0], dtype=torch.float64)
SAMPLES, PIXELS = 7, 20


def pairs(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Noisy and true steps."""
    generator = torch.Generator().manual_seed(0)
    steps = torch.rand(SAMPLES, 1, 1, generator=generator, dtype=torch.float64) * PIXELS
    target = (steps < torch.arange(PIXELS)).double()
    noise = torch.randn(target.shape, generator=generator, dtype=torch.float64)
    return (target + 0.1 * noise).to(dtype), target.to(dtype)


class Fragile(VariationalEnergy):
    """An energy that fails or overflows for a chosen sample."""

    def __init__(self, sample: Tensor, failure: str = "") -> None:
        super().__init__(LeastSquares(), SmoothedTV(alpha=0.1, xi=0.1, nu=0.1, axes=1))
        self._sample, self._failure = sample, failure

    def start(self, y: Tensor) -> Tensor:
        hit = bool((y == self._sample).flatten(1).all(1).any())
        if hit and self._failure:
            raise ValueError(self._failure)
        return super().start(y)

    def grad(self, x: Tensor, y: Tensor) -> Tensor:
        hit = (y == self._sample).flatten(1).all(1)[:, None, None]
        return torch.where(hit, torch.nan, super().grad(x, y))


def objective(processes: Processes, shards: int | None = 2, dtype: torch.dtype = torch.float64, **options: Any) -> Any:
    """Smoothed-TV denoising of seven signals."""
    y, target = pairs(dtype)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(alpha=0.1, xi=0.1, nu=0.1, axes=1))
    return ReducedObjective(energy, y, target, batch_size=2, processes=processes, shards=shards, **options)


class Interrupts(Callback):
    """Sends this process a signal at a step."""

    def __init__(self, step: int) -> None:
        self._step = step

    def step(self, progress: Progress) -> None:
        if progress.iteration == self._step:
            os.kill(os.getpid(), signal.SIGINT)


def adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.1)


METHODS = {
    "gauss-newton": GaussNewton(),
    "lbfgsb": LBFGSB(),
    "adam": TorchOptimizer(adam),
    "minibatches": InexactSGD(initial_length=0.05, initial_accuracy=0.1, batch_size=2),
    "variance-reduced": VarianceReduced(Polynomial(0.05, 0.0), batch_size=2, epochs_between_values=1),
    "dynamic-dfo": DynamicDFO(),
}


def evaluations(processes: Processes) -> dict[str, Any]:
    """Every request, whole and of subsets."""
    penalty = ConditionNumber(1e-6) + L2(0.1)
    one, late = objective(processes, penalty=penalty), torch.tensor([6, 5])
    found = {
        "value": one.value(POINT),
        "accurate value": one.value(POINT + 0.1, 1e-6),
        "residuals": one.residuals(POINT, 1e-4),
        "hypergradient": one.hypergradient(POINT),
        "accurate hypergradient": one.hypergradient(POINT + 0.1, 1e-6),
        "gauss-newton": one.gauss_newton(POINT),
        "predicted": one.gauss_newton(POINT + 0.05, 1e-5),
        "subset": one.subset(torch.tensor([5, 0, 3, 6])).hypergradient(POINT),
        "one-sided subset": one.subset(late).gauss_newton(POINT, 1e-4),
        "fixed accuracy": FixedAccuracy(one, distance=1e-3).hypergradient(POINT),
    }
    total = objective(processes, reduction="sum", dtype=torch.float32)
    found["unbiased, float32"] = total.subset(torch.tensor([1, 6, 2]), unbiased=True).hypergradient(POINT)
    tight = objective(processes, max_gradients=60)
    found["budget"] = tight.hypergradient(POINT, 1e-9)
    found["beyond budget"] = tight.value(POINT + 0.5, 1e-12)
    y, target = pairs()
    broken = ReducedObjective(Fragile(y[6]), y, target, batch_size=2, processes=processes, shards=2)
    found["non-finite"] = broken.hypergradient(POINT, 1e-3)
    return found


def vectors(processes: Processes) -> dict[str, Any]:
    """What is kept of every sample, put together."""
    one = objective(processes)
    before = one.reconstructions
    one.value(POINT, 1e-6)
    snapshot = one.snapshot()
    one.subset(torch.tensor([4, 1])).value(POINT + 1, 1e-6)
    found = {
        "before": before,
        "reconstructions": one.reconstructions,
        "subset": one.subset(torch.tensor([5, 0])).reconstructions,
        "residual vectors": one.residual_vectors(snapshot),
        "partial": one.residual_vectors({}),
    }
    one.restore(snapshot)
    found["restored"] = one.value(POINT, 1e-6).cost.gradients
    return found


def runs(processes: Processes, folder: Path) -> dict[str, Any]:
    """Whole runs, each ended after two steps and resumed."""
    found = {}
    for name, method in METHODS.items():
        path = folder / name
        if processes.first:
            RunDirectory.create(path)
        training = objective(processes)
        learned = Learner(training, method, objective(processes), (), RunDirectory(path), max_steps=2).run()
        again = Learner(objective(processes), method, objective(processes), (), RunDirectory(path), max_steps=4).run(
            True
        )
        assert again.state is not None
        found[name] = (learned.theta, again.theta, again.state.best.value, again.steps, again.status.name)
    return found


def refusals(processes: Processes, folder: Path) -> dict[str, Any]:
    """What goes wrong in one process ends the request in all, and the next one works."""
    found: dict[str, Any] = {}
    y, target = pairs()

    def note(name: str, work: Callable[[], object]) -> None:
        try:
            found[name] = work()
        except Exception as error:
            found[name] = f"{type(error).__name__}: {error}"

    broken = ReducedObjective(Fragile(y[6], "this sample is cursed"), y, target, processes=processes)
    note("failure", lambda: broken.value(POINT))
    one = objective(processes)
    note("different theta", lambda: one.value(POINT + 0.1 * processes.rank))
    note("different requests", lambda: one.value(POINT) if processes.first else one.hypergradient(POINT))
    note("shared", lambda: processes.share(lambda: 42 + processes.rank))
    note("shared failure", lambda: processes.share(lambda: 1 // 0))
    note("no checkpoint", lambda: Learner(one, LBFGSB(), directory=RunDirectory(folder / "empty")).run(resume=True))
    note("verdict", lambda: processes.agree(processes.first))
    note("alive", lambda: one.value(POINT, 1e-6).value)
    return found


def interruption(processes: Processes, folder: Path) -> dict[str, Any]:
    """One process gets Ctrl-C; the time limit is the first process's."""
    path = folder / "interrupted"
    if processes.first:
        RunDirectory.create(path)
    callbacks = () if processes.first else (Interrupts(2),)
    learner = Learner(objective(processes), METHODS["adam"], None, callbacks, RunDirectory(path), max_steps=6)
    learned = learner.run()
    hurried = Learner(objective(processes), METHODS["adam"], seconds=1e-9 if processes.first else 1e9).run()
    return {"status": learned.status.name, "steps": learned.steps, "hurried": (hurried.status.name, hurried.steps)}


def late(processes: Processes, folder: Path) -> dict[str, Any]:
    """The last process does not answer in time."""
    done = folder / "late"
    try:
        if processes.rank == 1:
            deadline = time.monotonic() + 60
            while not done.exists() and time.monotonic() < deadline:
                time.sleep(0.1)
            return {}
        objective(processes).value(POINT)
    except ProcessError as error:
        done.touch()
        return {"message": str(error)}
    return {"message": ""}


def death(processes: Processes, folder: Path) -> dict[str, Any]:
    """The last process ends without a word."""
    one = objective(processes)
    one.value(POINT)
    if processes.rank == 1:
        os._exit(3)
    try:
        one.value(POINT)
    except ProcessError as error:
        return {"message": str(error)}
    return {"message": ""}


def everything(folder: Path, ports: list[str]) -> None:
    """All of the above; the findings of each process are left in ``folder``."""
    found: dict[str, Any] = {}
    own = folder / f"{os.environ['RANK']}.pickle"
    with launched(timeout=60) as processes:
        found["evaluations"] = evaluations(processes)
        found["vectors"] = vectors(processes)
        found["runs"] = runs(processes, folder)
        found["refusals"] = refusals(processes, folder)
        found["interruption"] = interruption(processes, folder)
    for port, timeout, work in zip(ports, (4, 60), (late, death), strict=True):
        os.environ["MASTER_PORT"] = port
        with launched(timeout=timeout) as processes:
            found[work.__name__] = work(processes, folder)
        own.write_bytes(pickle.dumps(found))


def start(folder: Path, count: int = 2) -> list[subprocess.Popen[str]]:
    """Processes that do everything, with the environment that torchrun would give them."""
    sockets = [socket.socket() for _ in range(3)]
    for free in sockets:
        free.bind(("localhost", 0))
    ports = [str(free.getsockname()[1]) for free in sockets]
    for free in sockets:
        free.close()
    common = os.environ | {"WORLD_SIZE": str(count), "MASTER_ADDR": "localhost", "MASTER_PORT": ports[0]}
    return [
        subprocess.Popen(
            [sys.executable, __file__, str(folder), *ports[1:]],
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    everything(Path(sys.argv[1]), sys.argv[2:])
