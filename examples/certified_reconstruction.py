"""One reconstruction, three solvers, two dtypes: the true distance to the minimizer and the certificate.

The certificate |grad h(x)| / mu is computed from the returned point alone. The true distance needs a solve to machine
precision to compare with; it never exceeds the certificate. In
float32 the certificate ends at the rounding floor, and the solve says so instead of going on.

    python examples/certified_reconstruction.py [figure.png]
"""

import sys

import matplotlib.pyplot as plt
import torch

from bilearn.data import add_gaussian_noise, photographs, to_gray
from bilearn.fidelities import LeastSquares
from bilearn.lower import GradientDescent, NesterovGradient, NewtonCG, minimize
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

figure = sys.argv[1] if len(sys.argv) > 1 else "certified_reconstruction.png"

truth = to_gray(photographs(["camera"])[0]).pixels[None, :, 64:128, 176:240]
noisy = add_gaussian_noise(truth, sigma=0.1, generator=torch.Generator().manual_seed(0))
energy = VariationalEnergy(LeastSquares(), SmoothedTV(alpha=0.1, xi=1e-3, nu=0.01))
exact = minimize(energy, noisy, NewtonCG(smallest_forcing=1e-6), tolerance=Tolerance(distance=1e-11)).x

runs = {
    "gradient descent": (GradientDescent(), torch.float64, range(0, 301, 60)),
    "Nesterov": (NesterovGradient(), torch.float64, range(0, 241, 30)),
    "Newton-CG": (NewtonCG(), torch.float64, range(12)),
    "Nesterov, float32": (NesterovGradient(), torch.float32, range(0, 241, 30)),
}
curves = {}
for name, (solver, dtype, budgets) in runs.items():
    points = []
    for steps in budgets:
        solution = minimize(
            energy, noisy.to(dtype), solver, max_steps=steps, tolerance=Tolerance(distance=1e-9), throw=False
        )
        work = solution.cost.gradients + solution.cost.hessian_products
        distance = torch.linalg.vector_norm(solution.x.double() - exact).item()
        points.append((work, distance, solution.error.item()))
    curves[name] = points
    work, distance, certificate = points[-1]
    print(f"{name:17s} {work:4d} products: |x - xhat| = {distance:.1e} <= {certificate:.1e}; {solution.describe()}")

fig, axes = plt.subplots(1, 4, figsize=(12, 3.2), sharey=True, layout="constrained")
for ax, (name, points) in zip(axes, curves.items(), strict=True):
    work, distance, certificate = zip(*points, strict=True)
    ax.semilogy(work, certificate, label="certificate  (|∇h(x)| + rounding) / μ")
    ax.semilogy(work, distance, "--", label="true distance  |x - x̂|")
    ax.set(title=name, xlabel="gradients + Hessian products", ylim=(1e-12, 1e3))
    ax.grid(alpha=0.3)
axes[0].set_ylabel("Euclidean distance")
axes[0].legend(loc="lower left", fontsize="small")
fig.savefig(figure, dpi=90)
