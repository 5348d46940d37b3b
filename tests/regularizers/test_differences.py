"""Finite differences against matrices written out by hand."""

from __future__ import annotations

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn._spectral import Cosine, Fourier
from bilearn.regularizers import FiniteDifferences
from bilearn.regularizers.differences import Boundary, Direction

BOUNDARIES: list[Boundary] = ["neumann", "dirichlet", "periodic"]
DIRECTIONS: list[Direction] = ["backward", "forward"]
ALL = [(b, d) for b in BOUNDARIES for d in DIRECTIONS]


def line_matrix(n: int, boundary: Boundary, direction: Direction) -> Tensor:
    """K of one axis, from the definitions in the module docstring."""
    k = torch.zeros(n, n, dtype=torch.float64)
    if direction == "backward":
        for j in range(1, n):
            k[j, j], k[j, j - 1] = 1.0, -1.0
        if boundary != "neumann":
            k[0, 0] = 1.0
        if boundary == "periodic":
            k[0, n - 1] = -1.0
    else:
        for j in range(n - 1):
            k[j, j + 1], k[j, j] = 1.0, -1.0
        if boundary != "neumann":
            k[n - 1, n - 1] = -1.0
        if boundary == "periodic":
            k[n - 1, 0] = 1.0
    return k


@pytest.mark.parametrize(("boundary", "direction"), ALL)
def test_against_the_matrix(boundary: Boundary, direction: Direction) -> None:
    x = rand((2, 3, 5, 4), 110)
    rows, columns = line_matrix(5, boundary, direction), line_matrix(4, boundary, direction)
    down, right = FiniteDifferences(2, boundary, direction)(x)
    assert torch.allclose(down, torch.einsum("ij,bcjk->bcik", rows, x))
    assert torch.allclose(right, torch.einsum("ij,bckj->bcki", columns, x))


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize(("boundary", "direction"), ALL)
def test_adjoint_and_reused_memory(boundary: Boundary, direction: Direction, axes: int) -> None:
    differences = FiniteDifferences(axes, boundary, direction)
    x = rand((2, 3, 4, 5), 111)
    fields = differences(x)
    assert len(fields) == axes
    p = [rand(tuple(x.shape), 112 + k) for k in range(axes)]
    forward = torch.stack([(f * q).sum() for f, q in zip(fields, p, strict=True)]).sum()
    assert forward.item() == pytest.approx((x * differences.adjoint(p)).sum().item(), rel=1e-12)
    out = [torch.full_like(x, torch.nan) for _ in range(axes)]
    differences.fill(out, x)
    assert all(torch.equal(a, b) for a, b in zip(out, fields, strict=True))
    added = differences.add_adjoint(x.clone(), p)
    assert torch.allclose(added, x + differences.adjoint(p), atol=1e-14)


@pytest.mark.parametrize(("boundary", "direction"), ALL)
def test_diagonal_coupling_and_norm(boundary: Boundary, direction: Direction) -> None:
    differences = FiniteDifferences(1, boundary, direction)
    k, weight = line_matrix(6, boundary, direction), rand((1, 6), 115)
    normal = k.T @ torch.diag(weight[0]) @ k
    assert torch.allclose(differences.normal_diagonal([weight])[0], normal.diagonal())
    coupling = differences.coupling(weight)
    if boundary == "periodic":
        assert coupling is None
    else:
        assert coupling is not None
        assert torch.allclose(coupling[0], normal.diagonal(1))
        assert float(normal.triu(2).abs().max()) == 0
    assert float(torch.linalg.eigvalsh(k.T @ k)[-1]) <= differences.norm_squared


@pytest.mark.parametrize(("boundary", "direction"), ALL)
@pytest.mark.parametrize("basis", [Fourier(2), Cosine(2)])
def test_the_basis_with_the_same_boundary_diagonalizes(
    boundary: Boundary, direction: Direction, basis: Fourier | Cosine
) -> None:
    differences = FiniteDifferences(2, boundary, direction)
    x = rand((2, 1, 5, 6), 116)
    exact = torch.allclose(basis.multiply(x, basis.laplacian(x)), differences.adjoint(differences(x)), atol=1e-12)
    assert exact == differences.matches(basis)


def test_local_norm_is_attained_by_one_pixel() -> None:
    x = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    x[0, 0, 2, 2] = 1.0
    fields = torch.stack(FiniteDifferences(2)(x))
    assert float(fields.square().sum(0).sqrt().max()) <= FiniteDifferences(2).local_norm
    assert FiniteDifferences(2).local_norm == pytest.approx(3**0.5)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="axes: found 4"):
        FiniteDifferences(4)
    with pytest.raises(ValueError, match="boundary: found 'mirror'"):
        FiniteDifferences(boundary="mirror")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="direction: found 'central'"):
        FiniteDifferences(direction="central")  # type: ignore[arg-type]
