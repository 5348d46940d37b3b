r"""Which samples to take back, drop or exchange: predicted changes of the loss for every unit of a pattern.

With the weight b = s^2 of Sherry et al. (2020), s = 0 is absorbing (db/ds = 2 s = 0: the data term exerts no force there,
while the penalty pushes down) and, with beta1 = beta2, s = 1 is flat (the derivative of the penalty vanishes). Both
are local minima of the learning problem itself, in any coordinate in which the cost of a sample has an infinite slope in
b at 0, so no gradient method leaves them: leaving them takes a finite exchange. In b itself the loss has a finite
derivative at 0,

    dD/db_k = -sum_i Re( conj((F q_i)_k) (F x_i - y_i)_k ),     q_i the adjoint,

but b saturates: for a quadratic energy, changing b_k by d moves x by -t H^-1 f_k r_k, f_k the k-th Fourier vector,
r_k = (F x - y)_k, with

    t = d / (1 + d h_k),     h_k = f_k' H^-1 f_k      (Sherman and Morrison),

so that the loss c |x - x*|^2 changes by  t dD/db_k + c t^2 |H^-1 f_k|^2 |r_k|^2. Here h_k is taken from the
preconditioner of H, a multiplication in k-space, and |H^-1 f_k| from h_k. This is a prediction; what is kept is decided by
certified values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.mri import Weighting
from bilearn.parameters import ParameterVector
from bilearn.reduced_objective import ReducedObjective
from bilearn.sampling.penalty import SamplingPenalty
from bilearn.sampling.problem import SamplingProblem, pattern_range

VALUE_ACCURACY = 1e-4
"""Accuracy of compared and recorded values, relative to themselves."""

_LEAST_ROOM = 1e-3


@dataclass(frozen=True)
class Changes:
    """Predicted changes of F, one per learned number of the pattern.

    Attributes:
        add: if it goes to its upper bound; infinite where it is there.
        drop: if it goes to its lower bound; infinite where it is there.
    """

    add: Tensor
    drop: Tensor


class _Scored(Weighting):
    """The values of another weighting, with given numbers in place of its derivative."""

    def __init__(self, weighting: Weighting, slopes: Tensor) -> None:
        self._weighting, self._slopes = weighting, slopes

    def __call__(self, s: Tensor) -> Tensor:
        return self._weighting(s).detach() + self._slopes.to(s.dtype) * (s - s.detach())

    def slope(self, s: Tensor) -> Tensor:
        """Size of the numbers: bounds need no sign."""
        return self._slopes.to(s.dtype).abs()


def predicted_changes(
    problem: SamplingProblem, objective: ReducedObjective, theta: Tensor, penalty: SamplingPenalty | None
) -> Changes:
    """Predictions at theta (module docstring), penalty included; costs two gradients of F, warm.

    Args:
        problem: the training problem.
        objective: of the problem, over the pattern's numbers at least.
        theta: (P,) coordinates at which the objective was evaluated last.
        penalty: on the pattern's numbers.
    """
    losses = objective.subset(torch.arange(objective.samples))
    losses.penalty = None
    parameters = objective.parameters
    part = pattern_range(parameters)
    low, high = parameters.lower[part], parameters.upper[part]
    now = theta[part]
    weighting = problem.fidelity.weighting
    weights = {}
    for name, value in (("low", low), ("high", high), ("now", now)):
        parameters.set(torch.cat((theta[: part.start], value, theta[part.stop :])))
        with torch.no_grad():
            weights[name] = problem.fidelity.weights().clone()
    response, misfit = _response(problem, losses, theta)
    changes = []
    for name, end in (("high", high), ("low", low)):
        step = weights[name] - weights["now"]
        move = step / (1 + step * response).clamp(min=_LEAST_ROOM)
        problem.fidelity.weighting = _Scored(weighting, move)
        try:
            gradient = losses.hypergradient(theta, math.inf).gradient
        finally:
            problem.fidelity.weighting = weighting
        assert gradient is not None
        second = problem.scale * (move * response).square() * misfit
        total = gradient[part] + _to_units(problem, parameters, second)[part]
        if penalty is not None:
            total = total + (penalty.costs(end) - penalty.costs(now)) / now.numel()
        changes.append(torch.where(now == end, torch.inf, total))
    return Changes(*changes)


def _response(problem: SamplingProblem, objective: ReducedObjective, theta: Tensor) -> tuple[Tensor, Tensor]:
    """h and the mean over the pairs of |F x - y|^2, on the grid."""
    x = objective.reconstructions
    if x is None:
        objective.value(theta)
        x = objective.reconstructions
    assert x is not None
    objective.parameters.set(theta)
    operator, axes = problem.energy.operator, problem.degrees().ndim
    with torch.no_grad():
        weights = problem.fidelity.weights()
        misfit = (operator.A(x) - problem.y).square().mean(0)
        misfit = misfit.reshape(-1, *weights.shape).sum(0)
        inverse = problem.energy.hessian(x[:1], problem.y[:1]).preconditioner()
        if inverse is None:
            return 1 / (1 + weights), misfit
        impulse = torch.zeros_like(problem.y[:1])
        impulse.select(1, 0).fill_(1.0)
        seen = operator.A(inverse(operator.A_adjoint(impulse)))
        response = seen[0].select(0, 0).reshape(-1, *weights.shape[-axes:]).mean(0)
        return response.clamp(min=0.0), misfit


def _to_units(problem: SamplingProblem, parameters: ParameterVector, grid: Tensor) -> Tensor:
    """(P,) J' grid."""
    with torch.enable_grad():
        products = torch.autograd.grad(
            (problem.pattern() * grid).sum(), parameters.parameters, materialize_grads=True, allow_unused=True
        )
    return parameters.flatten(products)


def first_that_helps(
    objective: ReducedObjective, current: Evaluation, candidates: Tensor, trial: Tensor, singles: int = 8
) -> Evaluation | None:
    """The first set of exchanges that lowers F, proved by certified values; None if none does.

    1. Move the entries ``candidates`` of theta to those of ``trial``: all of them, the first half, and so on down to the
       first one; then the next ones, one at a time.
    2. Keep the first set for which the upper end of F's interval is below the lower end at ``current``.

    Args:
        objective: the objective.
        current: evaluation to improve on.
        candidates: (k,) positions in theta, the most promising first; for exchanges (k, 2).
        trial: (P,) values to move to.
        singles: number of candidates that are tried one at a time.
    """
    count = candidates.shape[0]
    sets = []
    while count > 1:
        sets.append(candidates[:count])
        count //= 2
    sets += [candidates[k : k + 1] for k in range(min(singles, candidates.shape[0]))]
    for chosen in sets:
        moved = current.theta.clone()
        moved[chosen.reshape(-1)] = trial[chosen.reshape(-1)]
        found = objective.value(moved, VALUE_ACCURACY * abs(current.value))
        if found.upper < current.lower:
            return found
    return None
