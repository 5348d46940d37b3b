"""Masks that are drawn at random, with learnable probabilities."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.mri.masks.draw import draw
from bilearn.mri.pattern import Pattern
from bilearn.parameters import Identity, learnable


class ProbabilisticPattern(Pattern):
    """A random mask m_u = [r_u < p_u], r_u uniform: every unit u (point, line) is taken with a learned probability p_u.

    1. q = sigmoid(w), w the learned numbers.
    2. Scale to the budget: with a share c of all points asked for, p = q c / mean(q) where mean(q) >= c, else
       p = 1 - (1 - q) (1 - c) / (1 - mean(q)), means over points. So 0 <= p <= 1, and the expected number of samples is exactly
       the one that was asked for, whatever w is.
    3. s = [r < p], with the derivative of the sigmoid of slope t in place of that of the step, dm/dp = t g (1 - g),
       g = sigmoid(t (p - r)) (straight-through); with ``hard=False`` s = g itself, between 0 and 1, with its own derivative.

    The random numbers stay until :meth:`redraw`, so that s is a function of w in between. Use it with the weighting
    :class:`bilearn.mri.Linear`: a mask of zeros and ones is the same with every weighting, but :class:`bilearn.mri.Square`
    has the slope 0 where a unit is not taken, which would keep it out. Bounds of hypergradients are those of the
    derivative in 3, which for ``hard=True`` is not the derivative of a function.

    Args:
        groups: (H, W) or (n,) integers from 0 to U - 1: which unit a point belongs to.
        count: expected number of samples, more than 0 and fewer than there are points.
        logits: (U,) start of w; zero if None, which gives all units the same probability.
        slope: t > 0.
        hard: see 3.
        seed: of the first draw.
        dtype: dtype of the parameter.

    Raises:
        ValueError: if shapes or numbers do not fit.

    Reference:
        Bahadir, Wang, Dalca, Sabuncu, Deep-learning-based optimization of the under-sampling pattern in MRI (LOUPE), IEEE
        Trans. Comput. Imaging 6, 2020 (1, 2, and 3 with ``hard=False``). Zhang et al., Extending LOUPE for k-space
        under-sampling pattern optimization in multi-coil MRI, MLMIR 2020 (straight-through).
    """

    logits: Tensor

    def __init__(
        self,
        groups: Tensor,
        count: float,
        logits: Tensor | None = None,
        slope: float = 12.0,
        hard: bool = True,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        if groups.dtype != torch.int64 or groups.ndim not in (1, 2) or int(groups.min()) < 0:
            raise ValueError(
                f"groups: found {groups.dtype} of shape {tuple(groups.shape)}, expected int64 of shape (n,) or (H, W), from 0"
            )
        sizes = torch.bincount(groups.flatten())
        if not 0 < count < groups.numel():
            raise ValueError(f"count: found {count}, expected more than 0 and fewer than all {groups.numel()} points")
        if not slope > 0:
            raise ValueError(f"slope: found {slope}, expected a positive number")
        start = torch.zeros(len(sizes), dtype=dtype) if logits is None else logits
        if tuple(start.shape) != (len(sizes),):
            raise ValueError(f"logits: found shape {tuple(start.shape)}, expected ({len(sizes)},), one for every unit")
        learnable(self, "logits", start, Identity(), True, dtype)
        self.share, self.slope, self.hard = count / groups.numel(), slope, hard
        self.register_buffer("_groups", groups.detach().clone())
        self.register_buffer("_parts", sizes.to(dtype) / groups.numel())
        self.register_buffer("_uniform", torch.zeros(len(sizes), dtype=dtype))
        self.redraw(torch.Generator().manual_seed(seed))

    def redraw(self, generator: torch.Generator) -> None:
        """New random numbers r, in place of the present ones."""
        uniform = self.get_buffer("_uniform")
        uniform.copy_(torch.rand(uniform.shape, generator=generator, dtype=torch.float64))

    def probabilities(self) -> Tensor:
        """p, (U,): their sum weighted with the points of the units is the number of samples asked for."""
        q, parts = torch.sigmoid(self.logits), self.get_buffer("_parts")
        mean = (parts * q).sum()
        if bool(mean >= self.share):
            return q * (self.share / mean)
        return 1 - (1 - q) * ((1 - self.share) / (1 - mean))

    def exact_mask(self, generator: torch.Generator | None = None) -> Tensor:
        """A boolean mask with exactly the number of samples asked for, on the grid.

        Args:
            generator: draws the units with their probabilities, conditioned on the number (Pareto sampling). If None, those
                of largest probability are taken, of equal ones those that come first.

        Raises:
            ValueError: if the units have different sizes, or none of their numbers has exactly so many samples.
        """
        groups, parts = self.get_buffer("_groups"), self.get_buffer("_parts")
        size = round(float(parts[0]) * groups.numel())
        units, rest = divmod(round(self.share * groups.numel()), size)
        if rest or bool((parts != parts[0]).any()):
            raise ValueError(f"count: found units that cannot make up {self.share * groups.numel():g} samples exactly")
        p = self.probabilities().detach().double().cpu()
        if generator is None:
            taken = torch.zeros_like(p, dtype=torch.bool)
            taken[torch.argsort(p, descending=True, stable=True)[:units]] = True
        else:
            taken = draw(p.clamp(min=1e-12, max=1.0), units, generator)
        return taken[groups.cpu()]

    def forward(self) -> Tensor:
        """s on the grid."""
        return self._taken(self.probabilities())[self.get_buffer("_groups")]

    def row_norms(self) -> Tensor:
        """|dm_u/dp_u| |dp_u/dw|, exact for the derivative in use: dp/dw is diagonal plus a matrix of rank one."""
        with torch.no_grad():
            q, parts = torch.sigmoid(self.logits), self.get_buffer("_parts")
            own, mean = q * (1 - q), (parts * q).sum()
            if bool(mean >= self.share):
                scale, turn = self.share / mean, -q * self.share / mean.square()
            else:
                scale = (1 - self.share) / (1 - mean)
                turn = -(1 - q) * (1 - self.share) / (1 - mean).square()
            common = parts * own
            others = (common.square().sum() - common.square()).clamp(min=0.0)
            rows = torch.sqrt((scale * own + turn * common).square() + turn.square() * others)
            g = torch.sigmoid(self.slope * (self.probabilities() - self.get_buffer("_uniform")))
            return (self.slope * g * (1 - g) * rows)[self.get_buffer("_groups")]

    def _taken(self, p: Tensor) -> Tensor:
        uniform = self.get_buffer("_uniform")
        soft = torch.sigmoid(self.slope * (p - uniform))
        return (uniform < p).to(soft.dtype) + (soft - soft.detach()) if self.hard else soft
