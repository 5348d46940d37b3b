"""The Fourier transform in two channels: conventions, adjoint, spectra of weighted normal matrices."""

from __future__ import annotations

import math

import pytest
import torch
from registry import rand

from bilearn._spectral import ComplexFourier
from bilearn.mri import FourierTransform

GRIDS = [(9,), (5, 4)]


def dense(operator: FourierTransform, grid: tuple[int, ...]) -> torch.Tensor:
    n = 2 * math.prod(grid)
    return operator.A(torch.eye(n, dtype=torch.float64).reshape(n, 2, *grid)).reshape(n, n).T


@pytest.mark.parametrize("grid", GRIDS)
def test_the_zero_frequency_is_the_first_entry(grid: tuple[int, ...]) -> None:
    flat = torch.zeros(1, 2, *grid, dtype=torch.float64)
    flat[:, 0] = 1.0
    z = FourierTransform(len(grid)).A(flat)
    index = (0, 0, *(0 for _ in grid))
    assert float(z[index]) == pytest.approx(math.sqrt(math.prod(grid)), rel=1e-14)
    z[index] = 0.0
    assert float(z.abs().max()) < 1e-14


def test_a_shift_of_the_image_turns_frequencies_by_minus_two_pi_k_over_n() -> None:
    x = rand((1, 2, 9), 1)
    operator = FourierTransform(1)
    z, shifted = (torch.complex(*operator.A(v)[0]) for v in (x, x.roll(1, -1)))
    k = torch.arange(9, dtype=torch.float64)
    assert torch.allclose(shifted, z * torch.exp(-2j * math.pi * k / 9), atol=1e-14)


@pytest.mark.parametrize("grid", GRIDS)
def test_unitary_with_stacks(grid: tuple[int, ...]) -> None:
    operator = FourierTransform(len(grid))
    matrix = dense(operator, grid)
    assert torch.allclose(matrix.T @ matrix, torch.eye(matrix.shape[0], dtype=torch.float64), atol=1e-13)
    x = rand((3, 2, 2, *grid), 2)
    assert torch.allclose(operator.A(x)[1], operator.A(x[1]), atol=1e-15)
    assert torch.allclose(operator.A(x).flatten(2), x.flatten(2) @ matrix.T, atol=1e-13)
    assert torch.allclose(operator.A_adjoint(x).flatten(2), x.flatten(2) @ matrix, atol=1e-13)
    assert operator.A(x.float()).dtype == torch.float32


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("shared", [True, False])
def test_spectrum_of_the_weighted_normal_matrix(grid: tuple[int, ...], shared: bool) -> None:
    operator = FourierTransform(len(grid))
    x = rand((2, 2, *grid), 3)
    weight = rand(grid, 4).expand_as(x) if shared else rand(tuple(x.shape), 4)
    spectrum = operator.normal_spectrum(weight, x)
    assert spectrum is not None
    assert spectrum.exact == shared
    product = operator.A_adjoint(weight * operator.A(x))
    found = spectrum.basis.multiply(x, spectrum.values)
    assert torch.allclose(found, product, atol=1e-13) == shared
    symbol = operator.normal_symbol(ComplexFourier(len(grid)), x)
    assert symbol is not None
    assert float(symbol) == 1.0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="axes: found 3, expected 1"):
        FourierTransform(3)
    with pytest.raises(ValueError, match=r"x: found shape \(1, 1, 4, 4\), expected \(B, 2, H, W\)"):
        FourierTransform(2).A(torch.zeros(1, 1, 4, 4))
