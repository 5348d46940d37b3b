"""The shipped CRR and WCRR, learned for denoising, tuned for other operators from four pairs, against TV tuned likewise.

    python benchmarks/transfer_ridge.py --figure docs/images/gallery/transfer_ridge.png

Photographs inside scikit-image, which the models have not seen: gray, 2 x 2 pixels averaged, crops of 48 x 48, four to tune
on and eight others to test on. Weight and scale of CRR and WCRR, weight and smoothing of TV (the best of three starts) are
tuned by :func:`bilearn.retuning.retune`. Operators of deepinv: Gaussian blur (1.5 pixels, periodic, noise 0.02), inpainting
(half of the pixels, noise 0.02), and a sparse matrix made of deepinv's parallel-beam tomography (30 views, noise 0.01).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _common import arguments, machine, show
from torch import Tensor

from bilearn import load
from bilearn.data import crops, downscale, photographs, stack, to_gray
from bilearn.experiment.build_physics import build_operator
from bilearn.experiment.data_schema import TomographyConfig
from bilearn.fidelities import LeastSquares
from bilearn.lower import AcceleratedDescent, minimize
from bilearn.model import LearnedModel
from bilearn.regularizers import SmoothedTV
from bilearn.retuning import Retuned, retune
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

SIZE, TUNE = 48, 4
NAMES = ["camera", "astronaut", "coffee", "chelsea", "rocket", "coins"]


def images() -> Tensor:
    """Two crops of every photograph, first crops first."""
    generator = torch.Generator().manual_seed(0)
    cut = [crops(downscale(to_gray(i), 2), (SIZE, SIZE), 2, generator) for i in photographs(NAMES)]
    return stack([two[k] for k in (0, 1) for two in cut]).float()


def blur() -> Any:
    from deepinv.physics import BlurFFT
    from deepinv.physics.blur import gaussian_blur

    return BlurFFT((1, SIZE, SIZE), filter=gaussian_blur(1.5))


def inpainting() -> Any:
    from deepinv.physics import Inpainting

    mask = (torch.rand(1, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    size: Any = (1, SIZE, SIZE)
    return Inpainting(size, mask=mask)


def tomography() -> Any:
    return build_operator(TomographyConfig(kind="tomography", angles=30), (1, SIZE, SIZE), 0).to(torch.float32)


PROBLEMS: dict[str, tuple[Callable[[], Any], float]] = {
    "deblurring": (blur, 0.02),
    "inpainting": (inpainting, 0.02),
    "tomography": (tomography, 0.01),
}


def total_variation(alpha: float, nu: float) -> LearnedModel:
    return LearnedModel(VariationalEnergy(LeastSquares(), SmoothedTV(alpha, xi=1e-5, nu=nu)), {"dtype": "float32"})


def tuned_tv(truth: Tensor, y: Tensor, physics: Any) -> Retuned:
    """The best of three starts."""
    starts = [total_variation(*start) for start in ((1e-2, 5e-3), (2e-3, 5e-3), (5e-4, 2e-2))]
    found = [retune(start, truth, y, physics, ("alpha", "nu"), max_evaluations=80) for start in starts]
    return min(found, key=lambda one: one.value)


def tuned_ridge(name: str, truth: Tensor, y: Tensor, physics: Any) -> Retuned:
    return retune(load(name), truth, y, physics, accuracy=1e-3, max_evaluations=25)


def psnr(x: Tensor, truth: Tensor) -> Tensor:
    return -10 * torch.log10((x.clamp(0, 1) - truth).square().mean((1, 2, 3)))


def reconstruct(model: LearnedModel, y: Tensor) -> Tensor:
    goal = Tolerance(gradient=3e-4 * SIZE)
    return minimize(model.energy, y, AcceleratedDescent(), tolerance=goal, max_steps=3000, throw=False).x


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--figure", type=Path, help="PNG to write")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    truth = images()
    methods: dict[str, Callable[[Tensor, Tensor, Any], Retuned]] = {
        "TV": tuned_tv,
        "CRR": partial(tuned_ridge, "crr"),
        "WCRR": partial(tuned_ridge, "wcrr"),
    }
    rows, pictures = [], []
    for problem, (make, sigma) in PROBLEMS.items():
        physics = make()
        clean = physics.A(truth)
        y = clean + sigma * torch.randn(clean.shape, generator=torch.Generator().manual_seed(2))
        row, panels = [problem, f"{sigma:g}"], [truth[TUNE], y[TUNE]]
        for name, tune in methods.items():
            begin = time.process_time()
            tuned = tune(truth[:TUNE], y[:TUNE], physics)
            seconds = time.process_time() - begin
            x = reconstruct(tuned.model, y[TUNE:])
            row += [f"{float(psnr(x, truth[TUNE:]).mean()):.2f}", f"{seconds:.0f}"]
            panels.append(x[0])
            values = tuned.model.parameters
            numbers = [k for k in ("alpha", "nu", "weight", "scale") if f"regularizer.{k}" in values]
            found = {k: f"{float(values[f'regularizer.{k}']):.3g}" for k in numbers}
            print(problem, name, found, tuned.evaluations, "evaluations", row[-2], "dB", flush=True)
        rows.append(row)
        pictures.append((problem, panels))
    columns = ["problem", "noise", "TV", "s", "CRR", "s", "WCRR", "s"]
    show(f"PSNR on eight images and CPU seconds of tuning, {machine(options.threads)}", columns, rows)
    if options.figure is not None:
        draw(pictures, [row[2::2] for row in rows], options.figure)


def draw(pictures: list[tuple[str, list[Tensor]]], figures: list[list[str]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(len(pictures), 5, figsize=(10, 2.15 * len(pictures)), layout="constrained")
    for axis, title in zip(axes[0], ("truth", "data", "TV", "CRR", "WCRR"), strict=True):
        axis.set_title(title)
    for line, (problem, panels), values in zip(axes, pictures, figures, strict=True):
        line[0].set_ylabel(problem)
        for k, (axis, panel) in enumerate(zip(line, panels, strict=True)):
            sinogram = panel.shape[-2:] != panels[0].shape[-2:]
            low, high = float(panels[0].min()), float(panels[0].max())
            limits = {} if sinogram else {"vmin": low, "vmax": high}
            axis.imshow(panel[0], cmap="gray", aspect="auto" if sinogram else "equal", **limits)
            axis.set_xticks([])
            axis.set_yticks([])
            if k >= 2:
                axis.set_xlabel(f"mean {values[k - 2]} dB", fontsize=9)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
