"""Learn the three parameters of smoothed total variation from photographs, with the parts of the library in plain view.

python examples/learn_tv_denoising.py [figure.png]
"""

import sys

import matplotlib.pyplot as plt
import torch

from bilearn.data import add_gaussian_noise, photographs, to_gray
from bilearn.fidelities import LeastSquares
from bilearn.lower import minimize
from bilearn.metrics import psnr
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.upper import GaussNewton, run
from bilearn.variational import VariationalEnergy

figure = sys.argv[1] if len(sys.argv) > 1 else "learn_tv_denoising.png"
generator = torch.Generator().manual_seed(0)


def crops(*names: str) -> torch.Tensor:
    return torch.stack([to_gray(image).pixels[:, 100:164, 110:174] for image in photographs(list(names))])


train, test = crops("coins", "brick", "astronaut", "coffee"), crops("camera", "chelsea")
noisy_train = add_gaussian_noise(train, sigma=0.1, generator=generator)
noisy_test = add_gaussian_noise(test, sigma=0.1, generator=generator)

energy = VariationalEnergy(LeastSquares(), SmoothedTV(alpha=0.03, xi=1e-3, nu=0.03))
start = minimize(energy, noisy_test).x

objective = ReducedObjective(energy, noisy_train, train)
first = objective.parameters.get()
state = run(GaussNewton(), objective)
final = objective.value(state.best.theta, accuracy=1e-4 * state.best.value)
learned = minimize(energy, noisy_test).x

print(f"learned {objective.parameters.describe()} ({state.status.value})")
print(f"F = {final.value:.6f}, within {final.bound:.1e} of the exact value (certified: {final.certified})")
print(f"{objective.evaluations} evaluations, {objective.cost.gradients} gradients of single images")

panels = {"truth": test, "noisy": noisy_test, "start parameters": start, "learned parameters": learned}
quality = {name: psnr(images, test).mean().item() for name, images in panels.items() if name != "truth"}
for name, decibel in quality.items():
    print(f"{name:19s} {decibel:.2f} dB on test images")

fig, axes = plt.subplots(len(test), 4, figsize=(10, 5.2), layout="constrained")
for column, (name, images) in enumerate(panels.items()):
    axes[0, column].set_title(name if name == "truth" else f"{name}\n{quality[name]:.2f} dB", fontsize=10)
    for row, image in enumerate(images):
        axes[row, column].imshow(image[0], cmap="gray", vmin=0, vmax=1)
        axes[row, column].axis("off")
fig.savefig(figure, dpi=80)
