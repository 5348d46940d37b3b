"""Learning a pattern with an exact number of samples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.reduced_objective import ReducedObjective
from bilearn.sampling.exchange import first_that_helps, predicted_changes
from bilearn.sampling.penalty import SamplingPenalty
from bilearn.sampling.problem import pattern_range
from bilearn.sampling.trial import Trial, order, sharp
from bilearn.sampling.units import Units
from bilearn.upper import ProjectedLBFGS


@dataclass(frozen=True)
class Continuation:
    """From degrees to zeros and ones: weightings in which parts of samples count less and less, then a growing concave
    penalty c mean(s (1 - s)).

    Args:
        first: c mean(s (1 - s)) at the relaxed solution, as a part of the loss there.
        growth: factor of c from one stage to the next.
        stages: most stages.
        max_steps: limit on the steps of each.
        binary: it ends when sum s (1 - s) is below this many units.
        decrease_tolerance: a stage ends when a step lowers its objective by less than this part.
        steepness: q of :class:`bilearn.mri.Share`, stage by stage, in units of the inverse of the ridge; at 1 a part of a
            sample counts no more than its part.

    Raises:
        ValueError: if a number is out of range.
    """

    first: float = 0.1
    growth: float = 3.0
    stages: int = 12
    max_steps: int = 30
    binary: float = 0.5
    decrease_tolerance: float = 1e-4
    steepness: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not all(q >= 0 for q in self.steepness):
            raise ValueError(f"Continuation.steepness: found {self.steepness}, expected numbers >= 0")
        if not (self.first > 0 and self.growth > 1 and self.stages >= 1 and self.max_steps >= 1 and self.binary > 0):
            raise ValueError(
                f"Continuation: found {self}, expected positive numbers and growth > 1",
            )


def learn_budgeted(
    trial: Trial,
    theta: Tensor,
    units: Units,
    points: int,
    optimizer: ProjectedLBFGS,
    continuation: Continuation,
    max_steps: int,
    max_exchanges: int,
) -> None:
    """Learn a mask of exactly ``points`` samples and the other numbers.

    1. Minimize the loss over {0 <= s <= 1, sum of samples = points} and the other numbers ("relaxed").
    2. Where the continuation has a ``steepness``: minimize again with weightings in which a part of a sample counts less and
       less ("shared" is the loss at the end, with the last of them). The relaxed solution spreads over many more points than
       are asked for wherever b = s^2 is already large against the ridge at small s, so its value is out of reach of every
       mask; with a steepness of 1 it is not. Then add c mean(s (1 - s)) and minimize again, c growing, until the degrees are
       zeros and ones ("binary" is the loss without that penalty).
    3. Round: exactly the asked number, the largest degrees ("rounded"); tune the other numbers for it ("tuned").
    4. Exchange: predict what every unit is worth (``exchange.py``), swap the least useful taken units with the most
       promising others, all pairs whose predictions promise a fall, then half of them, and so on; keep the first set
       that lowers the certified loss; until none does. Tune again ("exchanged").

    Args:
        trial: the start; its snapshots grow.
        theta: (P,) start.
        units: of the pattern.
        points: samples asked for.
        optimizer: of 1 and 2; its budget is set here.
        continuation: of 2.
        max_steps: limit on the steps of 1.
        max_exchanges: limit on the rounds of 4.
    """
    problem = trial.problem
    objective = problem.objective(None, pattern=True)
    bounded = replace(optimizer, budget=units.budget(objective.parameters, points))
    objective.parameters.set(bounded.project(objective.parameters, theta))
    best, status = trial.stages.run(f"{trial.name}/relaxed", objective, bounded, max_steps)
    trial.status = status.value
    relaxed = sharp(objective, best.theta)
    trial.snap("relaxed", relaxed, objective)
    weighting = problem.fidelity.weighting
    try:
        loose = replace(bounded, decrease_tolerance=continuation.decrease_tolerance)
        degrees = _to_binary(trial, objective, loose, continuation, relaxed)
    finally:
        problem.fidelity.weighting = weighting
    trial.count(objective)

    trial.set_units(units.choose(degrees, points))
    trial.count(trial.measure("rounded"))
    tuned = trial.tuned("tuned", "tune")
    if max_exchanges and _exchange(trial, units, tuned, max_exchanges):
        trial.tuned("exchanged", "tune-exchanged")


def _to_binary(
    trial: Trial,
    objective: ReducedObjective,
    optimizer: ProjectedLBFGS,
    continuation: Continuation,
    relaxed: Evaluation,
) -> Tensor:
    """The continuation: (U,) degrees at its end. The weighting of the problem is left as it is there."""
    problem, part, best = trial.problem, pattern_range(objective.parameters), relaxed
    weighting = problem.fidelity.weighting
    for stage, q in enumerate(continuation.steepness, 1):
        problem.fidelity.weighting = weighting.steeper(q / problem.ridge())
        objective.forget()
        best, status = trial.stages.run(f"{trial.name}/share-{stage}", objective, optimizer, continuation.max_steps)
        trial.status = status.value
    if continuation.steepness:
        trial.snap("shared", sharp(objective, best.theta), objective)
    degrees = best.theta[part]
    spread = float((degrees * (1 - degrees)).mean())
    weight = continuation.first * relaxed.value / max(spread, 1e-3)
    for stage in range(1, continuation.stages + 1):
        if float((degrees * (1 - degrees)).sum()) < continuation.binary:
            break
        objective.penalty = SamplingPenalty(concavity=weight)
        best, status = trial.stages.run(f"{trial.name}/binary-{stage}", objective, optimizer, continuation.max_steps)
        trial.status = status.value
        degrees = best.theta[part]
        weight *= continuation.growth
    objective.penalty = None
    trial.snap("binary", sharp(objective, best.theta), objective)
    trial.keep_degrees()
    return degrees


def _exchange(trial: Trial, units: Units, tuned: Evaluation, rounds: int) -> bool:
    """Swap units at fixed other numbers while the certified loss falls; whether any swap was kept."""
    objective = trial.problem.objective(None, pattern=True, rest=False)
    current = sharp(objective, objective.parameters.get())
    size = units.sizes.mode().values
    common = units.sizes == size
    kept = False
    for _ in range(rounds):
        found = None if trial.stages.out_of_time else _swap(trial, objective, current, common)
        if found is None:
            break
        trial.exchanged += int((found.theta != current.theta).sum()) // 2
        current, kept = found, True
    objective.parameters.set(current.theta)
    trial.count(objective)
    return kept


def _swap(trial: Trial, objective: ReducedObjective, current: Evaluation, common: Tensor) -> Evaluation | None:
    """The evaluation after the first set of predicted swaps that lowers the loss, or None."""
    changes = predicted_changes(trial.problem, objective, current.theta, None)
    gains, losses = (torch.where(common, c, torch.inf) for c in (changes.add, changes.drop))
    add = order(gains)
    drop = torch.argsort(losses)[: add.numel()]
    drop = drop[torch.isfinite(losses[drop])]
    pairs = torch.stack((add[: drop.numel()], drop), 1)
    promising = (gains[pairs[:, 0]] + losses[pairs[:, 1]]) < 0
    target = (1 - current.theta).to(current.theta)
    return first_that_helps(objective, current, pairs[promising], target)
