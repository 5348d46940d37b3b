"""Four ways to differentiate through a reconstruction: cost, true error, and the bound each of them reports.

Implicit and tangent differentiation are asked for an accuracy and reach it. Unrolling and one-step differentiation cannot
be asked; their bound says how wrong they are.

    python examples/compare_hypergradients.py [figure.png]
"""

import sys

import matplotlib.pyplot as plt
import torch

from bilearn.data import add_gaussian_noise, photographs, to_gray
from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import ImplicitHypergradient, OneStep, TangentHypergradient, Unrolled
from bilearn.losses import SquaredError
from bilearn.regularizers import SmoothedTV
from bilearn.variational import VariationalEnergy

figure = sys.argv[1] if len(sys.argv) > 1 else "compare_hypergradients.png"

truth = torch.stack([to_gray(image).pixels[:, 64:112, 64:112] for image in photographs(["camera", "coins", "brick"])])
noisy = add_gaussian_noise(truth, sigma=0.1, generator=torch.Generator().manual_seed(0))
energy = VariationalEnergy(LeastSquares(), SmoothedTV(alpha=0.05, xi=1e-3, nu=0.05))
loss = SquaredError()

reference = ImplicitHypergradient().estimate(energy, loss, noisy, truth, accuracy=1e-9)
print(f"exact gradient {reference.gradient.tolist()}, error at most {reference.gradient_bound:.0e}")

accuracies = [10.0**-k for k in range(1, 7)]
runs = {
    "implicit": [(ImplicitHypergradient(), accuracy) for accuracy in accuracies],
    "tangent": [(TangentHypergradient(), accuracy) for accuracy in accuracies],
    "unrolled": [(Unrolled(steps=steps), None) for steps in (10, 20, 40, 80, 160)],
    "one step": [(OneStep(), None)],
}
curves = {}
for name, estimates in runs.items():
    points = []
    for estimator, accuracy in estimates:
        result = estimator.estimate(energy, loss, noisy, truth, accuracy=accuracy)
        work = (result.cost.gradients + result.cost.hessian_products + result.cost.cross_products) / len(truth)
        error = torch.linalg.vector_norm(result.gradient - reference.gradient).item()
        points.append((work, error, result.gradient_bound))
    curves[name] = points
    print(
        f"{name:9s} best of {len(points)}: {work:6.0f} products per image, error {error:.1e}, bound {points[-1][2]:.1e}"
    )

size = torch.linalg.vector_norm(reference.gradient).item()
fig, ax = plt.subplots(figsize=(8, 4.2), layout="constrained")
for name, points in curves.items():
    work, error, bound = zip(*points, strict=True)
    (line,) = ax.loglog(work, error, "o-", markersize=4, label=f"{name}: true error")
    ax.loglog(work, bound, "s:", markersize=4, color=line.get_color(), label=f"{name}: reported bound")
ax.axhline(size, color="gray", linewidth=0.8, label="norm of the gradient")
ax.set(xlabel="gradients + Hessian products + cross products per image", ylabel="error of the hypergradient")
ax.grid(alpha=0.3)
fig.legend(loc="outside right upper", fontsize="small")
fig.savefig(figure, dpi=90)
