"""What a study of sampling patterns works on, as plain options that a record can hold."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from bilearn.mri import CoilFourierTransform, FreePattern, Pattern, Weighting, sampling_energy
from bilearn.mri.io import load_images, simulate_kspace, smooth_phase
from bilearn.mri.io.built_in import SUBJECTS
from bilearn.mri.io.size import pad_or_crop
from bilearn.mri.masks import Lattice, Unit
from bilearn.mri.patterns import CenteredPattern, LinePattern, RadialPattern, SpokePattern, TrajectoryPattern
from bilearn.regularizers import Regularizer, SmoothedTV, SquaredH1, Sum, Tikhonov, WaveletSparsity
from bilearn.sampling_study.coils import BIRDCAGE, ESPIRIT, coil_maps, measured_kspace
from bilearn.variational import VariationalEnergy

RegularizerName = Literal["tv", "h1", "wavelet", "none"]
REGULARIZERS: tuple[RegularizerName, ...] = get_args(RegularizerName)
REGULARIZER_TITLES: dict[str, str] = {
    "tv": "total variation",
    "h1": "squared H1",
    "wavelet": "wavelets",
    "none": "none (ridge)",
}
PatternName = Literal["points", "rows", "columns", "spokes", "angles", "trajectory", "spiral"]
PATTERNS: tuple[PatternName, ...] = get_args(PatternName)
MOVING: tuple[PatternName, ...] = ("angles", "trajectory", "spiral")
"""Patterns whose readouts move; their number is the budget."""
_AXES: dict[str, int] = {"rows": 0, "columns": 1}

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
        pattern: points, rows or columns of k-space; "spokes" taken or left as a whole; "angles" of straight spokes that turn;
            "trajectory", spokes that bend, and "spiral", both B-splines.
        center: side of the block of points around the zero frequency, or number of central lines, that is always sampled.
        readouts: number of spokes to choose from, or of moving readouts; 0 lets the rate decide.
        coils: receive coils; several see the images through ``maps``.
        maps: "birdcage" (simulated), "espirit" (estimated from the raw file that ``images`` names, of which the middle slice
            is taken with its measured k-space), or an .npy file of complex (coils, size, size).
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
    pattern: PatternName = "points"
    center: int = 0
    readouts: int = 0
    coils: int = 1
    maps: str = BIRDCAGE
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
        for name, allowed in (("regularizer", REGULARIZERS), ("pattern", PATTERNS)):
            value = getattr(self, name)
            if value not in allowed:
                raise ValueError(f"{name}: found {value!r}, expected one of {', '.join(allowed)}")
        if self.readouts < 0 or (self.readouts and self.pattern not in ("spokes", *MOVING)):
            raise ValueError(
                f"readouts: found {self.readouts} for {self.pattern}, expected 0, or a number for spokes, {', '.join(MOVING)}"
            )
        if self.center and self.pattern in MOVING:
            raise ValueError(
                f"center: found {self.center} for {self.pattern}, expected 0: its readouts cross the center anyway"
            )
        if self.coils < 1:
            raise ValueError(f"coils: found {self.coils}, expected at least 1")

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.size, self.size

    @property
    def unit(self) -> Unit:
        """What baselines for this pattern sample together: lines for lines, else points."""
        return "rows" if self.pattern == "rows" else "columns" if self.pattern == "columns" else "points"

    def coil_maps(self) -> Tensor | None:
        """(C, H, W) complex sensitivities; None for one coil that sees evenly.

        Raises:
            DataError, ValueError: see :func:`bilearn.sampling_study.coils.coil_maps`.
        """
        return _maps(self.coils, self.maps, self.images, self.count, self.size)

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
        maps = self.coil_maps()
        if self.maps == ESPIRIT and maps is not None:
            kspace = measured_kspace(self.images, self.count, self.size)
            channels = torch.stack((kspace.real, kspace.imag), 1)
            return Pairs(CoilFourierTransform(maps).start(channels), channels)
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
        return sampling_energy(chosen, self.regularization(weight), weighting, self.coil_maps())

    def learnable_pattern(self, rate: float | None = None) -> Pattern:
        """The pattern to learn: all degrees 1 and the center fixed, or readouts at their start.

        Args:
            rate: part of k-space, from which the number of readouts follows where it is not given.

        Raises:
            ValueError: if readouts move and neither a rate nor their number is given.
        """
        if self.pattern in MOVING:
            return self._moving(rate)
        if self.pattern == "points":
            free: Pattern = FreePattern(torch.ones(self.shape, dtype=torch.float64))
        elif self.pattern == "spokes":
            wanted = self.size / 3 if rate is None else self.size * math.sqrt(math.pi * rate) / 2
            free = SpokePattern(torch.ones(self.readouts or max(4, round(wanted)), dtype=torch.float64), self.shape)
        else:
            free = LinePattern(torch.ones(self.size, dtype=torch.float64), self.shape, _AXES[self.pattern])
        if not self.center:
            return free
        lattice = Lattice(self.shape, self.unit)
        return CenteredPattern(free, lattice.mask(lattice.center(self.center)))

    def _moving(self, rate: float | None) -> RadialPattern | TrajectoryPattern:
        """Readouts with about rate n^2 samples together: spokes of n samples each, spirals of up to 16 n."""
        if rate is None and not self.readouts:
            raise ValueError(
                f"pattern: found {self.pattern} without a rate: the number of readouts is its budget; use --rate or --readouts"
            )
        n, total = self.size, (rate or 0.0) * self.size**2
        if self.pattern != "spiral":
            count = self.readouts or max(1, round(total / n))
            if self.pattern == "angles":
                return RadialPattern.equispaced(count, self.shape)
            return TrajectoryPattern.radial(self.shape, count)
        count = self.readouts or max(1, round(total / (16 * n)))
        samples = max(2 * n, round(total / count))
        turns = 2 * samples / (math.pi * n)
        controls = min(samples, max(8, round(8 * turns)))
        return TrajectoryPattern.spiral(self.shape, count, turns, controls, samples)


@dataclass(frozen=True)
class Pairs:
    """Images and data.

    Attributes:
        truth: (N, 2, H, W) complex images in two channels.
        kspace: (N, 2, H, W), or (N, 2, C, H, W) of several coils: full noisy k-space, without shift.
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
    return Pairs(images, simulated(images, setup.coil_maps(), setup.noise, seed + 1))


def simulated(images: Tensor, maps: Tensor | None, sigma: float, seed: int) -> Tensor:
    """Full noisy k-space (N, 2, H, W), or (N, 2, C, H, W) through the maps of several coils."""
    if maps is None:
        return simulate_kspace(images, sigma, seed)
    clean = CoilFourierTransform(maps).A(images)
    generator = torch.Generator().manual_seed(seed)
    return clean + sigma * torch.randn(clean.shape, generator=generator, dtype=torch.float64).to(clean)


@lru_cache(maxsize=4)
def _maps(coils: int, source: str, images: tuple[str, ...], count: int, size: int) -> Tensor | None:
    return coil_maps(coils, source, images, count, size)


def resized(images: Tensor, size: int) -> Tensor:
    """(N, 2, H, W) averaged over blocks of round(max(H, W) / size) pixels, padded or cropped to size x size."""
    factor = max(1, round(max(images.shape[-2:]) / size))
    fitted = pad_or_crop(images, size * factor)
    return torch.nn.functional.avg_pool2d(fitted, factor) if factor > 1 else fitted
