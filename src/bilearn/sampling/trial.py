"""One start of the learning problem while it runs: what has happened so far, and the parts both modes share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.reduced_objective import ReducedObjective
from bilearn.sampling.exchange import VALUE_ACCURACY
from bilearn.sampling.problem import SamplingProblem, pattern_range
from bilearn.sampling.quality import magnitude_quality
from bilearn.sampling.records import Attempt, Snapshot
from bilearn.sampling.stage import Stages
from bilearn.sampling.tune import tune
from bilearn.solution import Cost

_EXPLAINED = 0.1


@dataclass
class Trial:
    """Progress of one start.

    Attributes:
        name: of the start; its stages are recorded below it.
        problem, stages: what is learned and where it is recorded.
        penalized: whether samples cost a penalty, so that the pattern can collapse.
        snapshots: moments so far.
        status: why the latest stage ended.
        returned, exchanged: samples that came back; exchanges that were kept.
        degrees: s on the grid before rounding, None before it was learned.
        degree_parameters: numbers outside of the pattern that belong to ``degrees``.
    """

    name: str
    problem: SamplingProblem
    stages: Stages
    penalized: bool
    snapshots: list[Snapshot] = field(default_factory=list)
    status: str = ""
    returned: int = 0
    exchanged: int = 0
    degrees: Tensor | None = None
    degree_parameters: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begin = time.process_time()
        self._cost, self._evaluations = Cost(), 0

    def count(self, objective: ReducedObjective) -> None:
        """Add the work of an objective that is no longer used."""
        self._cost.add(objective.cost)
        self._evaluations += objective.evaluations

    def snap(self, name: str, evaluation: Evaluation, objective: ReducedObjective) -> None:
        """Record a moment; the reconstructions are those of the objective's latest evaluation."""
        degrees = self.problem.degrees()
        x = objective.reconstructions
        psnr = [] if x is None else magnitude_quality(x, self.problem.x)["psnr"]
        self.snapshots.append(
            Snapshot(
                name,
                evaluation.value,
                evaluation.lower,
                evaluation.upper,
                evaluation.certified,
                float(evaluation.losses.double().mean()),
                float(degrees.sum()),
                int((degrees > 0).sum()),
                self.problem.rest_values(),
                sum(psnr) / len(psnr) if psnr else float("nan"),
            )
        )

    def keep_degrees(self) -> None:
        """Remember the present degrees as those before rounding."""
        self.degrees, self.degree_parameters = self.problem.degrees().clone(), self.problem.rest_values()

    def measure(self, name: str) -> ReducedObjective:
        """Record the loss without penalties at the present numbers; returns its objective."""
        objective = self.problem.objective(None, pattern=True, rest=False)
        found = sharp(objective, objective.parameters.get())
        self.snap(name, found, objective)
        return objective

    def tuned(self, name: str, stage: str) -> Evaluation:
        """Tune the numbers outside of the pattern for the present mask and record the loss."""
        tune(self.problem, self.stages, f"{self.name}/{stage}")
        objective = self.measure(name)
        found = sharp(objective, objective.parameters.get())
        self.count(objective)
        return found

    def set_units(self, values: Tensor) -> None:
        """Write numbers (U,) into the pattern."""
        objective = self.problem.objective(None, pattern=True)
        theta = objective.parameters.get()
        theta[pattern_range(objective.parameters)] = values.to(theta)
        objective.parameters.set(theta)

    def units(self) -> Tensor:
        """(U,) numbers of the pattern."""
        parameters = self.problem.objective(None, pattern=True).parameters
        return parameters.get()[pattern_range(parameters)]

    def finish(self) -> Attempt:
        """The frozen record."""
        last = self.snapshots[-1]
        return Attempt(
            self.name,
            tuple(self.snapshots),
            self.status,
            self.returned,
            self.exchanged,
            self.penalized and not last.loss <= _EXPLAINED * self.problem.zero_loss(),
            {**{k: float(v) for k, v in self._cost.as_dict().items()}, "evaluations": float(self._evaluations)},
            time.process_time() - self._begin,
        )


def sharp(objective: ReducedObjective, theta: Tensor) -> Evaluation:
    """The value at theta, accurate to :data:`bilearn.sampling.exchange.VALUE_ACCURACY` of itself."""
    first = objective.value(theta)
    return objective.value(theta, VALUE_ACCURACY * abs(first.value)) if first.value else first


def order(changes: Tensor, limit: int | None = None) -> Tensor:
    """Positions of the predicted falls, largest first."""
    found = (changes < 0).nonzero().squeeze(1)
    return found[torch.argsort(changes[found])][:limit]
