"""Checks of an energy's values and derivatives: neighbors in the batch, autograd, finite differences, linear solves."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy, Hessian
from bilearn.parameters import ParameterVector
from bilearn.testing._expect import at_most, close, holds, unchanged
from bilearn.testing.reference import AtTheta, central_difference, coordinate_directions

#: Up to this many parameters every coordinate is differenced, beyond it this many of them.
COORDINATES = 12


def check_values(energy: Energy, x: Tensor, y: Tensor) -> None:
    """Shape, finiteness, and a value and gradient per sample that do not depend on the other samples."""
    with torch.no_grad():
        value, gradient, start = energy(x, y), energy.grad(x, y), energy.start(y)
        for name, found, expected in (
            ("value", value, x.shape[:1]),
            ("grad", gradient, x.shape),
            ("start", start, x.shape),
        ):
            holds(f"{name}: found shape {tuple(found.shape)}, expected {tuple(expected)}", found.shape == expected)
            holds(f"{name}: found NaN or infinity, expected finite numbers", bool(torch.isfinite(found).all()))
        for i in range(_batch.size(x)):
            one = torch.tensor([i], device=x.device)
            alone_x, alone_y = _batch.select(x, one), _batch.select(y, one)
            close(f"value of sample {i} alone against in the batch", energy(alone_x, alone_y), value[one], 1e-11, 1e-14)
            close(
                f"grad of sample {i} alone against in the batch",
                energy.grad(alone_x, alone_y),
                gradient[one],
                1e-11,
                1e-13,
            )
            close(f"start of sample {i} alone against in the batch", energy.start(alone_y), start[one], 1e-11, 1e-14)
    start.add_(1.0)
    with torch.no_grad():
        close("start after the caller changed an earlier start in place", energy.start(y), start - 1.0, 1e-12, 1e-12)


def check_gradient(energy: Energy, x: Tensor, y: Tensor, generator: torch.Generator, rtol: float) -> None:
    """``grad`` with and without grad mode, against autograd of the value and against central differences."""
    with torch.no_grad():
        plain = energy.grad(x, y)
    with torch.enable_grad():
        close("grad with grad mode on against off", energy.grad(x.detach(), y).detach(), plain, 1e-10, 1e-13)
        point = x.detach().clone().requires_grad_(True)
        (automatic,) = torch.autograd.grad(energy(point, y).sum(), point, materialize_grads=True)
    close("grad against autograd of the value", plain, automatic, 1e-9, 1e-12)
    with torch.no_grad():
        for _ in range(3):
            v = _random(x, generator)
            step = _step(x)
            difference = central_difference(lambda t, v=v: energy(x + t * v, y), step)
            noise = 1e-14 * float(energy(x, y).abs().max()) / step
            slope = _batch.dot(plain, v)
            scale = float((_batch.norm(plain) * _batch.norm(v)).max())
            close(
                "grad along a random direction against central differences",
                slope,
                difference,
                rtol,
                noise + rtol * scale,
            )


def check_hessian(energy: Energy, x: Tensor, y: Tensor, generator: torch.Generator, rtol: float) -> None:
    """Products against differences of the gradient, and everything a linear solve relies on."""
    hessian = energy.hessian(x, y)
    v = torch.stack([_random(x, generator) for _ in range(3)])
    with torch.no_grad():
        stacked = hessian(v)
        noise = 1e-13 * float(_batch.norm(energy.grad(x, y)).max()) / _step(x)
        for k, part in enumerate(v):
            difference = central_difference(lambda t, part=part: energy.grad(x + t * part, y), _step(x))
            close("Hessian product against central differences of grad", stacked[k], difference, rtol, noise)
        _check_map("Hessian", hessian, v)


def check_newton_model(energy: Energy, x: Tensor, y: Tensor, generator: torch.Generator) -> None:
    """``newton_model`` with fresh and with used memory; after a step of length zero it is the Hessian."""
    v = torch.stack([_random(x, generator) for _ in range(3)])
    with torch.no_grad():
        first, advance = energy.newton_model(x, y, None)
        _check_map("Newton model at the first step", first, v)
        used, _ = energy.newton_model(x, y, advance(0.3 * v[0]))
        _check_map("Newton model at the second step", used, v)
        still, _ = energy.newton_model(x, y, advance(torch.zeros_like(x)))
        close("Newton model after a step of length zero against the Hessian", still(v), energy.hessian(x, y)(v), 1e-10)
        mu = energy.curvature(y).strong_convexity
        if mu.known and bool((mu.per_sample(x) >= 0).all()):
            for model in (first, used):
                at_most(
                    "positivity of the Newton model, -<v, M v>", -_batch.dot(v, model(v), lead=2), torch.zeros(()), 0.0
                )


def _check_map(name: str, hessian: Hessian, v: Tensor) -> None:
    """Stacks (K, B, ...), memory, symmetry, selection, direct solver and preconditioner of a linear map."""
    first = hessian(v[0])
    kept = first.clone()
    stacked = hessian(v)
    unchanged(f"{name}: an earlier product", first, kept)
    for k, part in enumerate(v):
        close(
            f"{name}: product of right-hand side {k} of a stack against alone", stacked[k], hessian(part), 1e-11, 1e-13
        )
    left, right = _batch.dot(v[1], stacked[0]), _batch.dot(v[0], stacked[1])
    size = float((_batch.norm(v[1]) * _batch.norm(stacked[0])).max())
    close(f"{name}: symmetry, <u, H v> against <H u, v>", left, right, 1e-11, 1e-11 * size)
    for i in range(v.shape[1]):
        one = torch.tensor([i], device=v.device)
        alone = hessian.select(one)(_batch.select(v[0], one))
        close(f"{name}: select of sample {i}", alone, kept[one], 1e-11, 1e-13)
    direct = hessian.direct()
    if direct is not None:
        close(f"{name}: direct() of one right-hand side, H direct(v) against v", hessian(direct(v[0])), v[0], 1e-8)
        close(f"{name}: direct() of a stack, H direct(v) against v", hessian(direct(v)), v, 1e-8)
    preconditioner = hessian.preconditioner()
    if preconditioner is not None:
        image = preconditioner(v)
        alone = torch.stack([preconditioner(p) for p in v])
        close(f"{name}: preconditioner of a stack against one by one", image, alone, 1e-11)
        left, right = _batch.dot(v[1], image[0]), _batch.dot(v[0], image[1])
        size = float((_batch.norm(v[1]) * _batch.norm(image[0])).max())
        close(f"{name}: symmetry of the preconditioner", left, right, 1e-10, 1e-10 * size)
        positive = -_batch.dot(v, image, lead=2)
        at_most(f"{name}: positivity of the preconditioner, -<v, P v>", positive, torch.zeros(()), 0.0)


def check_cross(energy: Energy, x: Tensor, y: Tensor, generator: torch.Generator, rtol: float) -> None:
    """``cross_vjp`` and ``cross_columns`` against central differences of the gradient in the coordinates of theta."""
    if not any(p.requires_grad for p in energy.parameters()):
        return
    vector = ParameterVector(energy)
    tensors, count = vector.parameters, len(vector)
    v = _random(x, generator)
    product = vector.flatten(energy.cross_vjp(x, y, v, tensors))
    holds(f"cross_vjp: found {product.numel()} numbers, expected {count}", product.numel() == count)
    directions = coordinate_directions(count, COORDINATES, generator).to(vector.lower)
    at = AtTheta(energy, vector)
    columns = torch.stack([_theta_column(at, energy, x, y, d) for d in directions])
    noise = 1e-12 * float(_batch.norm(energy.grad(x, y).detach()).max()) * float(_batch.norm(v).max())
    expected = _batch.dot(columns, v, lead=2).sum(1).to(product.dtype)
    size = float((_batch.norm(columns, lead=2) * _batch.norm(v)).sum())
    close(
        "cross_vjp against central differences of grad in theta",
        directions @ product,
        expected,
        rtol,
        noise + rtol * size,
    )
    if count <= COORDINATES:
        found = energy.cross_columns(x, y, tensors)
        close("cross_columns against central differences of grad in theta", found, columns, rtol, noise)


def check_untouched(energy: Energy, x: Tensor, y: Tensor, check: Callable[[], None]) -> None:
    """Run a check; the caller's tensors and the parameters must be as they were."""
    tensors = {"x": x, "y": y, **{f"parameter {n}": p for n, p in energy.named_parameters()}}
    before = {name: t.detach().clone() for name, t in tensors.items()}
    flags = {name: t.requires_grad for name, t in tensors.items()}
    check()
    for name, tensor in tensors.items():
        unchanged(name, tensor, before[name])
        holds(f"{name}: requires_grad was changed", tensor.requires_grad == flags[name])
        holds(f"{name}: .grad was written", tensor.grad is None)


def _theta_column(at: AtTheta, energy: Energy, x: Tensor, y: Tensor, direction: Tensor) -> Tensor:
    return central_difference(at(direction, lambda: energy.grad(x, y)), 1e-4)


def _random(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)


def _step(x: Tensor) -> float:
    return 1e-4 * max(1e-3, float(x.abs().mean()))
