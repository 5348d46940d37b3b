"""The model of :class:`bilearn.upper.dynamic_dfo.DynamicDFO`: interpolated residuals, or an interpolated value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.penalties import PenaltyTerms
from bilearn.upper.box_quadratic import minimize_in_box, nearest_convex
from bilearn.upper.dynamic_dfo_points import Points, doubt
from bilearn.upper.gauss_newton_model import double
from bilearn.upper.interpolation import Lagrange
from bilearn.upper.interpolation_set import InterpolationSet

_RIDGE = 1e-10
_NEWTON_STEPS = 20
_NEWTON_GAIN = 1e-3
_HALVINGS = 8


@dataclass(frozen=True)
class InterpolationModel:
    """m(s) = const + g's + s'Hs/2 + penalty(theta + s), s in units of the trust region; float64 on the CPU.

    Residual vectors r (F = |r|^2 + penalty): each entry is interpolated, and m is the second-order expansion of |r(s)|^2,
    which is the Gauss-Newton model where the interpolants are linear, plus the penalty itself. Only inner products of the
    points' vectors enter. Without residuals F - penalty is interpolated.

    Attributes:
        lagrange: functions of the interpolation points, the current iterate first.
        grams: (N, m, m) inner products of the residual vectors of each sample; None where values are interpolated.
        errors: (m, N) bounds on the errors of the vectors in the 2-norm, or (m, 1) on those of the values.
        gradient: (P,) g.
        hessian: (P, P) H.
        penalty: exact terms of the penalty at a displacement.
        unit: (P,) length of one displacement.
    """

    lagrange: Lagrange
    grams: Tensor | None
    errors: Tensor
    gradient: Tensor
    hessian: Tensor
    penalty: Callable[[Tensor], PenaltyTerms]
    unit: Tensor

    @classmethod
    def of(cls, points: Points, chosen: list[int], lagrange: Lagrange) -> InterpolationModel:
        """The model from what is known now at the points ``chosen``; ``chosen[0]`` is 0, the current iterate."""
        if points.current.residuals is not None:
            vectors, errors = (torch.stack(column) for column in zip(*map(points.residuals, chosen), strict=True))
            grams = torch.einsum("aik,bik->iab", vectors, vectors)
            total = grams.sum(0)
            slopes = lagrange.slopes.T
            weights = 2.0 * total[:, 0]
            gradient, hessian = slopes @ weights, 2.0 * slopes @ total @ slopes.T
        else:
            found = [points.evaluations[j] for j in chosen]
            grams = None
            weights = torch.tensor([e.value - e.penalty for e in found], dtype=torch.float64)
            errors = torch.tensor([[doubt(e)] for e in found], dtype=torch.float64)
            gradient, hessian = lagrange.slopes.T @ weights, torch.zeros_like(lagrange.curvatures[0])
        hessian = hessian + torch.einsum("j,jkl->kl", weights, lagrange.curvatures)
        return cls(lagrange, grams, errors, gradient, hessian, points.penalty, points.unit)

    def minimize(self, lower: Tensor, upper: Tensor) -> Tensor:
        """(P,) a minimizer of m in a box around zero.

        1. Minimize the quadratic plus the expansion of the penalty at s, made convex, over the box; first s = 0.
        2. Halve the step from s until m decreases; end where it does not, or where the step is small.
        """
        move = torch.zeros_like(self.gradient)
        promised = 0.0
        for _ in range(_NEWTON_STEPS):
            gradient, hessian = self._expansion(move)
            step = minimize_in_box(hessian, gradient, lower - move, upper - move)
            length = float(step.abs().max())
            for _ in range(_HALVINGS):
                found = self.decrease(move + step)
                if found > promised:
                    break
                step = 0.5 * step
            else:
                break
            move, gained, promised = move + step, found - promised, found
            if gained <= _NEWTON_GAIN * promised or length == 0.0:
                break
        return move

    def decrease(self, move: Tensor) -> float:
        """m(0) - m(s)."""
        quadratic = float(self.gradient @ move + 0.5 * move @ self.hessian @ move)
        return self.penalty(torch.zeros_like(move)).value - self.penalty(move).value - quadratic

    def slope(self, move: Tensor) -> float:
        """Directional derivative of m at zero along a displacement."""
        terms = self.penalty(torch.zeros_like(move))
        assert terms.gradient is not None
        return float((self.gradient + self.unit * double(terms.gradient)) @ move)

    def linear_decrease(self, lower: Tensor, upper: Tensor) -> float:
        """Largest decrease of the linearization of m in a box around zero: zero exactly at a stationary point of m."""
        gradient, _ = self._expansion(torch.zeros_like(lower))
        return -float(torch.minimum(gradient * lower, gradient * upper).sum())

    def _expansion(self, move: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient of m at s and a positive definite matrix near its Hessian there."""
        terms = self.penalty(move)
        assert terms.gradient is not None
        gradient = self.gradient + self.hessian @ move + self.unit * double(terms.gradient)
        hessian = self.hessian
        if terms.hessian is not None:
            hessian = hessian + torch.outer(self.unit, self.unit) * double(terms.hessian)
        ridge = _RIDGE * float(gradient.abs().max()) + torch.finfo(torch.float64).tiny
        return gradient, nearest_convex(hessian) + ridge * torch.eye(len(gradient), dtype=torch.float64)

    def influence(self, move: Tensor) -> Tensor:
        """(m,) bound, to first order, on the change of m(0) - m(s) when the data of one point move within their errors."""
        share = self.lagrange(move)
        here = torch.zeros_like(share)
        here[0] = 1.0
        if self.grams is None:
            return (here - share).abs() * self.errors[:, 0]
        combined = torch.outer(here, here) - torch.outer(share, share)
        squares = torch.einsum("ja,iab,jb->ji", combined, self.grams, combined)
        return 2.0 * (squares.clamp(min=0.0).sqrt() * self.errors).sum(1)


@dataclass(frozen=True)
class Proposal:
    """A model, its minimizer in the trust region, and what it promises there."""

    chosen: InterpolationSet
    model: InterpolationModel
    move: Tensor
    predicted: float

    @property
    def length(self) -> float:
        """Largest component of the step, in units of the trust region."""
        return float(self.move.abs().max())
