"""``denoise-1d``: dynamic against fixed accuracy on the 1-D denoising problems of Ehrhardt and Roberts (2021)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.experiments.contents import Section
from bilearn.experiments.experiment import Experiment, Part
from bilearn.experiments.records import Results, packed
from bilearn.experiments.trace import Exact, trace
from bilearn.lower import GradientDescent, LowerSolver, NesterovGradient
from bilearn.problems import KnownProblem, one_parameter, three_parameters
from bilearn.reduced_objective import ReducedObjective
from bilearn.upper import DynamicDFO, FixedAccuracy, UpperOptimizer
from bilearn.upper.default import default_optimizer

PROBLEMS: dict[str, tuple[str, Callable[[], KnownProblem]]] = {
    "one": ("one parameter, 10 signals", one_parameter),
    "three": ("three parameters, 20 signals", three_parameters),
}
SOLVERS: dict[str, Callable[[], LowerSolver]] = {"fista": NesterovGradient, "gd": GradientDescent}
PUBLISHED_STARTS = (0.0, 1.0, 2.0, -1.0, -2.0)
"""Starts of the one-parameter problem in the paper; further ones are random."""
LANDSCAPE = (-2.0, 1.0)
_UNREACHABLE = 1e-300

_COARSE = 0.2
"""Accuracy of the landscape's band, relative to the value."""


@dataclass(frozen=True)
class Denoise1D(Experiment):
    """Objective against cost, reconstructions, accuracy asked and got, and many starts, for one and three parameters.

    256-pixel indicator signals with noise 0.1 and the lower level 1/2|x - y|^2 + alpha sum sqrt((Dx)^2 + nu^2) + xi/2|x|^2.
    Compared are :class:`~bilearn.upper.DynamicDFO` with the accuracy it asks for, the same method with a fixed number of
    lower-level steps, both with FISTA and with gradient descent, and the default methods of this library.

    Args:
        seed: of the random starts; data and noise are the published ones.
        evaluations: largest number of upper-level evaluations of a run.
        work: largest number of lower-level gradients of a run, summed over samples.
        fixed: numbers of lower-level steps of the runs with fixed accuracy.
        starts: number of starts from which the parameters are learned.
        few: fixed number of steps compared from these starts.
        solvers: lower-level methods, out of ``SOLVERS``.
        grid: points of the landscape of the one-parameter problem.

    Raises:
        ValueError: if a number is not positive.
    """

    name = "denoise-1d"
    purpose = "1-D denoising, one and three parameters: dynamic against fixed lower-level accuracy, and many starts."

    evaluations: int = 60
    work: int = 2_000_000
    fixed: tuple[int, ...] = (200, 2000)
    starts: int = 10
    few: int = 20
    solvers: tuple[str, ...] = ("fista", "gd")
    grid: int = 61

    def __post_init__(self) -> None:
        counts = (self.evaluations, self.work, self.starts, self.few, self.grid, *self.fixed)
        if min(counts) < 1:
            raise ValueError(
                f"denoise-1d: found {min(counts)} among evaluations, work, starts, few, grid and fixed, expected "
                "positive numbers"
            )
        unknown = sorted(set(self.solvers) - set(SOLVERS))
        if unknown or not self.solvers:
            raise ValueError(f"solvers: found {unknown or 'none'}, expected names out of {sorted(SOLVERS)}")

    @classmethod
    def quick(cls, **options: Any) -> Denoise1D:
        """Few evaluations and two starts."""
        small = {
            "evaluations": 8,
            "work": 20_000,
            "fixed": (20,),
            "solvers": ("fista",),
            "starts": 2,
            "few": 10,
            "grid": 7,
        }
        return cls(**{**small, **options})

    def parts(self) -> Sequence[Part]:
        """Runs of every method, the landscape, then the starts."""
        return list(self._parts())

    def _parts(self) -> Iterator[Part]:
        for problem, (title, _) in PROBLEMS.items():
            for method, label in self._methods().items():
                yield Part(f"run/{problem}/{method}", f"{title}: {label}", partial(self._run, problem, method))
        yield Part("landscape", "objective on a grid", self._landscape)
        for problem, (title, _) in PROBLEMS.items():
            for method in ("dynamic-fista", f"fixed{self.few}-fista", "default"):
                for k in range(self.starts):
                    compute = partial(self._from_start, problem, method, k)
                    yield Part(f"start/{problem}/{method}/{k}", f"{title}: {method}, start {k + 1}", compute)

    def _methods(self) -> dict[str, str]:
        """Labels of the compared methods by key."""
        found = {"default": "default methods"}
        for solver in self.solvers:
            found[f"dynamic-{solver}"] = f"dynamic accuracy, {solver.upper()}"
            found |= {f"fixed{n}-{solver}": f"{n} steps, {solver.upper()}" for n in self.fixed}
        return found

    def _run(self, problem: str, method: str, done: Mapping[str, Any]) -> dict[str, Any]:
        """One run from the published start, with exact values after every step."""
        known = PROBLEMS[problem][1]()
        objective, optimizer = _setting(known.objective, method)
        exact = Exact(PROBLEMS[problem][1]().objective)
        keep = partial(_first_signal, objective)
        record = trace(optimizer, objective, known.start, exact, 10_000, self.evaluations, self.work, keep)
        data = {"truth": known.objective.target[0], "noisy": known.objective.y[0]}
        return (
            record | {"optimum": known.optimum, "minimizer": known.minimizer, "samples": known.objective.samples} | data
        )

    def _from_start(self, problem: str, method: str, k: int, done: Mapping[str, Any]) -> dict[str, Any]:
        """What is learned from the k-th start: parameters, certified interval, exact value, reconstruction."""
        known = PROBLEMS[problem][1]()
        start = self._start(known, k)
        objective, optimizer = _setting(known.objective, method)
        record = trace(
            optimizer, objective, start, None, 10_000, self.evaluations, self.work, partial(_first_signal, objective)
        )
        last = record["steps"][-1]
        precise = Exact(PROBLEMS[problem][1]().objective)(last["theta"])
        at_best = [row for row in record["evaluations"] if bool((row["theta"] == last["theta"]).all())][-1]
        return last | {
            "start": start,
            "exact": precise.value,
            "exact_bound": precise.bound,
            "certified": at_best["certified"],
            "signal": at_best["signal"],
            "radius": at_best["radius"],
            "status": record["status"],
            "optimum": known.optimum,
            "minimizer": known.minimizer,
        }

    def _start(self, known: KnownProblem, k: int) -> Tensor:
        """Published starts first; then random points, up to two decades away from the published one."""
        parameters = known.objective.parameters
        published = [known.start]
        if len(parameters) == 1:
            published = [torch.tensor([s], dtype=torch.float64) for s in PUBLISHED_STARTS]
        if k < len(published):
            return published[k]
        generator = torch.Generator().manual_seed(1_000 * self.seed + k)
        shift = 4.0 * torch.rand(len(parameters), dtype=torch.float64, generator=generator) - 2.0
        return parameters.project(known.start + shift)

    def _landscape(self, done: Mapping[str, Any]) -> dict[str, Any]:
        """The objective of one parameter on a grid: exact, and as certified by solves of low accuracy."""
        exact, coarse = Exact(one_parameter().objective), one_parameter().objective
        coarse.solver = NesterovGradient()
        rows = []
        for theta in torch.linspace(*LANDSCAPE, self.grid, dtype=torch.float64):
            precise = exact(theta.reshape(1))
            coarse.forget()
            rough = coarse.value(theta.reshape(1), _COARSE * precise.value)
            rows.append(
                {
                    "theta": float(theta), "exact": precise.value, "exact_bound": precise.bound, "value": rough.value,
                    "lower": rough.lower, "upper": rough.upper, "certified": rough.certified,
                }
            )  # fmt: skip
        return {"rows": rows, "accuracy": _COARSE}

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        """Objective against cost, reconstructions, accuracy, starts."""
        from bilearn.experiments.denoise_1d_sections import sections

        return sections(results)


def _setting(objective: ReducedObjective, method: str) -> tuple[ReducedObjective, UpperOptimizer[Any]]:
    """Oracle and upper-level method of a key such as ``dynamic-fista``, ``fixed200-gd`` or ``default``."""
    if method == "default":
        return objective, default_optimizer(objective.parameters, least_squares=True)
    accuracy, solver = method.split("-")
    objective.solver = SOLVERS[solver]()
    if accuracy == "dynamic":
        return objective, DynamicDFO()
    steps = int(accuracy.removeprefix("fixed"))
    return FixedAccuracy(objective, steps=steps), DynamicDFO(prescribed=_as_computed)


def _as_computed(radius: float) -> float:
    """Values are taken as they come from a fixed number of steps."""
    return _UNREACHABLE


def _first_signal(objective: ReducedObjective, found: Evaluation) -> dict[str, Any]:
    """The first reconstruction and the certified bound on its distance to the exact one."""
    x = objective.reconstructions
    assert x is not None
    assert found.residual_bounds is not None
    return {"signal": packed(x[0]), "radius": found.residual_bounds[0]}
