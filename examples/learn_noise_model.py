"""Learning the noise model: the scale of a robust fidelity, one number or one per part of the image, next to alpha.

The noise is Student-t with two degrees of freedom, so its variance is infinite, and grows thirtyfold from left to right.

    python examples/learn_noise_model.py [figure.png]
"""

import sys

import matplotlib.pyplot as plt
import torch

from bilearn.coarse_map import CoarseMap
from bilearn.data import photographs, to_gray
from bilearn.fidelities import Fidelity, LeastSquares, PseudoHuber, StudentT
from bilearn.losses import SquaredError
from bilearn.lower import minimize
from bilearn.metrics import psnr
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.upper import LBFGSB, run
from bilearn.variational import VariationalEnergy

figure = sys.argv[1] if len(sys.argv) > 1 else "learn_noise_model.png"
size = 48
names = ["coins", "astronaut", "coffee", "camera"]
truth = torch.stack([to_gray(photo).pixels[:, 60 : 60 + size, 160 : 160 + size] for photo in photographs(names)])
level = 0.01 * 10 ** torch.linspace(0, 1.5, size, dtype=torch.float64)
generator = torch.Generator().manual_seed(0)
normal = torch.randn(truth.shape, generator=generator, dtype=torch.float64)
square = torch.randn((2, *truth.shape), generator=generator, dtype=torch.float64).square().mean(0)
data = truth + level * normal / square.sqrt()


def columns(value: float) -> CoarseMap:
    """Four numbers from left to right, interpolated to the pixels."""
    return CoarseMap(torch.full((1, 1, 1, 4), value, dtype=torch.float64), (size, size))


fidelities: dict[str, Fidelity] = {
    "least squares": LeastSquares(),
    "pseudo-Huber": PseudoHuber(scale=0.1, learn=["scale"]),
    "Student-t": StudentT(scale=0.1, learn=["scale"]),
    "pseudo-Huber maps": PseudoHuber(columns(1.0), columns(0.1), learn=["weight", "scale"]),
}
quality, values, images = {}, {}, {"truth": truth[-1], "data": data[-1]}
for name, fidelity in fidelities.items():
    energy = VariationalEnergy(fidelity, SmoothedTV(alpha=0.1, xi=1e-3, nu=0.02, learn=["alpha"]))
    objective = ReducedObjective(energy, data[:-1], truth[:-1], SquaredError())
    state = run(LBFGSB(), objective, objective.parameters.get(), max_steps=20)
    objective.parameters.set(state.best.theta)
    values[name] = state.best
    images[name] = minimize(energy, data[-1:]).x[0]
    quality[name] = psnr(images[name][None], truth[-1:]).item()
    word = "certified" if state.best.certified else "not certified"
    print(f"{name}: objective {state.best.value:.3f} ({word}), test image {quality[name]:.2f} dB")
    print(f"    {objective.parameters.describe()}")

fig, axes = plt.subplots(1, 7, figsize=(15, 2.9), layout="constrained")
for ax, (name, image) in zip(axes, images.items(), strict=False):
    ax.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    ax.set_title(f"{name}, {quality[name]:.2f} dB" if name in quality else name, fontsize=9)
    ax.axis("off")
maps = fidelities["pseudo-Huber maps"]
assert isinstance(maps, PseudoHuber)
axes[6].semilogy(level, "k--", label="noise")
axes[6].semilogy(maps.scale[0, 0, 0].detach(), label="scale")
axes[6].semilogy(1 / maps.weight[0, 0, 0].detach(), label="1/weight")
axes[6].set_xlabel("column", fontsize=8)
axes[6].legend(fontsize=8)
fig.savefig(figure, dpi=80)
