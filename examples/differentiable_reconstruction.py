"""A reconstruction as a layer: any torch loss, any torch optimizer, and a pixel-wise weight learned by backpropagation.

``argmin_layer`` solves the lower-level problem in its forward pass and one linear system in its backward pass, so memory
does not grow with the number of iterations. Here the loss compares edges instead of pixels, and the weight of total
variation is a map with one number per pixel.

    python examples/differentiable_reconstruction.py [figure.png]
"""

import sys

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from bilearn.data import add_gaussian_noise, photographs, to_gray
from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import argmin_layer
from bilearn.metrics import psnr
from bilearn.regularizers import SmoothedTV
from bilearn.variational import VariationalEnergy

figure = sys.argv[1] if len(sys.argv) > 1 else "differentiable_reconstruction.png"

truth = to_gray(photographs(["camera"])[0]).pixels[None, :, 64:144, 160:240]
draws = truth.expand(3, -1, -1, -1)
noisy = add_gaussian_noise(draws, sigma=0.1, generator=torch.Generator().manual_seed(0))


def edge_loss(x: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of the image gradients, plus a little of the images."""
    difference = x - target
    edges = difference.diff(dim=-1).square().mean() + difference.diff(dim=-2).square().mean()
    return edges + 0.1 * difference.square().mean()


alpha = torch.full(truth.shape, 0.05, dtype=torch.float64)
energy = VariationalEnergy(LeastSquares(), SmoothedTV(alpha=alpha, xi=1e-3, nu=0.01, learn=["alpha"]))
optimizer = torch.optim.Adam(energy.parameters(), lr=0.1)

losses, start = [], argmin_layer(energy, noisy).detach()
x = start
for _ in range(20):
    optimizer.zero_grad()
    x = argmin_layer(energy, noisy, x0=x.detach())
    loss = edge_loss(x, draws)
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
learned_map = energy.regularizer.alpha[0, 0].detach()
print(f"edge loss {losses[0]:.3e} -> {losses[-1]:.3e} in {len(losses)} steps of Adam on {alpha.numel()} weights")

fresh = add_gaussian_noise(truth, sigma=0.1, generator=torch.Generator().manual_seed(1))
with torch.no_grad():
    unseen = argmin_layer(energy, fresh)
    energy.regularizer.alpha = alpha
    uniform = argmin_layer(energy, fresh)
quality = [psnr(image, truth).item() for image in (fresh, uniform, unseen)]
print("same image, unseen noise: {:.2f} dB; uniform weight {:.2f} dB; learned map {:.2f} dB".format(*quality))

panels = {"one noisy draw": noisy[0], "uniform weight": start[0], "learned map": x[0].detach()}
fig, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
for ax, (name, image) in zip(axes, panels.items(), strict=False):
    ax.imshow(image[0], cmap="gray", vmin=0, vmax=1)
    ax.set_title(name, fontsize=10)
    ax.axis("off")
weights = axes[3].imshow(learned_map.log10(), cmap="viridis")
axes[3].set_title("learned log10 weight", fontsize=10)
axes[3].axis("off")
fig.colorbar(weights, ax=axes[3], shrink=0.8)
fig.savefig(figure, dpi=80)
