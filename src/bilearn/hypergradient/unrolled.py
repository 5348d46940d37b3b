r"""Differentiation of a fixed number of iterations.

For gradient descent with step s and contraction factor c = max(|1 - s mu|, |1 - s L|) < 1 from a start that does not
depend on theta (the tangent there is zero), let T_j be the tangent of x_j, Th the exact one, |x_0 - xh| <= d:

    T_{j+1} - Th = (I - s A_j) (T_j - Th) - s ((A_j - Ah) Th + B_j - Bh),
    |T_{j+1} - Th| <= c |T_j - Th| + s (L_A |Th| + L_B) c^j d,
    |T_k - Th| <= c^k |Th| + s k c^(k-1) (L_A |Th| + L_B) d,

and |T_k' g - Th' gh| <= |T_k - Th| |g| + |Th| |g - gh| with |Th| <= (|B| + |B - Bh|) / mu. L_A and L_B are the Lipschitz
constants of the Hessian and of the cross derivative. Truncation to the last k steps restarts the same argument at the
point where it begins.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.hypergradient.cross import cross_derivative
from bilearn.hypergradient.estimator import UNKNOWN_BOUND, BoundParts, Hypergradient, HypergradientEstimator
from bilearn.hypergradient.gradient_step import constants
from bilearn.hypergradient.lower_stage import loss_interval
from bilearn.losses import UpperLoss
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost, Solution
from bilearn.status import Status


@dataclass(frozen=True, kw_only=True)
class Unrolled(HypergradientEstimator):
    """Gradient of the loss after K steps of a gradient method, by backpropagation through the last of them.

    1. From x0 take ``steps - truncate`` steps without recording.
    2. Take ``truncate`` recorded steps: x <- v - s grad h(v), with v = x (gradient descent) or
       v = x + b (x - previous x), b = (sqrt L - sqrt mu) / (sqrt L + sqrt mu) (Nesterov).
    3. Backpropagate grad loss. s and b are constants of the derivative.

    Memory grows with ``truncate``. It does not use the lower-level solver, and no accuracy can be requested: ``steps``
    decides. For gradient descent the bound of the module docstring holds; for Nesterov it is infinite.

    Args:
        steps: K >= 1.
        truncate: number of recorded steps, at most K; all if None.
        method: "gradient" or "nesterov".
        step_size: s; if None 2 / (L + mu) for gradient descent and 1 / L for Nesterov.

    Raises:
        ValueError: if a number is out of range or, from ``estimate``, L is needed and unknown.

    References:
        Domke, "Generic methods for optimization-based modeling", AISTATS 2012.
        Shaban et al., "Truncated back-propagation for bilevel optimization", AISTATS 2019.
    """

    steps: int = 100
    truncate: int | None = None
    method: Literal["gradient", "nesterov"] = "gradient"
    step_size: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps: found {self.steps}, expected at least 1")
        if self.truncate is not None and not 1 <= self.truncate <= self.steps:
            raise ValueError(
                f"truncate: found {self.truncate}, expected a number from 1 to steps = {self.steps}, or None"
            )
        if self.method not in ("gradient", "nesterov"):
            raise ValueError(f"method: found {self.method!r}, expected 'gradient' or 'nesterov'")
        if self.step_size is not None and not self.step_size > 0:
            raise ValueError(f"step_size: found {self.step_size}, expected a positive number or None")

    def estimate(
        self,
        energy: Energy,
        loss: UpperLoss,
        y: Tensor,
        target: Tensor,
        parameters: ParameterVector | None = None,
        solver: LowerSolver | None = None,
        x0: Tensor | None = None,
        adjoint0: Tensor | None = None,
        accuracy: float | None = None,
        lower_tolerance: float | None = None,
    ) -> Hypergradient:
        """See :meth:`HypergradientEstimator.estimate`; ``solver``, ``adjoint0`` and ``lower_tolerance`` have no effect."""
        vector = ParameterVector(energy) if parameters is None else parameters
        start = (energy.start(y) if x0 is None else x0).detach()
        step, momentum = self._lengths(energy, y, start)
        recorded = self.steps if self.truncate is None else self.truncate
        with torch.no_grad():
            points = self._iterate(energy, y, (start, start), self.steps - recorded, step, momentum)
            begin = energy.grad(points[0], y)
        with torch.enable_grad():
            x, _ = self._iterate(energy, y, points, recorded, step, momentum)
            slope = loss.grad(x.detach(), target)
            if x.requires_grad:
                parts = torch.autograd.grad(x, vector.parameters, slope, materialize_grads=True)
            else:
                parts = tuple(torch.zeros_like(p) for p in vector.parameters)
        with torch.no_grad():
            lower = self._certify(energy, x.detach(), y)
            bound, declared = self._bound(energy, loss, y, target, vector, lower, slope, step, begin, recorded)
            losses, low, high = loss_interval(loss, lower, target)
            gradient = vector.flatten(parts)
        missed = accuracy is not None and not bound.total <= accuracy
        message = f"the requested gradient accuracy {accuracy:.3g} was not reached: raise steps" if missed else ""
        cost = lower.cost.copy()
        cost.hessian_products = cost.cross_products = recorded * _batch.size(y)
        return Hypergradient(losses, low, high, gradient, bound, declared, lower, None, None, message, cost)

    def _lengths(self, energy: Energy, y: Tensor, like: Tensor) -> tuple[Tensor, Tensor | None]:
        gradient = self.method == "gradient"
        if gradient and self.step_size is not None:
            return torch.full_like(_batch.norm(like), self.step_size), None
        mu, smoothness = constants(energy, y, like)
        if gradient:
            return 2 / (smoothness + mu), None
        root, base = torch.sqrt(smoothness), torch.sqrt(mu)
        step = 1 / smoothness if self.step_size is None else torch.full_like(mu, self.step_size)
        return step, (root - base) / (root + base)

    def _iterate(
        self,
        energy: Energy,
        y: Tensor,
        points: tuple[Tensor, Tensor],
        count: int,
        step: Tensor,
        momentum: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        x, previous = points
        length = _batch.expand(step, x)
        inertia = None if momentum is None else _batch.expand(momentum, x)
        for _ in range(count):
            v = x if inertia is None else x + inertia * (x - previous)
            x, previous = v - length * energy.grad(v, y), x
        return x, previous

    def _certify(self, energy: Energy, x: Tensor, y: Tensor) -> Solution:
        curvature = energy.curvature(y)
        mu = curvature.strong_convexity.per_sample(x).clamp(min=0.0)
        norm, rounding = _batch.norm(energy.grad(x, y)), energy.rounding(x, y)
        status = torch.where(norm.isfinite(), int(Status.MAX_STEPS), int(Status.NON_FINITE))
        return Solution(
            x,
            norm,
            rounding,
            torch.where(mu > 0, (norm + rounding) / mu, torch.inf),
            curvature.strong_convexity.declared,
            status,
            torch.full_like(status, self.steps),
            Cost(gradients=(self.steps + 2) * _batch.size(y)),
            f"{self.name}({self.method})",
        )

    def _bound(
        self,
        energy: Energy,
        loss: UpperLoss,
        y: Tensor,
        target: Tensor,
        vector: ParameterVector,
        lower: Solution,
        slope: Tensor,
        step: Tensor,
        begin: Tensor,
        recorded: int,
    ) -> tuple[BoundParts, bool]:
        """Module docstring; ``begin`` is the gradient where recording starts. Returns the bound and whether it is proved."""
        x, curvature = lower.x, energy.curvature(y)
        mu = curvature.strong_convexity.per_sample(x)
        smoothness = curvature.smoothness.per_sample(x)
        contraction = torch.maximum((1 - step * mu).abs(), (1 - step * smoothness).abs())
        if self.method != "gradient" or not bool(((mu > 0) & (contraction < 1)).all()):
            return UNKNOWN_BOUND, False
        cross = cross_derivative(energy, x, y, vector.parameters)
        tangent = (cross.norm + energy.column_variation(x, y, lower.error)) / mu
        distance = (_batch.norm(begin) + energy.rounding(x, y)) / mu
        drift = _product(curvature.hessian_lipschitz.per_sample(x), tangent) + curvature.cross_lipschitz.per_sample(x)
        tail = contraction**recorded * tangent + step * recorded * contraction ** (recorded - 1) * drift * distance
        lag = tangent * loss.grad_variation(x, target, lower.error)
        reach = _batch.norm(slope)
        unit = torch.finfo(x.dtype).eps
        rounding = (energy.rounding(x, y) + 16 * unit * cross.norm) / mu * reach
        bound = BoundParts(float(lag.sum()), float((tail * reach).sum()), float(rounding.sum()))
        constants_ = (
            curvature.strong_convexity,
            curvature.smoothness,
            curvature.hessian_lipschitz,
            curvature.cross_lipschitz,
        )
        declared = cross.proved and all(c.declared for c in constants_) and math.isfinite(bound.total)
        return bound, declared


def _product(constant: Tensor, factor: Tensor) -> Tensor:
    return torch.where(factor > 0, constant * factor, torch.zeros_like(factor))
