"""Rows with masks of their own against the energy of each mask alone, one coil and several."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bilearn.lower import NewtonCG, minimize
from bilearn.mri import FreePattern, birdcage_maps, masked_data, masked_energy, sampling_energy
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.status import Status

SHAPE = (8, 6)


def prior() -> SmoothedTV:
    return SmoothedTV(0.05, 1e-2, 2e-2, learn=(), coupled=True)


def masks(generator: torch.Generator) -> Tensor:
    some = torch.rand(3, *SHAPE, generator=generator) < 0.5
    some[2] = True
    return some


@pytest.mark.parametrize("coils", [1, 3])
def test_every_row_is_the_energy_of_its_mask(coils: int) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = None if coils == 1 else birdcage_maps(coils, SHAPE)
    between = () if coils == 1 else (coils,)
    kspace = torch.randn(2, 2, *between, *SHAPE, generator=generator, dtype=torch.float64)
    x = torch.randn(6, 2, *SHAPE, generator=generator, dtype=torch.float64)
    v = torch.randn(6, 2, *SHAPE, generator=generator, dtype=torch.float64)
    several = masks(generator)
    together, data = masked_energy(prior(), maps), masked_data(kspace, several)
    value, gradient = together.value_and_grad(x, data)
    product = together.hessian(x, data)(v)
    solved = minimize(together, data, NewtonCG(), tolerance=Tolerance(distance=1e-9))
    assert bool((solved.status == Status.CONVERGED).all())
    for k, mask in enumerate(several):
        rows = slice(2 * k, 2 * k + 2)
        alone = sampling_energy(FreePattern(mask.double(), learn=False), prior(), None, maps)
        expected, slope = alone.value_and_grad(x[rows], kspace)
        torch.testing.assert_close(value[rows], expected)
        torch.testing.assert_close(gradient[rows], slope)
        torch.testing.assert_close(product[rows], alone.hessian(x[rows], kspace)(v[rows]))
        exact = minimize(alone, kspace, NewtonCG(), tolerance=Tolerance(distance=1e-9)).x
        assert float((solved.x[rows] - exact).flatten(1).norm(dim=1).max()) < 2e-9


def test_strong_convexity_of_a_full_mask_is_not_lost_among_others() -> None:
    generator = torch.Generator().manual_seed(1)
    kspace = torch.randn(1, 2, *SHAPE, generator=generator, dtype=torch.float64)
    data = masked_data(kspace, masks(generator))
    mu = masked_energy(prior()).curvature(data).strong_convexity.per_sample(data)
    torch.testing.assert_close(mu, torch.tensor([0.01, 0.01, 1.01], dtype=torch.float64))


def test_grids_must_agree() -> None:
    with pytest.raises(ValueError, match="masks: found shape"):
        masked_data(torch.zeros(1, 2, 8, 8), torch.ones(2, 8, 6))
