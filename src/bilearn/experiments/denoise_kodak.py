"""``denoise-kodak``: how do the learned parameters of total variation depend on the noise level?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bilearn.data import crops, read_folder, stack, to_gray
from bilearn.experiments.contents import Section
from bilearn.experiments.experiment import Experiment, Part
from bilearn.experiments.records import Results, packed
from bilearn.experiments.trace import Exact, trace
from bilearn.fidelities import LeastSquares
from bilearn.losses import SquaredError
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.upper.default import default_optimizer
from bilearn.variational import VariationalEnergy

BOUNDS = {"alpha": (1e-14, 1e2), "xi": (1e-14, 1.0), "nu": (1e-12, 1.0)}
"""Far below the smallest noise level, where the regularizer's own defaults would cut the parameters off."""
STARTS = {"sharp": "nu = sigma", "smooth": "nu = 0.1"}
"""Two starts for each level: a total variation that sees edges of the size of the noise, and a nearly quadratic one."""
_MAX_STEPS = 100


@dataclass(frozen=True)
class DenoiseKodak(Experiment):
    """alpha, xi and nu of smoothed total variation, learned for each of several noise levels from the same images.

    The lower level is 1/2|x - y|^2 + alpha sum sqrt(|grad x|^2 + nu^2) + xi/2|x|^2, the loss the mean squared distance to
    the truth. The same standard normal noise is scaled to every level. Every level is learned from two starts with the
    default methods (alpha = sigma, xi = sigma/100, and nu as in ``STARTS``); the better result counts, both are recorded.

    Args:
        seed: of the noise.
        folder: images of any format that ``bilearn.data`` reads; color images become gray.
        levels: standard deviations of the noise, for gray values in [0, 1].
        images: number of images, the first by name.
        size: side of the square cut from the center of each.

    Raises:
        ValueError: if an option is out of range; from :meth:`check`, if the folder does not have what is needed.
    """

    name = "denoise-kodak"
    purpose = "2-D denoising of a folder of images: the learned parameters against the noise level."

    folder: str = "."
    levels: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
    images: int = 4
    size: int = 128

    def __post_init__(self) -> None:
        if not self.levels or not all(0.0 < level <= 1.0 for level in self.levels):
            raise ValueError(f"levels: found {self.levels}, expected numbers in (0, 1]")
        if len(set(self.levels)) < len(self.levels):
            raise ValueError(f"levels: found {self.levels}, expected each number once")
        if self.images < 1 or self.size < 8:
            raise ValueError(f"found images = {self.images}, size = {self.size}, expected images >= 1 and size >= 8")

    @classmethod
    def quick(cls, **options: Any) -> DenoiseKodak:
        """Two small images and two levels."""
        return cls(**{"levels": (1e-1, 1e-8), "images": 2, "size": 24, **options})

    def check(self) -> None:
        """Read the images once."""
        self._truth()

    def parts(self) -> Sequence[Part]:
        """Two starts for every level."""
        return list(self._parts())

    def _parts(self) -> Iterator[Part]:
        for level in sorted(self.levels, reverse=True):
            for start, text in STARTS.items():
                yield Part(f"level/{level:g}/{start}", f"noise {level:g}, {text}", partial(self._learn, level, start))

    def _truth(self) -> Tensor:
        """(N, 1, size, size) float64 gray values in [0, 1]."""
        found = [to_gray(image) for image in read_folder(self.folder)]
        if len(found) < self.images:
            raise ValueError(
                f"folder: found {len(found)} images in {self.folder}, expected at least --images {self.images}; "
                "name another folder or ask for fewer images"
            )
        generator = torch.Generator()
        return stack([crops(i, (self.size, self.size), 1, generator)[0] for i in found[: self.images]]).double()

    def _learn(self, level: float, start: str, done: Mapping[str, Any]) -> dict[str, Any]:
        """Learn at one noise level from one start; record the course, the result, and the first reconstruction."""
        truth = self._truth()
        noise = torch.randn(truth.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(self.seed))
        data = truth + level * noise
        smoothing = level if start == "sharp" else 0.1

        def objective() -> ReducedObjective:
            regularizer = SmoothedTV(level, 0.01 * level, smoothing, bounds=BOUNDS)
            return ReducedObjective(VariationalEnergy(LeastSquares(), regularizer), data, truth, SquaredError())

        learned = objective()
        optimizer = default_optimizer(learned.parameters, least_squares=True)
        record = trace(optimizer, learned, learned.parameters.get(), None, _MAX_STEPS)
        last = record["steps"][-1]
        precise = objective()
        exact = Exact(precise)(last["theta"])
        x = precise.reconstructions
        assert x is not None
        assert exact.residual_bounds is not None
        return record | {
            "level": level,
            "parameters": {n: 10.0 ** float(t) for n, t in zip(BOUNDS, last["theta"], strict=True)},
            "value": last["value"],
            "lower": max(float(exact.lower), float(last["lower"])),
            "upper": min(float(exact.upper), float(last["upper"])),
            "certified": exact.certified,
            "floor": exact.message,
            "data_loss": float((data - truth).square().sum((1, 2, 3)).mean()),
            "radius": exact.residual_bounds[0],
            "truth": packed(truth[0, 0]),
            "data_error": packed((data - truth)[0, 0] / level),
            "error": packed((x - truth)[0, 0] / level),
        }

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Parameters against noise, what is left of the noise, certified accuracy, reconstructions."""
        from bilearn.experiments.denoise_kodak_sections import sections

        return sections(results)
