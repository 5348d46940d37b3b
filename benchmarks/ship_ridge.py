"""Put trained CRR and WCRR into the package, and measure what is there on the images held out in training.

    python benchmarks/ship_ridge.py FOLDER --ship runs/crr/model runs/wcrr/model    # numbers are rounded to float32
    python benchmarks/ship_ridge.py FOLDER                                          # table of the model card

FOLDER is that of ``train_ridge.py``; every fourth image is held out. TV is the best single weight: its weight and smoothing are
tuned on the training images (center crops of 96 x 96, float64) by :func:`bilearn.retuning.retune`.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from _common import arguments, machine, show
from safetensors.torch import load_file, save_file
from torch import Tensor
from train_ridge import images, noisy

from bilearn import load
from bilearn.fidelities import LeastSquares
from bilearn.lower import AcceleratedDescent, minimize
from bilearn.model import WEIGHTS, LearnedModel, load_model, save_model
from bilearn.regularizers import SmoothedTV
from bilearn.retuning import retune
from bilearn.shipped import FOLDER, shipped_names
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy


def ship(run: Path) -> None:
    """Copy a model under its name; bilearn reads float32 numbers into float64 parameters."""
    model = load_model(run)
    name = str(model.description["name"])
    extra = {"name": name, "dtype": "float32", "gray": True, "physics": {"kind": "identity"}}
    save_model(FOLDER / name, model.energy, extra)
    weights = FOLDER / name / WEIGHTS
    save_file({key: value.float() for key, value in load_file(weights).items()}, weights)
    weights.chmod(0o644)


def total_variation(train: Tensor) -> LearnedModel:
    model = LearnedModel(VariationalEnergy(LeastSquares(), SmoothedTV(0.08, xi=1e-6, nu=0.01)))
    x = train[..., 80:176, 80:176].double()
    return retune(model, x, noisy(x, 5), names=("alpha", "nu"), finest=0.02).model


def denoise(model: LearnedModel, y: Tensor) -> Tensor:
    goal = Tolerance(gradient=5e-4 * y[0].numel() ** 0.5)
    return minimize(model.energy, y.to(model.dtype), AcceleratedDescent(), tolerance=goal, throw=False).x


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("folder")
    parser.add_argument("--ship", type=Path, nargs="*", default=[], help="models to put into the package")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for run in options.ship:
        ship(run)
    train, truth, names = images(options.folder)
    y = noisy(truth, 99)
    models = {"TV": total_variation(train), **{name: load(name) for name in shipped_names()}}
    print("TV:", {n: float(v) for n, v in models["TV"].parameters.items()})
    figures: dict[str, Tensor] = {"noisy": -10 * torch.log10((y - truth).square().mean((1, 2, 3)))}
    for name, model in models.items():
        begin = time.process_time()
        x = denoise(model, y)
        print(f"{name}: {(time.process_time() - begin) / len(y):.1f} CPU s an image")
        figures[name] = -10 * torch.log10((x - truth).square().mean((1, 2, 3)))
    rows = [[image, *(f"{float(v[k]):.2f}" for v in figures.values())] for k, image in enumerate(names)]
    rows.append(["mean", *(f"{float(v.mean()):.3f}" for v in figures.values())])
    show(f"PSNR on images held out, noise 0.1, {machine(options.threads)}", ["image", *figures], rows)


if __name__ == "__main__":
    main()
