"""Filter banks: adjoints, the blocked adjoint, proved norms, cosine filters, errors."""

from __future__ import annotations

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.regularizers.filters import FilterBank, Filters, cosine_filters, grid_maximum, random_filters

F64 = torch.float64


def bank(boundary: str = "valid", zero_mean: bool = True, count: int = 3, size: int = 3) -> Filters:
    generator = torch.Generator().manual_seed(0)
    return Filters(random_filters(count, size, generator), zero_mean, boundary)  # type: ignore[arg-type]


def matrix(filters: FilterBank, shape: tuple[int, int]) -> Tensor:
    """K as a dense matrix, one column per pixel."""
    unit = torch.eye(shape[0] * shape[1], dtype=F64).reshape(-1, 1, *shape)
    with torch.no_grad():
        return filters(unit).flatten(1).T


@pytest.mark.parametrize("boundary", ["valid", "zero"])
@pytest.mark.parametrize("zero_mean", [True, False])
def test_adjoint_and_values(boundary: str, zero_mean: bool) -> None:
    filters, shape = bank(boundary, zero_mean), (6, 5)
    dense = matrix(filters, shape)
    with torch.no_grad():
        response = filters(rand((2, 1, *shape), 1))
        u = rand(tuple(response.shape), 2)
        assert torch.allclose(filters.adjoint(u).flatten(1), u.flatten(1) @ dense, atol=1e-13)
        taps = filters.taps(u)
    corner = (rand((2, 1, *shape), 1)[1, 0, 1:4, 1:4] * taps[2, 0]).sum()
    place = (1, 2, 2, 2) if boundary == "zero" else (1, 2, 1, 1)
    assert torch.allclose(response[place], corner)
    assert zero_mean == bool(taps.sum((1, 2, 3)).abs().max() < 1e-14)


@pytest.mark.parametrize("boundary", ["valid", "zero"])
@pytest.mark.parametrize("shape", [(16, 12), (9, 11), (7, 10)])
def test_blocked_adjoint_is_the_adjoint(boundary: str, shape: tuple[int, int]) -> None:
    """float32 takes the blocked form, float64 the plain one."""
    filters = bank(boundary, count=5, size=5)
    with torch.no_grad():
        u = torch.randn(filters(rand((3, 1, *shape), 3)).shape, generator=torch.Generator().manual_seed(4), dtype=F64)
        plain, block = filters.adjoint(u), filters.adjoint(u.float())
        assert block.dtype == torch.float32
        assert float((plain - block).abs().max()) < 1e-4
        diagonal = matrix(filters, shape).square()
        expected = u.abs().flatten(1) @ diagonal
        assert torch.allclose(filters.squared_adjoint(u.abs()).flatten(1), expected)


def test_norms_bound_the_matrix_and_are_not_slack() -> None:
    filters = bank(zero_mean=False)
    weights = torch.tensor([0.5, 2.0, 0.0], dtype=F64)
    with torch.no_grad():
        bound = float(filters.weighted_norm_squared(weights))
        dense = matrix(filters, (24, 24)).reshape(3, -1, 24 * 24)
    largest = float(torch.linalg.matrix_norm((weights.sqrt().reshape(-1, 1, 1) * dense).flatten(0, 1), ord=2)) ** 2
    assert 0.97 * bound < largest <= bound
    taps = filters.taps(weights).detach()
    coarse, fine = float(grid_maximum(taps, 16)), float(grid_maximum(taps, 1024))
    assert coarse <= fine <= coarse / torch.cos(torch.tensor(torch.pi * 2 / 16)) ** 2
    flat = dense.norm(dim=2).amax(1)
    with torch.no_grad():
        assert torch.allclose(filters.lengths(weights), flat)
        assert torch.allclose(filters.sums(weights), dense.abs().sum(2).amax(1))


def test_taps_follow_the_parameters() -> None:
    filters = bank()
    with torch.no_grad():
        before = filters.taps(rand((1,), 1)).clone()
        filters.filters.mul_(2.0)
        after = filters.taps(rand((1,), 1))
        single = filters.taps(torch.zeros(1))
    assert torch.allclose(after, 2 * before)
    assert single.dtype == torch.float32
    filters.load_state_dict({"filters": filters.filters.detach() / 4})
    with torch.no_grad():
        assert torch.allclose(filters.taps(rand((1,), 1)), before / 2)


def test_cosine_filters_are_orthonormal_and_have_zero_mean() -> None:
    flat = cosine_filters(24, 5).flatten(1)
    assert torch.allclose(flat @ flat.T, torch.eye(24, dtype=F64), atol=1e-14)
    assert float(flat.sum(1).abs().max()) < 1e-14


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"filters: found shape \(3, 2, 4\)"):
        Filters(torch.zeros(3, 2, 4))
    with pytest.raises(ValueError, match="found size 4, expected an odd size"):
        Filters(torch.zeros(3, 4, 4), boundary="zero")
    with pytest.raises(ValueError, match="boundary: found 'mirror'"):
        Filters(torch.zeros(3, 4, 4), boundary="mirror")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="found 25 of size 5, expected between 1 and 24"):
        cosine_filters(25, 5)
    with pytest.raises(ValueError, match="found 2 x 7 pixels, expected at least the filter size 3"):
        bank()(rand((1, 1, 2, 7), 1))
