"""1-D denoising problems of Ehrhardt and Roberts (2021): evaluations, work and time of the default method.

    python benchmarks/signals.py

Every gap is that of the *exact* objective: the returned parameters are re-solved to a distance of 1e-11. The baseline is
SciPy's L-BFGS-B on hypergradients computed signal by signal with 2000 FISTA steps (``_common.plain_hypergradient``).
"""

from __future__ import annotations

import time

import numpy as np
import scipy.optimize
import torch
from _common import arguments, machine, plain_hypergradient, show

from bilearn.problems import KnownProblem, one_parameter, three_parameters
from bilearn.upper import GaussNewton, run


def exact(make, theta):  # type: ignore[no-untyped-def]
    return make().objective.value(theta, 1e-9).value


def learned(make, start: float | None, repeats: int) -> tuple[list[str], float]:  # type: ignore[no-untyped-def]
    times, state, problem = [], None, None
    for _ in range(repeats + 1):
        problem = make()
        theta = problem.start if start is None else torch.full_like(problem.start, start)
        begin = time.process_time()
        state = run(GaussNewton(), problem.objective, theta)
        times.append(time.process_time() - begin)
    assert isinstance(problem, KnownProblem)
    assert state is not None
    gap = exact(make, state.best.theta) / problem.optimum - 1
    cost, seconds = problem.objective.cost, float(np.median(times[1:]))
    row = [
        str(problem.objective.evaluations),
        f"{gap:.1e}",
        f"{cost.gradients:,}",
        f"{cost.hessian_products:,}",
        f"{cost.direct_solves:,}",
        f"{seconds:.2f}",
        f"[{state.best.lower:.9f}, {state.best.upper:.9f}]",
    ]
    return row, seconds


def baseline(evaluations: int) -> tuple[list[str], float]:
    """L-BFGS-B on reg6 with the plain hypergradient, ``evaluations`` calls."""
    problem = three_parameters()
    objective, count, work = problem.objective, 0, np.zeros(2, dtype=int)
    best = (np.inf, np.zeros(3))

    def call(theta):  # type: ignore[no-untyped-def]
        nonlocal count, best
        count += 1
        value, gradient, gradients, products = plain_hypergradient(objective.target, objective.y, list(theta), True)
        work[0] += gradients
        work[1] += products
        t = torch.tensor(theta, dtype=torch.float64, requires_grad=True)
        smooth, convex = 1 + 4 * 10 ** t[0] / 10 ** t[2] + 10 ** t[1], 1 + 10 ** t[1]
        penalty = 1e-6 * (smooth / convex) ** 2
        (slope,) = torch.autograd.grad(penalty, t)
        total = value + float(penalty.detach())
        if total < best[0]:
            best = (total, np.array(theta))
        return total, (gradient + slope).numpy()

    begin = time.process_time()
    bounds = [(-7, 7), (-7, 0), (-7, 0)]
    options = {"maxfun": evaluations, "maxiter": evaluations}
    scipy.optimize.minimize(call, problem.start.numpy(), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    seconds = time.process_time() - begin
    gap = exact(three_parameters, torch.tensor(best[1])) / problem.optimum - 1
    row = [str(count), f"{gap:.1e}", f"{work[0]:,}", f"{work[1]:,}", "0", f"{seconds:.2f}", "none"]
    return row, seconds / count


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--baseline-evaluations", type=int, default=3, help="calls of the plain baseline")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    row, seconds = learned(three_parameters, None, options.repeats)
    rows.append(["reg6, Gauss-Newton (default)", *row])
    each = seconds / int(row[0])
    for start in (0.0, 1.0, 2.0, -1.0, -2.0):
        rows.append([f"1param from {start:+.0f}", *learned(one_parameter, start, options.repeats)[0]])
    row, per_call = baseline(options.baseline_evaluations)
    rows.append([f"reg6, plain baseline, first {row[0]} calls", *row])
    columns = [
        "problem",
        "evaluations",
        "exact gap",
        "gradients",
        "products",
        "direct solves",
        "CPU s",
        "certified interval",
    ]
    show(f"1-D denoising, float64, {machine(options.threads)}", columns, rows)
    print(
        f"one evaluation: plain baseline {per_call * 1e3:.0f} ms, bilearn {each * 1e3:.1f} ms, ratio {per_call / each:.0f}"
    )


if __name__ == "__main__":
    main()
