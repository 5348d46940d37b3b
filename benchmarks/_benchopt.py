"""Our SOBA and SABA beside those of benchopt/benchmark_bilevel: the same problems, starts, steps, batch sizes and oracle calls.

Theirs run in a process of their own (``_benchopt_run.py``), whose Python has what their solvers need, so that jax is no
dependency of this library. Every x, ours and theirs, is judged by the same exact gradient of Phi.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import machine, show
from torch import Tensor

from bilearn.stochastic import (
    SABA,
    SOBA,
    FiniteSum,
    QuadraticSum,
    RidgeLogistic,
    StochasticMethod,
    exact,
)
from bilearn.stochastic.problems import QuadraticTerms
from bilearn.stochastic.sampler import BatchSampler
from bilearn.upper import Fixed, Polynomial

RECORDS = 20
SHOWN = (2, 6, 12, 20)


def draws(samples: int, batch: int, seed: int, steps: int) -> list[int]:
    """Numbers of the batches that a method of ours draws."""
    sampler = BatchSampler(samples, batch)
    state, numbers = sampler.init(seed), []
    for _ in range(steps):
        drawn, state = sampler.draw(state)
        numbers.append(drawn.number)
    return numbers


def theirs(folder: Path, python: str, threads: int, job: dict[str, Any]) -> dict[str, np.ndarray]:
    """Arrays that ``_benchopt_run.py`` saves; its caches are made in a folder that is deleted."""
    flags = f"--xla_cpu_multi_thread_eigen={str(threads > 1).lower()} intra_op_parallelism_threads={threads}"
    environment = {**os.environ, "XLA_FLAGS": flags, "OMP_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu"}
    script = Path(__file__).resolve().with_name("_benchopt_run.py")
    with tempfile.TemporaryDirectory() as place:
        np.savez(f"{place}/job.npz", **job)
        command = [python, str(script), str(folder.resolve()), "job.npz", "result.npz"]
        subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
        with np.load(f"{place}/result.npz") as result:
            return dict(result)


def commit(folder: Path) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()


def our_path(method: StochasticMethod[Any], problem: FiniteSum, every: int) -> Tensor:
    """(RECORDS + 1, p) x at the start and after every ``every`` steps."""
    state = method.init(problem, problem.lower_start, problem.upper_start)
    found = [state.x]
    for _ in range(RECORDS):
        for _ in range(every):
            state = method.step(problem, state)
        found.append(state.x)
    return torch.stack(found)


def curve(problem: FiniteSum, path: Tensor) -> list[float]:
    """|grad Phi|^2 along a path, relative to its start."""
    values = [float(exact(problem, x).gradient.square().sum()) for x in path]
    return [v / values[0] for v in values]


def spread(curves: list[list[float]], k: int) -> str:
    """Median over seeds, and the smallest and largest value relative to it."""
    values = [c[k] for c in curves]
    middle = statistics.median(values)
    return f"{middle:.2e} ({min(values) / middle:.3f} .. {max(values) / middle:.3f})"


def ratio_of_medians(ours: list[list[float]], others: list[list[float]], k: int) -> float:
    return statistics.median(c[k] for c in ours) / statistics.median(c[k] for c in others)


def overlap(ours: list[list[float]], others: list[list[float]], k: int) -> bool:
    """Whether the ranges over seeds meet."""
    mine, reference = [c[k] for c in ours], [c[k] for c in others]
    return min(mine) <= max(reference) and min(reference) <= max(mine)


def compare(
    title: str,
    make_problem: Callable[[dict[str, np.ndarray]], FiniteSum],
    job: dict[str, Any],
    samples: tuple[int, int],
    options: Any,
) -> None:
    """Run both on one problem and print the table."""
    every, batch, version = options.steps // RECORDS, job["batch"], commit(options.reference)
    lower, upper = (draws(n, batch, seed, options.steps) for n, seed in zip(samples, (0, 1), strict=True))
    job |= {"seeds": options.repeats, "every": every, "records": RECORDS, "lower_order": lower, "upper_order": upper}
    found = theirs(options.reference, options.reference_python, options.threads, job)
    problem, step, ratio = make_problem(found), job["step"], job["ratio"]
    makers: dict[str, Callable[[int], StochasticMethod[Any]]] = {
        "SOBA": lambda s: SOBA(step_size=Polynomial(step, 0.5), ratio=ratio, seed=s, batch_size=batch),
        "SABA": lambda s: SABA(step_size=Fixed(step), ratio=ratio, seed=s, batch_size=batch),
    }
    rows, notes = [], []
    for name, make in makers.items():
        paths = [our_path(make(seed), problem, every) for seed in range(options.repeats)]
        ours = [curve(problem, p) for p in paths]
        rows.append([name, *(spread(ours, k) for k in SHOWN)])
        for label, key in (("benchopt", "paths"), ("benchopt, each batch once", "once")):
            others = [curve(problem, torch.from_numpy(p)) for p in found[f"{name}.{key}"]]
            rows.append([f"  {label}", *(spread(others, k) for k in SHOWN)])
            rows.append(["    ratio of medians", *(f"{ratio_of_medians(ours, others, k):.2f}" for k in SHOWN)])
            meeting = sum(overlap(ours, others, k) for k in range(1, RECORDS + 1))
            notes.append(f"{name} and {label}: the ranges meet at {meeting} of {RECORDS} records")
        same = torch.from_numpy(found[f"{name}.same_draws"])
        gap = (paths[0] - same).norm(dim=1) / (same - same[0]).norm(dim=1)
        rows.append(["  benchopt, our batches", *(f"{float(gap[k]):.1e}" for k in SHOWN)])
        if f"{name}.metric" in found:
            own = [
                float(exact(problem, torch.from_numpy(p[-1])).gradient.square().sum()) for p in found[f"{name}.paths"]
            ]
            worst = max(abs(a / b - 1) for a, b in zip(own, found[f"{name}.metric"], strict=True))
            notes.append(f"{name}: their metric of their last x differs from ours by at most {worst:.1e}")
    show(
        f"{title}, batches of {batch}, step {step}, ratio {ratio}, benchopt/benchmark_bilevel {version}: "
        f"|grad Phi|^2 relative to the start after oracle calls, median of {options.repeats} seeds (range relative to it); "
        f"with our batches: difference of x for seed 0, relative to the way from the start; {machine(options.threads)}",
        ["method", *(f"{k * every * 4 * batch:.2g} calls" for k in SHOWN)],
        rows,
    )
    print(*notes, sep="\n")


def simulation_of(found: dict[str, np.ndarray]) -> QuadraticSum:
    """The matrices that their generator drew."""

    def terms(level: str) -> QuadraticTerms:
        names = QuadraticTerms.__dataclass_fields__
        return QuadraticTerms(**{k: torch.from_numpy(found[f"{level}.{k}"]) for k in names})

    return QuadraticSum(terms("inner"), terms("outer"))


def compare_with_reference(real: RidgeLogistic, batch: int, step: float, options: Any) -> None:
    """Tables of the simulation, drawn by their generator, and of ridge weights on ``real``."""
    shared = {"batch": batch, "step": step}
    compare(
        f"Their quadratic simulation {options.size}/{options.size}, 1024 samples",
        simulation_of,
        {**shared, "problem": "simulation", "size": options.size, "ratio": 1.0},
        (1024, 1024),
        options,
    )
    arrays = {
        "features": real.features.numpy(),
        "labels": 2.0 * real.labels.numpy() - 1.0,
        "validation_features": real.validation_features.numpy(),
        "validation_labels": 2.0 * real.validation_labels.numpy() - 1.0,
    }
    compare(
        "Ridge weights in their formulation, breast cancer",
        lambda _: real,
        {**shared, "problem": "ridge", "ratio": 0.02, **arrays},
        (real.lower_samples, real.upper_samples),
        options,
    )
