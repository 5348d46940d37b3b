"""Small energies with known answers, and dense reference gradients."""

import functools
import math

import torch
from torch import Tensor, nn

from bilearn.curvature import UNKNOWN_UPPER, Constant, Curvature
from bilearn.energy import Energy
from bilearn.losses import UpperLoss
from bilearn.parameters import Log10, ParameterVector, learnable

LN10 = math.log(10)


class Ridge(Energy):
    """1/2 |x - y|^2 + alpha/2 |x|^2; minimizer y / (1 + alpha)."""

    def __init__(self, alpha: float = 0.3) -> None:
        super().__init__()
        learnable(self, "alpha", alpha, Log10())

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        alpha = self.alpha.to(x.dtype)
        return 0.5 * ((x - y).square() + alpha * x.square()).flatten(1).sum(1)

    def curvature(self, y: Tensor) -> Curvature:
        one = Constant(1 + self.alpha)
        return Curvature(one, one, Constant(0.0), Constant(LN10 * self.alpha))

    def gradient(self, y: Tensor, target: Tensor) -> Tensor:
        """d/dlog10(alpha) of sum |y/(1+alpha) - target|^2."""
        a = self.alpha.detach()
        return (2 * (y / (1 + a) - target) * (-y / (1 + a) ** 2)).sum() * a * LN10


class Chain(Energy):
    """1/2 |x - y|^2 + alpha sum_j sqrt((x_{j+1} - x_j)^2 + nu^2), by autograd, with declared constants."""

    def __init__(self, alpha: float = 0.3, nu: float = 0.2, declared: bool = True) -> None:
        super().__init__()
        learnable(self, "alpha", alpha, Log10())
        learnable(self, "nu", nu, Log10())
        self.declared = declared

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        alpha, nu = self.alpha.to(x.dtype), self.nu.to(x.dtype)
        return 0.5 * (x - y).square().sum(-1) + alpha * torch.sqrt(x.diff(dim=-1).square() + nu**2).sum(-1)

    def curvature(self, y: Tensor) -> Curvature:
        mu, smoothness = Constant(1.0), Constant(1 + 4 * self.alpha / self.nu)
        if not self.declared:
            return Curvature(mu, smoothness, UNKNOWN_UPPER, UNKNOWN_UPPER)
        third = 1.5 / 1.25**2.5
        return Curvature(
            mu,
            smoothness,
            Constant(8 * third * self.alpha / self.nu**2),
            Constant(math.sqrt(2) * LN10 * 4 * self.alpha / self.nu),
        )


class WeightMap(Energy):
    """1/2 |x - y|^2 + 1/2 sum_j w_j x_j^2 with one plain parameter per pixel; minimizer y / (1 + w)."""

    def __init__(self, pixels: int, declare_norm: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.1, 1.0, pixels, dtype=torch.float64))
        self.declare_norm = declare_norm

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * ((x - y).square() + self.weight * x.square()).sum(-1)

    def curvature(self, y: Tensor) -> Curvature:
        return Curvature(Constant(1 + self.weight.min()), Constant(1 + self.weight.max()), Constant(0.0), Constant(1.0))

    def cross_norm(self, x: Tensor, y: Tensor) -> Tensor | None:
        return x.abs().amax(-1) if self.declare_norm else None

    def gradient(self, y: Tensor, target: Tensor) -> Tensor:
        """d/dw of sum |y/(1+w) - target|^2."""
        w = self.weight.detach()
        return (2 * (y / (1 + w) - target) * (-y / (1 + w) ** 2)).sum(0)


def data(pixels: int = 12, samples: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Noisy steps and the steps."""
    generator = torch.Generator().manual_seed(7)
    target = (torch.rand(samples, pixels, generator=generator, dtype=torch.float64) > 0.5).to(dtype)
    noise = torch.randn(samples, pixels, generator=generator, dtype=torch.float64).to(dtype)
    return target + 0.2 * noise, target


def dense_minimizer(energy: Energy, y: Tensor) -> Tensor:
    """Minimizers by damped dense Newton in float64, one sample at a time."""
    rows = []
    for sample in y.double():
        x = sample.clone()

        def value(v: Tensor, d: Tensor = sample) -> Tensor:
            return energy(v[None], d[None])[0]

        previous = float("inf")
        for _ in range(60):
            g = torch.autograd.functional.jacobian(value, x)
            if float(g.norm()) < 1e-12 and float(g.norm()) >= previous:
                break
            previous = float(g.norm())
            step = torch.linalg.solve(torch.autograd.functional.hessian(value, x), g)
            t = 1.0
            with torch.no_grad():
                while t > 1e-8 and float(value(x - t * step)) > float(value(x)) - 1e-4 * t * float(g @ step) + 1e-15:
                    t /= 2
            x = x - t * step
        rows.append(x.detach())
    return torch.stack(rows)


def dense_gradient(energy: Energy, loss: UpperLoss, y: Tensor, target: Tensor) -> Tensor:
    """Exact hypergradient of the sum of losses: dense Hessian and adjoint per sample."""
    vector = ParameterVector(energy)
    x = dense_minimizer(energy, y)
    total = torch.zeros(len(vector), dtype=torch.float64)
    for point, sample, truth in zip(x, y.double(), target.double(), strict=True):
        hessian = torch.autograd.functional.hessian(lambda v, d=sample: energy(v[None], d[None])[0], point)
        slope = loss.grad(point[None], truth[None])[0]
        q = torch.linalg.solve(hessian, slope)
        total -= vector.flatten(energy.cross_vjp(point[None], sample[None], q[None], vector.parameters))
    return total


@functools.cache
def chain_reference(loss: UpperLoss) -> Tensor:
    """Exact hypergradient of the standard ``Chain()`` on the standard data."""
    return dense_gradient(Chain(), loss, *data())


@functools.cache
def chain_minimizer() -> Tensor:
    """Exact minimizers of the standard ``Chain()`` on the standard data."""
    return dense_minimizer(Chain(), data()[0])
