"""What a study of sampling patterns works on, as plain options that a record can hold."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from bilearn.mri import FreePattern, Pattern, Weighting, sampling_energy
from bilearn.mri.io import load_images, simulate_kspace, smooth_phase
from bilearn.mri.io.built_in import SUBJECTS
from bilearn.mri.io.size import pad_or_crop
from bilearn.mri.masks import Lattice, Unit
from bilearn.mri.patterns import CenteredPattern, LinePattern
from bilearn.regularizers import Regularizer, SmoothedTV, SquaredH1, Sum, Tikhonov, WaveletSparsity
from bilearn.variational import VariationalEnergy

RegularizerName = Literal["tv", "h1", "wavelet", "none"]
REGULARIZERS: tuple[RegularizerName, ...] = get_args(RegularizerName)
REGULARIZER_TITLES: dict[str, str] = {
    "tv": "total variation",
    "h1": "squared H1",
    "wavelet": "wavelets",
    "none": "none (ridge)",
}
UNITS: tuple[Unit, ...] = get_args(Unit)
UNITS_AXES: dict[Unit, int] = {"rows": 0, "columns": 1}

_FIRST_WEIGHTS: dict[RegularizerName, float] = {"tv": 3e-3, "h1": 1e-2, "wavelet": 3e-3, "none": 1e-2}
_WAVELET_LEVELS = 3


@dataclass(frozen=True)
class StudySetup:
    """Images, noise and reconstruction model of a study.

    The model is  1/2 sum_k s_k^2 |(F x - y)_k|^2 + alpha R(x) + ridge/2 |x|^2  over complex images, alpha learned.

    Args:
        images: names of built-in sets or files, see :func:`bilearn.mri.io.load_images`.
        size: side of the square images in pixels. Larger images are first averaged over blocks of about the right size,
            then padded or cropped evenly.
        count: images taken from all of them, evenly spread; 0 takes all.
        noise: standard deviation of the real and of the imaginary part of the noise in k-space, image magnitudes in [0, 1].
        phase: largest phase in radians of the smooth random phase given to images that are real; 0 for none.
        regularizer: "tv" (smoothed, complex coupled), "h1" (squared), "wavelet" (db4, three levels), or "none": only a
            ridge, whose weight is alpha.
        ridge: weight of the ridge.
        smoothing: nu of the smoothed absolute value.
        pattern: points, rows or columns of k-space.
        center: side of the block of points around the zero frequency, or number of central lines, that is always sampled.
        seed: of phase, noise and random methods.

    Raises:
        ValueError: if an option is out of range.
    """

    images: tuple[str, ...] = ("brain-train",)
    size: int = 192
    count: int = 7
    noise: float = 0.03
    phase: float = math.pi / 2
    regularizer: RegularizerName = "tv"
    ridge: float = 1e-2
    smoothing: float = 1e-2
    pattern: Unit = "points"
    center: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.images:
            raise ValueError("images: found none, expected names of built-in sets or files, such as brain-train")
        if self.size < 8 or (self.regularizer == "wavelet" and self.size % 2**_WAVELET_LEVELS):
            raise ValueError(
                f"size: found {self.size}, expected at least 8 pixels, and a multiple of {2**_WAVELET_LEVELS} for wavelets"
            )
        if self.count < 0:
            raise ValueError(f"count: found {self.count}, expected a number of images, 0 for all")
        for name in ("noise", "phase"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name}: found {value}, expected a finite number >= 0")
        for name in ("ridge", "smoothing"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name}: found {value}, expected a finite number > 0")
        if not 0 <= self.center < self.size:
            raise ValueError(f"center: found {self.center}, expected 0 to {self.size - 1} points or lines")
        for name, allowed in (("regularizer", REGULARIZERS), ("pattern", UNITS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name}: found {value!r}, expected one of {', '.join(allowed)}")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, self.size

    def options(self) -> dict[str, Any]:
        """All options by name."""
        return asdict(self)

    @classmethod
    def from_options(cls, options: dict[str, Any]) -> StudySetup:
        """The setup with recorded options; others are ignored.

        Raises:
            ValueError: if one is missing or out of range.
        """
        names = [f.name for f in fields(cls)]
        missing = [name for name in names if name not in options]
        if missing:
            raise ValueError(f"setup: the record holds no {', '.join(missing)}; it was written by another version")
        values = {name: options[name] for name in names}
        return cls(**{**values, "images": tuple(values["images"])})

    def pairs(self) -> Pairs:
        """Images and their noisy k-space.

        Raises:
            DataError: if images cannot be read, or there are fewer than asked for.
        """
        return load_pairs(self.images, self, self.count, self.seed)

    def regularization(self, weight: float | None = None) -> Regularizer:
        """R with the ridge; its weight alpha is the only learnable number.

        Args:
            weight: alpha to begin with.
        """
        alpha = _FIRST_WEIGHTS[self.regularizer] if weight is None else weight
        if self.regularizer == "tv":
            return SmoothedTV(alpha, self.ridge, self.smoothing, learn=("alpha",), coupled=True)
        if self.regularizer == "wavelet":
            return WaveletSparsity(
                alpha, self.ridge, self.smoothing, levels=_WAVELET_LEVELS, learn=("alpha",), coupled=True
            )
        if self.regularizer == "h1":
            return Sum(SquaredH1(alpha), Tikhonov(self.ridge, learn=False))
        return Tikhonov(alpha)

    def energy(
        self, pattern: Pattern | Tensor, weight: float | None = None, weighting: Weighting | None = None
    ) -> VariationalEnergy:
        """The reconstruction model with a pattern, or with a mask (H, W) that is not learned.

        Args:
            pattern: degrees of sampling.
            weight: alpha to begin with.
            weighting: of the degrees; their square if None.
        """
        chosen = FreePattern(pattern.double(), learn=False) if isinstance(pattern, Tensor) else pattern
        return sampling_energy(chosen, self.regularization(weight), weighting)

    def learnable_pattern(self) -> Pattern:
        """The pattern to learn, all degrees 1; its center, if any, is fixed."""
        if self.pattern == "points":
            free: Pattern = FreePattern(torch.ones(self.shape, dtype=torch.float64))
        else:
            axis = UNITS_AXES[self.pattern]
            free = LinePattern(torch.ones(self.size, dtype=torch.float64), self.shape, axis)
        if not self.center:
            return free
        lattice = Lattice(self.shape, self.pattern)
        return CenteredPattern(free, lattice.mask(lattice.center(self.center)))


@dataclass(frozen=True)
class Pairs:
    """Images and data.

    Attributes:
        truth: (N, 2, H, W) complex images in two channels.
        kspace: (N, 2, H, W) full noisy k-space, without shift.
    """

    truth: Tensor
    kspace: Tensor

    def __len__(self) -> int:
        return self.truth.shape[0]


def load_pairs(names: tuple[str, ...], setup: StudySetup, count: int, seed: int) -> Pairs:
    """Images of several sets or files at the setup's size, with its phase and noise.

    Args:
        names: sets or files; ``subjects-test`` stands for its parts.
        setup: size, phase and noise.
        count: images taken, evenly spread; 0 takes all.
        seed: of phase and noise.

    Raises:
        DataError: if images cannot be read.
        ValueError: if there are fewer images than asked for.
    """
    parts = [part for name in names for part in (SUBJECTS if name == "subjects-test" else (name,))]
    images = torch.cat([resized(load_images(part), setup.size) for part in parts])
    if count > images.shape[0]:
        raise ValueError(f"count: found {count}, expected at most the {images.shape[0]} images of {', '.join(names)}")
    if count:
        images = images[[int((2 * k + 1) * images.shape[0] / (2 * count)) for k in range(count)]]
    if setup.phase and not bool(images[:, 1].any()):
        images = smooth_phase(images, seed, setup.phase)
    return Pairs(images, simulate_kspace(images, setup.noise, seed + 1))


def resized(images: Tensor, size: int) -> Tensor:
    """(N, 2, H, W) averaged over blocks of round(max(H, W) / size) pixels, padded or cropped to size x size."""
    factor = max(1, round(max(images.shape[-2:]) / size))
    fitted = pad_or_crop(images, size * factor)
    return torch.nn.functional.avg_pool2d(fitted, factor) if factor > 1 else fitted
