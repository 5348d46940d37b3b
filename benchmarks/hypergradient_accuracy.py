"""True errors of hypergradients of the shipped CRR and WCRR: balanced accuracy against usual practice.

    python benchmarks/hypergradient_accuracy.py

Two crops of photographs inside scikit-image, noise 0.1, float32, all 13,767 numbers. Reference: float64, Newton's method to a
gradient norm of 1e-9 and an adjoint residual of 1e-10 (relative). Usual practice: accelerated gradients to a relative change of
1e-4, MINRES to 1e-6 (relative).
"""

from __future__ import annotations

import time

import torch
from _common import arguments, machine, show
from learned_regularizers import crops
from torch import Tensor
from train_ridge import hypergradient, noisy, until_relative_change

from bilearn import load
from bilearn.hypergradient import BalancedHypergradient
from bilearn.linear_systems import Minres
from bilearn.losses import SquaredError
from bilearn.lower import NewtonCG, minimize
from bilearn.parameters import ParameterVector
from bilearn.shipped import shipped_names
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy


def reference(energy: VariationalEnergy, truth: Tensor, y: Tensor) -> Tensor:
    """Gradient of the sum of the losses."""
    x, data = truth.double(), y.double()
    solution = minimize(energy, data, NewtonCG(), tolerance=Tolerance(gradient=1e-9), throw=False)
    gradient, _, _ = hypergradient(energy, ParameterVector(energy), solution.x, x, data, None, 1e-10, None)
    return len(y) * gradient


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--size", type=int, default=64)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    truth = crops(2, options.size)
    y = noisy(truth, 1)
    rows = []
    for name in shipped_names():
        energy = load(name).energy
        energy.requires_grad_(True)
        energy.fidelity.requires_grad_(False)
        vector = ParameterVector(energy)
        exact = reference(energy, truth, y)

        def error(gradient: Tensor, exact: Tensor = exact) -> str:
            return f"{float((gradient - exact).norm() / exact.norm()):.2g}"

        begin = time.process_time()
        image = until_relative_change(energy, y, 1e-4)
        gradient, _, cost = hypergradient(energy, vector, image, truth, y, None, 1e-6, Minres())
        seconds = time.process_time() - begin
        rows.append(
            [
                f"{name}: usual practice",
                error(len(y) * gradient),
                "",
                f"{cost.hessian_products / 2:.0f}",
                f"{seconds:.2f}",
            ]
        )
        for relative in (1e-1, 1e-2):
            begin = time.process_time()
            found = BalancedHypergradient(relative=relative).estimate(energy, SquaredError(), y, truth, vector)
            seconds = time.process_time() - begin
            work = [f"{found.cost.gradients / 2:.0f}", f"{found.cost.hessian_products / 2:.0f}", f"{seconds:.2f}"]
            rows.append([f"{name}: balanced, {relative:g} asked", error(found.gradient), *work])
    columns = ["model and method", "true relative error", "gradients", "Hessian products", "CPU s"]
    show(f"Hypergradients of 2 crops, {options.size} x {options.size}, {machine(options.threads)}", columns, rows)


if __name__ == "__main__":
    main()
