"""Train a CRR or WCRR of the published size for denoising at noise 0.1, and measure it on images held out.

    nice -n 5 python benchmarks/train_ridge.py FOLDER --kind crr --output runs/crr     # FOLDER: the Kodak crops, 256 x 256
    nice -n 5 python benchmarks/train_ridge.py FOLDER --kind wcrr --output runs/wcrr
    python benchmarks/train_ridge.py FOLDER --kind crr --output runs/a --start runs/crr --rule adabelief --method usual
    python benchmarks/train_ridge.py FOLDER --kind crr --output runs/b --start runs/crr --rule adabelief --gradient 4e-3

Every fourth image of the folder is held out; nothing below sees it but the evaluation.

1. Score matching at noise 0.03 (:class:`bilearn.pretraining.ScoreMatching`).
2. Weight, scale and sharpness by a pattern search on a few patches.
3. Bilevel learning on a fixed table of patches by Adam: minibatches, the reconstruction and the adjoint of every patch kept
   as starts, both solves only as accurate as a step needs.

``--method usual`` replaces the solves of 3 by those of usual practice: cold starts, lower level to a relative change of 1e-4,
MINRES to 1e-6; ``--rule adabelief`` its steps by AdaBelief (0.5, 0.9) with rate 1e-3. Written: ``start/`` and ``model/`` (for
``bilearn.load``), ``curve.json`` with CPU seconds (evaluation left out) and held-out PSNR.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bilearn.data import read_folder, stack, to_gray
from bilearn.fidelities import LeastSquares
from bilearn.linear_systems import LinearMethod, Minres, solve_linear
from bilearn.lower import AcceleratedDescent, minimize
from bilearn.model import load_model, save_model
from bilearn.parameters import Identity, ParameterVector
from bilearn.pretraining import ScoreMatching, random_patches
from bilearn.problem import LowerProblem
from bilearn.regularizers import RidgeRegularizer
from bilearn.solution import Cost, Tolerance
from bilearn.variational import VariationalEnergy

SIGMA = 0.1
TABLE, PATCH = 480, 64


def images(folder: str) -> tuple[Tensor, Tensor, list[str]]:
    """Training images, images held out, and the names of these, (N, 1, H, W) float32."""
    found = [to_gray(image) for image in read_folder(folder)]
    held = found[3::4]
    rest = [image for k, image in enumerate(found) if k % 4 != 3]
    return stack(rest).float(), stack(held).float(), [image.name for image in held]


def noisy(x: Tensor, seed: int) -> Tensor:
    return x + SIGMA * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed), dtype=x.dtype)


def psnr(x: Tensor, truth: Tensor) -> float:
    return float((-10 * torch.log10((x - truth).square().mean((1, 2, 3)))).mean())


def denoised(energy: VariationalEnergy, y: Tensor, accuracy: float, max_steps: int = 500) -> Tensor:
    goal = Tolerance(gradient=accuracy * y[0].numel() ** 0.5)
    return minimize(energy, y, AcceleratedDescent(), tolerance=goal, max_steps=max_steps, throw=False).x


@dataclass
class Curve:
    """CPU seconds without those of evaluations, and held-out PSNR."""

    truth: Tensor
    begin: float = field(default_factory=time.process_time)
    points: list[tuple[str, int, float, float]] = field(default_factory=list)

    def look(self, stage: str, step: int, energy: VariationalEnergy) -> None:
        seconds = time.process_time() - self.begin
        value = psnr(denoised(energy, noisy(self.truth, 99), 1e-3), self.truth)
        self.points.append((stage, step, round(seconds, 1), round(value, 3)))
        ridge = energy.regularizer
        numbers = [f"{float(getattr(ridge, n).detach()):.3g}" for n in ("weight", "scale", "sharpness")]
        print(f"{stage} {step}: {seconds:.1f} s, {value:.3f} dB, weight, scale, sharpness {numbers}", flush=True)
        self.begin += time.process_time() - self.begin - seconds


def new_regularizer(kind: str) -> RidgeRegularizer:
    """Starts where the potential turns linear at half the noise level; bounds keep mu >= 0.1 (WCRR) and the curvature mild."""
    return RidgeRegularizer(
        weak=1.0 if kind == "wcrr" else 0.0,
        weight=1.0 if kind == "crr" else 0.8,
        gains=2 / 0.03,
        learn=("weight", "scale", "sharpness", "gains"),
        bounds={"weight": (1e-3, 1e3 if kind == "crr" else 0.9), "sharpness": (1.0, 100.0)},
    )


def fit_size(energy: VariationalEnergy, x: Tensor, y: Tensor) -> None:
    """Weight, scale and sharpness by a pattern search with factors 2 and sqrt 2."""
    ridge, factor = energy.regularizer, 2.0

    def loss() -> float:
        return -psnr(denoised(energy, y, 3e-3, 60), x)

    best = loss()
    while factor > 1.3:
        improved = False
        for name in ("weight", "scale", "sharpness"):
            for step in (factor, 1 / factor):
                old = float(getattr(ridge, name).detach())
                box = ridge.get_submodule(f"parametrizations.{name}.0.coordinate").bounds
                setattr(ridge, name, min(max(old * step, box[0]), box[1]))  # type: ignore[index]
                value = loss()
                if value < best - 1e-3:
                    best, improved = value, True
                    break
                setattr(ridge, name, old)
        factor = factor if improved else factor**0.5


def minibatches(count: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(count, generator=generator).split(batch)


def hypergradient(
    energy: VariationalEnergy, vector: ParameterVector, x: Tensor, truth: Tensor, y: Tensor, q: Tensor | None,
    residual: float, method: LinearMethod | None,
) -> tuple[Tensor, Tensor, Cost]:  # fmt: skip
    """Gradient of the mean loss over the patches, the adjoint, and its cost."""
    slope = 2 * (x - truth)
    goal = residual * slope.flatten(1).norm(dim=1)
    adjoint = solve_linear(energy.hessian(x, y), slope, method=method, x0=q, tolerance=goal, throw=False)
    products = energy.cross_vjp(x, y, adjoint.x, vector.parameters)
    return -vector.flatten(products) / len(y), adjoint.x, adjoint.cost


def adam(vector: ParameterVector, steps: int) -> Callable[[Tensor], None]:
    """Projected Adam; filters by at most 1e-3, numbers by 1e-2 in their coordinate, a cosine schedule."""
    rate = torch.cat(
        [torch.full((s.stop - s.start,), 1e-3 if isinstance(s.coordinate, Identity) else 1e-2) for s in vector.slots]
    ).double()
    mean, square = torch.zeros_like(rate), torch.zeros_like(rate)
    count = 0

    def step(gradient: Tensor) -> None:
        nonlocal mean, square, count
        cosine = 0.02 + 0.5 * (1 + math.cos(math.pi * count / steps))
        count += 1
        mean, square = 0.9 * mean + 0.1 * gradient, 0.98 * square + 0.02 * gradient**2
        root = (square / (1 - 0.98**count)).sqrt() + 1e-12
        vector.set(vector.project(vector.get() - cosine * rate * mean / (1 - 0.9**count) / root))

    return step


def adabelief(vector: ParameterVector, rate: float = 1e-3) -> Callable[[Tensor], None]:
    """AdaBelief (Zhuang et al., NeurIPS 2020) with (0.5, 0.9), in the library's coordinates."""
    mean, square = torch.zeros(len(vector)).double(), torch.zeros(len(vector)).double()
    count = 0

    def step(gradient: Tensor) -> None:
        nonlocal mean, square, count
        count += 1
        mean = 0.5 * mean + 0.5 * gradient
        square = 0.9 * square + 0.1 * (gradient - mean) ** 2 + 1e-16
        root = (square / (1 - 0.9**count)).sqrt() + 1e-8
        vector.set(vector.project(vector.get() - rate * mean / (1 - 0.5**count) / root))

    return step


def until_relative_change(energy: VariationalEnergy, y: Tensor, change: float) -> Tensor:
    """The stopping rule of usual practice: |x_new - x| <= change |x| for all patches."""
    with torch.no_grad():
        problem, method = LowerProblem(energy, y, energy.curvature(y), Cost()), AcceleratedDescent()
        state = method.init(problem, y)
        for _ in range(1000):
            new = method.step(problem, state)
            moved = (new.x - state.x).flatten(1).norm(dim=1)
            state = new
            if bool(((moved > 0) & (moved <= change * state.x.flatten(1).norm(dim=1))).all()):
                break
    return state.x


def learn(
    energy: VariationalEnergy, x: Tensor, y: Tensor, options: argparse.Namespace, look: Callable[[int], None]
) -> None:
    """Stage 3."""
    vector, generator = ParameterVector(energy), torch.Generator().manual_seed(3)
    usual = options.method == "usual"
    move = adabelief(vector) if options.rule == "adabelief" else adam(vector, options.steps)
    start, adjoint, known = y.clone(), torch.zeros_like(y), torch.zeros(len(y), dtype=torch.bool)
    work = Cost()
    begin = time.process_time()
    k = 0
    for k, index in enumerate(minibatches(len(y), options.batch, generator)):
        if k % options.every == 0:
            look(k)
        if k == options.steps or time.process_time() - begin > options.seconds:
            break
        truth, data = x[index], y[index]
        if usual:
            image = until_relative_change(energy, data, 1e-4)
            gradient, _, cost = hypergradient(energy, vector, image, truth, data, None, 1e-6, Minres())
        else:
            goal = Tolerance(gradient=options.gradient * PATCH)
            lower = minimize(energy, data, AcceleratedDescent(), start[index], goal, throw=False)
            image = lower.x
            q = adjoint[index] if bool(known[index].all()) else None
            gradient, found, cost = hypergradient(energy, vector, image, truth, data, q, options.residual, None)
            start[index], adjoint[index], known[index] = image, found, True
            work.add(lower.cost)
        work.add(cost)
        if k % options.every == options.every - 1:
            each = len(index) * (k + 1)
            print(
                f"  {work.gradients / each:.1f} gradients, {work.hessian_products / each:.1f} products a step",
                flush=True,
            )
        move(gradient)
    look(k)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--kind", choices=("crr", "wcrr"), required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--start", type=Path, help="run whose start/ to begin stage 3 from")
    parser.add_argument("--method", choices=("warm", "usual"), default="warm")
    parser.add_argument("--rule", choices=("adam", "adabelief"), default="adam", help="upper-level step of stage 3")
    parser.add_argument("--pretraining", type=int, default=700, help="steps of stage 1")
    parser.add_argument("--steps", type=int, default=160, help="steps of stage 3")
    parser.add_argument("--seconds", type=float, default=math.inf, help="CPU seconds of stage 3")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--every", type=int, default=80, help="steps between evaluations")
    parser.add_argument("--gradient", type=float, default=1e-3, help="gradient norm asked for, per pixel")
    parser.add_argument("--residual", type=float, default=2e-2, help="relative residual of the adjoint")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train, held, names = images(options.folder)
    print(f"{len(train)} images to train on, held out: {', '.join(names)}")
    generator = torch.Generator().manual_seed(1)
    x = random_patches(train, TABLE, PATCH, generator)
    y = noisy(x, 2)
    curve = Curve(held[..., 64:192, 64:192])
    if options.start is None:
        energy = VariationalEnergy(LeastSquares(), new_regularizer(options.kind))
        ridge = energy.regularizer
        matched = ScoreMatching(steps=options.pretraining).run(ridge, train)
        print(f"score matching: {matched:.4f} after {time.process_time() - curve.begin:.0f} s", flush=True)
        curve.look("pretrained", options.pretraining, energy)
        fit_size(energy, x[:6], y[:6])
        save_model(options.output / "start", energy, {"name": options.kind, "dtype": "float32"})
    else:
        energy = load_model(options.start / "start").energy

    def look(step: int) -> None:
        curve.look("bilevel", step, energy)
        save_model(options.output / "model", energy, {"name": options.kind, "dtype": "float32"})
        (options.output / "curve.json").write_text(json.dumps(curve.points))

    learn(energy, x, y, options, look)


if __name__ == "__main__":
    main()
