"""Fields of Experts: potentials and splines, values written out, chunks, certificates with and without convexity."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from registry import rand

import bilearn.regularizers.filter_regularizer as module
from bilearn.fidelities import LeastSquares
from bilearn.regularizers.fields_of_experts import FieldsOfExperts
from bilearn.regularizers.filters import random_filters
from bilearn.regularizers.response_potentials import (
    AbsoluteResponse,
    LogCoshResponse,
    ResponsePotential,
    StudentTResponse,
)
from bilearn.regularizers.splines import SplineResponse
from bilearn.variational import VariationalEnergy

F64 = torch.float64
START = torch.tensor([1.0, 0.6, -0.2, 0.1, -0.1], dtype=F64)
POTENTIALS: list[ResponsePotential] = [
    StudentTResponse(),
    LogCoshResponse(),
    AbsoluteResponse(2, torch.tensor([0.2, 0.5])),
    SplineResponse(2, 5, 1.5, START, (-0.3, 2.0)),
    SplineResponse(2, 5, 1.5, START, (-0.3, 2.0), degree=2),
]


def filters(count: int = 2, size: int = 3) -> torch.Tensor:
    return random_filters(count, size, torch.Generator().manual_seed(5))


@pytest.mark.parametrize("potential", POTENTIALS, ids=lambda p: f"{type(p).__name__}{getattr(p, 'degree', '')}")
def test_potential_derivatives_and_bounds(potential: ResponsePotential) -> None:
    line = torch.linspace(-12, 12, 12001, dtype=F64).reshape(1, 1, 1, -1).expand(1, 2, 1, -1)
    u = line.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(potential.value(u).sum(), u)
    with torch.no_grad():
        second = potential.second(line)
        assert torch.allclose(slope, potential.slope(line.clone()), atol=1e-12)
        assert torch.allclose(potential.value(line), potential.value(-line), atol=1e-12)
        differences = torch.diff(slope, dim=3) / torch.diff(line, dim=3)
        middle = (line[..., 1:] + line[..., :-1]) / 2
        smooth = (torch.diff(second, dim=3).abs() < 0.01).expand_as(middle)
        error = (differences - potential.second(middle)).abs()
        assert float(error[smooth].max()) < 3e-3
        low, high = (b(line).expand(2) for b in (potential.lowest, potential.highest))
        assert torch.allclose(second.amin((0, 2, 3)), torch.minimum(low, second[0, :, 0, -1]), atol=3e-4)
        assert torch.allclose(second.amax((0, 2, 3)), high, rtol=1e-5)
        third = potential.third(line).expand(2)
        steep = (torch.diff(second, dim=3).abs() / torch.diff(line, dim=3)).amax((0, 2, 3))
        assert bool((steep <= third * (1 + 1e-6)).all())
        assert bool((steep >= 0.98 * third).all()) or bool(third.isinf().all())
        for reach in (0.05, 0.4, 2.0):
            bound = potential.variation(line, torch.tensor(reach, dtype=F64))
            for move in (-reach, -0.7 * reach, 0.3 * reach, reach):
                assert bool(((potential.second(line + move) - second).abs() <= bound + 1e-12).all())


def test_splines_keep_to_their_box_and_say_what_is_wrong() -> None:
    convex = SplineResponse(3, 8)
    assert float(convex.lowest(START).detach().min()) == 0.0
    weak = SplineResponse(3, 8, bounds=(-0.5, 1.0))
    weak.curvatures = torch.full((3, 8), -0.5, dtype=F64)
    assert float(weak.lowest(START).detach().min()) == -0.5
    with pytest.raises(ValueError, match=r"SplineResponse\.curvatures: found -0\.6"):
        weak.curvatures = torch.full((3, 8), -0.6, dtype=F64)
    with pytest.raises(ValueError, match="degree: found 3"):
        SplineResponse(3, degree=3)
    with pytest.raises(ValueError, match="expected lower <= 0 <= upper"):
        SplineResponse(3, bounds=(0.1, 1.0))
    with pytest.raises(ValueError, match="found 0 filters"):
        SplineResponse(0)


def test_values_written_out() -> None:
    taps = filters()
    weights = torch.tensor([0.3, 0.7], dtype=F64)
    x = rand((2, 2, 6, 5), 6)
    found = FieldsOfExperts(taps, weights)(x)
    expected = torch.zeros(2, dtype=F64)
    for c in range(2):
        centered = taps[c] - taps[c].mean()
        for channel in range(2):
            response = F.conv2d(x[:, channel : channel + 1], centered[None, None])
            expected += weights[c] * torch.log1p(response**2).sum((1, 2, 3))
    assert torch.allclose(found, expected)
    constant = torch.full((1, 1, 6, 5), 0.7, dtype=F64)
    assert float(FieldsOfExperts(taps)(constant).detach()) < 1e-25
    assert FieldsOfExperts().bank.fields == 24


def test_chunks_and_float32_do_not_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    regularizer = FieldsOfExperts(filters(4, 5), 0.2, AbsoluteResponse(4, 0.3), boundary="zero")
    x, v = rand((5, 2, 9, 8), 7), rand((5, 2, 9, 8), 8)
    radius = torch.full((5,), 0.1, dtype=F64)

    def answers(point: torch.Tensor, direction: torch.Tensor) -> list[torch.Tensor]:
        with torch.no_grad():
            value, gradient = regularizer.add_value_and_grad(torch.zeros_like(point), point)
            hessian = regularizer.hessian(point)
            diagonal = hessian.diagonal()
            assert diagonal is not None
            bounds = [regularizer.rounding(point), regularizer.hessian_variation(point, direction, radius.to(point))]
            return [regularizer(point), value, regularizer.grad(point), gradient, hessian(direction), diagonal, *bounds]

    whole = answers(x, v)
    assert torch.equal(whole[0], whole[1])
    assert torch.equal(whole[2], whole[3])
    monkeypatch.setattr(module, "_CHUNK_ENTRIES", 4 * 9 * 8 * 3)
    for part, full in zip(answers(x, v), whole, strict=True):
        assert torch.allclose(part, full, rtol=1e-12)
    for single, full in zip(answers(x.float(), v.float())[:6], whole, strict=False):
        assert single.dtype == torch.float32
        assert torch.allclose(single.double(), full, rtol=1e-4, atol=1e-5)


def test_strong_convexity_of_the_sum_is_known_where_the_data_term_wins() -> None:
    y = rand((1, 1, 8, 8), 9)

    def constant(weight: float) -> float:
        mu = VariationalEnergy(LeastSquares(), FieldsOfExperts(filters(), weight)).curvature(y).strong_convexity
        assert mu.declared
        return float(torch.as_tensor(mu.value).detach())

    slope = (1 - constant(0.1)) / 0.1
    assert 0 < constant(0.1) < 1
    assert math.isclose(constant(2 / slope), -1.0, rel_tol=1e-9)


def test_images_only() -> None:
    with pytest.raises(ValueError, match=r"x: found shape \(2, 9\), expected images"):
        FieldsOfExperts()(rand((2, 9), 1))
    with pytest.raises(ValueError, match=r"learn: found \['nu'\]"):
        FieldsOfExperts(learn=("nu",))
