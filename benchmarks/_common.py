"""What the benchmarks share: threads, timing, one table format, and the plain baseline every ratio is taken against."""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import reduce

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor


def arguments(description: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="torch threads")
    parser.add_argument("--repeats", type=int, default=3, help="repeats; medians are reported")
    return parser


def machine(threads: int) -> str:
    return f"{platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}, {threads} thread(s)"


def cpu_seconds(work: Callable[[], object], repeats: int = 1) -> tuple[float, float]:
    """Median CPU and wall seconds of ``work`` over ``repeats`` calls."""
    cpu, wall = [], []
    for _ in range(repeats):
        begin_cpu, begin = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - begin_cpu)
        wall.append(time.perf_counter() - begin)
    return statistics.median(cpu), statistics.median(wall)


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    table = Table(title=title, title_justify="left")
    for k, column in enumerate(columns):
        table.add_column(column, justify="left" if k == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=160).print(table)


def plain_gradient(x: Tensor, y: Tensor, alpha: float, xi: float, nu: float, dirichlet: bool) -> Tensor:
    """Gradient of 1/2|x-y|^2 + alpha sum sqrt(|Dx|^2+nu^2) + xi/2|x|^2 as one would first write it, for one sample."""
    axes = range(x.ndim)
    fields = []
    for axis in axes:
        first = x.narrow(axis, 0, 1)
        edge = first if dirichlet else torch.zeros_like(first)
        fields.append(torch.cat((edge, torch.diff(x, dim=axis)), axis))
    magnitude = torch.sqrt(reduce(torch.add, [f**2 for f in fields]) + nu**2)
    out = (x - y) + xi * x
    for axis, field in zip(axes, fields, strict=True):
        flux = alpha * field / magnitude
        after = torch.cat((flux.narrow(axis, 1, flux.shape[axis] - 1), torch.zeros_like(flux.narrow(axis, 0, 1))), axis)
        out = out + flux - after
    return out


def plain_hypergradient(
    target: Tensor, y: Tensor, theta: list[float], dirichlet: bool, iterations: int = 2000, tolerance: float = 1e-6
) -> tuple[float, Tensor, int, int]:
    """Sum of squared errors and its gradient in log10 (alpha, xi, nu), sample by sample, at fixed accuracy.

    FISTA for strongly convex functions from the data, ``iterations`` steps whatever happens; conjugate gradients to a
    relative residual ``tolerance`` with Hessian products by autograd; no warm starts, no batching. Returns value,
    gradient, gradients and Hessian products taken.
    """
    value, total, gradients, products = 0.0, torch.zeros(3, dtype=y.dtype), 0, 0
    axes = y[0].ndim
    for data, truth in zip(y, target, strict=True):
        coordinates = torch.tensor(theta, dtype=y.dtype, requires_grad=True)
        alpha, xi, nu = (10.0**t for t in theta)
        smooth, convex = 1 + 4 * axes * alpha / nu + xi, 1 + xi
        q, t = convex / smooth, 0.0
        x = previous = data.clone()
        for _ in range(iterations):
            following = (1 - q * t * t + ((1 - q * t * t) ** 2 + 4 * t * t) ** 0.5) / 2
            momentum = (t - 1) / following * (1 - q * following) / (1 - q)
            z = x + momentum * (x - previous)
            previous, x, t = x, z - plain_gradient(z, data, alpha, xi, nu, dirichlet) / smooth, following
        gradients += iterations
        point = x.detach().requires_grad_(True)
        a, b, c = (10.0 ** coordinates[k] for k in range(3))
        slope = plain_gradient(point, data, a, b, c, dirichlet)  # type: ignore[arg-type]
        right = 2 * (x - truth)
        value += float((x - truth).square().sum())
        adjoint, residual = torch.zeros_like(right), right.clone()
        direction, size = residual.clone(), float(residual.square().sum())
        for _ in range(2000):
            if size**0.5 <= tolerance * float(right.norm()):
                break
            (image,) = torch.autograd.grad(slope, point, direction, retain_graph=True)
            products += 1
            step = size / float((direction * image).sum())
            adjoint, residual = adjoint + step * direction, residual - step * image
            new = float(residual.square().sum())
            direction, size = residual + (new / size) * direction, new
        (part,) = torch.autograd.grad((slope * adjoint.detach()).sum(), coordinates)
        total -= part
    return value, total, gradients, products
