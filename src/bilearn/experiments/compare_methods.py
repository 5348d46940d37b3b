"""Every upper-level method on every problem, from many starts, judged by the exact objective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from bilearn.experiments.comparison_cells import best_known, compute_cell
from bilearn.experiments.comparison_pages import comparison_sections
from bilearn.experiments.comparison_rows import (
    ACCURACIES,
    LOWER_LEVELS,
    METHODS,
    PROBLEMS,
    AccuracyRow,
    LowerRow,
    MethodRow,
    ProblemRow,
    chosen,
)
from bilearn.experiments.contents import Section
from bilearn.experiments.experiment import Experiment, Part
from bilearn.experiments.records import Results


@dataclass(frozen=True)
class CompareMethods(Experiment):
    """Methods x problems x accuracies x starts; every cell is a part of its own, so that an interrupted run loses one cell.

    A method sees the oracle only. What it found is judged by solving the lower level again, to machine precision, at each
    of its incumbents; that is not charged. Starts are the published one and random ones within the problem's ``spread``.

    Args:
        seed: of starts and random methods.
        methods, problems, lower_levels, accuracies: names of rows of ``comparison_rows``; None takes all methods, and all
            problems that need no images if ``images`` is None. Fixed accuracies run for methods marked there only.
        starts: of each problem.
        images: folder of PNG files for the problems with photographs.
        max_evaluations: of one run.
        stop_gap: runs end at this gap to the best known value; 0 lets them end by themselves, which is needed to say
            what they return.

    Raises:
        ValueError: if a name is unknown, a number out of range, or a problem needs images and none are given.
    """

    name: ClassVar[str] = "compare-methods"
    purpose: ClassVar[str] = (
        "Every upper-level method on every problem: exact objective against cost, medians over starts."
    )

    methods: tuple[str, ...] | None = None
    problems: tuple[str, ...] | None = None
    lower_levels: tuple[str, ...] = ("default",)
    accuracies: tuple[str, ...] = ("adaptive",)
    starts: int = 10
    images: str | None = None
    max_evaluations: int = 200
    stop_gap: float = 0.0

    def __post_init__(self) -> None:
        if self.starts < 1 or self.max_evaluations < 1 or not 0.0 <= self.stop_gap < 1.0:
            raise ValueError(
                f"compare-methods: found starts={self.starts}, max_evaluations={self.max_evaluations}, "
                f"stop_gap={self.stop_gap}, expected positive numbers and a gap in [0, 1)"
            )
        self._rows()

    @classmethod
    def quick(cls, **options: Any) -> CompareMethods:
        few: dict[str, Any] = {
            "methods": ("gauss-newton", "l-bfgs-b"),
            "problems": ("1param",),
            "accuracies": ("adaptive", "distance 0.01"),
            "starts": 1,
            "max_evaluations": 10,
        }
        return cls(**(few | options))

    def parts(self) -> Sequence[Part]:
        problems, lowers, methods, accuracies = self._rows()
        folder = None if self.images is None else Path(self.images)
        sizes = {row.name: len(row.make(folder).objective.parameters) for row in problems}
        parts = [Part(f"best/{row.name}", f"best value of {row.name}", partial(_best, row, folder)) for row in problems]
        for problem in problems:
            for lower in lowers:
                for method in methods:
                    if sizes[problem.name] > method.most:
                        continue
                    for accuracy in accuracies:
                        if accuracy.group != "adaptive" and not method.baseline:
                            continue
                        if accuracy.lower not in (None, lower.name):
                            continue
                        label = f"{method.name} on {problem.name}, {lower.name}, {accuracy.name}"
                        for start in range(self.starts):
                            key = f"run/{problem.name}/{lower.name}/{method.name}/{accuracy.name}/{start}"
                            compute = partial(
                                self._cell, problem, lower, method, accuracy, start, folder, f"best/{problem.name}"
                            )
                            parts.append(Part(key, f"{label}, start {start}", compute))
        return parts

    @classmethod
    def sections(cls, results: Results) -> Sequence[Section]:
        return comparison_sections(results)

    def _cell(
        self,
        problem: ProblemRow,
        lower: LowerRow,
        method: MethodRow,
        accuracy: AccuracyRow,
        start: int,
        folder: Path | None,
        key: str,
        done: Mapping[str, Any],
    ) -> Mapping[str, Any]:
        return compute_cell(
            problem, lower, method, accuracy, start, self.seed, folder, self.max_evaluations, done[key], self.stop_gap
        )

    def _rows(self) -> tuple[list[ProblemRow], list[LowerRow], list[MethodRow], list[AccuracyRow]]:
        every = [row.name for row in PROBLEMS if self.images is not None or not row.images]
        problems = chosen(PROBLEMS, every if self.problems is None else self.problems, "problems")
        missing = [row.name for row in problems if row.images and self.images is None]
        if missing:
            raise ValueError(
                f"images: found none, expected a folder of PNG files for {', '.join(missing)}; give one with --images"
            )
        methods = [row.name for row in METHODS] if self.methods is None else self.methods
        return (
            problems,
            chosen(LOWER_LEVELS, self.lower_levels, "lower_levels"),
            chosen(METHODS, methods, "methods"),
            chosen(ACCURACIES, self.accuracies, "accuracies"),
        )


def _best(row: ProblemRow, folder: Path | None, done: Mapping[str, Any]) -> Mapping[str, Any]:
    return best_known(row, folder)
