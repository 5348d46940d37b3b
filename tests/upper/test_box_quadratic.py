from __future__ import annotations

import itertools
import math

import pytest
import torch

from bilearn.upper.box_quadratic import minimize_in_box, nearest_convex


def enumerated(matrix: torch.Tensor, gradient: torch.Tensor, lower: torch.Tensor, upper: torch.Tensor) -> float:
    """Smallest value over the stationary points of all faces."""
    best, size = math.inf, len(gradient)
    for code in itertools.product((0, 1, 2), repeat=size):
        step = torch.tensor(
            [(0.0, float(lo), float(hi))[c] for c, lo, hi in zip(code, lower, upper, strict=True)], dtype=torch.float64
        )
        free = [i for i, c in enumerate(code) if c == 0]
        if free:
            step[free] = torch.linalg.solve(matrix[free][:, free], -(gradient + matrix @ step)[free])
        if bool(((step >= lower - 1e-12) & (step <= upper + 1e-12)).all()):
            best = min(best, float(gradient @ step + 0.5 * step @ matrix @ step))
    return best


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_equals_enumeration_of_faces(size: int, generator: torch.Generator) -> None:
    for trial in range(20):
        factor = torch.randn(size, size, dtype=torch.float64, generator=generator)
        matrix = factor @ factor.T + 10.0 ** (-trial % 5) * torch.eye(size, dtype=torch.float64)
        gradient = torch.randn(size, dtype=torch.float64, generator=generator) * 3
        lower = -torch.rand(size, dtype=torch.float64, generator=generator)
        upper = torch.rand(size, dtype=torch.float64, generator=generator)
        if trial % 3 == 0:
            lower[0] = 0.0
        if trial % 4 == 0:
            upper[-1] = torch.inf
        if trial % 5 == 0:
            gradient[0] = 0.0
        if trial % 7 == 0:
            lower[-1] = upper[-1] = 0.0
        step = minimize_in_box(matrix, gradient, lower, upper)
        assert bool(((step >= lower) & (step <= upper)).all())
        value = float(gradient @ step + 0.5 * step @ matrix @ step)
        assert value == pytest.approx(enumerated(matrix, gradient, lower, upper), rel=1e-9, abs=1e-12)


def test_many_variables_satisfy_the_optimality_conditions(generator: torch.Generator) -> None:
    factor = torch.randn(40, 40, dtype=torch.float64, generator=generator)
    matrix = factor @ factor.T + torch.eye(40, dtype=torch.float64)
    gradient = 20 * torch.randn(40, dtype=torch.float64, generator=generator)
    lower, upper = -torch.ones(40, dtype=torch.float64), torch.ones(40, dtype=torch.float64)
    step = minimize_in_box(matrix, gradient, lower, upper)
    slope = gradient + matrix @ step
    inside = (step > lower) & (step < upper)
    assert 0 < int(inside.sum()) < 40
    assert float(slope[inside].abs().max()) < 1e-8
    assert bool((slope[step == lower] >= -1e-8).all())
    assert bool((slope[step == upper] <= 1e-8).all())


def test_nearest_convex_keeps_convex_matrices_and_flattens_negative_curvature() -> None:
    convex = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
    assert torch.allclose(nearest_convex(convex), convex, rtol=1e-12)
    saddle = torch.diag(torch.tensor([3.0, -2.0], dtype=torch.float64))
    flat = nearest_convex(saddle)
    assert float(flat[0, 0]) == pytest.approx(3.0)
    assert 0 < float(flat[1, 1]) < 1e-10
    box = torch.ones(2, dtype=torch.float64)
    step = minimize_in_box(flat, torch.tensor([-3.0, 0.1], dtype=torch.float64), -box, box)
    assert step.tolist() == pytest.approx([1.0, -1.0])


def test_zero_matrix_and_zero_gradient() -> None:
    zero, box = torch.zeros(2, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    matrix = nearest_convex(torch.zeros(2, 2, dtype=torch.float64))
    assert minimize_in_box(matrix, zero, -box, box).tolist() == [0.0, 0.0]
    assert minimize_in_box(matrix, torch.tensor([1.0, 0.0], dtype=torch.float64), -box, box).tolist() == [-1.0, 0.0]
