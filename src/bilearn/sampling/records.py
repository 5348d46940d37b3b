"""What learning a pattern leaves behind: plain numbers and arrays, written to and read from a run directory."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bilearn._files import replacing
from bilearn.run_records import encode

RESULT = "sampling.json"
ARRAYS = "sampling.npz"
_TENSORS = ("degrees", "mask", "locations")


@dataclass(frozen=True)
class Snapshot:
    """One moment of a run.

    Attributes:
        name: "relaxed", "shared", "binary", "rounded", "tuned" or "exchanged"; see :func:`bilearn.sampling.learn_sampling`.
        value: computed objective (penalties included where there are any).
        lower, upper: interval that contains the exact objective.
        certified: whether every constant behind the interval was declared.
        loss: mean loss of the pairs, without penalties.
        degrees: sum of the degrees on the grid.
        samples: points of k-space with a positive degree.
        parameters: learnable numbers outside of the pattern, by name.
        psnr: mean PSNR of the magnitudes in dB (data range: largest true magnitude of each image).
    """

    name: str
    value: float
    lower: float
    upper: float
    certified: bool
    loss: float
    degrees: float
    samples: int
    parameters: dict[str, float]
    psnr: float


@dataclass(frozen=True)
class Attempt:
    """One start of the learning problem and where it led.

    Attributes:
        name: of the start.
        snapshots: its moments, in order.
        status: why its last stage ended.
        returned: samples that came back after they had been dropped.
        exchanged: exchanges that lowered the objective.
        collapsed: with a penalty, whether the reconstructions explain less than 90 % of the energy of the true images.
        cost: work by kind (gradients, Hessian products, ...), and evaluations of the objective.
        seconds: CPU time of the process.
    """

    name: str
    snapshots: tuple[Snapshot, ...]
    status: str
    returned: int
    exchanged: int
    collapsed: bool
    cost: dict[str, float]
    seconds: float

    @property
    def last(self) -> Snapshot:
        """The last moment."""
        return self.snapshots[-1]

    def at(self, name: str) -> Snapshot:
        """The latest moment of that name.

        Raises:
            KeyError: if there is none.
        """
        for snapshot in reversed(self.snapshots):
            if snapshot.name == name:
                return snapshot
        raise KeyError(f"{self.name}: no moment named {name!r}, there are {[s.name for s in self.snapshots]}")


@dataclass(frozen=True)
class SamplingResult:
    """A learned pattern.

    Attributes:
        degrees: s on the grid, without shift, as learned (before rounding); float64.
        mask: boolean, the samples to take, without shift.
        parameters: learned numbers outside of the pattern, by name, tuned for the mask.
        degree_parameters: the same, as learned together with ``degrees``.
        best: name of the best start.
        attempts: all starts.
        quality: metrics of the training pairs with the mask, by name, one number per image.
        data_range: how PSNR and SSIM were scaled, in words.
        settings: what was asked for.
        message: what the user should know (a collapsed pattern, an interrupt), else empty.
        locations: (readouts, samples, 2) row and column of every sample of learned readouts in grid points from the zero
            frequency, which are cycles per field of view; None for patterns on the grid.
    """

    degrees: Tensor
    mask: Tensor
    parameters: dict[str, float]
    degree_parameters: dict[str, float]
    best: str
    attempts: tuple[Attempt, ...]
    quality: dict[str, list[float]] = field(default_factory=dict)
    data_range: str = "largest true magnitude of each image"
    settings: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    locations: Tensor | None = None

    @property
    def attempt(self) -> Attempt:
        """The best start."""
        return next(a for a in self.attempts if a.name == self.best)

    @property
    def samples(self) -> int:
        """Points of k-space in the mask."""
        return int(self.mask.sum())

    @property
    def rate(self) -> float:
        """Part of k-space in the mask."""
        return self.samples / self.mask.numel()

    def summary(self) -> str:
        """One line per start, the best one marked."""
        lines = [f"{self.samples} of {self.mask.numel()} samples ({100 * self.rate:.2f} %)"]
        for attempt in self.attempts:
            s = attempt.last
            mark = "*" if attempt.name == self.best else " "
            note = ", collapsed" if attempt.collapsed else ""
            lines.append(
                f"{mark} {attempt.name}: objective {s.value:.6g} in [{s.lower:.6g}, {s.upper:.6g}], {s.samples} samples, "
                f"PSNR {s.psnr:.2f} dB{note} ({attempt.status})"
            )
        return "\n".join([*lines, *([self.message] if self.message else [])])

    def save(self, directory: str | Path) -> Path:
        """Write ``sampling.json`` (numbers) and ``sampling.npz`` (``degrees``, ``mask``, ``locations``) into a directory."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        arrays = {name: getattr(self, name) for name in _TENSORS}
        np.savez_compressed(buffer, **{k: v.cpu().numpy() for k, v in arrays.items() if v is not None})
        content = {k: v for k, v in _plain(self).items() if k not in _TENSORS}
        text = json.dumps(encode(content, RESULT), indent=2, allow_nan=False) + "\n"
        for name, payload in ((ARRAYS, buffer.getvalue()), (RESULT, text.encode())):
            with replacing(folder / name) as file:
                file.write(payload)
        return folder

    @classmethod
    def load(cls, directory: str | Path) -> SamplingResult:
        """Read what :meth:`save` wrote.

        Raises:
            FileNotFoundError: if there is no learned pattern.
            ValueError: if a file is damaged.
        """
        folder = Path(directory)
        for name in (RESULT, ARRAYS):
            if not (folder / name).is_file():
                raise FileNotFoundError(
                    f"{folder}: found no {name}, expected a directory written by SamplingResult.save"
                )
        try:
            content: dict[str, Any] = json.loads((folder / RESULT).read_text(encoding="utf-8"))
            with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
                found = {name: torch.from_numpy(arrays[name]) for name in _TENSORS if name in arrays}
            attempts = tuple(_attempt(entry) for entry in content.pop("attempts"))
            return cls(**found, attempts=attempts, **content)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{folder}: damaged or written by another version ({error}); learn again") from error


def _plain(result: SamplingResult) -> dict[str, Any]:
    content = {name: getattr(result, name) for name in SamplingResult.__dataclass_fields__}
    content["attempts"] = [asdict(a) for a in result.attempts]
    return content


def _attempt(entry: Mapping[str, Any]) -> Attempt:
    numbers = ("value", "lower", "upper", "loss", "psnr")
    moments: list[dict[str, Any]] = [{**s, **{k: float(s[k]) for k in numbers}} for s in entry["snapshots"]]
    content: dict[str, Any] = {**entry, "snapshots": tuple(Snapshot(**moment) for moment in moments)}
    return Attempt(**content)
