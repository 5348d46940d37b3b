"""Stochastic bilevel methods on the public quadratic simulation and on real data, against plain NumPy versions.

    python benchmarks/stochastic.py

Squared norm of the exact gradient of Phi, relative to the start, after the same number of oracle calls (a gradient, Hessian
product or cross product of one sample is one call). Medians and ranges over seeds; the two versions draw different batches.
With --reference FOLDER, a clone of github.com/benchopt/benchmark_bilevel, instead against that project's own SOBA and SABA, run
by --reference-python, an interpreter with benchopt, jax and jaxopt.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _benchopt import RECORDS, compare_with_reference
from _common import arguments, machine, show

from bilearn.stochastic import (
    MASOBA,
    SABA,
    SOBA,
    AmIGO,
    FiniteSum,
    QuadraticSum,
    RidgeLogistic,
    StocBiO,
    StochasticMethod,
    classification_data,
    exact,
    run_stochastic,
    simulated_quadratic,
)
from bilearn.upper import Fixed, Polynomial

BATCH = 64
CHECKPOINTS = (0.1, 0.3, 1.0)


class Plain:
    """The same numbers as arrays, and the sums over batches as one would first write them."""

    def __init__(self, problem: QuadraticSum, seed: int) -> None:
        self.inner = [t.numpy() for t in vars(problem.inner).values()]
        self.outer = [t.numpy() for t in vars(problem.outer).values()]
        self.minimizer, self.hessian = problem.minimizer().numpy(), problem.reduced_hessian().numpy()
        self.z, self.x = problem.lower_start.numpy().copy(), problem.upper_start.numpy().copy()
        self.v, self.calls = np.zeros_like(self.z), 0
        self.rng = np.random.default_rng(seed)
        self.lower_batches, self.upper_batches = self.epochs(), self.epochs()

    def epochs(self, count: int | None = None) -> Iterator[int]:
        while True:
            yield from self.rng.permutation(len(self.inner[0]) // BATCH if count is None else count)

    def squared_gradient(self) -> float:
        return float(np.sum((self.hessian @ (self.x - self.minimizer)) ** 2))

    def below(self, b: int, z: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, _, c, d, e, _ = (t[b * BATCH : (b + 1) * BATCH] for t in self.inner)
        gradient = a.T @ (a @ z) / BATCH + d.T @ (c @ self.x) / BATCH + e.mean(0)
        return gradient, a.T @ (a @ v) / BATCH, c.T @ (d @ v) / BATCH

    def above(self, b: int) -> tuple[np.ndarray, np.ndarray]:
        a, h, c, d, e, f = (t[b * BATCH : (b + 1) * BATCH] for t in self.outer)
        lower = a.T @ (a @ self.z) / BATCH + d.T @ (c @ self.x) / BATCH + e.mean(0)
        upper = h.T @ (h @ self.x) / BATCH + c.T @ (d @ self.z) / BATCH + f.mean(0)
        return lower, upper


class PlainLogistic(Plain):
    """Ridge weights exp(x) of logistic regression with two classes, as arrays."""

    def __init__(self, problem: RidgeLogistic, seed: int) -> None:
        self.problem = problem
        self.inner = [problem.features.numpy(), 1.0 - 2.0 * problem.labels.numpy()]
        self.outer = [problem.validation_features.numpy(), 1.0 - 2.0 * problem.validation_labels.numpy()]
        self.z, self.x = problem.lower_start.numpy().copy(), problem.upper_start.numpy().copy()
        self.v, self.calls = np.zeros_like(self.z), 0
        self.rng = np.random.default_rng(seed)
        self.lower_batches, self.upper_batches = self.epochs(), self.epochs(len(self.outer[0]) // BATCH)

    def squared_gradient(self) -> float:
        return float(exact(self.problem, torch.from_numpy(self.x)).gradient.square().sum())

    def below(self, b: int, z: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        a, sign = (t[b * BATCH : (b + 1) * BATCH] for t in self.inner)
        share = 1 / (1 + np.exp(-sign * (a @ z)))
        ridge = np.exp(self.x)
        product = a.T @ (share * (1 - share) * (a @ v)) / BATCH + ridge * v
        return a.T @ (sign * share) / BATCH + ridge * z, product, ridge * z * v

    def above(self, b: int) -> tuple[np.ndarray, np.ndarray]:
        a, sign = (t[b * BATCH : (b + 1) * BATCH] for t in self.outer)
        share = 1 / (1 + np.exp(-sign * (a @ self.z)))
        return a.T @ (sign * share) / BATCH, np.zeros_like(self.x)


def plain_soba(p: Plain, t: int, step: float, ratio: float) -> None:
    rho = step / np.sqrt(t + 1)
    gradient, product, cross = p.below(next(p.lower_batches), p.z, p.v)
    lower, upper = p.above(next(p.upper_batches))
    p.z, p.v, p.x = p.z - rho * gradient, p.v - rho * (product + lower), p.x - rho / ratio * (cross + upper)
    p.calls += 4 * BATCH


class PlainSABA:
    def __init__(self) -> None:
        self.memory: dict[tuple[int, int], np.ndarray] = {}
        self.mean: dict[int, np.ndarray] = {}

    def reduce(self, kind: int, b: int, value: np.ndarray, batches: int) -> np.ndarray:
        old = self.memory.get((kind, b), np.zeros_like(value))
        mean = self.mean.get(kind, np.zeros_like(value))
        self.memory[kind, b], self.mean[kind] = value, mean + (value - old) / batches
        return value - old + mean

    def __call__(self, p: Plain, t: int, step: float, ratio: float) -> None:
        i, j = next(p.lower_batches), next(p.upper_batches)
        count, others = len(p.inner[0]) // BATCH, len(p.outer[0]) // BATCH
        gradient, product, cross = (self.reduce(k, i, q, count) for k, q in enumerate(p.below(i, p.z, p.v)))
        lower, upper = (self.reduce(3 + k, j, q, others) for k, q in enumerate(p.above(j)))
        p.z, p.v, p.x = p.z - step * gradient, p.v - step * (product + lower), p.x - step / ratio * (cross + upper)
        p.calls += 4 * BATCH


def plain_inner(p: Plain, step: float) -> None:
    for _ in range(10):
        p.z = p.z - step * p.below(next(p.lower_batches), p.z, p.v)[0]


def plain_stocbio(p: Plain, t: int, step: float, ratio: float) -> None:
    plain_inner(p, step)
    lower, upper = p.above(next(p.upper_batches))
    term, total = lower, lower
    for _ in range(10):
        term = term - step * p.below(next(p.lower_batches), p.z, term)[1]
        total = total + term
    cross = p.below(next(p.lower_batches), p.z, step * total)[2]
    p.x = p.x - step / ratio * (upper - cross)
    p.calls += 22 * BATCH


def plain_amigo(p: Plain, t: int, step: float, ratio: float) -> None:
    plain_inner(p, step)
    lower, upper = p.above(next(p.upper_batches))
    for _ in range(10):
        p.v = p.v - step * (p.below(next(p.lower_batches), p.z, p.v)[1] - lower)
    cross = p.below(next(p.lower_batches), p.z, p.v)[2]
    p.x = p.x - step / ratio * (upper - cross)
    p.calls += 22 * BATCH


def plain_curve(
    step: Callable[[Plain, int, float, float], None], p: Plain, rho: float, ratio: float, budget: int
) -> list[float]:
    first, found, t = p.squared_gradient(), [], 0
    for share in CHECKPOINTS:
        while p.calls < share * budget:
            step(p, t, rho, ratio)
            t += 1
        found.append(p.squared_gradient() / first)
    return found


def library_curve(method: StochasticMethod[Any], problem: FiniteSum, budget: int) -> list[float]:
    def squared(x: torch.Tensor) -> float:
        return float(exact(problem, x).gradient.square().sum())

    found, state = [], method.init(problem, problem.lower_start, problem.upper_start)
    first = squared(problem.upper_start)
    for share in CHECKPOINTS:
        while state.count.total < share * budget:
            state = method.step(problem, state)
        found.append(squared(state.x) / first)
    return found


def spread(curves: list[list[float]], k: int) -> str:
    values = [c[k] for c in curves]
    return f"{statistics.median(values):.1e} [{min(values):.0e}, {max(values):.0e}]"


def table(
    title: str, problem: FiniteSum, plain: Callable[[int], Plain], step: float, ratio: float, options: Any
) -> None:
    budget, rows = options.steps * 4 * BATCH, []
    cases: list[tuple[Callable[[int], StochasticMethod[Any]], Callable[[], Any] | None]] = [
        (lambda s: SOBA(step_size=Polynomial(step, 0.5), ratio=ratio, seed=s), lambda: plain_soba),
        (lambda s: SABA(step_size=Fixed(step), ratio=ratio, seed=s), PlainSABA),
        (lambda s: StocBiO(step_size=Fixed(step), ratio=ratio, seed=s), lambda: plain_stocbio),
        (lambda s: AmIGO(step_size=Fixed(step), ratio=ratio, seed=s), lambda: plain_amigo),
        (lambda s: MASOBA(step_size=Polynomial(step, 0.5), ratio=ratio, seed=s), None),
    ]
    for make, other in cases:
        begin = time.process_time()
        ours = [library_curve(make(seed), problem, budget) for seed in range(options.repeats)]
        seconds = (time.process_time() - begin) / options.repeats
        rows.append([f"{make(0).name}", *(spread(ours, k) for k in range(len(CHECKPOINTS))), f"{seconds:.1f}"])
        if other is not None:
            begin = time.process_time()
            curves = [plain_curve(other(), plain(seed), step, ratio, budget) for seed in range(options.repeats)]
            seconds = (time.process_time() - begin) / options.repeats
            rows.append(["  plain NumPy", *(spread(curves, k) for k in range(len(CHECKPOINTS))), f"{seconds:.1f}"])
    calls = [f"{share * budget:.2g} calls" for share in CHECKPOINTS]
    show(
        f"{title}, batches of {BATCH}, step {step}, ratio {ratio}: |grad Phi|^2 relative to the start, median and range of "
        f"{options.repeats} seeds; {machine(options.threads)}",
        ["method", *calls, "CPU s"],
        rows,
    )


def real_problem() -> RidgeLogistic:
    """Breast cancer data, cut to whole batches: 384 samples for training, 128 for validation."""
    a, c, b, d = classification_data("breast-cancer")
    return RidgeLogistic(a[:384], c[:384], b[:128], d[:128])


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--steps", type=int, default=4000, help="steps of the single-loop methods; others by calls")
    parser.add_argument("--size", type=int, default=100, help="dimension of both levels of the simulation")
    parser.add_argument("--reference", type=Path, help="clone of benchopt/benchmark_bilevel to compare with")
    parser.add_argument("--reference-python", default=sys.executable, help="interpreter for the clone's solvers")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    step = 0.1
    if options.reference is not None:
        if not (options.reference / "solvers" / "soba.py").is_file():
            parser.error(
                f"--reference: found no solvers/soba.py in {options.reference}, expected a clone of the project"
            )
        if options.steps < RECORDS or options.steps % RECORDS:
            parser.error(f"--steps: found {options.steps}, expected a multiple of {RECORDS} with --reference")
        compare_with_reference(real_problem(), BATCH, step, options)
        return
    problem = simulated_quadratic(lower_size=options.size, upper_size=options.size)
    title = f"Quadratic simulation {options.size}/{options.size}, 1024 samples, mu 0.1"
    table(title, problem, lambda seed: Plain(problem, seed), step, 1.0, options)
    real = real_problem()
    table("Ridge weights, breast cancer", real, lambda seed: PlainLogistic(real, seed), step, 0.02, options)
    result = run_stochastic(SOBA(step_size=Polynomial(step, 0.5)), problem, 401, record_every=100)
    show(
        "SOBA: what is wrong with its direction (norms)",
        ["step", "grad Phi", "lower-level error", "minibatch noise", "|z - z(x)|", "|v - v(x)|"],
        [
            [str(r.iteration)]
            + [f"{v:.2e}" for v in (r.gradient_norm, r.lower_error, r.noise, r.lower_distance, r.adjoint_distance)]
            for r in result.records
        ],
    )


if __name__ == "__main__":
    main()
