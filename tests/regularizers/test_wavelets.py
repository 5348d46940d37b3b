"""Wavelets: orthogonality, PyWavelets' coefficients, denoising in closed form, sides that do not fit."""

from __future__ import annotations

import pytest
import pywt
import torch
from registry import rand
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.lower.minimize import minimize
from bilearn.regularizers import CubicAbsolute, PeriodicWavelets, WaveletSparsity
from bilearn.regularizers.wavelet_filters import filter_pair
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

F64 = torch.float64


@pytest.mark.parametrize("name", ["haar", "db2", "db4", "db10", "sym8", "coif3"])
def test_filters_are_orthonormal_to_machine_precision(name: str) -> None:
    taps = torch.tensor(filter_pair(name), dtype=F64)
    size = taps.shape[0]
    for shift in range(0, size, 2):
        product = taps[: size - shift].T @ taps[shift:]
        expected = torch.eye(2, dtype=F64) if shift == 0 else torch.zeros(2, 2, dtype=F64)
        assert float((product - expected).abs().max()) < 4e-16 * size


@pytest.mark.parametrize(
    ("wavelet", "levels", "shape"),
    [("haar", 1, (4, 6)), ("db4", 3, (16, 24)), ("db4", 3, (8, 8)), ("sym4", 2, (12, 4)), ("db10", 1, (6, 2))],
)
def test_the_transform_is_orthogonal(wavelet: str, levels: int, shape: tuple[int, int]) -> None:
    transform = PeriodicWavelets(wavelet, levels)
    unit = torch.eye(shape[0] * shape[1], dtype=F64).reshape(-1, 1, *shape)
    (columns,) = transform(unit)
    matrix = columns.flatten(1).T
    assert float((matrix.T @ matrix - torch.eye(matrix.shape[0], dtype=F64)).abs().max()) < 1e-14
    rows = transform.adjoint((unit,)).flatten(1).T
    assert float((rows - matrix.T).abs().max()) < 1e-14


@pytest.mark.parametrize("wavelet", ["haar", "db4", "sym5", "coif2"])
def test_coefficients_are_those_of_pywavelets(wavelet: str) -> None:
    x = rand((64, 80), 1)
    expected, _ = pywt.coeffs_to_array(pywt.wavedec2(x.numpy(), wavelet, "periodization", level=2))
    (found,) = PeriodicWavelets(wavelet, 2)(x)
    assert torch.allclose(found, torch.from_numpy(expected), atol=1e-11)
    signal = rand((96,), 2)
    parts = pywt.wavedec(signal.numpy(), wavelet, "periodization", level=2)
    (found,) = PeriodicWavelets(wavelet, 2, axes=1)(signal)
    assert torch.allclose(found, torch.cat([torch.from_numpy(p) for p in parts]), atol=1e-11)


def test_without_the_coarse_scale_a_projection() -> None:
    full, details = PeriodicWavelets("db2", 2), PeriodicWavelets("db2", 2, coarse=False)
    x = rand((1, 1, 8, 12), 3)
    (coefficients,) = full(x)
    (found,) = details(x)
    kept = coefficients.clone()
    kept[..., :2, :3] = 0
    assert torch.equal(found, kept)
    assert torch.allclose(details.adjoint((coefficients,)), full.adjoint((kept,)), atol=1e-14)
    assert float(details(torch.ones_like(x))[0].abs().max()) < 1e-13
    out, buffer = rand((1, 1, 8, 12), 4), [torch.empty_like(x)]
    expected = out + details.adjoint((found,))
    details.fill(buffer, x)
    assert torch.equal(buffer[0], found)
    assert torch.allclose(details.add_adjoint(out, buffer), expected, atol=1e-15)


def proximal(c: Tensor, tau: float, nu: float) -> Tensor:
    """Minimizer of |z - c|^2/2 + tau rho(|z|) over complex z in two channels, rho the cubic smoothed absolute value."""
    n = c.square().sum(1, keepdim=True).sqrt()
    half = tau + nu / 2
    inner = nu / tau * (half - torch.sqrt(torch.clamp(half**2 - tau * n, min=0)))
    return torch.where(n > nu + tau, n - tau, inner) * c / n


@pytest.mark.parametrize("coarse", [True, False])
def test_denoising_is_a_threshold_of_the_coefficients(coarse: bool) -> None:
    """In closed form with the cubic potential, for complex images in two channels."""
    y = rand((2, 2, 16, 16), 5) - 0.5
    alpha, xi, nu = 0.3, 0.1, 0.2
    regularizer = WaveletSparsity(
        alpha, xi, nu, "db4", 2, penalize_coarse=coarse, coupled=True, potential=CubicAbsolute()
    )
    solution = minimize(VariationalEnergy(LeastSquares(), regularizer), y, tolerance=Tolerance(distance=1e-11))
    transform = PeriodicWavelets("db4", 2)
    (c,) = transform(y / (1 + xi))
    shrunk = proximal(c, alpha / (1 + xi), nu)
    if not coarse:
        shrunk[..., :4, :4] = c[..., :4, :4]
    assert float((solution.x - transform.adjoint((shrunk,))).abs().max()) < 1e-10


def test_small_smoothing_tends_to_soft_thresholding() -> None:
    y = rand((1, 1, 8, 8), 6)
    transform = PeriodicWavelets("haar", 2)
    (c,) = transform(y)
    soft = transform.adjoint((c.sign() * (c.abs() - 0.1).clamp(min=0),))
    distances = []
    for nu in (1e-2, 1e-3, 1e-4):
        energy = VariationalEnergy(LeastSquares(), WaveletSparsity(0.1, 1e-7, nu, "haar", 2))
        x = minimize(energy, y, tolerance=Tolerance(distance=1e-8)).x
        distances.append(float((x - soft).abs().max()))
    assert distances[2] < 0.2 * distances[1] < 0.04 * distances[0] + 1e-4
    assert distances[2] < 1e-3


def test_float32_stays_float32_and_close() -> None:
    x = rand((1, 2, 16, 16), 7)
    transform = PeriodicWavelets("db4", 3)
    (single,) = transform(x.float())
    assert single.dtype == torch.float32
    assert float((single.double() - transform(x.float().double())[0]).abs().max()) < 1e-5


def test_options_and_sides_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"found 8 x 12 pixels, expected multiples of 8 for 3 wavelet levels"):
        PeriodicWavelets("db4", 3)(rand((1, 1, 8, 12), 8))
    with pytest.raises(ValueError, match=r"found 7 pixels, expected multiples of 2"):
        PeriodicWavelets("haar", 1, axes=1).adjoint((rand((1, 1, 7), 8),))
    with pytest.raises(ValueError, match="levels: found 0"):
        PeriodicWavelets("db4", 0)
    with pytest.raises(ValueError, match="axes: found 3"):
        PeriodicWavelets("db4", 1, axes=3)
    for name in ("bior2.2", "morl", "nonsense"):
        with pytest.raises(ValueError, match=f"wavelet: found '{name}', expected an orthogonal"):
            WaveletSparsity(wavelet=name)
    with pytest.raises(ValueError, match=r"orthogonal up to 0\.002 only"):
        PeriodicWavelets("dmey", 1)
