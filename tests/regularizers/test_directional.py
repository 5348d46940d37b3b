"""Directional TV: the formula, its limits, the adjoint, errors."""

from __future__ import annotations

import pytest
import torch
from registry import rand

from bilearn.regularizers import DirectionalDifferences, DirectionalTV, FiniteDifferences, SmoothedTV

F64 = torch.float64
REFERENCE = rand((6, 5), 1)
X = rand((2, 2, 6, 5), 2)


def test_value_is_the_formula() -> None:
    plain = torch.stack(FiniteDifferences(2)(X))
    slopes = torch.stack(FiniteDifferences(2)(REFERENCE))
    xi = slopes / torch.sqrt(0.05**2 + slopes.square().sum(0))
    projection = torch.eye(2, dtype=F64)[:, :, None, None] - xi[:, None] * xi[None]
    fields = torch.einsum("klij,lbcij->kbcij", projection, plain)
    expected = 0.3 * torch.sqrt(fields.square().sum((0, 2)) + 0.04).sum((1, 2)) + 0.05 * X.square().sum((1, 2, 3))
    found = DirectionalTV(REFERENCE, 0.3, 0.1, 0.2, eta=0.05, coupled=True)(X)
    assert torch.allclose(found, expected, rtol=1e-13)


def test_a_flat_reference_gives_tv_and_the_image_itself_nearly_nothing() -> None:
    options = {"alpha": 0.3, "xi": 1e-7, "nu": 1e-6}
    tv = SmoothedTV(**options)(X).detach()
    assert torch.allclose(DirectionalTV(torch.ones(6, 5, dtype=F64), **options)(X), tv, rtol=1e-12)
    image = REFERENCE[None, None]
    aligned = DirectionalTV(REFERENCE, **options, eta=1e-4)(image).detach()
    assert float(aligned) < 1e-3 * float(SmoothedTV(**options)(image).detach())


@pytest.mark.parametrize("boundary", ["neumann", "dirichlet", "periodic"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_adjoint_norm_and_diagonal(boundary: str, direction: str) -> None:
    operator = DirectionalDifferences(REFERENCE, 0.1, boundary, direction)  # type: ignore[arg-type]
    unit = torch.eye(30, dtype=F64).reshape(30, 1, 6, 5)
    matrix = torch.cat([field.flatten(1).T for field in operator(unit)])
    adjoint = torch.cat(
        [operator.adjoint((unit, 0 * unit)).flatten(1).T, operator.adjoint((0 * unit, unit)).flatten(1).T], 1
    )
    assert torch.allclose(adjoint, matrix.T, atol=1e-15)
    assert float(torch.linalg.matrix_norm(matrix, ord=2)) ** 2 <= operator.norm_squared
    rows = torch.stack((matrix[:30], matrix[30:]), 1)
    assert float(torch.linalg.matrix_norm(rows, ord=2).max()) <= operator.local_norm
    buffer = [torch.empty_like(X), torch.empty_like(X)]
    operator.fill(buffer, X)
    assert all(torch.equal(a, b) for a, b in zip(buffer, operator(X), strict=True))
    assert torch.allclose(operator.add_adjoint(X.clone(), buffer), X + operator.adjoint(buffer), atol=1e-14)


def test_the_reference_is_saved_and_moves_with_the_regularizer() -> None:
    regularizer = DirectionalTV(REFERENCE)
    assert "analysis.normals" in regularizer.state_dict()
    other = DirectionalTV(torch.zeros_like(REFERENCE))
    other.load_state_dict(regularizer.state_dict())
    assert torch.equal(other(X), regularizer(X))
    assert regularizer.float()(X.float()).dtype == torch.float32


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match=r"reference: found torch.float64 of shape \(1, 6, 5\)"):
        DirectionalTV(REFERENCE[None])
    with pytest.raises(ValueError, match="reference: found torch"):
        DirectionalTV(torch.complex(REFERENCE, REFERENCE))
    with pytest.raises(ValueError, match=r"eta: found 0\.0"):
        DirectionalTV(REFERENCE, eta=0.0)
    with pytest.raises(ValueError, match=r"x: found images of \(5, 6\) pixels, expected \(6, 5\)"):
        DirectionalTV(REFERENCE)(X.transpose(-1, -2))
