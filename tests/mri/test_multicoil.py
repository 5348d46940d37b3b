"""Several coils: convention, exact constants, preconditioner, certificates and hypergradients."""

from __future__ import annotations

import pytest
import torch
from registry import rand
from torch import Tensor

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.linear_systems import ConjugateGradient, solve_linear
from bilearn.losses import SquaredError
from bilearn.lower import NewtonCG, minimize
from bilearn.mri import (
    CoilFourierTransform,
    FourierTransform,
    FreePattern,
    Square,
    birdcage_maps,
    sampling_energy,
)
from bilearn.mri.io import as_deepinv_physics, center_kspace
from bilearn.mri.patterns import LinePattern
from bilearn.parameters import ParameterVector
from bilearn.regularizers import SmoothedTV
from bilearn.sampling import Continuation, Start, learn_sampling
from bilearn.solution import Tolerance

GRID = (6, 5)


def noise(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def uneven_maps(coils: int, grid: tuple[int, int] = GRID) -> Tensor:
    return birdcage_maps(coils, grid) * (0.5 + rand((1, *grid), 4))


def dense(operator: CoilFourierTransform, grid: tuple[int, int] = GRID) -> Tensor:
    """Columns A e_j."""
    n = 2 * grid[0] * grid[1]
    return operator.A(torch.eye(n, dtype=torch.float64).reshape(n, 2, *grid)).reshape(n, -1).T


@pytest.mark.parametrize("coils", [1, 3])
def test_birdcage(coils: int) -> None:
    maps = birdcage_maps(coils, (8, 6))
    assert torch.allclose(maps.abs().square().sum(0), torch.ones(8, 6, dtype=torch.float64), rtol=1e-14)
    strongest = birdcage_maps(4, (9, 9)).abs().flatten(1).argmax(1)
    assert [divmod(int(k), 9) for k in strongest] == [(4, 8), (8, 4), (4, 0), (0, 4)]


def test_same_kspace_as_deepinv() -> None:
    maps, x = uneven_maps(3), noise(2, 2, *GRID)
    physics = as_deepinv_physics(torch.ones(GRID), maps, torch.float64)
    operator = CoilFourierTransform(maps)
    ours = operator.A(x)
    assert ours.shape == (2, 2, 3, *GRID)
    # axis 1 holds the channels; complex k-space is (B, C, H, W)
    centered = center_kspace(torch.complex(ours[:, 0], ours[:, 1]))
    theirs = physics.A(x)
    assert torch.allclose(torch.stack((centered.real, centered.imag), 1), theirs, atol=1e-14)
    assert torch.allclose(operator.A_adjoint(ours), physics.A_adjoint(theirs), atol=1e-14)


def test_one_even_coil_is_the_plain_transform() -> None:
    x = noise(2, 2, *GRID)
    operator = CoilFourierTransform(torch.ones(1, *GRID, dtype=torch.complex128))
    assert torch.allclose(operator.A(x)[:, :, 0], FourierTransform().A(x), atol=1e-15)
    weight = rand((2, 1, *GRID), 5).expand(2, 2, *GRID)
    spectrum = operator.normal_spectrum(weight[:, :, None], x)
    assert spectrum is not None
    assert torch.allclose(spectrum.values, weight[:, :1], atol=1e-14)


def test_constants_and_adjoint_against_the_matrix() -> None:
    operator = CoilFourierTransform(uneven_maps(3))
    matrix = dense(operator)
    z = noise(4, 2, 3, *GRID)
    assert torch.allclose(operator.A_adjoint(z).flatten(1), z.flatten(1) @ matrix, atol=1e-14)
    assert torch.allclose(operator.A_adjoint(z.reshape(2, 2, *z.shape[1:])).flatten(0, 1), operator.A_adjoint(z))
    eigenvalues = torch.linalg.eigvalsh(matrix.T @ matrix)
    for bound, exact in ((operator.norm_squared(), eigenvalues[-1]), (operator.smallest_squared(), eigenvalues[0])):
        assert bound.declared
        assert float(bound.value) == pytest.approx(float(exact), rel=1e-13)
    x = noise(2, 2, *GRID)
    assert torch.allclose(operator.start(operator.A(x)), x, atol=1e-14)


def test_one_coil_after_the_other_is_the_same_product(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = CoilFourierTransform(uneven_maps(3))
    weights = torch.rand(2, 1, 1, *GRID, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    weights = weights.expand(2, 2, 3, *GRID)
    v = noise(5, 2, 2, *GRID)
    together = operator.A_adjoint(weights * operator.A(v))
    assert torch.equal(operator.normal(v, weights), together)
    monkeypatch.setattr("bilearn.mri.coils._CACHE_BYTES", 0)
    assert torch.allclose(operator.normal(v, weights), together, rtol=1e-12, atol=1e-13)
    uneven = weights * torch.tensor([1.0, 2.0], dtype=torch.float64)[:, None, None, None]
    assert torch.equal(operator.normal(v, uneven), operator.A_adjoint(uneven * operator.A(v)))


def test_the_spectrum_is_the_nearest_multiplication() -> None:
    """Against the projection of the dense matrix on circulant ones: the diagonal in Fourier, averaged over channels."""
    operator = CoilFourierTransform(uneven_maps(2))
    weight = rand(GRID, 6)
    matrix = dense(operator)
    normal = matrix.T @ (weight.expand(2, 2, *GRID).reshape(-1, 1) * matrix)
    fourier = CoilFourierTransform(torch.ones(1, *GRID, dtype=torch.complex128))
    basis = dense(fourier)
    diagonal = (basis @ normal @ basis.T).diagonal().reshape(2, *GRID).mean(0)
    spectrum = operator.normal_spectrum(weight.expand(1, 2, 2, *GRID), noise(1, 2, *GRID))
    assert spectrum is not None
    assert torch.allclose(spectrum.values[0, 0], diagonal, atol=1e-13)


def test_the_preconditioner_pays() -> None:
    grid = (16, 16)
    frequency = torch.fft.fftfreq(16, dtype=torch.float64)
    s = 1 / (1 + 8 * (frequency[:, None].square() + frequency.square()).sqrt())
    energy = sampling_energy(FreePattern(s), SmoothedTV(1e-3, 1e-3, 0.5, coupled=True), maps=birdcage_maps(4, grid))
    x, y = noise(2, 2, *grid), noise(2, 2, 4, *grid)
    hessian, rhs = energy.hessian(x, y), noise(2, 2, *grid, seed=9)
    steps = [
        int(solve_linear(hessian, rhs, method=ConjugateGradient(preconditioned), tolerance=1e-6).steps.max())
        for preconditioned in (True, False)
    ]
    assert 2 * steps[0] < steps[1]


@pytest.mark.parametrize("lines", [False, True])
def test_hypergradients_and_certificates(lines: bool) -> None:
    """In s, alpha and the ridge against central differences; distances and errors inside of their bounds."""
    start = 0.1 + 0.8 * rand((GRID[1],) if lines else GRID, 7)
    pattern = LinePattern(start, GRID) if lines else FreePattern(start)
    prior = SmoothedTV(0.05, 0.1, 0.1, learn=("alpha", "xi"), coupled=True)
    energy = sampling_energy(pattern, prior, Square(), uneven_maps(3))
    target = rand((2, 2, *GRID), 8)
    y = energy.operator.A(target) + 0.1 * noise(2, 2, 3, *GRID)
    loose = minimize(energy, y, tolerance=Tolerance(distance=1e-3), solver=NewtonCG())
    tight = minimize(energy, y, tolerance=Tolerance(gradient=1e-13), solver=NewtonCG())
    assert loose.certified
    assert bool(((loose.x - tight.x).flatten(1).norm(dim=1) <= loose.error).all())

    estimate = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-4)
    exact = ImplicitHypergradient().estimate(energy, SquaredError(), y, target, accuracy=1e-9)
    assert exact.certified
    assert float((estimate.gradient - exact.gradient).norm()) <= estimate.gradient_bound + exact.gradient_bound
    vector = ParameterVector(energy)
    theta = vector.get()

    def central(direction: Tensor, step: float) -> float:
        values = []
        for sign in (1, -1):
            vector.set(theta + sign * step * direction)
            x = minimize(energy, y, tolerance=Tolerance(gradient=1e-13), solver=NewtonCG()).x
            values.append(float((x - target).square().sum()))
        vector.set(theta)
        return (values[0] - values[1]) / (2 * step)

    for slot in vector.slots:
        direction = torch.zeros_like(theta)
        part = slice(slot.start, slot.stop)
        direction[part] = exact.gradient[part] / exact.gradient[part].norm()
        difference = (4 * central(direction, 1e-3) - central(direction, 2e-3)) / 3
        assert difference == pytest.approx(float(exact.gradient @ direction), rel=1e-6), slot.name


def test_learns_an_exact_number_of_lines() -> None:
    n, maps = 8, birdcage_maps(2, (8, 8))
    x = torch.zeros(1, 2, n, n, dtype=torch.float64)
    x[:, 0, 2:6, 3:6] = 1
    y = CoilFourierTransform(maps).A(x) + 0.02 * noise(1, 2, 2, n, n)
    energy = sampling_energy(
        LinePattern(torch.ones(n), (n, n)), SmoothedTV(0.02, 1e-2, 2e-2, learn=["alpha"], coupled=True), maps=maps
    )
    quick = Continuation(1.0, 5.0, 1, 2)
    options = {"rate": 0.5, "starts": [Start(0.5)], "max_steps": 3, "max_exchanges": 1, "continuation": quick}
    result = learn_sampling(energy, torch.complex(y[:, 0], y[:, 1]), x, **options)  # type: ignore[arg-type]
    assert int(result.mask.sum()) == 32
    assert bool((result.mask == result.mask[:1]).all())
    assert result.attempt.at("tuned").certified


def test_float32() -> None:
    maps, x = uneven_maps(2), noise(1, 2, *GRID)
    operator = CoilFourierTransform(maps)
    single = operator.A(x.float())
    assert single.dtype == torch.float32
    assert torch.allclose(single.double(), operator.A(x), atol=1e-5)
    moved = CoilFourierTransform(maps).float()
    assert moved.maps.dtype == torch.complex64
    assert torch.allclose(moved.A_adjoint(single), operator.A_adjoint(single), atol=1e-6)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="expected complex"):
        CoilFourierTransform(torch.ones(2, 4, 4))
    with pytest.raises(ValueError, match="nothing but zeros"):
        CoilFourierTransform(torch.zeros(2, 4, 4, dtype=torch.complex64))
    operator = CoilFourierTransform(uneven_maps(2))
    with pytest.raises(ValueError, match=r"x: found shape \(1, 1, 6, 5\), expected \(B, 2, 6, 5\) for 2 coils"):
        operator.A(torch.ones(1, 1, *GRID))
    with pytest.raises(ValueError, match=r"z: found shape \(1, 2, 3, 6, 5\), expected \(B, 2, 2, 6, 5\)"):
        operator.A_adjoint(torch.ones(1, 2, 3, *GRID))
    with pytest.raises(ValueError, match=r"maps: found shape \(2, 6, 5\) for a pattern of shape \(4, 4\)"):
        sampling_energy(FreePattern(torch.ones(4, 4)), SmoothedTV(0.1, 0.1), maps=uneven_maps(2))
    with pytest.raises(ValueError, match="coils: found 0"):
        birdcage_maps(0, (4, 4))
    with pytest.raises(ValueError, match="distance"):
        birdcage_maps(2, (4, 4), 1.0)
