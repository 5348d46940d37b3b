"""What coils cost: gradients, Hessian products and a hypergradient of the k-space energy, 1 coil against several.

    python benchmarks/mri_multicoil.py

Smoothed total variation on complex images, float64, a center-heavy pattern of weights in (0, 1], simulated birdcage maps.
Target: a gradient with C coils costs at most 1.3 C times that with one.
"""

from __future__ import annotations

import torch
from _common import arguments, cpu_seconds, machine, show
from torch import Tensor

from bilearn.linear_systems import ConjugateGradient, solve_linear
from bilearn.losses import SquaredError
from bilearn.mri import FreePattern, birdcage_maps, sampling_energy
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.variational import VariationalEnergy


def problem(size: int, coils: int) -> tuple[VariationalEnergy, Tensor, Tensor]:
    frequency = torch.fft.fftfreq(size, dtype=torch.float64)
    radius = (frequency[:, None].square() + frequency.square()).sqrt()
    pattern = FreePattern(1 / (1 + (16 * radius).square()))
    maps = None if coils == 1 else birdcage_maps(coils, (size, size))
    energy = sampling_energy(pattern, SmoothedTV(1e-3, 1e-3, 1e-2, learn=["alpha"], coupled=True), maps=maps)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 2, 12, 12, generator=generator, dtype=torch.float64)
    x = torch.nn.functional.interpolate(coarse, size=(size, size), mode="nearest")
    clean = energy.operator.A(x)
    return energy, x, clean + 0.03 * torch.randn(clean.shape, generator=generator, dtype=torch.float64)


def measure(size: int, coils: int, repeats: int, applications: int) -> dict[str, float]:
    energy, x, y = problem(size, coils)
    out: dict[str, float] = {}
    with torch.no_grad():
        hessian = energy.hessian(x, y)
        for name, work in (("gradient", lambda: energy.grad(x, y)), ("product", lambda: hessian(x))):
            work()
            out[name] = cpu_seconds(lambda work=work: [work() for _ in range(applications)], repeats)[0] / applications
        rhs = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
        for name, preconditioned in (("steps", True), ("plain steps", False)):
            method = ConjugateGradient(preconditioned)
            out[name] = float(solve_linear(hessian, rhs, method=method, tolerance=1e-3 * float(rhs.norm())).steps.max())
    objective = ReducedObjective(energy, y, x, SquaredError(1 / x[0].numel()))
    theta = objective.parameters.get()
    objective.hypergradient(theta, 1e-3)
    out["products"] = float(sum(objective.cost.as_dict().values()))

    def cold() -> None:
        objective.forget()
        objective.hypergradient(theta, 1e-3)

    out["hypergradient"] = cpu_seconds(cold, repeats)[0]
    return out


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--coils", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--applications", type=int, default=20, help="gradients in one timing")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = {c: measure(options.size, c, options.repeats, options.applications) for c in options.coils}
    base = found[options.coils[0]]
    rows = [
        [
            str(c),
            f"{1e3 * m['gradient']:.1f}",
            f"{m['gradient'] / base['gradient'] / c:.2f}",
            f"{1e3 * m['product']:.1f}",
            f"{m['product'] / base['product'] / c:.2f}",
            f"{m['steps']:.0f} ({m['plain steps']:.0f})",
            f"{m['hypergradient']:.2f}",
            f"{m['hypergradient'] / base['hypergradient'] / c:.2f}",
            f"{m['products']:.0f}",
        ]
        for c, m in found.items()
    ]
    show(
        f"{options.size} x {options.size}, {machine(options.threads)}; CPU times",
        [
            "coils",
            "gradient [ms]",
            "/ coils / single",
            "Hessian product [ms]",
            "/ coils / single",
            "CG steps (plain)",
            "hypergradient [s]",
            "/ coils / single",
            "all work counted",
        ],
        rows,
    )


if __name__ == "__main__":
    main()
