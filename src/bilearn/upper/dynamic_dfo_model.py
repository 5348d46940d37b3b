"""The model of :class:`bilearn.upper.dynamic_dfo.DynamicDFO`: interpolated residuals, or an interpolated value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.penalties import PenaltyTerms
from bilearn.upper.box_quadratic import minimize_in_box, nearest_convex
from bilearn.upper.dynamic_dfo_points import Points, doubt
from bilearn.upper.gauss_newton_model import double
from bilearn.upper.interpolation import Lagrange

_RIDGE = 1e-10


@dataclass(frozen=True)
class InterpolationModel:
    """m(s) = F(theta) + g's + s'Hs/2, s in units of the trust region; float64 on the CPU.

    Residuals r_i (F = |r|^2 + penalty): each is interpolated, and m is the second-order expansion of |r(s)|^2, which is the
    Gauss-Newton model where the interpolants are linear. Otherwise F - penalty itself is interpolated. The penalty enters
    by its exact gradient and Hessian.

    Attributes:
        lagrange: functions of the interpolation points, the current iterate first.
        data: (m, k) residuals, or values (k = 1), at the points.
        errors: (m, k) bounds on their errors.
        squared: whether the data are residuals.
        gradient: (P,) g.
        hessian: (P, P) positive definite H.
    """

    lagrange: Lagrange
    data: Tensor
    errors: Tensor
    squared: bool
    gradient: Tensor
    hessian: Tensor

    @classmethod
    def of(cls, points: Points, chosen: list[int], lagrange: Lagrange, penalty: PenaltyTerms) -> InterpolationModel:
        """The model from the values that the points ``chosen`` have now; ``chosen[0]`` is 0, the current iterate."""
        squared = points.current.residuals is not None
        pairs = [_residuals(points.evaluations[j]) if squared else _value(points.evaluations[j]) for j in chosen]
        data, errors = (torch.stack(column) for column in zip(*pairs, strict=True))
        if squared:
            jacobian = lagrange.slopes.T @ data
            weights = 2.0 * data @ data[0]
            gradient, hessian = 2.0 * jacobian @ data[0], 2.0 * jacobian @ jacobian.T
        else:
            weights = data[:, 0]
            gradient, hessian = lagrange.slopes.T @ weights, torch.zeros_like(lagrange.curvatures[0])
        hessian = hessian + torch.einsum("j,jkl->kl", weights, lagrange.curvatures)
        gradient = gradient + points.unit * double(penalty.gradient)
        if penalty.hessian is not None:
            hessian = hessian + torch.outer(points.unit, points.unit) * double(penalty.hessian)
        ridge = _RIDGE * float(gradient.abs().max()) + torch.finfo(torch.float64).tiny
        convex = nearest_convex(hessian) + ridge * torch.eye(len(gradient), dtype=torch.float64)
        return cls(lagrange, data, errors, squared, gradient, convex)

    def minimize(self, lower: Tensor, upper: Tensor) -> Tensor:
        """(P,) the minimizer of m in a box around zero."""
        return minimize_in_box(self.hessian, self.gradient, lower, upper)

    def decrease(self, move: Tensor) -> float:
        """m(0) - m(s)."""
        return -float(self.gradient @ move + 0.5 * move @ self.hessian @ move)

    def linear_decrease(self, lower: Tensor, upper: Tensor) -> float:
        """Largest -g's in a box around zero: zero exactly at a stationary point of the model."""
        return -float(torch.minimum(self.gradient * lower, self.gradient * upper).sum())

    def influence(self, move: Tensor) -> Tensor:
        """(m,) bound, to first order, on the change of m(0) - m(s) when the data of one point move within their errors."""
        share = self.lagrange(move)
        here = torch.zeros_like(share)
        here[0] = 1.0
        if not self.squared:
            return (here - share).abs() * self.errors[:, 0]
        there = share @ self.data
        slope = 2.0 * (torch.outer(here, self.data[0]) - torch.outer(share, there))
        return (slope.abs() * self.errors).sum(1)


def _residuals(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    """Residuals scaled so that F = |r|^2 + penalty, and bounds on their errors."""
    assert evaluation.residuals is not None
    assert evaluation.residual_bounds is not None
    found, bounds = double(evaluation.residuals), double(evaluation.residual_bounds)
    total = float(found.square().sum())
    scale = math.sqrt(max(evaluation.value - evaluation.penalty, 0.0) / total) if total > 0 else 1.0
    return scale * found, scale * torch.where(bounds.isfinite(), bounds, 0.0)


def _value(evaluation: Evaluation) -> tuple[Tensor, Tensor]:
    number = torch.tensor([evaluation.value - evaluation.penalty], dtype=torch.float64)
    return number, torch.tensor([doubt(evaluation)], dtype=torch.float64)
