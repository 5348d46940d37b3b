"""The loop that runs a stochastic method: records that tell noise from lower-level error, and a stop at divergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from bilearn.stochastic.exact import Exact, exact
from bilearn.stochastic.finite_sum import FiniteSum
from bilearn.stochastic.method import StochasticMethod, StochasticState
from bilearn.upper.optimizer import UpperStatus

S = TypeVar("S", bound=StochasticState)


@dataclass(frozen=True)
class StochasticRecord:
    """One look at a run, by exact solves at its x.

    The direction D taken at (z, v, x) differs from grad Phi(x) for two reasons, which the record tells apart: the batches
    (``noise``), and a lower level and adjoint that are not solved (``lower_error``); the error of D is at most their sum.

    Attributes:
        iteration: steps before this look.
        calls: oracle calls so far, in samples.
        value: Phi(x).
        gradient_norm: |grad Phi(x)|.
        lower_distance: |z - z(x)|.
        adjoint_distance: |v - v(x)|.
        lower_error: |Dbar - grad Phi(x)|, Dbar the direction of all samples at (z, v, x).
        noise: |D - Dbar|.
    """

    iteration: int
    calls: int
    value: float
    gradient_norm: float
    lower_distance: float
    adjoint_distance: float
    lower_error: float
    noise: float


@dataclass(frozen=True)
class StochasticResult:
    """How a run ended.

    Attributes:
        z, v, x: the last variables; after a divergence those of the last record, which were good.
        status: MAX_STEPS, STATIONARY, BUDGET or NON_FINITE.
        message: what happened, where something did.
        records: looks, oldest first.
        iteration: steps taken.
        calls: oracle calls, in samples; those of the records are not counted.
    """

    z: Tensor
    v: Tensor
    x: Tensor
    status: UpperStatus
    message: str
    records: tuple[StochasticRecord, ...]
    iteration: int
    calls: int


def run_stochastic(
    method: StochasticMethod[S],
    problem: FiniteSum,
    max_steps: int,
    record_every: int = 100,
    z: Tensor | None = None,
    x: Tensor | None = None,
    gradient_tolerance: float = 0.0,
    max_calls: int | None = None,
    growth: float = 1e8,
    callback: Callable[[StochasticRecord], None] | None = None,
) -> StochasticResult:
    """Run ``method`` on ``problem``.

    1. Take a step. Every ``record_every`` steps, and at the last one, record it.
    2. Stop at |grad Phi| <= ``gradient_tolerance`` (seen at a record only) or ``max_calls``.
    3. Stop where a variable is not finite, or has grown beyond ``growth`` times its size at the start: the variables of the
       last record are returned and the message names the steps to lower.

    Args:
        method: the method.
        problem: the finite sum.
        max_steps: steps of the upper-level variable.
        record_every: steps between two records, each an accurate solve of the whole problem.
        z, x: starts; those of the problem if None.
        gradient_tolerance: STATIONARY at this norm of the exact gradient.
        max_calls: BUDGET at this number of oracle calls, in samples.
        growth: factor that counts as divergence.
        callback: called with every record.

    Raises:
        ValueError: if a number is not positive.
    """
    for name, number in (("max_steps", max_steps), ("record_every", record_every)):
        if number < 1:
            raise ValueError(f"{name}: found {number}, expected at least 1")
    state = method.init(problem, problem.lower_start if z is None else z, problem.upper_start if x is None else x)
    limit, records = growth * (1.0 + state.size), []
    good, reference = state, None
    status, message = UpperStatus.MAX_STEPS, ""
    while state.iteration < max_steps:
        after = method.step(problem, state)
        if not after.finite or after.size > limit:
            status = UpperStatus.NON_FINITE
            message = (
                f"{method.name} diverged at step {state.iteration}: the variables "
                + ("are not finite" if not after.finite else f"grew beyond {limit:.3g}")
                + f"; those of step {good.iteration} are returned. Lower step_size or raise ratio."
            )
            break
        due = state.iteration % record_every == 0 or after.iteration == max_steps
        if due:
            record, reference = _look(method, problem, state, after, reference)
            records.append(record)
            good = state
            if callback is not None:
                callback(record)
            if record.gradient_norm <= gradient_tolerance:
                status = UpperStatus.STATIONARY
                break
        state = after
        if max_calls is not None and state.count.total >= max_calls:
            status = UpperStatus.BUDGET
            break
    last = good if status is UpperStatus.NON_FINITE else state
    return StochasticResult(last.z, last.v, last.x, status, message, tuple(records), state.iteration, state.count.total)


def _look(
    method: StochasticMethod[S], problem: FiniteSum, before: S, after: S, reference: Exact | None
) -> tuple[StochasticRecord, Exact]:
    """Exact quantities at ``before.x``, and the two parts of the error of ``after.direction``."""
    found = exact(problem, before.x, *((before.z, None) if reference is None else (reference.z, reference.adjoint)))
    z, v = method.evaluated_at(before, after)
    full = problem.cross_product(z, before.x, v, None) + problem.upper_parts(z, before.x, None).upper
    norm = torch.linalg.vector_norm
    record = StochasticRecord(
        before.iteration,
        before.count.total,
        found.value,
        float(norm(found.gradient)),
        float(norm(z - found.z)),
        float(norm(v - found.adjoint)),
        float(norm(full - found.gradient)),
        float(norm(after.direction - full)),
    )
    return record, found
