"""deepinv priors and fidelities inside energies."""

from __future__ import annotations

import deepinv
import pytest
import torch
from deepinv.optim import L2, RED, SmoothedTVPrior
from registry import rand

from bilearn.curvature import Constant, Curvature
from bilearn.fidelities import LeastSquares
from bilearn.interop import PhysicsEnergy, PriorRegularizer, as_operator
from bilearn.lower.minimize import minimize
from bilearn.regularizers import SmoothedTV, Sum, Tikhonov
from bilearn.solution import Tolerance
from bilearn.testing import check_energy, newton_minimizer
from bilearn.variational import VariationalEnergy

SHAPE = (1, 6, 5)


def blur() -> deepinv.physics.LinearPhysics:
    kernel = rand((1, 1, 3, 3), 60)
    return deepinv.physics.BlurFFT(img_size=SHAPE, filter=kernel / kernel.sum()).double()


def tv_energy() -> VariationalEnergy:
    own = SmoothedTV(0.1, 0.05, 0.2, direction="forward")
    return VariationalEnergy(LeastSquares(), own, as_operator(blur()))


def test_deepinv_prior_equals_the_closed_form() -> None:
    prior, own = PriorRegularizer(SmoothedTVPrior(eps=0.2), 0.1), SmoothedTV(0.1, 1e-7, 0.2, direction="forward")
    x = rand((2, *SHAPE), 61)
    assert torch.allclose(prior(x), own(x), rtol=1e-6)
    assert torch.allclose(prior.grad(x), own.grad(x), atol=1e-6)


def test_energy_with_a_deepinv_prior_reaches_the_same_minimizer() -> None:
    y = rand((2, *SHAPE), 62)
    energy = VariationalEnergy(
        LeastSquares(), Sum(PriorRegularizer(SmoothedTVPrior(eps=0.2), 0.1), Tikhonov(0.05)), as_operator(blur())
    )
    solution = minimize(energy, y, tolerance=Tolerance(distance=1e-9), throw=False)
    truth = newton_minimizer(tv_energy(), y)
    assert torch.allclose(solution.x, truth, atol=1e-6)
    assert not solution.certified


def test_declared_curvature_of_a_prior_certifies() -> None:
    known = Curvature(Constant(0.0), Constant(8 / 0.2), Constant(1.2 / 0.2**2 * 8**1.5), Constant(8 / 0.2))
    energy = VariationalEnergy(LeastSquares(), PriorRegularizer(SmoothedTVPrior(eps=0.2), 0.1, curvature=known))
    y = rand((2, *SHAPE), 63)
    check_energy(energy, rand((2, *SHAPE), 64), y)
    solution = minimize(energy, y, tolerance=Tolerance(distance=1e-6))
    assert solution.certified
    assert bool(((solution.x - newton_minimizer(energy, y)).flatten(1).norm(dim=1) <= solution.error).all())


def test_energy_of_deepinv_parts_only() -> None:
    y = rand((2, *SHAPE), 65)
    energy = PhysicsEnergy(L2(), blur(), Sum(PriorRegularizer(SmoothedTVPrior(eps=0.2), 0.1), Tikhonov(0.05)))
    check_energy(energy, rand((2, *SHAPE), 66), y)
    solution = minimize(energy, y, tolerance=Tolerance(gradient=1e-9))
    assert torch.allclose(solution.x, newton_minimizer(tv_energy(), y), atol=1e-6)
    assert bool(torch.isinf(solution.error).all())
    assert torch.equal(energy.start(y), blur().A_adjoint(y))


def test_prior_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="found RED, which has no explicit value"):
        PriorRegularizer(RED(deepinv.models.MedianFilter()))
