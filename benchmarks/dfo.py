"""Dynamic-accuracy derivative-free optimization against fixed and radius-tied accuracy, in lower-level gradients.

    python benchmarks/dfo.py
    python benchmarks/dfo.py --sampling

Every gap is that of the *exact* objective at the best parameters so far. The same method runs with four ways to choose the
lower-level accuracy: dynamic; a fixed number of steps, the best of those tried; values to ``c * radius^2``, the best c of
those tried; and the dynamic choice with textbook FISTA and with the default lower-level method. All others use FISTA with
steady momentum. The starts of ``reg6`` and ``reg4`` are the
published one and random points within ``--spread`` of it, since single runs are chaotic in rounding; medians are reported,
and a start that is never within the gap counts as infinite. With ``--sampling`` only the 64 weights of
``mri-1d-sampling`` from their published start, with textbook FISTA and with restarted momentum.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from _common import arguments, machine, show
from torch import Tensor

from bilearn.lower import LowerSolver, NesterovGradient
from bilearn.problems import KnownProblem, mri_sampling_1d, one_parameter, three_parameters
from bilearn.upper import DynamicDFO, GaussNewton, UpperState, UpperStatus, run

Make = Callable[[], KnownProblem]


class Exact:
    """Exact values of one problem, each point solved once."""

    def __init__(self, make: Make) -> None:
        self._objective = make().objective
        self._known: dict[tuple[float, ...], float] = {}

    def __call__(self, theta: Tensor) -> float:
        key = tuple(theta.tolist())
        if key not in self._known:
            self._known[key] = self._objective.value(theta, 1e-6).value
        return self._known[key]


def work(
    make: Make,
    exact: Exact,
    optimum: float,
    start: Tensor,
    solver: LowerSolver | None,
    method: DynamicDFO,
    gaps: list[float],
    scratch: bool = False,
) -> tuple[list[tuple[float, float]], float]:
    """(Evaluations, gradients) at which each gap was first reached, and lower-level milliseconds for each evaluation."""
    problem = make()
    objective = problem.objective
    objective.solver = solver
    if scratch:
        objective.restore = lambda snapshot: objective.forget()
    hits: dict[float, tuple[float, float]] = {}
    seconds: list[float] = []
    objective.observer = lambda found: seconds.append(found.seconds)

    def watch(state: UpperState) -> UpperStatus | None:
        gap = exact(state.best.theta) / optimum - 1
        for goal in gaps:
            if gap <= goal:
                hits.setdefault(goal, (state.evaluations, objective.cost.gradients))
        return UpperStatus.EARLY_STOP if len(hits) == len(gaps) else None

    run(method, objective, start, max_steps=200, callback=watch)
    return [hits.get(goal, (math.inf, math.inf)) for goal in gaps], 1e3 * statistics.median(seconds)


def medians(results: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """Median of evaluations and of gradients, gap by gap."""
    return [
        (statistics.median(r[0] for r in column), statistics.median(r[1] for r in column))
        for column in zip(*results, strict=True)
    ]


def best_known(make: Make) -> float:
    problem = make()
    if math.isfinite(problem.optimum):
        return problem.optimum
    return run(GaussNewton(), problem.objective, problem.start).best.value


def numbers(result: list[tuple[float, float]]) -> list[str]:
    return [f"{value:,.0f}" for pair in result for value in pair]


def sampling(limit: int, title: str) -> None:
    """Evaluations and gradients to 5 % and to 1 % on the 64 weights."""
    exact, rows = Exact(mri_sampling_1d), []
    solvers = [("textbook FISTA", NesterovGradient()), ("FISTA with restarts", NesterovGradient(restart=True))]
    for label, solver in solvers:
        problem, method = mri_sampling_1d(), DynamicDFO(max_evaluations=limit)
        result, each = work(mri_sampling_1d, exact, problem.optimum, problem.start, solver, method, [0.05, 0.01])
        rows.append([label, *numbers(result), f"{each:.1f}"])
    columns = ["lower level", "evaluations to 5 %", "gradients", "to 1 %", "gradients", "ms / evaluation"]
    show(f"mri-1d-sampling, {title}", columns, rows)


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--starts", type=int, default=10, help="starts of reg6 and reg4")
    parser.add_argument("--spread", type=float, default=0.5, help="half width of the starts, in decades")
    parser.add_argument("--evaluations", type=int, default=100, help="largest number of evaluations of a run")
    parser.add_argument("--sampling", action="store_true", help="only mri-1d-sampling, at most 500 evaluations")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    limit = options.evaluations
    fista = NesterovGradient(steady=True, check_every=3)
    title = f"float64, {machine(options.threads)}"

    if options.sampling:
        sampling(500, title)
        return

    exact, rows = Exact(one_parameter), []
    optimum = best_known(one_parameter)
    for start in (0.0, 1.0, 2.0, -1.0, -2.0):
        theta = torch.tensor([start], dtype=torch.float64)
        result, _ = work(one_parameter, exact, optimum, theta, fista, DynamicDFO(max_evaluations=limit), [1e-2, 1e-3])
        rows.append([f"{start:+.0f}", *numbers(result)])
    show(
        f"1param, FISTA, {title}",
        ["start", "evaluations to 1 %", "gradients", "evaluations to 0.1 %", "gradients"],
        rows,
    )

    variants: list[tuple[str, LowerSolver | None, DynamicDFO, bool]] = [
        ("dynamic", fista, DynamicDFO(max_evaluations=limit), False),
        ("dynamic, textbook FISTA, checks every 10", NesterovGradient(), DynamicDFO(max_evaluations=limit), False),
        ("dynamic, default lower level", None, DynamicDFO(max_evaluations=limit), False),
    ]
    for scratch, counts in ((False, (20, 30, 50, 100, 200, 400)), (True, (30, 50, 70, 100, 150, 200))):
        for count in counts:
            label = f"fixed, {count} steps{' from scratch' if scratch else ''}"
            method = DynamicDFO(max_evaluations=limit, prescribed=_exactly)
            variants.append((label, replace(fista, max_steps=count), method, scratch))
    for factor in (0.1, 1.0, 10.0, 100.0):
        method = DynamicDFO(max_evaluations=limit, prescribed=lambda radius, c=factor: c * radius**2)
        variants.append((f"accuracy {factor:g} radius^2", fista, method, False))
    generator = torch.Generator().manual_seed(1)
    shifts = [torch.zeros(3, dtype=torch.float64)]
    for _ in range(options.starts - 1):
        shifts.append(options.spread * (2 * torch.rand(3, dtype=torch.float64, generator=generator) - 1))
    for name, weight in (("reg6", 1e-6), ("reg4", 1e-4)):

        def make(weight: float = weight) -> KnownProblem:
            return three_parameters(weight)

        exact, rows = Exact(make), []
        optimum = best_known(make)
        for label, solver, method, scratch in variants:
            begin = time.process_time()
            runs = [
                work(make, exact, optimum, make().start + shift, solver, method, [0.05, 0.01], scratch)
                for shift in shifts
            ]
            each = statistics.median(milliseconds for _, milliseconds in runs)
            middle = medians([result for result, _ in runs])
            rows.append([label, *numbers(middle), f"{each:.1f}", f"{time.process_time() - begin:.1f}"])
        columns = ["accuracy", "evaluations to 5 %", "gradients", "to 1 %", "gradients", "ms / evaluation", "CPU s"]
        show(f"{name}, optimum {optimum:.9g}, {len(shifts)} starts, {title}", columns, rows)


def _exactly(radius: float) -> float:
    """An accuracy that no fixed number of steps reaches."""
    return 1e-12


if __name__ == "__main__":
    main()
