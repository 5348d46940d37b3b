"""Learning sampling patterns: the example of Sherry et al. (2020), exact budgets, and larger images.

    python benchmarks/mri_sampling.py example --sizes 32 64 128
    python benchmarks/mri_sampling.py budget --size 32 --pairs 4 --steps 40 --rates 0.05 0.1 0.2 0.3 0.4 0.5
    python benchmarks/mri_sampling.py scale --images brain-train --size 192 --pairs 7 --threads 2
    python benchmarks/mri_sampling.py scale --images shoulder --size 1024 --pairs 1 --threads 2

``example``: the white square of the published notebook, noise 0.03 with ``torch.manual_seed(0)``, beta1 = beta2 = 0.1,
eps = gamma = 1e-2, TV with its cubic smoothing; alpha alone from 1e-3 first, then degrees and alpha, then exchanges. One row
per level of the objective and start: CPU seconds, gradients and Hessian products until then, the first stage included.
``budget``: MR images at every moment of the way to a mask: degrees as in 2020, degrees that count as their part, zeros and
ones, exactly the asked number, alpha tuned, samples exchanged.
``scale``: MR images that ship with other packages, noise 0.03; alpha alone with every sample, then degrees (from 0.5) and
alpha until the projected gradient and its certified error together are below 1e-3 of the first.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from _common import machine, show
from torch import Tensor

from bilearn.callbacks import Callback, Progress
from bilearn.mri import FreePattern, sampling_energy
from bilearn.regularizers import CubicAbsolute, SmoothedTV
from bilearn.sampling import Continuation, SamplingPenalty, SamplingProblem, Start, learn_sampling
from bilearn.sampling.learn import PENALIZED_OPTIMIZER
from bilearn.sampling.stage import Stages
from bilearn.sampling.tune import tune
from bilearn.sampling_study.setup import StudySetup
from bilearn.upper import UpperStatus, run
from bilearn.upper.projected_lbfgs import ProjectedLBFGSState
from bilearn.variational import VariationalEnergy

LEVELS = {32: (0.0030, 0.0023), 64: (0.0028, 0.0012), 128: (0.0017, 0.0007)}
ALLOWED = {32: (5.0, 20.0), 64: (5.0, 40.0), 128: (25.0, 180.0)}
STARTS = [0.5, 0.7, 0.3]


def energy(n: int, alpha: float, gamma: float = 1e-2) -> VariationalEnergy:
    pattern = FreePattern(torch.full((n, n), 0.5, dtype=torch.float64))
    tv = SmoothedTV(
        alpha,
        1e-2,
        gamma,
        learn=("alpha",),
        bounds={"alpha": (1e-5, 10.0)},
        coupled=True,
        direction="forward",
        potential=CubicAbsolute(),
    )
    return sampling_energy(pattern, tv)


def square(n: int) -> tuple[Tensor, Tensor]:
    x = torch.zeros(1, 2, n, n, dtype=torch.float64)
    x[:, 0, n // 4 : 3 * n // 4, n // 4 : 3 * n // 4] = 1
    torch.manual_seed(0)
    noise = 0.03 * torch.randn(n, n, 2, dtype=torch.float64)
    clean = torch.fft.fft2(x[:, 0], norm="ortho")
    return x, torch.stack((clean.real, clean.imag), 1) + noise.permute(2, 0, 1)


@dataclass
class Watch(Callback):
    """CPU seconds and work when the penalized objective first passes a level, everything before that counted."""

    levels: tuple[float, ...]
    begin: float = field(default_factory=time.process_time)
    passed: dict[float, list[str]] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    last: dict[str, int] = field(default_factory=dict)

    def step(self, progress: Progress) -> None:
        cost = progress.rows[-1]["cost"] if progress.rows else self.last
        if cost["gradients"] < self.last.get("gradients", 0):
            for name, number in self.last.items():
                self.before[name] = self.before.get(name, 0) + number
        self.last = {name: int(cost[name]) for name in ("gradients", "hessian_products")}
        if progress.best.penalty <= 0:
            return
        for level in self.levels:
            if level not in self.passed and progress.best.value <= level:
                total = {k: self.before.get(k, 0) + v for k, v in self.last.items()}
                degrees = progress.best.theta[:-1]
                self.passed[level] = [
                    f"{time.process_time() - self.begin:.1f}",
                    str(total["gradients"]),
                    str(total["hessian_products"]),
                    str(int((degrees > 0).sum())),
                ]
                print(level, *self.passed[level], flush=True)


def example(sizes: list[int], starts: list[float], threads: int) -> None:
    rows = []
    for n in sizes:
        x, y = square(n)
        for start in starts:
            watch = Watch(LEVELS[n])
            result = learn_sampling(energy(n, 1e-3), y, x, penalty=(0.1, 0.1), starts=[Start(start)], callbacks=[watch])
            for level, allowed in zip(LEVELS[n], ALLOWED[n], strict=True):
                rows.append(
                    [f"{n}", f"{start}", f"{level}", f"{allowed:g}", *watch.passed.get(level, ["never", "", "", ""])]
                )
            a = result.attempt
            last = min((m for m in a.snapshots if m.name in ("relaxed", "returned")), key=lambda m: m.value)
            rows.append(
                [
                    f"{n}",
                    f"{start}",
                    f"end: {last.value:.6f}",
                    "",
                    f"{a.seconds:.1f}",
                    f"{a.cost['gradients']:.0f}",
                    f"{a.cost['hessian_products']:.0f}",
                    f"{last.samples}",
                ]
            )
    columns = ["pixels", "start", "objective", "asked CPU s", "CPU s", "gradients", "Hessian products", "samples > 0"]
    show(f"Sherry et al. 2020 example, {machine(threads)}", columns, rows)


def budget(images: str, n: int, pairs: int, rates: list[float], steps: int, threads: int) -> None:
    rows = []
    setup = StudySetup(images=(images,), size=n, count=pairs)
    data = setup.pairs()
    names = ("relaxed", "shared", "binary", "rounded", "tuned", "exchanged")
    for rate in rates:
        result = learn_sampling(
            setup.energy(setup.learnable_pattern()),
            data.kspace,
            data.truth,
            rate=rate,
            starts=[Start(0.5, spectrum=0.5)],
            continuation=Continuation(steepness=(0.01, 0.1, 1.0), max_steps=steps),
            max_steps=steps,
        )
        a = result.attempt
        moments = {s.name: f"{s.psnr:.2f}" for s in a.snapshots}
        rows.append([f"{rate}", f"{a.last.samples}", *(moments.get(k, "") for k in names), f"{a.seconds:.1f}"])
        print(*rows[-1], flush=True)
    columns = ["rate", "samples", *names, "CPU s"]
    show(f"Exact budgets, mean PSNR in dB, {images}, {n} x {n}, {pairs} pairs, {machine(threads)}", columns, rows)


def scale(images: str, n: int, pairs: int, price: float, steps: int, threads: int) -> None:
    begin, wall, rows = time.process_time(), time.perf_counter(), []

    def row(name: str, *numbers: str) -> None:
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        seconds = [f"{time.process_time() - begin:.1f}", f"{time.perf_counter() - wall:.1f}", f"{memory:.2f}"]
        rows.append([name, *seconds, *numbers])
        print(*rows[-1], flush=True)

    setup = StudySetup(images=(images,), size=n, count=pairs)
    data = setup.pairs()
    problem = SamplingProblem(setup.energy(setup.learnable_pattern()), data.kspace, data.truth)
    row("data", *[""] * 6)
    first = tune(problem, Stages(None), "full")
    row("alpha alone", f"{first.value:.6g}", "", "", "", f"{10 ** float(first.theta[0]):.5f}", "")
    objective = problem.objective(SamplingPenalty(price, price), pattern=True)
    theta = objective.parameters.get()
    theta[: n * n] = 0.5
    objective.parameters.set(theta)

    def watch(state: ProjectedLBFGSState) -> UpperStatus | None:
        current = state.current
        ratio = PENALIZED_OPTIMIZER.slope(objective.parameters, current) / state.initial_slope
        part = current.theta[: n * n]
        numbers = (f"{current.value:.6g}", f"{ratio:.2e}", f"{current.gradient_bound / state.initial_slope:.1e}")
        taken = f"{100 * float((part > 0).double().mean()):.1f} %"
        alpha = f"{10 ** float(current.theta[-1]):.5f}"
        row(f"step {state.iteration}", *numbers, str(objective.cost.hessian_products), alpha, taken)
        return None

    final = run(PENALIZED_OPTIMIZER, objective, max_steps=steps, callback=watch)
    columns = ["", "CPU s", "wall s", "GB", "objective", "gradient / first", "its bound", "products", "alpha", "s > 0"]
    kept = [*rows[:3], *rows[3:-1][:: max(1, len(rows) // 8)], rows[-1]]
    show(f"{images}, {n} x {n}, {pairs} pairs, {final.status.value}, {machine(threads)}", columns, kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("example", "budget", "scale"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[32])
    parser.add_argument("--starts", type=float, nargs="+", default=STARTS, help="degrees that example starts from")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.25])
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--images", default="brain-train")
    parser.add_argument("--price", type=float, default=1e-3, help="beta1 and beta2 of scale")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts: dict[str, Callable[[], None]] = {
        "example": lambda: example(options.sizes, options.starts, options.threads),
        "budget": lambda: budget(
            options.images, options.size, options.pairs, options.rates, options.steps, options.threads
        ),
        "scale": lambda: scale(
            options.images, options.size, options.pairs, options.price, options.steps, options.threads
        ),
    }
    parts[options.part]()


if __name__ == "__main__":
    main()
