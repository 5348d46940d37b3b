"""Space-variant total variation: weight, direction, anisotropy and exponent of every patch, estimated and then learned.

Random images that share their geometry: three quarters are woven in directions of their own, one is flat.

    python examples/space_variant_tv.py [figure.png]
"""

import sys

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from bilearn.coarse_map import CoarseMap
from bilearn.data import add_gaussian_noise
from bilearn.fidelities import LeastSquares
from bilearn.losses import SquaredError
from bilearn.lower import minimize
from bilearn.metrics import psnr
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import Regularizer, SmoothedTV, SpaceVariantTV, gradient_maps
from bilearn.upper import LBFGSB, run
from bilearn.variational import VariationalEnergy

figure = sys.argv[1] if len(sys.argv) > 1 else "space_variant_tv.png"
size, patch, sigma = 48, 12, 0.2
generator = torch.Generator().manual_seed(0)


def uniform(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=generator, dtype=torch.float64)


def woven() -> Tensor:
    rows, columns = torch.meshgrid(*(torch.arange(size, dtype=torch.float64),) * 2, indexing="ij")
    quarter = (rows >= size / 2).long() * 2 + (columns >= size / 2).long()
    angle = torch.tensor([0.0, 1.1, 2.4, 0.0], dtype=torch.float64)[quarter]
    place = rows * torch.cos(angle) - columns * torch.sin(angle)
    waves = 0.5 + 0.35 * torch.sin(0.8 * place + 6.28 * uniform(4)[quarter])
    return torch.where(quarter == 3, 0.3 + 0.4 * uniform(1), waves)[None]


truth = torch.stack([woven() for _ in range(6)])
data = add_gaussian_noise(truth, sigma=sigma, generator=generator)
images, quality, values = {"truth": truth[-1, 0], "data": data[-1, 0]}, {}, {}


def evaluate(name: str, regularizer: Regularizer, steps: int) -> None:
    """Learn from the first four images, reconstruct the last two."""
    energy = VariationalEnergy(LeastSquares(), regularizer)
    objective = ReducedObjective(energy, data[:4], truth[:4], SquaredError())
    best = objective.value(objective.parameters.get(), 1e-3)
    if steps:
        best = run(LBFGSB(), objective, objective.parameters.get(), max_steps=steps).best
        objective.parameters.set(best.theta)
    x = minimize(energy, data[4:]).x
    images[name], values[name] = x[-1, 0], best
    quality[name] = psnr(x, truth[4:]).mean().item()
    print(
        f"{name}: {len(objective.parameters)} numbers, objective {best.value:.2f}, unseen images {quality[name]:.2f} dB"
    )


maps = gradient_maps(truth[:4], patch, patches=True)
start = {
    "alpha": (sigma**2 * maps.alpha).clamp(0.02, 1.0),
    "angle": maps.angle,
    "ratio": maps.ratio.clamp(0.05, 0.9),
    "exponent": maps.exponent,
}
guided = SpaceVariantTV(
    **{name: CoarseMap(value, (size, size), "patches") for name, value in start.items()},
    xi=1e-3,
    nu=0.05,
    learn=list(start),
)
evaluate("TV, learned alpha", SmoothedTV(alpha=0.1, xi=1e-3, nu=0.05, learn=["alpha"]), 20)
evaluate("maps as estimated", guided, 0)
evaluate("maps as learned", guided, 20)

fig, axes = plt.subplots(2, 5, figsize=(12, 5), layout="constrained")
for ax, (name, image) in zip(axes[0], images.items(), strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set_title(f"{name}, {quality[name]:.2f} dB" if name in quality else name, fontsize=9)
learned = {
    "log10 alpha": guided.alpha.log10(),
    "angle modulo pi": guided.angle.remainder(torch.pi),
    "ratio": guided.ratio,
    "exponent": guided.exponent,
}
for ax, (name, values_) in zip(axes[1], learned.items(), strict=False):
    options = {"cmap": "twilight", "vmin": 0, "vmax": torch.pi} if "angle" in name else {}
    picture = ax.imshow(values_[0, 0].detach(), **options)
    ax.set_title(f"learned {name}", fontsize=9)
    fig.colorbar(picture, ax=ax, shrink=0.8)
axes[1, 4].imshow(truth[-1, 0], cmap="gray", vmin=0, vmax=1)
for row in range(patch // 2, size, patch):
    for column in range(patch // 2, size, patch):
        angle, ratio = (m[0, 0, row, column].detach() for m in (guided.angle, guided.ratio))
        half = 5 * (1 - ratio) * torch.stack((torch.cos(angle), torch.sin(angle)))
        axes[1, 4].plot((column - half[0], column + half[0]), (row - half[1], row + half[1]), color="tab:red", lw=2)
axes[1, 4].set_title("learned directions", fontsize=9)
for ax in axes.flat:
    ax.axis("off")
fig.savefig(figure, dpi=80)
