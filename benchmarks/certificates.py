"""How tight the certificates are: true error over bound, for reconstructions and for hypergradients.

    python benchmarks/certificates.py

Smoothed-TV denoising, deblurring and inpainting of piecewise constant images, and 1-D signals. The truth is a solve in
float64, with the parameters and data as rounded to the dtype, to the floor of certification. A ratio above 1 would be a
wrong certificate; one of 1e-6 a useless one.
"""

from __future__ import annotations

import copy

import torch
from _common import arguments, machine, show
from scaling import images
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import ImplicitHypergradient, TangentHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import GradientDescent, NesterovGradient, NewtonCG, minimize
from bilearn.operators import ForwardOperator, FourierBlur, Identity, Mask
from bilearn.problems import indicator_signals
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy


def cases() -> dict[str, tuple[VariationalEnergy, Tensor, Tensor]]:
    """Energy, true signals and data by name."""
    x, noise = images(2, 32)
    noise = noise - x
    generator = torch.Generator().manual_seed(1)
    kept = (torch.rand(1, 1, 32, 32, generator=generator) < 0.6).double()
    axis = torch.arange(7, dtype=torch.float64) - 3
    bell = torch.exp(-0.5 * (axis / 1.2) ** 2)
    kernel = torch.outer(bell, bell) / bell.sum() ** 2

    def case(operator: ForwardOperator, alpha: float, level: float) -> tuple[VariationalEnergy, Tensor, Tensor]:
        energy = VariationalEnergy(LeastSquares(), SmoothedTV(alpha, 1e-2, 1e-2), operator)
        return energy, x, operator.A(x) + level * noise

    signals, noisy = indicator_signals(4, 256, 0.1)
    line = VariationalEnergy(LeastSquares(), SmoothedTV(0.4, 1e-3, 1e-2, axes=1, boundary="dirichlet"))
    return {
        "denoising 32^2": case(Identity(), 0.1, 1.0),
        "deblurring 32^2": case(FourierBlur(kernel, (32, 32)), 5e-3, 0.2),
        "inpainting 32^2": case(Mask(kept), 0.05, 0.5),
        "signals 256": (line, signals, noisy),
    }


def summary(ratios: list[float]) -> list[str]:
    values = torch.tensor(ratios)
    return [str(len(ratios)), f"{float(values.median()):.2g}", f"{float(values.max()):.3g}"]


def main() -> None:
    options = arguments(__doc__ or "").parse_args()
    torch.set_num_threads(options.threads)
    distances: dict[str, list[float]] = {}
    gradients: dict[str, list[float]] = {}
    for name, (energy, target, y) in cases().items():
        for dtype in (torch.float32, torch.float64):
            shared, data = copy.deepcopy(energy).to(dtype), y.to(dtype)
            wide = copy.deepcopy(shared).to(torch.float64)
            exact = minimize(wide, data.double(), NewtonCG(), tolerance=Tolerance(distance=1e-12), throw=False).x
            for solver in (GradientDescent(), NesterovGradient(), NewtonCG()):
                for distance in (1e-1, 1e-2, 1e-3, 1e-5, 1e-7):
                    found = minimize(
                        shared, data, solver, tolerance=Tolerance(distance=distance), max_steps=3000, throw=False
                    )
                    error = (found.x.double() - exact).flatten(1).norm(dim=1)
                    row = distances.setdefault(f"{name}, {solver.name}, {str(dtype)[6:]}", [])
                    row.extend((error / found.error.double()).tolist())
        truth = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-9).gradient
        for estimator in (ImplicitHypergradient(), TangentHypergradient()):
            for accuracy in (1.0, 1e-1, 1e-2, 1e-3, 1e-4):
                got = estimator.estimate(energy, SquaredError(), y, target, accuracy=accuracy)
                error = float((got.gradient - truth).norm())
                gradients.setdefault(f"{name}, {type(estimator).__name__}", []).append(error / got.gradient_bound)
    head = ["cases", "median ratio", "largest ratio"]
    show(
        f"|x - xhat| / bound, {machine(options.threads)}",
        ["reconstruction", *head],
        [[k, *summary(v)] for k, v in distances.items()],
    )
    show(
        "|gradient error| / bound, float64", ["hypergradient", *head], [[k, *summary(v)] for k, v in gradients.items()]
    )


if __name__ == "__main__":
    main()
