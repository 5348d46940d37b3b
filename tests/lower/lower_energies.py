"""Small energies with known minimizers or known constants for the tests of lower-level methods."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Constant, Curvature
from bilearn.energy import Apply, Energy, Hessian


class DiagonalHessian(Hessian):
    """v -> d v, with whatever of direct solve and preconditioner is asked for."""

    def __init__(self, entries: Tensor, offers: frozenset[str]) -> None:
        self.entries, self.offers = entries, offers

    def __call__(self, v: Tensor) -> Tensor:
        return self.entries * v

    def select(self, index: Tensor) -> Hessian:
        return DiagonalHessian(self.entries[index], self.offers)

    def direct(self) -> Apply | None:
        if "rough" in self.offers:
            return lambda v: (v.float() / self.entries.float()).double()
        return (lambda v: v / self.entries) if "direct" in self.offers else None

    def preconditioner(self) -> Apply | None:
        return (lambda v: v / self.entries.sqrt()) if "preconditioner" in self.offers else None


class Quadratic(Energy):
    """h = 1/2 sum_k d_k x_k^2 - <y, x>, minimizer y/d; starts at zero."""

    def __init__(self, spectrum: Tensor, *offers: str, declared: float = 1.0) -> None:
        super().__init__()
        self.spectrum, self.offers, self.declared = spectrum, frozenset(offers), declared
        self.calls = {"value": 0, "gradient": 0}

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls["value"] += x.shape[0]
        return _batch.total(0.5 * self.spectrum * (x.conj() * x).real - (y.conj() * x).real)

    def grad(self, x: Tensor, y: Tensor) -> Tensor:
        self.calls["gradient"] += x.shape[0]
        return self.spectrum * x - y

    def hessian(self, x: Tensor, y: Tensor) -> Hessian:
        return DiagonalHessian(self.spectrum.expand(x.shape), self.offers)

    def curvature(self, y: Tensor) -> Curvature:
        if "unknown" in self.offers:
            return Curvature()
        mu = 0.0 if "convex" in self.offers else self.spectrum.min()
        return Curvature(Constant(mu), Constant(self.declared * self.spectrum.max()), Constant(0.0))

    def start(self, y: Tensor) -> Tensor:
        return torch.zeros_like(y)

    def minimizer(self, y: Tensor) -> Tensor:
        return y / self.spectrum


class SignalTV(Energy):
    """1/2 |x - y|^2 + alpha sum sqrt((x_j - x_{j-1})^2 + nu^2): only ``forward`` and declared constants."""

    def __init__(self, alpha: float = 0.3, nu: float = 0.1, known: bool = True) -> None:
        super().__init__()
        self.alpha, self.nu, self.known = alpha, nu, known

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        rough = torch.sqrt(x.diff(dim=-1).square() + self.nu**2)
        return 0.5 * (x - y).square().sum(-1) + self.alpha * rough.sum(-1)

    def curvature(self, y: Tensor) -> Curvature:
        return Curvature(Constant(1.0), Constant(1 + 4 * self.alpha / self.nu)) if self.known else Curvature()

    def rounding(self, x: Tensor, y: Tensor) -> Tensor:
        flux = 2 * self.alpha * x.shape[-1] ** 0.5
        return 8 * torch.finfo(x.dtype).eps * (_batch.norm(x) + _batch.norm(y) + flux)


class PerSample(Energy):
    """h_i = 1/2 c_i |x|^2 with c given by the data (B, 1), but L declared as 1: a wrong declaration where c > 2."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return 0.5 * (y[:, :1] * x.square()).sum(-1)

    def curvature(self, y: Tensor) -> Curvature:
        return Curvature(Constant(0.5), Constant(1.0))

    def start(self, y: Tensor) -> Tensor:
        return torch.ones_like(y)


class DoubleWell(Energy):
    """sum (x^2 - 1)^2 / 4 + (x - y)^2 / 20: indefinite around zero, one minimizer near each of -1 and 1."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return ((x.square() - 1).square() / 4 + (x - y).square() / 20).sum(-1)


def data(batch: int, n: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Standard normal numbers."""
    return torch.randn(batch, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def steps_signal(batch: int, n: int, seed: int = 0) -> Tensor:
    """Noisy piecewise constant signals."""
    edges = torch.randint(1, n - 1, (batch, 1), generator=torch.Generator().manual_seed(seed))
    return (torch.arange(n) >= edges).double() + 0.1 * data(batch, n, seed + 1)


SPECTRUM = torch.logspace(0, 2, 16, dtype=torch.float64)
