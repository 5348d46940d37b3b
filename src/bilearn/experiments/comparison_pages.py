"""Tables and profiles of ``compare-methods``, drawn from the records of its cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bilearn.experiments.comparison_rows import ACCURACIES, METHODS, PROBLEMS
from bilearn.experiments.comparison_statistics import (
    cost_to,
    data_profile,
    median_cost,
    performance_ratios,
    steps_of,
)
from bilearn.experiments.contents import Figure, Panel, Section, Table
from bilearn.experiments.records import Results
from bilearn.report.charts import Axis, Chart, Curve, axis_for

GAPS = (0.05, 0.01, 0.001)
FEW = 16
"""Up to this many parameters a problem counts as one with few."""

_COLORS = 5
_NOTE = (
    "Work: lower-level gradients of one sample; a Hessian or cross product or a direct solve counts as one, a value as half. "
    "Infinite where half of the starts or more never get there."
)

Key = tuple[str, str, str, str]
"""Problem, lower level, method, accuracy."""


class Cells:
    """The recorded cells by key, and the smallest exact value of every problem.

    Args:
        results: the records.
    """

    def __init__(self, results: Results) -> None:
        self.of: dict[Key, list[Mapping[str, Any]]] = {}
        for key, cell in results.below("run").items():
            problem, lower, method, accuracy, _ = key.split("/")
            self.of.setdefault((problem, lower, method, accuracy), []).append(cell)
        self.best = {name: float(part["value"]) for name, part in results.below("best").items()}
        self.size = {name: len(part["theta"]) for name, part in results.below("best").items()}
        for (problem, *_), cells in self.of.items():
            self.best[problem] = min([self.best[problem], *(float(cell["returned"]) for cell in cells)])

    def groups(self) -> list[tuple[str, str]]:
        """(Problem, lower level) pairs with cells, in the order of the lists of rows."""
        order = [row.name for row in PROBLEMS]
        return sorted({(p, low) for p, low, _, _ in self.of}, key=lambda g: (order.index(g[0]), g[1]))

    def methods(self) -> list[str]:
        """Methods with cells, in the order of the list of rows."""
        there = {method for _, _, method, _ in self.of}
        return [row.name for row in METHODS if row.name in there]

    def target(self, problem: str, gap: float) -> float:
        """Exact objective that is within ``gap`` of the best known one, which is known to 1e-12 of itself."""
        best = self.best[problem]
        return best + (gap + 1e-12) * abs(best)


def comparison_sections(results: Results) -> Sequence[Section]:
    """Results by problem, profiles, adaptive against fixed accuracy, and what follows for the default."""
    cells = Cells(results)
    return [
        Section(
            "methods",
            "Methods",
            "Adaptive accuracy, medians over starts. Gaps are those of the exact objective to the best value known.",
            [_methods(cells, *group) for group in cells.groups()],
        ),
        Section(
            "profiles",
            "Profiles",
            "Fraction of all problem-start pairs solved: within a budget (data profile), and within a multiple of what the "
            "best method needed on that pair (performance profile).",
            _profiles(cells),
        ),
        Section(
            "fixed",
            "Adaptive against fixed accuracy",
            "The same method with its own choice of accuracies, with the fixed accuracy that turns out best for this problem "
            "and gap, and solving far more accurately than needed.",
            [table for group in cells.groups() for table in _fixed(cells, *group)],
        ),
        Section(
            "default",
            "The default method",
            "CPU time to 0.1 % over that of the fastest method on the same problem and start.",
            _default(cells),
        ),
    ]


def _methods(cells: Cells, problem: str, lower: str) -> Table:
    rows = []
    for method in cells.methods():
        runs = cells.of.get((problem, lower, method, "adaptive"))
        if not runs:
            continue
        costs = [
            text
            for gap in GAPS
            for text in (
                _count(median_cost(runs, cells.target(problem, gap), "evaluations")),
                _count(median_cost(runs, cells.target(problem, gap), "work")),
            )
        ]
        near = cells.target(problem, GAPS[-1])
        gaps = sorted(float(run["returned"]) / cells.best[problem] - 1.0 for run in runs)
        solved = sum(math.isfinite(cost_to(run, near, "work")) for run in runs)
        honest = [float(run["honesty"]) for run in runs if run["honesty"] is not None]
        rows.append([
            method,
            *costs,
            _seconds(median_cost(runs, near, "seconds")),
            f"{solved} of {len(runs)}",
            f"{max(gaps[len(gaps) // 2], 0.0):.1e}",
            _count(float(np.median([run["total_evaluations"] for run in runs]))),
            f"{max(honest):.2f}" if honest else "-",
        ])  # fmt: skip
    head = ["method"]
    for gap in GAPS:
        head += [f"evaluations to {100 * gap:g} %", "work"]
    head += ["CPU s to 0.1 %", "starts solved", "gap returned", "evaluations in all", "error / bound"]
    return Table(f"{problem}, lower level: {lower}", head, rows, _NOTE)


def _profiles(cells: Cells) -> list[Figure]:
    pairs = [(problem, lower) for problem, lower in cells.groups()]
    figures = []
    for gap in GAPS:
        costs: dict[str, list[float]] = {}
        for method in cells.methods():
            costs[method] = []
            for problem, lower in pairs:
                starts = max(
                    (len(c) for (p, low, _, a), c in cells.of.items() if (p, low, a) == (problem, lower, "adaptive")),
                    default=0,
                )
                runs = cells.of.get((problem, lower, method, "adaptive"), [])
                found = [cost_to(run, cells.target(problem, gap), "work") for run in runs]
                costs[method] += found + [math.inf] * (starts - len(found))
        if not any(costs.values()):
            continue
        percent = f"{100 * gap:g} %"
        ratios = performance_ratios(costs)
        panels = []
        names = list(costs)
        for first in range(0, len(names), _COLORS):
            group = names[first : first + _COLORS]
            panels.append(Panel(f"To {percent}: data profile", _profile(costs, group, "work")))
            panels.append(
                Panel(f"To {percent}: performance profile", _profile(ratios, group, "work / that of the best"))
            )
        figures.append(Figure(f"profiles-{100 * gap:g}-percent".replace(".", "_"), panels, 2, _NOTE))
    return figures


def _profile(costs: Mapping[str, Any], names: Sequence[str], label: str) -> Chart:
    finite = steps_of([value for values in costs.values() for value in values])
    axis = axis_for(finite, log=True)
    curves = []
    for k, name in enumerate(names):
        at = np.concatenate(([axis.low], steps_of(costs[name]), [axis.high]))
        curves.append(Curve(at, data_profile(costs[name], at), f"run-{k + 1}", name, step=True))
    return Chart(axis, Axis(0.0, 1.02), label, "fraction solved", curves=curves)


def _fixed(cells: Cells, problem: str, lower: str) -> list[Table]:
    """One table for each count, work and gradients; none where no fixed accuracy was run."""
    kinds = {row.name: row.group for row in ACCURACIES}
    tables = []
    for column, title in (("work", "work"), ("gradients", "lower-level gradients alone")):
        rows = []
        for method in cells.methods():
            runs = {a: c for (p, low, m, a), c in cells.of.items() if (p, low, m) == (problem, lower, method)}
            if "adaptive" not in runs or len(runs) == 1:
                continue
            for gap in GAPS:
                target = cells.target(problem, gap)
                costs = {a: median_cost(c, target, column) for a, c in runs.items()}
                own = costs.pop("adaptive")
                high = {a: v for a, v in costs.items() if kinds[a] == "high"}
                tuned = min(costs, key=lambda a: costs[a])
                row = [f"{method}, {100 * gap:g} %", _count(own)]
                row += [f"{tuned}: {_count(costs[tuned])}", _ratio(own, costs[tuned])]
                row.append("; ".join(f"{a}: {_count(v)} ({_ratio(v, own)})" for a, v in high.items()) or "-")
                rows.append(row)
        if rows:
            head = ["method, gap", "adaptive", "best fixed", "adaptive / best fixed", "high (high / adaptive)"]
            tables.append(Table(f"{problem}, lower level: {lower}, {title}", head, rows, _NOTE))
    return tables


def _default(cells: Cells) -> list[Table]:
    """Median and worst slowdown of every method, for few and for many parameters."""
    tables = []
    for title, few in (("Few parameters", True), ("Many parameters", False)):
        ratios: dict[str, list[float]] = {}
        names: list[str] = []
        for problem, lower in cells.groups():
            if (cells.size[problem] <= FEW) is not few:
                continue
            runs = {m: cells.of.get((problem, lower, m, "adaptive"), []) for m in cells.methods()}
            starts = max(map(len, runs.values()), default=0)
            names += [problem] * (starts > 0)
            target = cells.target(problem, GAPS[-1])
            costs = {
                m: [cost_to(run, target, "seconds") for run in c] + [math.inf] * (starts - len(c))
                for m, c in runs.items()
            }
            for method, found in performance_ratios(costs).items():
                ratios.setdefault(method, []).extend(found)
        rows = [
            [method, *(f"{np.mean(np.asarray(r) <= f):.0%}" for f in (1.0001, 2.0, 5.0, 1e300)), _plain(np.median(r))]
            for method, r in ratios.items()
            if len(r)
        ]
        rows.sort(key=lambda row: (float(row[-1].replace("∞", "inf")), row[0]))
        if rows:
            head = ["method", "fastest", "within 2 times", "within 5 times", "solved", "median slowdown"]
            tables.append(Table(f"{title}: {', '.join(dict.fromkeys(names))}", head, rows))
    return tables


def _count(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "∞"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "∞"


def _ratio(above: float, below: float) -> str:
    return _plain(above / below) if math.isfinite(below) and below > 0 else "-"


def _plain(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "∞"
