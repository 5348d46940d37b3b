"""Single-loop steps and variance reduction where every training pair has a lower level of its own."""

from __future__ import annotations

import math

import pytest
import torch

from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import ImplicitHypergradient, SingleLoop
from bilearn.losses import SquaredError
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.stochastic import VarianceReduced
from bilearn.upper import LBFGSB, Fixed, InexactSGD, UpperStatus, run
from bilearn.upper.optimizer import state_from_tree, state_to_tree
from bilearn.variational import VariationalEnergy

PAIRS = 10


def objective(estimator: SingleLoop | ImplicitHypergradient) -> ReducedObjective:
    generator = torch.Generator().manual_seed(0)
    target = (torch.rand(PAIRS, 12, generator=generator, dtype=torch.float64) > 0.5).double().cumsum(1) / 4
    y = target + 0.2 * torch.randn(PAIRS, 12, generator=generator, dtype=torch.float64)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(0.01, 1e-3, 0.3, learn=("alpha",), axes=1))
    return ReducedObjective(energy, y, target, SquaredError(), estimator=estimator)


def minimum() -> float:
    exact = objective(ImplicitHypergradient())
    return float(run(LBFGSB(gradient_tolerance=1e-9), exact, max_steps=60).best.theta)


def test_repeated_calls_converge_to_the_implicit_gradient_within_their_bounds() -> None:
    single, theta = objective(SingleLoop()), torch.tensor([-1.0], dtype=torch.float64)
    exact = objective(ImplicitHypergradient()).hypergradient(theta, 1e-10).gradient
    assert exact is not None
    bounds = []
    for _ in range(40):
        answer = single.hypergradient(theta, 1e-12)
        assert answer.gradient is not None
        assert float((answer.gradient - exact).norm()) <= answer.gradient_bound + 1e-10
        bounds.append(answer.gradient_bound)
    assert bounds[-1] < 1e-6 * bounds[0]


def test_without_certificate_the_gradient_is_the_same_and_costs_less() -> None:
    theta = torch.tensor([-1.0], dtype=torch.float64)
    a, b = objective(SingleLoop(steps=3)), objective(SingleLoop(steps=3, certify=False))
    first, second = a.hypergradient(theta, 1.0), b.hypergradient(theta, 1.0)
    assert first.gradient is not None
    assert second.gradient is not None
    assert torch.allclose(first.gradient, second.gradient)
    assert second.gradient_bound == math.inf
    assert second.cost.gradients == 3 * PAIRS < first.cost.gradients


@pytest.mark.parametrize("batch_size", [4, 10])
def test_saba_on_pairs_reaches_the_minimizer_with_a_constant_step(batch_size: int) -> None:
    method = VarianceReduced(Fixed(0.15), batch_size=batch_size, epochs_between_values=1000)
    state = run(method, objective(SingleLoop(certify=False)), max_steps=250)
    assert float(state.theta) == pytest.approx(minimum(), abs=3e-5)


def test_without_the_tables_a_constant_step_keeps_its_noise() -> None:
    plain = InexactSGD(0.15, 1.0, length_power=0.0, accuracy_power=0.0, batch_size=4, epochs_between_values=1000)
    oracle = objective(SingleLoop(certify=False))
    state = run(plain, oracle, max_steps=150)
    tail = []
    for _ in range(9):
        state = plain.step(oracle, state)
        tail.append(abs(float(state.current.theta) - minimum()))
    assert max(tail) > 1e-4


def test_a_stored_state_continues_bit_for_bit() -> None:
    method = VarianceReduced(Fixed(0.3), batch_size=4)
    whole = run(method, objective(ImplicitHypergradient()), max_steps=8)
    oracle = objective(ImplicitHypergradient())
    half = run(method, oracle, max_steps=5)
    again = objective(ImplicitHypergradient())
    again.load_state_tree(oracle.state_tree())
    rest = run(method, again, max_steps=8, state=state_from_tree(method, state_to_tree(half)))
    assert torch.equal(whole.theta, rest.theta)
    assert whole.status is UpperStatus.MAX_STEPS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SingleLoop(steps=0), "steps: found 0"),
        (lambda: SingleLoop(step_size=0.0), r"step_size: found 0\.0"),
        (lambda: VarianceReduced(Fixed(1.0), batch_size=0), r"VarianceReduced\.batch_size: found 0"),
        (lambda: VarianceReduced(Fixed(1.0), step_tolerance=-1.0), r"step_tolerance: found -1\.0"),
    ],
)
def test_bad_options_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
