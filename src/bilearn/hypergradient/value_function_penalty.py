r"""Fully first-order hypergradients: a difference of two solves instead of second derivatives.

With x0 = argmin h and x1 = argmin h + loss / lambda, let v(s) = min_x h(x; theta) + s loss(x). The envelope theorem gives
dv/dtheta = (d h / d theta)(x_s), dv/ds = loss(x_s), so that with s = 1 / lambda

    lambda (d_theta h(x1) - d_theta h(x0)) = (d_theta v(s) - d_theta v(0)) / s = d_theta loss(x0) + O(s):

a one-sided difference of a smooth function of s. The other side, x_{-1} = argmin h - loss / lambda, gives the central
difference lambda / 2 (d_theta h(x1) - d_theta h(x_{-1})) with error O(s^2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.energy import Energy
from bilearn.hypergradient.estimator import UNKNOWN_BOUND, Hypergradient, HypergradientEstimator
from bilearn.hypergradient.lower_stage import LowerStage, loss_interval
from bilearn.hypergradient.packing import Packing
from bilearn.losses import UpperLoss
from bilearn.lower.lbfgs import LBFGS
from bilearn.lower.minimize import minimize
from bilearn.lower.solver import LowerSolver
from bilearn.parameters import ParameterVector
from bilearn.solution import Cost, Solution, Tolerance


@dataclass(frozen=True, kw_only=True)
class ValueFunctionPenalty(HypergradientEstimator):
    """lambda (d_theta h(x1) - d_theta h(x0)), x0 = argmin h, x1 = argmin h + loss / lambda (module docstring).

    1. x0: solve the lower level, then again, warm, until |grad h| <= tolerance |grad loss(x0)| / lambda.
    2. x1: minimize h + loss / lambda from x0 to the same gradient norm; ``two_sided`` also h - loss / lambda.
    3. The difference of the partial derivatives of h in theta.

    No second derivative of h is taken, so h needs only a Lipschitz gradient; the error is O(1 / lambda) where the minimizer is
    smooth in theta and x (O(1 / lambda^2) two-sided), plus |B| / mu * tolerance |grad loss| from the solves, plus rounding
    lambda eps |d_theta h|. How large the first is depends on third derivatives nobody declares: the bound is infinite and
    the answer an estimate. The two-sided form needs h - loss / lambda to have a minimizer near x0: lambda > (curvature of the
    loss) / mu.

    Args:
        penalty: lambda, in units of loss per energy.
        tolerance: accuracy of both solves, relative to the gradient of the loss.
        two_sided: the central difference; one more solve.
        penalized_solver: method for h +- loss / lambda, and for h where no solver is given; it must not need constants.

    Raises:
        ValueError: if a number is out of range.

    References:
        Kwon, Kwon, Wright, Nowak, "A fully first-order method for stochastic bilevel optimization", ICML 2023.
        Scellier, Bengio, "Equilibrium propagation", Front. Comput. Neurosci. 2017 (the same difference, two-sided since 2021).
    """

    penalty: float = 1e3
    tolerance: float = 1e-4
    two_sided: bool = False
    penalized_solver: LowerSolver = field(default_factory=LBFGS)

    def __post_init__(self) -> None:
        if not (self.penalty > 0 and math.isfinite(self.penalty)):
            raise ValueError(f"penalty: found {self.penalty}, expected a positive number")
        if not 0 < self.tolerance < 1:
            raise ValueError(f"tolerance: found {self.tolerance}, expected a number between 0 and 1")

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
        """See :meth:`HypergradientEstimator.estimate`; ``adjoint0`` has no effect and no accuracy can be certified."""
        vector = ParameterVector(energy) if parameters is None else parameters
        method = self.penalized_solver if solver is None else solver
        cost = Cost()
        with torch.no_grad():
            start = energy.start(y) if x0 is None else x0
            stage = LowerStage.of(energy, y, method, start)
            rough = stage.solve(start, 1e-3 * stage.scale if lower_tolerance is None else lower_tolerance)
            slope = _smallest(_batch.norm(loss.grad(rough.x, target)))
            asked = Tolerance(gradient=max(self.tolerance * slope / self.penalty, torch.finfo(torch.float64).tiny))
            lower = minimize(energy, y, method, rough.x, asked, throw=False)
            ends = [self._end(energy, loss, y, target, lower.x, asked, 1.0)]
            if self.two_sided:
                ends.append(self._end(energy, loss, y, target, lower.x, asked, -1.0))
            losses, low, high = loss_interval(loss, lower, target)
        solves = (rough, lower, *ends)
        for solution in solves:
            cost.add(solution.cost)
        other, span = (ends[1], 0.5) if self.two_sided else (lower, 1.0)
        slopes = [_partial(energy, solution.x, y, vector.parameters) for solution in (ends[0], other)]
        cost.cross_products += 2 * _batch.size(y)
        gradient = (span * self.penalty) * (vector.flatten(slopes[0]) - vector.flatten(slopes[1]))
        notes = [solution.describe() for solution in solves[1:] if not solution.settled]
        if accuracy is not None:
            order = "1 / penalty^2" if self.two_sided else "1 / penalty"
            notes.insert(
                0,
                f"the requested gradient accuracy {accuracy:.3g} cannot be certified: the bias of order {order} is unknown",
            )
        return Hypergradient(
            losses, low, high, gradient, UNKNOWN_BOUND, False, lower, None, None, "; ".join(notes), cost
        )

    def _end(
        self, energy: Energy, loss: UpperLoss, y: Tensor, target: Tensor, x: Tensor, asked: Tolerance, sign: float
    ) -> Solution:
        packing = Packing.of(y, target)
        penalized = _Penalized(energy, loss, packing, sign / self.penalty)
        return minimize(penalized, packing.pack(y, target), self.penalized_solver, x, asked, throw=False)


class _Penalized(Energy):
    """h(x; theta, y) + weight * loss(x, target), with y and target packed into its data."""

    def __init__(self, energy: Energy, loss: UpperLoss, packing: Packing, weight: float) -> None:
        super().__init__()
        self._energy, self._loss, self._packing, self._weight = energy, loss, packing, weight

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        data, target = self._packing.unpack(y)
        return self._energy(x, data) + self._weight * self._loss(x, target)

    def grad(self, x: Tensor, y: Tensor) -> Tensor:
        data, target = self._packing.unpack(y)
        return self._energy.grad(x, data) + self._weight * self._loss.grad(x, target)

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        data, _ = self._packing.unpack(y)
        return self._energy.rounding(x, data)


def _smallest(norms: Tensor) -> float:
    """The smallest positive norm; 1 where none is positive or finite."""
    usable = norms[torch.isfinite(norms) & (norms > 0)]
    return float(usable.min()) if usable.numel() else 1.0


def _partial(energy: Energy, x: Tensor, y: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor, ...]:
    """d/dtheta of sum_i h(x_i; theta, y_i) at fixed x, one tensor per parameter."""
    with torch.enable_grad():
        value = energy(x.detach(), y).sum()
        if not value.requires_grad:
            return tuple(torch.zeros_like(p) for p in parameters)
        return torch.autograd.grad(value, list(parameters), materialize_grads=True)
