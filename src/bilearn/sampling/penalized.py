"""Learning a pattern whose samples cost a penalty each."""

from __future__ import annotations

import torch

from bilearn.evaluation import Evaluation
from bilearn.reduced_objective import ReducedObjective
from bilearn.sampling.exchange import first_that_helps, predicted_changes
from bilearn.sampling.penalty import SamplingPenalty
from bilearn.sampling.problem import pattern_range
from bilearn.sampling.trial import Trial, order, sharp
from bilearn.upper import ProjectedLBFGS


def learn_penalized(
    trial: Trial,
    theta: torch.Tensor,
    penalty: SamplingPenalty,
    optimizer: ProjectedLBFGS,
    max_steps: int,
    max_returns: int,
) -> None:
    """Learn degrees and the other numbers together, let samples come back, round, tune.

    1. Minimize the penalized objective from theta ("relaxed").
    2. Predict for every unit what taking it fully or dropping it would change (``exchange.py``); try the predicted falls,
       all at once, then the better half of them, and so on; keep the first set that lowers the certified objective, and
       go to 1 from there ("returned"). Until none does, at most ``max_returns`` times.
    3. Round every positive degree up to its bound ("rounded") and tune the other numbers for that mask ("tuned").

    Args:
        trial: the start; its snapshots grow.
        theta: (P,) start.
        penalty: on the pattern's numbers.
        optimizer: of 1.
        max_steps: limit on its steps each time.
        max_returns: limit on 2.
    """
    objective = trial.problem.objective(penalty, pattern=True)
    objective.parameters.set(theta)
    current = _minimize(trial, objective, "learn", optimizer, max_steps, "relaxed")
    for round_ in range(1, max_returns + 1):
        moved = None if trial.stages.out_of_time else _exchange(trial, objective, current, penalty)
        if moved is None:
            break
        objective.parameters.set(moved.theta)
        following = _minimize(trial, objective, f"return-{round_}", optimizer, max_steps, "returned")
        if not following.value < current.value:
            break
        current = following
    objective.parameters.set(current.theta)
    trial.keep_degrees()
    trial.count(objective)
    part = pattern_range(objective.parameters)
    high = objective.parameters.upper[part]
    trial.set_units(torch.where(current.theta[part] > 0, high, 0.0))
    trial.count(trial.measure("rounded"))
    trial.tuned("tuned", "tune")


def _minimize(
    trial: Trial, objective: ReducedObjective, stage: str, optimizer: ProjectedLBFGS, max_steps: int, name: str
) -> Evaluation:
    _, status = trial.stages.run(f"{trial.name}/{stage}", objective, optimizer, max_steps)
    trial.status = status.value
    found = sharp(objective, objective.parameters.get())
    trial.snap(name, found, objective)
    return found


def _exchange(
    trial: Trial, objective: ReducedObjective, current: Evaluation, penalty: SamplingPenalty
) -> Evaluation | None:
    """The evaluation after exchanges that lower the objective, or None."""
    part = pattern_range(objective.parameters)
    changes = predicted_changes(trial.problem, objective, current.theta, penalty)
    both = torch.minimum(changes.add, changes.drop)
    candidates = order(both) + part.start
    target = current.theta.clone()
    upward = changes.add <= changes.drop
    target[part] = torch.where(upward, objective.parameters.upper[part], objective.parameters.lower[part])
    found = first_that_helps(objective, current, candidates, target)
    if found is not None:
        before, after = current.theta[part], found.theta[part]
        trial.returned += int(((before == 0) & (after > 0)).sum())
        trial.exchanged += int((before != after).sum())
    return found
