from __future__ import annotations

import itertools

import pytest
import torch
from synthetic_oracles import LINEAR

from bilearn.problems import one_parameter, three_parameters
from bilearn.upper import InexactSGD, UpperStatus, run


@pytest.mark.parametrize("error", ["exact", "unknown", "mixed"])
@pytest.mark.parametrize("batch_size", [2, None])
def test_reaches_the_neighborhood(batch_size: int | None, error: str) -> None:
    oracle = LINEAR.oracle(error)
    optimizer = InexactSGD(0.02, 1.0, length_power=0.75, batch_size=batch_size)
    state = run(optimizer, oracle, max_steps=150)
    assert state.evaluations == len(oracle.asked)
    for _, theta, _ in oracle.asked:
        assert bool(((theta >= oracle.parameters.lower) & (theta <= oracle.parameters.upper)).all())
    assert oracle.exact(state.best.theta) == pytest.approx(LINEAR.optimum, rel=5e-2)


def test_epoch_draws_every_sample_once() -> None:
    oracle = LINEAR.oracle()
    drawn: list[list[int]] = []
    subset = oracle.subset
    oracle.subset = lambda index, unbiased=False: drawn.append(index.tolist()) or subset(index, unbiased)  # type: ignore[func-returns-value]
    optimizer = InexactSGD(1e-3, 1.0, batch_size=2, seed=5)
    for k in range(10):
        assert optimizer.minibatch(oracle, k) is not None
    assert oracle.samples == 9
    for epoch in (drawn[:5], drawn[5:]):
        assert sorted(i for part in epoch for i in part) == list(range(9))
        assert {len(part) for part in epoch} <= {1, 2}
    assert drawn[:5] != drawn[5:]
    again, other = [], []
    for seed, parts in ((5, again), (6, other)):
        for k in range(5):
            InexactSGD(1e-3, 1.0, batch_size=2, seed=seed).minibatch(oracle, k)
            parts.append(drawn[-1])
    assert again == drawn[:5]
    assert other != drawn[:5]


def test_lengths_accuracies_and_values_follow_the_plan() -> None:
    oracle = LINEAR.oracle("mixed")
    optimizer = InexactSGD(1e-3, 0.5, length_power=0.6, accuracy_power=0.3, batch_size=3, epochs_between_values=2)
    states = []
    run(optimizer, oracle, max_steps=9, callback=states.append)
    asked = [a for kind, _, a in oracle.asked if kind == "hypergradient"]
    assert asked == [0.5 * (k + 1) ** -0.3 for k in range(10)]
    values = [theta for kind, theta, _ in oracle.asked if kind == "value"]
    assert [theta.tolist() for theta in values] == [states[k].current.theta.tolist() for k in (0, 6)]
    for k, (before, after) in enumerate(itertools.pairwise(states)):
        step = before.current.theta - 1e-3 * (k + 1) ** -0.6 * before.current.gradient
        assert after.current.theta.equal(oracle.parameters.project(step))


def test_minibatch_gradients_of_a_sum_are_unbiased() -> None:
    """With a penalty, which counts once, and a sum of losses: the mean over an epoch's parts is the gradient of F."""
    problem = three_parameters()
    objective = problem.objective
    whole = objective.hypergradient(problem.start, 1e-8)
    optimizer = InexactSGD(1e-3, 1.0, batch_size=5)
    parts = [optimizer.minibatch(objective, k) for k in range(4)]
    gradients = [part.hypergradient(problem.start, 1e-8) for part in parts if part is not None]
    mean = torch.stack([e.gradient for e in gradients if e.gradient is not None]).mean(0)
    assert whole.gradient is not None
    torch.testing.assert_close(mean, whole.gradient, rtol=1e-7, atol=1e-7)
    assert sum(e.value for e in gradients) / 4 == pytest.approx(whole.value, rel=1e-7)


def test_one_parameter_denoising_on_minibatches() -> None:
    problem = one_parameter()
    optimizer = InexactSGD(0.05, 0.05, batch_size=3)
    state = run(optimizer, problem.objective, problem.start, max_steps=60)
    assert state.status is UpperStatus.MAX_STEPS
    assert state.best.losses.shape == (10,)
    assert state.best.value == pytest.approx(problem.optimum, rel=1e-2)


def test_hyperparameters_are_checked() -> None:
    for options, message in [
        ({"initial_length": 0.0}, "initial_length: found 0.0"),
        ({"initial_accuracy": -1.0}, "initial_accuracy: found -1.0"),
        ({"length_power": -0.5}, "length_power: found -0.5"),
        ({"batch_size": 0}, "batch_size: found 0"),
        ({"epochs_between_values": 0}, "epochs_between_values: found 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            InexactSGD(**{"initial_length": 1.0, "initial_accuracy": 1.0, **options})  # type: ignore[arg-type]
