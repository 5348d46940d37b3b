"""Maps of few numbers: interpolation, its transpose and inverse, and as learnable numbers."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from registry import rand
from torch import Tensor, nn

from bilearn.coarse_map import CoarseMap, Filling
from bilearn.parameters import Identity, Log10, ParameterVector, collect, learnable

F64 = torch.float64
FILLINGS: tuple[Filling, ...] = ("linear", "patches")


class Model(nn.Module):
    """A map on 5 x 7 pixels made of 2 x 3 numbers."""

    alpha: Tensor

    def __init__(self, filling: Filling, bounds: tuple[float, float] = (1e-3, 10.0)) -> None:
        super().__init__()
        learnable(self, "alpha", CoarseMap(0.1 + rand((2, 3), 1), (5, 7), filling), Log10(bounds))


@pytest.mark.parametrize("filling", FILLINGS)
def test_rows_are_weights_and_the_transpose_and_inverse_belong_to_the_map(filling: Filling) -> None:
    grid = CoarseMap(rand((2, 3), 1), (5, 7), filling)
    assert torch.allclose(grid(torch.ones(2, 3, dtype=F64)), torch.ones(5, 7, dtype=F64))
    basis = grid(torch.eye(6, dtype=F64).reshape(6, 2, 3))
    assert float(basis.min()) >= 0
    c, x = rand((4, 2, 3), 2), rand((4, 5, 7), 3)
    assert torch.allclose((grid(c) * x).sum(), (c * grid.collect(x)).sum())
    assert torch.allclose(grid.restrict(grid(c)), c)
    residual = x - grid(grid.restrict(x))
    assert float(grid.collect(residual).abs().max()) < 1e-12


def test_patches_and_interpolation_have_the_values_that_they_should() -> None:
    values = torch.tensor([[1.0, 3.0]], dtype=F64)
    assert CoarseMap(values, (1, 4), "patches")(values).tolist() == [[1, 1, 3, 3]]
    assert CoarseMap(values, (1, 4), "linear")(values).tolist() == [[1, 1.5, 2.5, 3]]
    signal = torch.tensor([2.0, 4.0], dtype=F64)
    assert CoarseMap(signal, (2,))(signal).tolist() == [2, 4]


@pytest.mark.parametrize("filling", FILLINGS)
def test_a_learnable_map_has_few_coordinates_and_is_read_and_set_in_full(filling: Filling) -> None:
    model = Model(filling)
    vector = ParameterVector(model)
    assert len(vector) == 6
    assert model.alpha.shape == (5, 7)
    assert vector.slots[0].coordinate.label == "log10"
    grid = CoarseMap(rand((2, 3), 1), (5, 7), filling)
    assert torch.allclose(model.alpha, 10 ** grid(torch.log10(0.1 + rand((2, 3), 1))))
    assert torch.equal(vector.natural()["alpha"], model.alpha)
    model.alpha = cast(Tensor, 0.3)
    assert torch.allclose(vector.get(), torch.full((6,), 0.3, dtype=F64).log10())
    model.alpha = 10 ** grid(rand((2, 3), 4))
    assert torch.allclose(vector.get(), rand((2, 3), 4).flatten())
    jump = torch.full((5, 7), 1e-3, dtype=F64)
    jump[:, 3:] = 10.0
    model.alpha = jump
    assert bool((vector.get() <= vector.upper).all() and (vector.get() >= vector.lower).all())
    assert model.float().alpha.dtype == torch.float32


@pytest.mark.parametrize("filling", FILLINGS)
def test_collected_sums_are_those_of_the_jacobian(filling: Filling) -> None:
    model, entries = Model(filling), rand((2, 3, 5, 7), 5)
    grid = CoarseMap(rand((2, 3), 1), (5, 7), filling)
    assert torch.allclose(collect(model, "alpha", entries), grid.collect(entries.sum(1, keepdim=True)))
    plain = nn.Module()
    learnable(plain, "map", rand((3, 1, 7), 6), Identity())
    assert torch.allclose(collect(plain, "map", entries), entries.sum(2, keepdim=True))
    learnable(plain, "number", 1.0, Identity())
    assert torch.allclose(collect(plain, "number", entries).flatten(), entries.sum((1, 2, 3)))


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"values: found a grid of \(9, 1\)"):
        CoarseMap(torch.ones(9, 1), (5, 7))
    with pytest.raises(ValueError, match="size: found"):
        CoarseMap(torch.ones(3), (5, 7))
    with pytest.raises(ValueError, match="filling: found 'cubic'"):
        CoarseMap(torch.ones(2, 2), (5, 7), cast(Filling, "cubic"))
    with pytest.raises(ValueError, match=r"Model\.alpha: found 0.1"):
        Model("linear", (0.5, 10.0))
