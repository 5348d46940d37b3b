"""2-D denoising of Kodak crops, three parameters: time to 1 % and to 0.1 % of the optimum, and cost of a gradient.

    python benchmarks/kodak.py FOLDER                 # 25 PNG crops of 256 x 256
    python benchmarks/kodak.py FOLDER --optimum       # recompute OPTIMUM by two methods

``OPTIMUM`` is the value at which Gauss-Newton and L-BFGS-B, both from the published start with certified errors far below
1e-6 of the value, end up; ``--optimum`` prints both with their certified intervals.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from _common import arguments, cpu_seconds, machine, plain_gradient, plain_hypergradient, show

from bilearn.problems import kodak
from bilearn.upper import LBFGSB, GaussNewton, UpperOptimizer, run

OPTIMUM = 3186.1933


def optimum(folder: str) -> None:
    rows = []
    methods: list[UpperOptimizer[Any]] = [GaussNewton(), LBFGSB()]
    for optimizer in methods:
        problem = kodak(folder)
        state = run(optimizer, problem.objective, problem.start)
        final = problem.objective.value(state.best.theta, 1e-4)
        theta = ", ".join(f"{t:.6f}" for t in state.best.theta.tolist())
        interval = f"[{final.lower:.5f}, {final.upper:.5f}]"
        rows.append([optimizer.name, f"{final.value:.6f}", interval, theta, str(state.status.value)])
    show("optimum", ["method", "F", "certified interval", "theta (log10 alpha, xi, nu)", "ended because"], rows)


def milestones(folder: str) -> list[list[str]]:
    """Gauss-Newton from the published start: when was a point within 1 % and 0.1 % of the optimum known?"""
    problem = kodak(folder)
    record: list[tuple[float, float, torch.Tensor, int]] = []
    begin = time.process_time()

    def note(state) -> None:  # type: ignore[no-untyped-def]
        record.append((time.process_time() - begin, state.best.value, state.best.theta, problem.objective.evaluations))

    state = run(GaussNewton(), problem.objective, problem.start, callback=note)
    total, cost = time.process_time() - begin, problem.objective.cost.copy()
    judge, known, rows = kodak(folder).objective, {}, []
    for percent in (1.0, 0.1, 0.001):
        reached, count = "not reached", "-"
        for seconds, _, theta, evaluations in record:
            key = tuple(theta.tolist())
            known.setdefault(key, judge.value(theta, 1e-5 * OPTIMUM).value)
            if known[key] <= OPTIMUM * (1 + percent / 100):
                reached, count = f"{seconds:.1f}", str(evaluations)
                break
        rows.append([f"to {percent:g} %", count, reached])
    rows.append(["whole run", str(problem.objective.evaluations), f"{total:.1f}"])
    print(f"{state.status.value}; {cost.gradients:,} gradients, {cost.hessian_products:,} Hessian products")
    return rows


def gradient(folder: str, repeats: int) -> tuple[float, float]:
    """Milliseconds per image and gradient: the energy's own, and the plain formula."""
    problem = kodak(folder)
    o = problem.objective
    o.parameters.set(problem.start)
    size = o.batch_size
    x, y = o.target[:size].clone(), o.y[:size]

    def ours() -> None:
        with torch.no_grad():
            for _ in range(40):
                o.energy.grad(x, y)

    def plain() -> None:
        for _ in range(10):
            plain_gradient(x[0, 0], y[0, 0], 1.0, 0.1, 0.1, False)

    return cpu_seconds(ours, repeats)[0] / 40 / size * 1e3, cpu_seconds(plain, repeats)[0] / 10 * 1e3


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("folder", help="folder with the PNG crops")
    parser.add_argument("--optimum", action="store_true", help="recompute the optimum and stop")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.optimum:
        optimum(options.folder)
        return
    ours, plain = gradient(options.folder, options.repeats)
    small = kodak(options.folder, count=1)
    begin = time.process_time()
    plain_hypergradient(small.objective.target[:, 0], small.objective.y[:, 0], [-1.0, -2.0, -2.0], False)
    baseline = time.process_time() - begin
    times = []
    for _ in range(options.repeats):
        fresh = kodak(options.folder, count=1)
        begin = time.process_time()
        fresh.objective.hypergradient(torch.tensor([-1.0, -2.0, -2.0], dtype=torch.float64))
        times.append(time.process_time() - begin)
    evaluation = statistics.median(times)
    rows = [
        ["ms per image and gradient", f"{plain:.2f}", f"{ours:.2f}", f"{plain / ours:.1f}"],
        ["s per image and hypergradient, cold", f"{baseline:.2f}", f"{evaluation:.3f}", f"{baseline / evaluation:.0f}"],
    ]
    show(f"Kodak, 256 x 256, float64, {machine(options.threads)}", ["", "plain baseline", "bilearn", "ratio"], rows)
    show(
        "25 crops, Gauss-Newton from (0, -1, -1), exact objective",
        ["", "evaluations", "CPU s"],
        milestones(options.folder),
    )


if __name__ == "__main__":
    main()
