"""Checks of what an energy declares: curvature constants, variations, rounding. Sampled values must never exceed them."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.curvature import Constant
from bilearn.energy import Energy
from bilearn.parameters import ParameterVector
from bilearn.testing._expect import at_most
from bilearn.testing.derivatives import COORDINATES
from bilearn.testing.reference import DENSE_ENTRIES, dense_hessian

#: Distances between sampled points, relative to the size of x.
RADII = (1e-4, 1e-2, 0.1, 1.0, 10.0)


def check_constants(energy: Energy, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
    """mu <= eigenvalues of the Hessian <= L, and both Lipschitz constants, at many points around x."""
    with torch.no_grad():
        curvature = energy.curvature(y)
        for point in [x, *(p for p, _ in _points(x, generator))]:
            low, high = _extremes(energy, point, y, generator)
            tolerance = 1e-10 * float(high.abs().max())
            mu, smoothness = curvature.strong_convexity, curvature.smoothness
            if mu.known:
                at_most(
                    "declared strong convexity against the smallest sampled eigenvalue",
                    mu.per_sample(x),
                    low,
                    atol=tolerance,
                )
            if smoothness.known:
                at_most("largest sampled eigenvalue against the declared smoothness", high, smoothness.per_sample(x))
            root = torch.maximum(low.abs(), high.abs())
            if smoothness.known:
                at_most("largest sampled |eigenvalue| against the declared smoothness", root, smoothness.per_sample(x))


def check_variations(energy: Energy, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
    """Sampled changes of the Hessian and of the cross derivative against the Lipschitz constants and the local bounds."""
    curvature = energy.curvature(y)
    vector = ParameterVector(energy) if any(p.requires_grad for p in energy.parameters()) else None
    few = vector is not None and len(vector) <= COORDINATES
    v = torch.stack([_direction(x, k, generator) for k in range(3)])
    here = energy.hessian(x, y)(v).clone()
    columns = energy.cross_columns(x, y, vector.parameters) if vector is not None and few else None
    vjp = None if vector is None else _sample_vjp(energy, x, y, v[0], vector)
    for point, radius in _points(x, generator):
        change = _batch.norm(energy.hessian(point, y)(v) - here, lead=2)
        noise = 1e-11 * float(_batch.norm(here, lead=2).max())
        bound = energy.hessian_variation(x, y, v, radius)
        at_most("change of a Hessian product against hessian_variation", change, bound, atol=noise)
        at_most(
            "hessian_variation of one vector against that of a stack",
            energy.hessian_variation(x, y, v[0], radius),
            bound[0],
        )
        _lipschitz("Hessian", curvature.hessian_lipschitz, change, radius * _batch.norm(v, lead=2), noise)
        if vector is None or vjp is None:
            continue
        moved = _batch.norm(_sample_vjp(energy, point, y, v[0], vector) - vjp)
        noise = 1e-11 * float(_batch.norm(vjp).max())
        at_most(
            "change of cross_vjp against cross_variation", moved, energy.cross_variation(x, y, v[0], radius), atol=noise
        )
        _lipschitz("cross derivative", curvature.cross_lipschitz, moved, radius * _batch.norm(v[0]), noise)
        if columns is not None:
            spectral = _spectral(energy.cross_columns(point, y, vector.parameters) - columns)
            noise = 1e-11 * float(_spectral(columns).max())
            at_most(
                "change of cross_columns against column_variation",
                spectral,
                energy.column_variation(x, y, radius),
                atol=noise,
            )
            _lipschitz("cross derivative", curvature.cross_lipschitz, spectral, radius, noise)
    bound = energy.cross_norm(x, y)
    if bound is not None and columns is not None:
        at_most("spectral norm of cross_columns against cross_norm", _spectral(columns), bound)


def check_rounding(energy: Energy, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
    """Gradient in float32 against the float64 gradient of the same float32 point, data and parameters."""
    single = copy.deepcopy(energy).float()
    double = copy.deepcopy(single).double()
    data = y.to(torch.float32)
    with torch.no_grad():
        for point, _ in [(x, None), *_points(x, generator)]:
            low = point.to(torch.float32)
            exact = double.grad(low.double(), data.double())
            error = _batch.norm(single.grad(low, data).double() - exact)
            at_most(
                "rounding error of the float32 gradient against rounding()", error, single.rounding(low, data).double()
            )


def _lipschitz(name: str, constant: Constant, change: Tensor, moved: Tensor, noise: float) -> None:
    if constant.known:
        value = torch.as_tensor(constant.value, dtype=moved.dtype, device=moved.device)
        at_most(f"change of the {name} against its declared Lipschitz constant", change, value * moved, atol=noise)


def _points(x: Tensor, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    """Points at known distances from x, along dense and along single-entry directions."""
    scale = _batch.norm(x).clamp(min=1e-3)
    for relative in RADII:
        for kind in range(3):
            direction = _direction(x, kind, generator)
            radius = relative * scale
            point = x + _batch.expand(radius / _batch.norm(direction), x) * direction
            yield point, _batch.norm(point - x) * (1 + 1e-12)


def _direction(x: Tensor, kind: int, generator: torch.Generator) -> Tensor:
    """0: Gaussian; 1: one entry per sample; 2: -x, towards the flat image."""
    noise = torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)
    if kind == 1:
        flat = noise.reshape(x.shape[0], -1)
        noise = torch.where(flat == flat.amax(1, keepdim=True), flat, torch.zeros_like(flat)).reshape(x.shape)
    elif kind == 2:
        noise = 1e-6 * noise - x
    return noise


def _extremes(energy: Energy, x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Extreme eigenvalues (B,) of the Hessian: exact for small samples, Rayleigh quotients of random vectors otherwise."""
    hessian = energy.hessian(x, y)
    if _batch.samples(x) <= DENSE_ENTRIES:
        values = torch.linalg.eigvalsh(dense_hessian(hessian, x))
        return values[:, 0], values[:, -1]
    v = torch.stack([_direction(x, k % 3, generator) for k in range(12)])
    quotient = _batch.dot(v, hessian(v), lead=2) / _batch.dot(v, v, lead=2)
    return quotient.amin(0), quotient.amax(0)


def _sample_vjp(energy: Energy, x: Tensor, y: Tensor, v: Tensor, vector: ParameterVector) -> Tensor:
    """(B, P) cross_vjp of each sample by itself."""
    rows = []
    for i in range(_batch.size(x)):
        one = torch.tensor([i], device=x.device)
        alone_x, alone_y, alone_v = (_batch.select(t, one) for t in (x, y, v))
        rows.append(vector.flatten(energy.cross_vjp(alone_x, alone_y, alone_v, vector.parameters)))
    return torch.stack(rows)


def _spectral(columns: Tensor) -> Tensor:
    """(B,) spectral norm of columns (P, B, ...)."""
    return torch.linalg.matrix_norm(columns.flatten(2).permute(1, 2, 0), ord=2)
