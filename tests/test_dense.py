"""Dense factors of small Hessians against plain solves."""

from __future__ import annotations

import torch
from registry import rand

from bilearn import _dense
from bilearn._dense import dense_solver


def matrices(batch: int, n: int) -> torch.Tensor:
    root = rand((batch, n, n), 1)
    return root @ root.mT + 0.1 * torch.eye(n, dtype=torch.float64)


def test_solves_one_and_several_right_hand_sides(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    whole = matrices(5, 6)
    like = rand((5, 2, 3), 2)
    monkeypatch.setattr(_dense, "_ENTRIES", 2 * 36)

    def multiply(index: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        assert index.numel() <= 2
        return torch.einsum("bij,kbj->kbi", whole[index], v.flatten(2)).reshape(v.shape)

    solve = dense_solver(multiply, like)
    assert solve is not None
    expected = torch.linalg.solve(whole, like.flatten(1)).reshape(like.shape)
    assert torch.allclose(solve(like), expected, atol=1e-11)
    stack = torch.stack([like, -3 * like])
    assert torch.allclose(solve(stack), torch.stack([expected, -3 * expected]), atol=1e-11)


def test_none_where_a_matrix_is_indefinite_or_there_is_none() -> None:
    assert dense_solver(lambda index, v: -v, rand((2, 3), 3)) is None
    assert dense_solver(lambda index, v: v, rand((0, 3), 4)) is None
