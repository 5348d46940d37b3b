"""Masks in use: the weight tuned for each on training pairs, reconstructions and their quality on others."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bilearn import _batch
from bilearn.evaluation import Evaluation
from bilearn.lower import NewtonCG, minimize
from bilearn.sampling import SamplingProblem, magnitude_quality
from bilearn.sampling.stage import Stages
from bilearn.sampling.tune import tune
from bilearn.sampling_study.setup import Pairs, StudySetup
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

DATA_RANGE = "Magnitudes; the data range of an image is its largest true magnitude."
"""How PSNR and SSIM are scaled, for notes below tables."""

_ACCURACY = 1e-4
"""Root-mean-square error of reconstructions that are judged; noise and errors are hundreds of times larger."""


@dataclass(frozen=True, eq=False)
class TunedMask:
    """A mask and the weight that is best for it on the training pairs.

    Attributes:
        mask: (H, W) boolean, without shift.
        energy: the reconstruction model.
        weight: the tuned alpha.
        loss: mean training loss |x - x*|^2 / (2 n), with its interval.
    """

    mask: Tensor
    energy: VariationalEnergy
    weight: float
    loss: Evaluation

    @property
    def samples(self) -> int:
        """Points of k-space in the mask."""
        return int(self.mask.sum())

    def reconstruct(self, kspace: Tensor) -> Tensor:
        """(N, 2, H, W) from full k-space, of which only the mask's samples are used."""
        return reconstruct(self.energy, kspace)


def tuned_mask(mask: Tensor, setup: StudySetup, training: Pairs, weight: float | None = None) -> TunedMask:
    """Tune alpha for a mask on training pairs by the certified mean loss.

    Args:
        mask: (H, W), without shift.
        setup: the reconstruction model.
        training: pairs.
        weight: alpha to begin with.
    """
    energy = setup.energy(mask, weight)
    problem = SamplingProblem(energy, training.kspace, training.truth)
    loss = tune(problem, Stages(None), "tune")
    return TunedMask(mask.bool(), energy, next(iter(problem.rest_values().values())), loss)


def reconstruct(energy: VariationalEnergy, kspace: Tensor) -> Tensor:
    """Reconstructions (N, 2, H, W) with a proved root-mean-square error of at most 1e-4 per real number."""
    distance = _ACCURACY * _batch.samples(energy.start(kspace[:1])) ** 0.5
    return minimize(energy, kspace, NewtonCG(), tolerance=Tolerance(distance=distance), throw=False).x


def zero_filled(energy: VariationalEnergy, mask: Tensor, kspace: Tensor) -> Tensor:
    """(N, 2, H, W) inverse transform of the mask's samples, zeros elsewhere; coils combined by their maps."""
    return energy.operator.start(kspace * mask)


def judged(tuned: TunedMask, test: Pairs) -> dict[str, list[float]]:
    """PSNR and SSIM of every test image, see :data:`DATA_RANGE`."""
    return magnitude_quality(tuned.reconstruct(test.kspace), test.truth)
