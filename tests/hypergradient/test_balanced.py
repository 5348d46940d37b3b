"""Balanced hypergradients: errors against machine precision, both tolerances refined, options."""

from __future__ import annotations

import pytest
import torch
from toy_energies import Chain, chain_reference, data

from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import BalancedHypergradient, ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import GradientDescent, NewtonCG, minimize
from bilearn.parameters import ParameterVector
from bilearn.regularizers import FilterChain, RidgeRegularizer, random_layers
from bilearn.solution import Tolerance
from bilearn.variational import VariationalEnergy

LOSS = SquaredError(0.7)


@pytest.mark.parametrize("relative", [1e-1, 1e-2, 1e-3])
def test_the_observed_change_covers_the_error(relative: float) -> None:
    y, target = data()
    exact = chain_reference(LOSS)
    found = BalancedHypergradient(relative=relative).estimate(Chain(), LOSS, y, target, solver=GradientDescent())
    assert float((found.gradient - exact).norm()) <= found.gradient_bound <= relative * float(found.gradient.norm())
    assert not found.certified
    assert found.message == ""


@pytest.mark.parametrize("weak", [0.0, 1.0])
def test_one_percent_of_a_ridge_hypergradient_in_float32(weak: float) -> None:
    generator = torch.Generator().manual_seed(0)
    bank = FilterChain(random_layers((2, 4, 8), 3, generator))
    energy = VariationalEnergy(LeastSquares(), RidgeRegularizer(bank, weak, weight=0.8, sharpness=20.0, gains=5.0))
    target = torch.rand(2, 1, 16, 16, generator=generator).round()
    y = target + 0.1 * torch.randn(target.shape, generator=generator)
    exact = ImplicitHypergradient(fallback=1e-12).estimate(
        energy,
        LOSS,
        y.double(),
        target.double(),
        x0=minimize(energy, y.double(), NewtonCG(), tolerance=Tolerance(gradient=1e-11)).x,
        lower_tolerance=1e-10,
    )
    found = BalancedHypergradient().estimate(energy, LOSS, y, target)
    assert found.lower.method == "NewtonCG"
    assert float((found.gradient - exact.gradient).norm()) <= 1e-2 * float(exact.gradient.norm())
    assert found.gradient.numel() == len(ParameterVector(energy))


def test_less_is_asked_where_less_is_wanted() -> None:
    y, target = data()
    energy, size = Chain(), float(chain_reference(LOSS).norm())
    costs = [
        BalancedHypergradient().estimate(energy, LOSS, y, target, solver=GradientDescent(), accuracy=part * size).cost
        for part in (1e-1, 1e-6)
    ]
    assert costs[0].gradients < costs[1].gradients
    assert costs[0].hessian_products <= costs[1].hessian_products


def test_options_and_what_is_said_when_rounds_run_out() -> None:
    for name in ("relative", "initial", "shrink"):
        with pytest.raises(ValueError, match=rf"BalancedHypergradient\.{name}: found 1"):
            BalancedHypergradient(**{name: 1.0})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"BalancedHypergradient\.max_rounds: found 0"):
        BalancedHypergradient(max_rounds=0)
    y, target = data()
    short = BalancedHypergradient(max_rounds=1, initial=0.3)
    found = short.estimate(Chain(), LOSS, y, target, solver=GradientDescent(), accuracy=1e-12)
    assert "1e-12 was not reached" in found.message
