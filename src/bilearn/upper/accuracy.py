"""How accurately an upper-level method asks, and how it decides with inexact values.

Two rules serve every method. A gradient is good enough when the bound on its error is a fixed fraction of its projected
norm; otherwise it is asked for again, more accurately. A comparison of two values is settled when their certified
intervals decide it; otherwise both values are asked for again. Where an oracle knows no bounds (infinite intervals),
its numbers are taken as exact.

References:
    Carter, On the global convergence of trust region algorithms using inexact gradient information, SIAM J. Numer. Anal.
    28 (1991): relative gradient error below a constant less than 1.
    Conn, Gould, Toint, Trust-Region Methods (2000), section 10.6: value errors below a fraction of the predicted decrease.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.parameters import ParameterVector
from bilearn.upper.optimizer import Oracle, UpperStatus

Ask = Callable[[Tensor, float | None], Evaluation]

MAX_REQUESTS = 6
"""Times the same quantity is asked for, each time more accurately, before the oracle's floor is accepted."""


def projected_gradient(parameters: ParameterVector, theta: Tensor, gradient: Tensor) -> Tensor:
    """(P,) gradient without the components that push against a bound on which theta lies; zero at a stationary point."""
    blocked = ((theta <= parameters.lower) & (gradient > 0)) | ((theta >= parameters.upper) & (gradient < 0))
    return torch.where(blocked, torch.zeros_like(gradient), gradient)


def slope(parameters: ParameterVector, evaluation: Evaluation) -> float:
    """2-norm of the projected gradient of an evaluation that has a gradient."""
    return float(torch.linalg.vector_norm(projected_gradient(parameters, evaluation.theta, gradient_of(evaluation))))


def gradient_of(evaluation: Evaluation) -> Tensor:
    """The gradient, which a method that asked for one may rely on.

    Raises:
        ValueError: if the oracle returned none.
    """
    if evaluation.gradient is None:
        raise ValueError("gradient: found None, expected the oracle to return the hypergradient that was asked for")
    return evaluation.gradient


def scale_of(initial: float, value: float) -> float:
    """Size of F that tolerances are relative to: |F|, or 1e-8 of the total decrease where F tends to zero."""
    return max(abs(value), 1e-8 * abs(initial - value))


def finite(evaluation: Evaluation) -> bool:
    """Whether the value, and the gradient and Gauss-Newton matrix where present, are finite."""
    parts = [t for t in (evaluation.gradient, evaluation.jacobian_gram) if t is not None]
    return math.isfinite(evaluation.value) and all(bool(t.isfinite().all()) for t in parts)


def better(best: Evaluation, candidate: Evaluation) -> Evaluation:
    """The evaluation whose F is proved to be smaller: the one with the lower upper end of its interval.

    Without bounds the value counts; a non-finite candidate never wins.
    """
    improves = math.isfinite(candidate.value) and not _ceiling(candidate) >= _ceiling(best)
    return candidate if improves else best


def _ceiling(evaluation: Evaluation) -> float:
    return evaluation.upper if math.isfinite(evaluation.upper) else evaluation.value


def known_error(evaluation: Evaluation) -> float:
    """Bound on the error of the gradient, zero where the oracle knows none."""
    return evaluation.gradient_bound if math.isfinite(evaluation.gradient_bound) else 0.0


def believed_error(evaluation: Evaluation, leniency: float) -> float:
    """The known bound on the gradient's error divided by ``leniency``.

    Bounds on hypergradients are worst cases; measured errors are hundreds to tens of thousands of times smaller, and to
    prove a small bound costs several times the lower-level work of having a small error. Steps may rely on a believed
    error, since their success is proved by intervals of values; only where they fail, and before a run ends, must the
    bound itself be small, ``leniency`` 1.
    """
    return known_error(evaluation) / leniency


def proved(parameters: ParameterVector, evaluation: Evaluation, relative: float, floor: float) -> bool:
    """Whether the bound on the gradient's error is at most ``relative`` times its projected norm, or ``floor``."""
    return known_error(evaluation) <= max(relative * slope(parameters, evaluation), floor)


def stationary(parameters: ParameterVector, evaluation: Evaluation, tolerance: float) -> UpperStatus | None:
    """STATIONARY if the projected gradient is proved to be at most ``tolerance``; SMALL_DECREASE if it drowns in its error."""
    norm, error = slope(parameters, evaluation), known_error(evaluation)
    if norm + error <= tolerance:
        return UpperStatus.STATIONARY
    return UpperStatus.SMALL_DECREASE if error >= norm else None


def scheduled_stop(current: Evaluation, norm: float, asked: float | None, tolerance: float) -> UpperStatus | None:
    """STATIONARY, or SMALL_DECREASE where the error hides the gradient and the accuracy asked for next is no better.

    Args:
        current: evaluation with a gradient.
        norm: norm of its projected gradient.
        asked: accuracy of the next request.
        tolerance: of the projected gradient.
    """
    error = known_error(current)
    if norm + error <= tolerance:
        return UpperStatus.STATIONARY
    missed = current.accuracy is not None and error > 2.0 * current.accuracy
    hopeless = missed or (asked is not None and current.accuracy is not None and asked >= current.accuracy)
    return UpperStatus.SMALL_DECREASE if error >= norm and hopeless else None


def sharpen(ask: Ask, evaluation: Evaluation, accuracy: float) -> Evaluation:
    """The evaluation with its gradient asked for again to ``accuracy``; the sharper value of both answers is kept.

    An answer that is no better, or not finite, leaves the evaluation as it was.
    """
    sharper = ask(evaluation.theta, accuracy)
    if not (finite(sharper) and sharper.gradient_bound < evaluation.gradient_bound):
        return evaluation
    return with_value(sharper, evaluation) if evaluation.bound < sharper.bound else sharper


def tighten(
    ask: Ask, parameters: ParameterVector, evaluation: Evaluation, relative: float, floor: float, leniency: float = 1.0
) -> tuple[Evaluation, int]:
    """Ask for a gradient again until its error bound is at most ``relative`` times its projected norm, or ``floor``.

    1. While the bound is known and too large, ask again with half the error the last gradient allows.
    2. Give up where an answer is hardly better than the one before: the oracle's floor is reached.

    Args:
        ask: ``oracle.hypergradient`` or ``oracle.gauss_newton``.
        parameters: for the box.
        evaluation: answer to start from.
        relative: largest error relative to the projected gradient.
        floor: error that is small enough in any case.
        leniency: how many times larger than that the proved bound may be, see :func:`believed_error`.

    Returns:
        The most accurate evaluation, with the sharpest value seen, and the number of requests made.
    """
    requests = 0
    while requests < MAX_REQUESTS and finite(evaluation):
        before = believed_error(evaluation, leniency)
        goal = max(relative * slope(parameters, evaluation), floor)
        if before <= goal:
            break
        evaluation = sharpen(ask, evaluation, leniency * max(0.5 * goal, 0.01 * before))
        requests += 1
        if believed_error(evaluation, leniency) > 0.9 * before:
            break
    return evaluation, requests


def refine(objective: Oracle, evaluation: Evaluation, accuracy: float) -> Evaluation:
    """The same evaluation with its value and interval asked for again to ``accuracy``; the gradient is kept.

    An answer that is no better, or not finite, leaves the evaluation as it was.
    """
    tighter = objective.value(evaluation.theta, accuracy)
    useful = math.isfinite(tighter.value) and tighter.bound < evaluation.bound
    return with_value(evaluation, tighter) if useful else evaluation


def with_value(evaluation: Evaluation, source: Evaluation) -> Evaluation:
    """``evaluation`` with everything that belongs to the value taken from ``source``; the work of both is added."""
    cost = evaluation.cost.copy()
    cost.add(source.cost)
    return replace(
        evaluation,
        value=source.value,
        lower=source.lower,
        upper=source.upper,
        losses=source.losses,
        penalty=source.penalty,
        residuals=source.residuals,
        residual_bounds=source.residual_bounds,
        lower_error=source.lower_error,
        cost=cost,
        seconds=evaluation.seconds + source.seconds,
    )


@dataclass(frozen=True)
class Verdict:
    """Outcome of comparing a trial with the current point.

    Attributes:
        accepted: the decrease is at least the required one, proved by the intervals where they are known.
        decided: False if even the most accurate values left the comparison open.
        current, trial: the evaluations with the values the decision used.
        requests: oracle calls made to decide.
    """

    accepted: bool
    decided: bool
    current: Evaluation
    trial: Evaluation
    requests: int

    @property
    def decrease(self) -> float:
        """Computed decrease from ``current`` to ``trial``."""
        return self.current.value - self.trial.value


def compare(
    objective: Oracle,
    current: Evaluation,
    trial: Evaluation,
    predicted: float,
    fraction: float,
    share: float,
    negligible: float = 0.0,
) -> Verdict:
    """Decide whether F(trial) <= F(current) - fraction * predicted.

    1. Accept if current.lower - trial.upper reaches the required decrease, reject if current.upper - trial.lower
       does not.
    2. Otherwise ask again for every value whose bound exceeds ``share * predicted``, and repeat with a tenth of that
       accuracy, until the comparison is decided or an answer misses the accuracy asked for by a factor of two.

    Args:
        objective: the oracle.
        current: evaluation at the current point.
        trial: evaluation at the trial point.
        predicted: positive decrease predicted by the model.
        fraction: required part of the predicted decrease.
        share: value accuracy of the first repetition, as a part of the predicted decrease.
        negligible: no value is asked for more accurately than a tenth of this.
    """
    smallest = max(0.1 * negligible, math.ulp(current.value))
    required = fraction * predicted
    accuracy = share * predicted
    requests = 0
    while True:
        if not finite(trial):
            return Verdict(False, True, current, trial, requests)
        if not math.isfinite(current.bound + trial.bound):
            return Verdict(current.value - trial.value >= required, True, current, trial, requests)
        if current.lower - trial.upper >= required:
            return Verdict(True, True, current, trial, requests)
        if current.upper - trial.lower < required:
            return Verdict(False, True, current, trial, requests)
        if accuracy < smallest:
            return Verdict(False, False, current, trial, requests)
        if current.bound > accuracy:
            current = refine(objective, current, accuracy)
            requests += 1
        if trial.bound > accuracy:
            trial = refine(objective, trial, accuracy)
            requests += 1
        failed = max(current.bound, trial.bound) > 2.0 * accuracy
        accuracy = 0.0 if failed else 0.1 * accuracy
