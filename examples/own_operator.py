"""Your own forward operator: any linear physics of deepinv goes in, a deepinv reconstructor comes out.

python examples/own_operator.py [figure.png]
"""

import sys

import deepinv
import matplotlib.pyplot as plt
import torch
from torch import Tensor

import bilearn
from bilearn.data import ellipse_phantoms, photographs, stack, to_gray
from bilearn.interop.reconstructor import VariationalReconstructor
from bilearn.metrics import psnr

figure = sys.argv[1] if len(sys.argv) > 1 else "own_operator.png"


def learn(physics: deepinv.physics.LinearPhysics, images: Tensor, sigma: float) -> dict[str, Tensor]:
    """Learn from all images but the last, reconstruct the last."""
    torch.manual_seed(0)
    physics.noise_model = deepinv.physics.GaussianNoise(sigma)
    data = physics(images.float()).double()  # learn in float64, where small regularization can be certified
    regularizer = bilearn.SmoothedTV(alpha=0.1 * sigma, xi=1e-3, nu=0.01, learn=["alpha"])
    fit = bilearn.learn(images[:-1], data[:-1], physics, regularizer, tolerance=1e-3)
    print(fit.summary())

    model = VariationalReconstructor(fit.energy)  # a deepinv.models.Reconstructor: (y, physics) -> x
    with torch.no_grad():
        reconstruction = model(data[-1:])
        baseline = physics.A_dagger(data[-1:].float())
    error = model.solution.error.item()
    print(f"the reconstruction of the test image is within {error:.1e} of the exact minimizer\n")
    return {"truth": images[-1:], "data": data[-1:], "least squares": baseline, "learned TV": reconstruction}


photos = torch.stack(
    [to_gray(i).pixels[:, 60:116, 180:236] for i in photographs(["coins", "astronaut", "coffee", "camera"])]
)
phantoms = stack(ellipse_phantoms(4, 48, torch.Generator().manual_seed(0)))
motion_blur = deepinv.physics.Blur(filter=torch.eye(7)[None, None] / 7, padding="circular")
sparse_views = deepinv.physics.Tomography(angles=20, img_width=48, normalize=True)
results = {
    "motion blur": learn(motion_blur, photos, sigma=0.02),
    "20 views": learn(sparse_views, phantoms, sigma=0.02),
}

gains = []
fig, axes = plt.subplots(2, 4, figsize=(9, 4.8), layout="constrained")
for row, (name, images) in zip(axes, results.items(), strict=True):
    quality = {part: psnr(images[part], images["truth"]).item() for part in ("least squares", "learned TV")}
    gains.append(quality["learned TV"] - quality["least squares"])
    print(name, {part: f"{value:.2f} dB" for part, value in quality.items()})
    for ax, (part, image) in zip(row, images.items(), strict=True):
        limits = {} if part == "data" else {"vmin": 0, "vmax": 1}
        ax.imshow(image[0, 0], cmap="gray", aspect="auto" if part == "data" else "equal", **limits)
        ax.set_title(f"{part}, {quality[part]:.2f} dB" if part in quality else f"{part} ({name})", fontsize=9)
        ax.axis("off")
fig.savefig(figure, dpi=80)
