"""How good masks are, with the reconstructor in the loop: many of them in one solve."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.losses import SquaredError, UpperLoss
from bilearn.lower import NewtonCG, minimize
from bilearn.mri import masked_data, masked_energy
from bilearn.regularizers import Regularizer
from bilearn.solution import Tolerance

_NUMBERS = 2**20
# the starts are near: systems solved better than that are solved in vain
_SOLVER = NewtonCG(largest_forcing=0.1, smallest_forcing=0.1)


class ReconstructionScore:
    """Minus the mean loss of reconstructions: a :class:`bilearn.mri.masks.MaskScore` for searches over masks.

    1. Solve the first of the masks, from the reconstructions of the last call's first mask.
    2. Solve the others from there, as many in one batch as stay in the cache: searches ask about masks that differ in a few
       cells, and small problems cost calls, not arithmetic.

    Reconstructions have a proved root-mean-square error, so scores do not depend on the order of calls by more than that.

    Args:
        regularizer: R of the reconstruction  1/2 sum_k m_k |(F x - y)_k|^2 + R(x), with its weights as they are.
        kspace: (N, 2, H, W), or (N, 2, C, H, W) of several coils: full k-space, without shift.
        truth: (N, 2, H, W).
        loss: of a reconstruction; the mean of the squares if None.
        maps: (C, H, W) complex sensitivities of several coils.
        accuracy: largest root-mean-square error of reconstructions.
        start: (N, 2, H, W) reconstructions to begin with.

    Raises:
        ValueError: if the accuracy is not positive; when called, if shapes do not fit.
    """

    def __init__(
        self,
        regularizer: Regularizer,
        kspace: Tensor,
        truth: Tensor,
        loss: UpperLoss | None = None,
        maps: Tensor | None = None,
        accuracy: float = 1e-4,
        start: Tensor | None = None,
    ) -> None:
        if not accuracy > 0:
            raise ValueError(f"accuracy: found {accuracy}, expected a positive root-mean-square error")
        entries = truth[0].numel()
        self._energy = masked_energy(regularizer, maps)
        self._kspace, self._truth = kspace, truth
        self._loss: UpperLoss = SquaredError(1 / entries) if loss is None else loss
        self._tolerance = Tolerance(distance=accuracy * entries**0.5)
        self._warm = torch.zeros_like(truth) if start is None else start.clone()

    def __call__(self, masks: Tensor, images: Tensor) -> Tensor:
        """(K,) scores of masks (K, H, W) on the images (L,)."""
        used = images.to(self._truth.device)
        kspace, truth = self._kspace[used], self._truth[used]
        first = self._solve(masks[:1], kspace, self._warm[used])
        self._warm[used] = first
        scores = [-self._loss(first, truth).mean()[None]]
        size = max(1, _NUMBERS // kspace.numel())
        for at in range(1, len(masks), size):
            part = masks[at : at + size]
            x = self._solve(part, kspace, first)
            scores.append(-self._loss(x, truth.repeat(len(part), 1, 1, 1)).reshape(len(part), -1).mean(1))
        return torch.cat(scores)

    def _solve(self, masks: Tensor, kspace: Tensor, start: Tensor) -> Tensor:
        data = masked_data(kspace, masks)
        return minimize(self._energy, data, _SOLVER, start.repeat(len(masks), 1, 1, 1), self._tolerance, throw=False).x
