"""Batched tridiagonal solves against dense linear algebra."""

import pytest
import torch

from bilearn._tridiagonal import cyclic_reduction, solve_tridiagonal

SOLVERS = [solve_tridiagonal, cyclic_reduction]


def systems(batch: int, n: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    off = -torch.rand(batch, n - 1, generator=generator, dtype=torch.float64) * 50
    diag = 1 + torch.rand(batch, n, generator=generator, dtype=torch.float64)
    diag[:, :-1] -= off
    diag[:, 1:] -= off
    return diag.to(dtype), off.to(dtype)


def dense(diag: torch.Tensor, off: torch.Tensor) -> torch.Tensor:
    return torch.diag_embed(diag) + torch.diag_embed(off, 1) + torch.diag_embed(off, -1)


@pytest.mark.parametrize("solve", SOLVERS)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 64])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-3)])
def test_agrees_with_a_dense_solve(solve, n, dtype, tolerance):
    diag, off = systems(5, n, dtype)
    rhs = torch.randn(3, 5, n, generator=torch.Generator().manual_seed(0), dtype=dtype)
    exact = torch.linalg.solve(dense(diag, off).double(), rhs.double().unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(solve(diag, off, rhs).double(), exact, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(solve(diag, off, rhs[0]), solve(diag, off, rhs)[0], rtol=0, atol=0)


@pytest.mark.parametrize("solve", SOLVERS)
def test_arguments_stay_and_views_are_accepted(solve):
    diag, off = systems(4, 9)
    rhs = torch.ones(9, 4, dtype=torch.float64).T
    before = diag.clone(), off.clone(), rhs.clone()
    q = solve(diag, off, rhs)
    assert all(torch.equal(a, b) for a, b in zip(before, (diag, off, rhs), strict=True))
    residual = (dense(diag, off) @ q.unsqueeze(-1)).squeeze(-1) - rhs
    assert residual.abs().max() < 1e-12


@pytest.mark.parametrize("bad", [-1.0, float("nan")])
def test_a_bad_sample_gives_nan_and_spares_its_neighbors(bad):
    diag, off = systems(3, 6)
    good = solve_tridiagonal(diag, off, torch.ones_like(diag))
    diag[1, 2] = bad
    for solve in SOLVERS:
        q = solve(diag, off, torch.ones_like(diag))
        assert q[1].isnan().all()
        torch.testing.assert_close(q[[0, 2]], good[[0, 2]], rtol=1e-12, atol=1e-12)


def test_empty_batch_and_wrong_shapes():
    assert solve_tridiagonal(torch.ones(0, 4), torch.ones(0, 3), torch.ones(2, 0, 4)).shape == (2, 0, 4)
    with pytest.raises(ValueError, match=r"expected \(B, n\), \(B, n - 1\)"):
        solve_tridiagonal(torch.ones(2, 4), torch.ones(2, 4), torch.ones(2, 4))
