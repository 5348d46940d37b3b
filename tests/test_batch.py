"""Per-sample arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn import _batch

X = rand((3, 2, 4), 80)


@dataclass(frozen=True)
class State:
    x: Tensor
    scalar: Tensor
    parts: tuple[Tensor, ...]
    count: int
    nothing: None = None


def test_sizes() -> None:
    assert _batch.size(X) == 3
    assert _batch.samples(X) == 8
    assert _batch.samples(X[:0]) == 0


@pytest.mark.parametrize("lead", [1, 2])
def test_reductions_against_loops(lead: int) -> None:
    flat = X.flatten(0, lead - 1).flatten(1)
    shape = X.shape[:lead]
    assert torch.allclose(_batch.dot(X, 2 * X, lead), torch.stack([2 * (r * r).sum() for r in flat]).reshape(shape))
    assert torch.allclose(_batch.norm(-X, lead), torch.stack([r.norm() for r in flat]).reshape(shape))
    assert torch.equal(_batch.max_abs(-X, lead), torch.stack([r.max() for r in flat]).reshape(shape))
    assert torch.allclose(_batch.total(X, lead), torch.stack([r.sum() for r in flat]).reshape(shape))


def test_reductions_of_plain_numbers() -> None:
    v = torch.tensor([-1.0, 2.0])
    assert _batch.norm(v).tolist() == _batch.max_abs(v).tolist() == [1.0, 2.0]
    assert _batch.total(v).tolist() == [-1.0, 2.0]
    assert _batch.dot(v, v).tolist() == [1.0, 4.0]


def test_complex_numbers_count_as_pairs_of_reals() -> None:
    z = torch.complex(X, X.flip(0))
    pairs = torch.view_as_real(z)
    assert torch.allclose(_batch.dot(z, 1j * z), _batch.dot(pairs, torch.view_as_real(1j * z)))
    assert torch.allclose(_batch.norm(z), _batch.norm(pairs))
    assert not _batch.dot(z, z).is_complex()


def test_expand_and_where() -> None:
    numbers = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert torch.equal(_batch.expand(numbers, X) * X, torch.stack([1 * X[0], 2 * X[1], 3 * X[2]]))
    chosen = _batch.where(torch.tensor([True, False, True]), X, -X)
    assert torch.equal(chosen, torch.stack([X[0], -X[1], X[2]]))


def test_select_keeps_the_chosen_samples_of_everything() -> None:
    index = torch.tensor([2, 0])
    state = State(X, torch.tensor(3.0), (X[:, 0], X[:, 1]), 7)
    kept = _batch.select(state, index)
    assert torch.equal(kept.x, X[index])
    assert torch.equal(kept.parts[1], X[index, 1])
    assert kept.scalar is state.scalar
    assert kept.count == 7
    assert kept.nothing is None
    assert torch.equal(_batch.select({"x": X}, index)["x"], X[index])
    assert _batch.select("name", index) == "name"
