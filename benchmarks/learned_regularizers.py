"""Upper steps and products of learned regularizers against the same work written with plain autograd, in one run.

    python benchmarks/learned_regularizers.py --threads 2             # the full sizes, about ten minutes with the baselines
    python benchmarks/learned_regularizers.py --small --no-baseline   # seconds

Three settings, float32, random zero-mean filters, noise 0.1, crops of the photographs inside scikit-image:

* Fields of Experts, 48 filters 7 x 7, Student-t, 32 crops of 64 x 64, h = 1/(2 sigma^2)|x - y|^2 + lambda sum w phi(k * x),
  w = 1e-4, lambda = 100: one upper step to gradient norm 1.5 and adjoint residual 1e-5 (relative).
* The same filters on 20 images of 256 x 256: gradient, Hessian product, mixed product.
* CRR and WCRR of the published size (1 -> 4 -> 8 -> 64 channels, 5 x 5), 8 crops of 128 x 128: one upper step to gradient norm
  0.05 and 0.02 and adjoint residual 4e-6 (relative).

The baseline is what one would first write: the energy in torch, its gradient and Hessian products by autograd, Nesterov's
method with restarts and the same Lipschitz constant, conjugate gradients, to the same two tolerances.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from _common import arguments, cpu_seconds, machine, show
from torch import Tensor

from bilearn.data.photographs import photographs
from bilearn.fidelities import LeastSquares
from bilearn.linear_systems import solve_linear
from bilearn.lower import LowerSolver, default_solver, minimize
from bilearn.parameters import ParameterVector
from bilearn.regularizers import FieldsOfExperts, Regularizer, RidgeRegularizer, random_filters
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

SIGMA = 0.1
COLUMNS = ["work", "s", "CPU s", "gradients", "Hessian products", "|grad|", "residual"]


@dataclass(frozen=True)
class Setting:
    """An energy with data, and the two accuracies of one upper step."""

    name: str
    energy: VariationalEnergy
    truth: Tensor
    y: Tensor
    gradient: float
    residual: float


def crops(count: int, size: int, seed: int = 0) -> Tensor:
    """(count, 1, size, size) crops at random places of gray photographs."""
    generator = torch.Generator().manual_seed(seed)
    images = [torch.as_tensor(image.pixels).to(torch.float32) for image in photographs()]
    out = []
    for k in range(count):
        image = images[k % len(images)]
        gray = image.reshape(-1, *image.shape[-2:]).mean(0)
        top, left = (int(torch.randint(n - size + 1, (1,), generator=generator)) for n in gray.shape)
        out.append(gray[top : top + size, left : left + size])
    return torch.stack(out).unsqueeze(1)


def setting(
    name: str, regularizer: Regularizer, data_weight: float, shape: tuple[int, int], goals: tuple[float, float]
) -> Setting:
    truth = crops(*shape)
    y = truth + SIGMA * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    return Setting(name, VariationalEnergy(LeastSquares(data_weight), regularizer), truth, y, *goals)


def upper_step(case: Setting, solver: LowerSolver | None) -> list[str]:
    """Loss, adjoint and gradient in all parameters."""
    begin, cpu = time.perf_counter(), time.process_time()
    energy, y = case.energy, case.y
    method = default_solver(energy, y) if solver is None else solver
    lower = minimize(energy, y, method, tolerance=Tolerance(gradient=case.gradient), throw=False)
    slope = 2 * (lower.x - case.truth)
    goal = case.residual * slope.flatten(1).norm(dim=1)
    adjoint = solve_linear(energy.hessian(lower.x, y), slope, tolerance=goal, throw=False)
    energy.cross_vjp(lower.x, y, adjoint.x, ParameterVector(energy).parameters)
    work = lower.cost.copy()
    work.add(adjoint.cost)
    residual = float((adjoint.gradient_norm / slope.flatten(1).norm(dim=1)).max())
    return row(
        f"{case.name}: {method.name}",
        begin,
        cpu,
        work.gradients / len(y),
        work.hessian_products / len(y),
        lower.gradient_norm,
        residual,
    )


def plain_step(case: Setting, max_steps: int = 2000) -> list[str]:
    """The same by autograd of the energy's value."""
    begin, cpu = time.perf_counter(), time.process_time()
    energy, y = case.energy, case.y
    with torch.no_grad():
        curvature = energy.curvature(y)
        length = 1 / float(curvature.smoothness.per_sample(y)[0])

    def gradient(point: Tensor, graph: bool = False) -> Tensor:
        with torch.enable_grad():
            leaf = point if graph else point.detach().requires_grad_(True)
            return torch.autograd.grad(energy(leaf, y).sum(), leaf, create_graph=graph)[0]

    x, previous, t, steps = y.clone(), y.clone(), 1.0, 0
    slope = gradient(x)
    while float(slope.flatten(1).norm(dim=1).max()) > case.gradient and steps < max_steps:
        main = x - length * slope
        t = 1.0 if float((slope * (main - previous)).sum()) > 0 else t
        following = (1 + (1 + 4 * t * t) ** 0.5) / 2
        x, previous, t, steps = main + (t - 1) / following * (main - previous), main, following, steps + 1
        slope = gradient(x)
    right = 2 * (x - case.truth)
    leaf = x.detach().requires_grad_(True)
    graph = gradient(leaf, graph=True)
    q, r = torch.zeros_like(right), right.clone()
    p, size, start, products = r.clone(), r.square().sum((1, 2, 3)), right.square().sum((1, 2, 3)), 0
    while float((size / start).max()) > case.residual**2 and products < 1000:
        (image,) = torch.autograd.grad(graph, leaf, p, retain_graph=True)
        products += 1
        step = (size / (p * image).sum((1, 2, 3))).reshape(-1, 1, 1, 1)
        q, r = q + step * p, r - step * image
        new = r.square().sum((1, 2, 3))
        p, size = r + (new / size).reshape(-1, 1, 1, 1) * p, new
    torch.autograd.grad((graph * q.detach()).sum(), ParameterVector(energy).parameters)
    residual = float((size / start).max().sqrt())
    return row(f"{case.name}: plain autograd", begin, cpu, steps + 1, products, slope.flatten(1).norm(dim=1), residual)


def row(
    name: str, begin: float, cpu: float, gradients: float, products: float, norms: Tensor, residual: float
) -> list[str]:
    seconds = [f"{time.perf_counter() - begin:.2f}", f"{time.process_time() - cpu:.2f}"]
    return [name, *seconds, f"{gradients:.1f}", f"{products:.1f}", f"{float(norms.max()):.2g}", f"{residual:.1g}"]


def products(case: Setting, repeats: int, baseline: bool) -> list[list[str]]:
    """Seconds of a gradient, a Hessian product and a mixed product, here and by autograd."""
    energy, y = case.energy, case.y
    x, v = case.truth, case.y - case.truth
    parameters = ParameterVector(energy).parameters
    with torch.no_grad():
        hessian = energy.hessian(x, y)
    works: list[tuple[str, Callable[[], object]]] = [
        ("gradient", lambda: _quiet(lambda: energy.grad(x, y))),
        ("Hessian product", lambda: _quiet(lambda: hessian(v))),
        ("mixed product", lambda: energy.cross_vjp(x, y, v, parameters)),
    ]
    if baseline:
        leaf = x.clone().requires_grad_(True)
        works += [
            ("plain gradient", lambda: torch.autograd.grad(energy(leaf, y).sum(), leaf)),
            ("plain gradient and Hessian product", lambda: torch.autograd.grad(_graph(energy, leaf, y), leaf, v)),
            ("plain gradient and mixed product", lambda: torch.autograd.grad(_graph(energy, leaf, y), parameters, v)),
        ]
    rows = []
    for name, work in works:
        cpu, wall = cpu_seconds(work, repeats)
        rows.append([f"{case.name}: {name}", f"{wall:.2f}", f"{cpu:.2f}", "", "", "", ""])
    return rows


def _quiet(work: Callable[[], Tensor]) -> Tensor:
    with torch.no_grad():
        return work()


def _graph(energy: VariationalEnergy, leaf: Tensor, y: Tensor) -> Tensor:
    return torch.autograd.grad(energy(leaf, y).sum(), leaf, create_graph=True)[0]


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--small", action="store_true", help="a few small crops")
    parser.add_argument("--no-baseline", action="store_true", help="leave the plain rewrite out")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    seeded = torch.Generator().manual_seed(0)
    filters = random_filters(48, 7, seeded)
    patches, images, ridges = ((4, 32), (2, 64), (2, 48)) if options.small else ((32, 64), (20, 256), (8, 128))
    experts = [FieldsOfExperts(filters, 100 * 1e-4) for _ in range(2)]
    steps = [
        setting("FoE 48 x 7 x 7", experts[0], 1 / SIGMA**2, patches, (1.5, 1e-5)),
        setting("CRR", RidgeRegularizer(weight=1.0, generator=seeded), 1.0, ridges, (0.05, 4e-6)),
        setting("WCRR", RidgeRegularizer(weak=1.0, weight=0.9, generator=seeded), 1.0, ridges, (0.02, 4e-6)),
    ]
    rows = []
    for case in steps:
        rows.append(upper_step(case, None))
        if not options.no_baseline:
            rows.append(plain_step(case))
    rows += products(
        setting(f"FoE, {images[0]} x {images[1]}^2", experts[1], 1 / SIGMA**2, images, (1.5, 1e-5)),
        1 if options.small else options.repeats,
        not options.no_baseline,
    )
    show(f"Learned regularizers, float32, per sample counts, {machine(options.threads)}", COLUMNS, rows)


if __name__ == "__main__":
    main()
