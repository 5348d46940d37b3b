"""What ``compare-methods`` compares: lists of methods, problems, lower levels and accuracies. A row adds one of them.

To add a method, append a :class:`MethodRow` to ``METHODS``; to add a problem, a :class:`ProblemRow` to ``PROBLEMS``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.hypergradient.cross import MAX_COLUMNS
from bilearn.linear_systems import ConjugateGradient
from bilearn.lower import NesterovGradient
from bilearn.problems import KnownProblem, kodak, mri_sampling_1d, one_parameter, published_tv, three_parameters
from bilearn.reduced_objective import ReducedObjective
from bilearn.upper import (
    DFOLS,
    HOAG,
    LBFGSB,
    MAID,
    DynamicDFO,
    FixedAccuracy,
    GaussNewton,
    GridSearch,
    InexactSGD,
    ProjectedGradient,
    PyBOBYQA,
    RandomSearch,
    ScheduledGradient,
    TorchOptimizer,
    UpperOptimizer,
)
from bilearn.upper.schedules import Fixed


@dataclass(frozen=True)
class Setting:
    """What a method may be adjusted to.

    Attributes:
        parameters: P, length of theta.
        slope: norm of the gradient at the start, for methods that need a step length.
        seed: of random methods.
    """

    parameters: int
    slope: float
    seed: int


@dataclass(frozen=True)
class MethodRow:
    """An upper-level method.

    Attributes:
        name: in options, tables and figures.
        make: builds it.
        most: largest number of parameters it is run with.
        baseline: whether it is also run with fixed accuracies.
    """

    name: str
    make: Callable[[Setting], UpperOptimizer[Any]]
    most: int = 10_000
    baseline: bool = True


def _adam(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.1)


METHODS: tuple[MethodRow, ...] = (
    MethodRow("gauss-newton", lambda s: GaussNewton(), most=MAX_COLUMNS),
    MethodRow("l-bfgs-b", lambda s: LBFGSB()),
    MethodRow("maid", lambda s: MAID()),
    MethodRow("hoag", lambda s: HOAG()),
    MethodRow("projected-gradient", lambda s: ProjectedGradient()),
    MethodRow("scheduled-gradient", lambda s: ScheduledGradient(Fixed(0.5 / s.slope))),
    MethodRow("adam", lambda s: TorchOptimizer(_adam)),
    MethodRow(
        "inexact-sgd", lambda s: InexactSGD(1.0 / s.slope, 0.3 * s.slope, batch_size=5, seed=s.seed), baseline=False
    ),
    MethodRow("dynamic-dfo", lambda s: DynamicDFO()),
    MethodRow("dfo-ls", lambda s: DFOLS()),
    MethodRow("py-bobyqa", lambda s: PyBOBYQA()),
    MethodRow("grid", lambda s: GridSearch(max(2, math.floor(125.001 ** (1 / s.parameters)))), most=6, baseline=False),
    MethodRow("random", lambda s: RandomSearch(124, s.seed), baseline=False),
)


@dataclass(frozen=True)
class ProblemRow:
    """A problem.

    Attributes:
        name: in options, tables and figures.
        make: builds it; gets the folder of images, which is None where ``images`` is False.
        spread: starts are uniform within this distance of the published one, coordinate by coordinate.
        images: whether it needs a folder of images.
    """

    name: str
    make: Callable[[Path | None], KnownProblem]
    spread: float
    images: bool = False


PROBLEMS: tuple[ProblemRow, ...] = (
    ProblemRow("1param", lambda folder: one_parameter(), 2.0),
    ProblemRow("reg6", lambda folder: three_parameters(1e-6), 0.5),
    ProblemRow("reg4", lambda folder: three_parameters(1e-4), 0.5),
    ProblemRow("mri-1d", lambda folder: mri_sampling_1d(), 0.2),
    ProblemRow("maid-tv", lambda folder: published_tv(_given(folder)), 0.5, images=True),
    ProblemRow("kodak-crops", lambda folder: kodak(_given(folder), count=5, pixels=128), 0.5, images=True),
    ProblemRow("kodak", lambda folder: kodak(_given(folder)), 0.5, images=True),
)


@dataclass(frozen=True)
class LowerRow:
    """How the lower level is solved.

    Attributes:
        name: in options, tables and figures.
        set: changes a fresh objective in place.
    """

    name: str
    set: Callable[[ReducedObjective], None]


def _first_order(objective: ReducedObjective) -> None:
    objective.solver = NesterovGradient()
    assert isinstance(objective.estimator, ImplicitHypergradient)
    objective.estimator = replace(objective.estimator, linear=ConjugateGradient())
    objective.tangents = replace(objective.tangents, linear=ConjugateGradient())


LOWER_LEVELS: tuple[LowerRow, ...] = (
    LowerRow("default", lambda objective: None),
    LowerRow("first-order", _first_order),
)


@dataclass(frozen=True)
class AccuracyRow:
    """How accurately the lower level is solved.

    Attributes:
        name: in options, tables and figures.
        group: "adaptive"; "fixed" for the counts and tolerances of which the best is reported; "high" for those that also
            stand for solving far more accurately than needed.
        view: wraps a fresh objective.
        lower: the lower level it is for, None for all.
    """

    name: str
    group: str
    view: Callable[[ReducedObjective], ReducedObjective]
    lower: str | None = None


def _tolerance(distance: float, group: str = "fixed", residual: float = 1e-2) -> AccuracyRow:
    return AccuracyRow(
        f"distance {distance:g}", group, lambda o: FixedAccuracy(o, distance=distance, residual=residual, trusted=True)
    )


def _steps(count: int, group: str = "fixed", residual: float = 1e-2) -> AccuracyRow:
    return AccuracyRow(
        f"{count} steps", group, lambda o: FixedAccuracy(o, steps=count, residual=residual, trusted=True), "first-order"
    )


ACCURACIES: tuple[AccuracyRow, ...] = (
    AccuracyRow("adaptive", "adaptive", lambda o: o),
    _tolerance(1.0),
    _tolerance(0.3),
    _tolerance(0.1),
    _tolerance(1e-2),
    _tolerance(1e-3),
    _tolerance(1e-6, "high", 1e-6),
    _steps(20),
    _steps(50),
    _steps(100),
    _steps(200),
    _steps(2000, "high", 1e-6),
)

Row = TypeVar("Row", MethodRow, ProblemRow, LowerRow, AccuracyRow)


def chosen(rows: Sequence[Row], names: Sequence[str], field: str) -> list[Row]:
    """The rows with these names, in the order of the list.

    Raises:
        ValueError: if there is no row of a name, or no name.
    """
    known = [row.name for row in rows]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        found = ", ".join(repr(name) for name in unknown) or "nothing"
        raise ValueError(f"{field}: found {found}, expected some of {', '.join(known)}")
    return [row for row in rows if row.name in names]


def _given(folder: Path | None) -> Path:
    if folder is None:
        raise ValueError("images: found none, expected a folder of PNG files for the problems with photographs")
    return folder


__all__ = [
    "ACCURACIES",
    "LOWER_LEVELS",
    "METHODS",
    "PROBLEMS",
    "AccuracyRow",
    "LowerRow",
    "MethodRow",
    "ProblemRow",
    "Setting",
    "chosen",
]
