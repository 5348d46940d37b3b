"""Learnable numbers: natural values, coordinates, boxes, and the flat vector."""

from __future__ import annotations

import copy
import io
import math
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from bilearn.parameters import Identity, Log10, Logit, ParameterVector, is_learned, learnable

F64 = torch.float64


class Model(nn.Module):
    """One number of each kind."""

    alpha: Tensor
    share: Tensor
    map: Tensor

    def __init__(self) -> None:
        super().__init__()
        learnable(self, "alpha", 0.07, Log10((1e-3, 0.3)))
        learnable(self, "share", 0.25, Logit(), learn=False)
        learnable(self, "map", torch.tensor([[1.0, 2.0]], dtype=F64), Identity((-5.0, 5.0)))
        self.filters = nn.Parameter(torch.ones(2, dtype=F64))


def test_natural_values_are_read_and_set() -> None:
    model = Model()
    assert model.alpha.item() == pytest.approx(0.07, rel=1e-15)
    model.alpha = cast(Tensor, 0.2)
    assert model.alpha.item() == pytest.approx(0.2, rel=1e-15)
    assert model.get_parameter("parametrizations.alpha.original").item() == pytest.approx(math.log10(0.2))
    model.map = torch.tensor([[3.0, -4.0]], dtype=F64)
    assert model.map.tolist() == [[3.0, -4.0]]
    assert is_learned(model, "alpha")
    assert not is_learned(model, "share")


@pytest.mark.parametrize(
    ("coordinate", "value"), [(Log10((1e-4, 10.0)), 0.3), (Logit(), 0.9), (Logit((2.0, 5.0)), 2.5), (Identity(), -3.0)]
)
def test_coordinates_invert_and_have_the_right_slope(coordinate: Log10 | Logit | Identity, value: float) -> None:
    natural = torch.tensor(value, dtype=F64)
    point = coordinate.right_inverse(natural).requires_grad_(True)
    again = coordinate(point)
    assert again.item() == pytest.approx(value, rel=1e-14)
    (slope,) = torch.autograd.grad(again, point)
    difference = (coordinate(point + 1e-6) - coordinate(point - 1e-6)) / 2e-6
    assert slope.item() == pytest.approx(difference.item(), rel=1e-8)
    low, high = coordinate.box()
    assert low < point.item() < high
    if math.isfinite(low):
        assert coordinate(torch.tensor(low, dtype=F64)).item() == pytest.approx(coordinate.bounds[0], rel=1e-9)


@pytest.mark.parametrize("value", [1e-4, 0.31, math.nan, math.inf])
def test_values_outside_the_bounds_are_refused_by_name(value: float) -> None:
    model = Model()
    with pytest.raises(ValueError, match=r"Model\.alpha: found"):
        model.alpha = cast(Tensor, value)
    assert model.alpha.item() == pytest.approx(0.07, rel=1e-15)
    with pytest.raises(ValueError, match=r"Model\.beta: found"):
        learnable(model, "beta", value, Log10((1e-3, 0.3)))


def test_bounds_themselves_are_allowed() -> None:
    model = Model()
    for bound in (1e-3, 0.3):
        model.alpha = cast(Tensor, bound)
        assert model.alpha.item() == pytest.approx(bound, rel=1e-14)


def test_bad_bounds_are_refused() -> None:
    with pytest.raises(ValueError, match="expected lower < upper"):
        Identity((1.0, 1.0))
    with pytest.raises(ValueError, match="found lower 0"):
        Log10((0, 1.0))
    with pytest.raises(ValueError, match="expected positive numbers for a Log10 coordinate"):
        Log10().right_inverse(torch.tensor(-1.0))
    with pytest.raises(ValueError, match="expected it strictly inside for a Logit coordinate"):
        Logit().right_inverse(torch.tensor(1.0))


def test_flat_vector() -> None:
    model = Model()
    vector = ParameterVector(model)
    assert [s.name for s in vector.slots] == ["filters", "alpha", "map"]
    assert vector.names() == ["filters[0]", "filters[1]", "alpha", "map[0]", "map[1]"]
    assert len(vector) == 5
    expected = torch.tensor([1.0, 1.0, math.log10(0.07), 1.0, 2.0], dtype=F64)
    assert torch.allclose(vector.get(), expected, rtol=1e-15)
    theta = torch.tensor([2.0, 3.0, -1.0, 0.5, -0.5], dtype=F64)
    vector.set(theta)
    assert torch.equal(vector.get(), theta)
    assert model.alpha.item() == pytest.approx(0.1)
    natural = vector.natural()
    assert natural["alpha"].item() == pytest.approx(0.1)
    assert natural["map"].tolist() == [[0.5, -0.5]]
    assert vector.natural(torch.zeros(5, dtype=F64))["alpha"].item() == 1.0
    gradients = [torch.full_like(p, float(i)) for i, p in enumerate(vector.parameters)]
    assert vector.flatten(gradients).tolist() == [0, 0, 1, 2, 2]


def test_box_has_the_precision_of_the_coordinates() -> None:
    vector = ParameterVector(Model())
    assert vector.lower.dtype == F64
    assert vector.lower.tolist() == [-math.inf, -math.inf, math.log10(1e-3), -5.0, -5.0]
    assert vector.upper[2].item() == pytest.approx(math.log10(0.3), rel=1e-15)
    outside = torch.tensor([9.0, -9.0, 2.0, 7.0, -7.0], dtype=F64)
    assert vector.project(outside).tolist() == [9.0, -9.0, vector.upper[2].item(), 5.0, -5.0]


def test_the_corner_of_the_box_can_be_set_and_read() -> None:
    model = Model()
    vector = ParameterVector(model)
    corner = vector.project(torch.full((5,), 1e3, dtype=F64))
    vector.set(corner)
    model.alpha = model.alpha.detach()
    assert vector.active_bounds(corner) == [
        "alpha at its upper bound",
        "map[0] at its upper bound",
        "map[1] at its upper bound",
    ]
    assert vector.active_bounds(vector.project(torch.zeros(5, dtype=F64))) == ["alpha at its upper bound"]


def test_wrong_vectors_are_refused() -> None:
    vector = ParameterVector(Model())
    with pytest.raises(ValueError, match=r"theta: found shape \(4,\), expected \(5,\)"):
        vector.set(torch.zeros(4, dtype=F64))
    with pytest.raises(ValueError, match="non-finite coordinate"):
        vector.set(torch.full((5,), math.nan, dtype=F64))
    with pytest.raises(ValueError, match="no learnable parameter found"):
        ParameterVector(nn.ReLU())


def test_description_for_messages() -> None:
    assert ParameterVector(Model()).describe() == "filters in [1, 1], alpha = 0.07, map in [1, 2]"


def test_dtype_copies_and_state_dicts() -> None:
    model = Model().float()
    assert model.alpha.dtype == torch.float32
    model.alpha = cast(Tensor, 0.1)
    assert model.alpha.dtype == torch.float32
    twin = copy.deepcopy(model)
    twin.alpha = cast(Tensor, 0.2)
    assert model.alpha.item() == pytest.approx(0.1)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    fresh = Model().float()
    fresh.load_state_dict(torch.load(file))
    assert torch.equal(fresh.alpha, model.alpha)


def test_gradients_reach_the_coordinate() -> None:
    model = Model()
    (model.alpha * 3).backward()
    coordinate = model.get_parameter("parametrizations.alpha.original")
    assert coordinate.grad is not None
    assert coordinate.grad.item() == pytest.approx(3 * 0.07 * math.log(10))
