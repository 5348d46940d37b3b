from __future__ import annotations

import dataclasses
import io
import math

import pytest
import torch
from synthetic_oracles import FLAT_TAIL, FREUDENSTEIN_ROTH, LINEAR, ROSENBROCK, SyntheticOracle

from bilearn.upper import (
    HOAG,
    LBFGSB,
    MAID,
    BayesianSearch,
    GaussNewton,
    GridSearch,
    InexactSGD,
    Polynomial,
    ProjectedGradient,
    RandomSearch,
    ScheduledGradient,
    TorchOptimizer,
    UpperOptimizer,
    UpperState,
    UpperStatus,
    default_optimizer,
    run,
    state_from_tree,
    state_to_tree,
)


def adam(params: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=0.05, betas=(0.8, 0.9))


def momentum(params: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=1e-5, momentum=0.9)


ALL: list[UpperOptimizer] = [
    GaussNewton(),
    LBFGSB(),
    ProjectedGradient(),
    TorchOptimizer(adam),
    TorchOptimizer(momentum, accuracy=lambda k: 1.0 / (k + 1)),
    MAID(),
    HOAG(),
    ScheduledGradient(Polynomial(0.01, 0.1)),
    InexactSGD(1e-3, 1.0, batch_size=2),
    GridSearch(3),
    RandomSearch(8),
    BayesianSearch(14),
]


def name(optimizer: UpperOptimizer) -> str:
    return optimizer.name


def stored(optimizer: UpperOptimizer, state: UpperState) -> UpperState:
    """The state after a trip through a file."""
    file = io.BytesIO()
    torch.save(state_to_tree(state), file)
    file.seek(0)
    return state_from_tree(optimizer, torch.load(file, weights_only=True))


def bits(value: object) -> object:
    """Something that compares equal exactly when the states are equal bit for bit."""
    if isinstance(value, torch.Tensor):
        return (str(value.dtype), tuple(value.shape), value.tolist())
    if dataclasses.is_dataclass(value):
        return (type(value).__name__, [bits(getattr(value, f.name)) for f in dataclasses.fields(value)])
    if isinstance(value, tuple | list):
        return [bits(v) for v in value]
    if isinstance(value, dict):
        return {k: bits(v) for k, v in value.items()}
    return value


@pytest.mark.parametrize("after", [0, 1, 3])
@pytest.mark.parametrize("optimizer", ALL, ids=name)
def test_resumed_run_is_the_uninterrupted_run(optimizer: UpperOptimizer, after: int) -> None:
    whole, parts = ROSENBROCK.oracle("mixed"), ROSENBROCK.oracle("mixed")
    expected = run(optimizer, whole, max_steps=9)
    first = run(optimizer, parts, max_steps=after)
    assert first.status is UpperStatus.MAX_STEPS
    assert first.iteration == after
    reread = stored(optimizer, first)
    assert bits(reread) == bits(first)
    before = len(parts.asked)
    final = run(optimizer, parts, max_steps=9, state=reread)
    assert bits(final) == bits(expected)
    assert len(parts.asked) > before
    assert [(k, t.tolist(), a) for k, t, a in parts.asked] == [(k, t.tolist(), a) for k, t, a in whole.asked]


@pytest.mark.parametrize("optimizer", ALL, ids=name)
def test_steps_leave_the_state_they_start_from_alone(optimizer: UpperOptimizer) -> None:
    oracle = ROSENBROCK.oracle()
    state = optimizer.step(oracle, optimizer.init(oracle, oracle.parameters.get()))
    before = str(bits(state))
    once = optimizer.step(oracle, state)
    again = optimizer.step(oracle, state)
    optimizer.release()
    assert str(bits(state)) == before
    assert bits(once) == bits(again)


@pytest.mark.parametrize("optimizer", ALL, ids=name)
def test_second_run_is_independent_of_the_first(optimizer: UpperOptimizer) -> None:
    first = run(optimizer, FLAT_TAIL.oracle(), max_steps=4)
    run(optimizer, LINEAR.oracle(), max_steps=2)
    assert bits(run(optimizer, FLAT_TAIL.oracle(), max_steps=4)) == bits(first)


def test_status_given_by_the_callback_ends_the_run_and_is_lifted_on_resume() -> None:
    for verdict in (UpperStatus.BUDGET, UpperStatus.EARLY_STOP):
        oracle, seen = FREUDENSTEIN_ROTH.oracle(), []

        def callback(state: UpperState, seen: list[int] = seen, verdict: UpperStatus = verdict) -> UpperStatus | None:
            seen.append(state.iteration)
            return verdict if state.iteration == 2 else None

        state = run(GaussNewton(), oracle, callback=callback)
        assert state.status is verdict
        assert seen == [0, 1, 2]
        resumed = run(GaussNewton(), oracle, state=state, callback=callback)
        assert seen[3] == 3
        assert resumed.status in (UpperStatus.STATIONARY, UpperStatus.SMALL_DECREASE)


def test_a_method_that_has_ended_stays_ended() -> None:
    oracle = LINEAR.oracle()
    state = run(GaussNewton(), oracle)
    count = len(oracle.asked)
    assert run(GaussNewton(), oracle, state=state) is state
    assert len(oracle.asked) == count


@pytest.mark.parametrize("optimizer", ALL[:5], ids=name)
def test_interrupt_leaves_the_last_state(optimizer: UpperOptimizer) -> None:
    oracle, states = ROSENBROCK.oracle(), []

    def interrupt(theta: torch.Tensor) -> bool:
        if len(oracle.asked) == 4:
            raise KeyboardInterrupt
        return False

    oracle.fails_at = interrupt
    state = run(optimizer, oracle, callback=lambda s: states.append(s))
    assert state.status is UpperStatus.INTERRUPTED
    assert bits(dataclasses.replace(state, status=UpperStatus.RUNNING)) == bits(states[-1])
    oracle.fails_at = lambda theta: False
    assert run(optimizer, oracle, max_steps=5, state=state).iteration == 5


def test_interrupt_in_a_callback() -> None:
    def callback(state: UpperState) -> None:
        if state.iteration == 1:
            raise KeyboardInterrupt

    assert run(GaussNewton(), ROSENBROCK.oracle(), callback=callback).status is UpperStatus.INTERRUPTED


class Liar(SyntheticOracle):
    """An oracle whose gradients have the wrong sign."""

    def _answer(self, kind, theta, accuracy):
        answer = super()._answer(kind, theta, accuracy)
        wrong = None if answer.gradient is None else -answer.gradient
        return dataclasses.replace(answer, gradient=wrong)


@pytest.mark.parametrize("optimizer", [GaussNewton(), ProjectedGradient()], ids=name)
def test_wrong_gradients_make_no_progress(optimizer: UpperOptimizer) -> None:
    oracle = Liar(LINEAR, "exact", torch.float64)
    state = run(optimizer, oracle, max_steps=200)
    assert state.status is UpperStatus.NO_PROGRESS
    assert state.best.value == oracle.exact(oracle.asked[0][1])


def test_small_steps_are_recognized() -> None:
    state = run(GaussNewton(step_tolerance=1e-2, decrease_tolerance=1e-15), FREUDENSTEIN_ROTH.oracle())
    assert state.status is UpperStatus.SMALL_STEP
    state = run(LBFGSB(step_tolerance=10.0), ROSENBROCK.oracle())
    assert (state.status, state.iteration) == (UpperStatus.SMALL_STEP, 1)
    state = run(ProjectedGradient(step_tolerance=0.5), LINEAR.oracle())
    assert state.status in (UpperStatus.SMALL_STEP, UpperStatus.NO_PROGRESS)
    state = run(TorchOptimizer(adam, step_tolerance=0.1), ROSENBROCK.oracle())
    assert state.status is UpperStatus.SMALL_STEP


def test_loose_tolerances_stop_earlier() -> None:
    for kind, name, loose in (
        (GaussNewton, "gradient_tolerance", 1.0),
        (GaussNewton, "decrease_tolerance", 0.5),
        (LBFGSB, "gradient_tolerance", 1.0),
        (LBFGSB, "decrease_tolerance", 0.5),
        (ProjectedGradient, "gradient_tolerance", 1.0),
    ):
        default, oracle = FREUDENSTEIN_ROTH.oracle(), FREUDENSTEIN_ROTH.oracle()
        run(kind(), default, max_steps=60)
        run(kind(**{name: loose}), oracle, max_steps=60)
        assert len(oracle.asked) < len(default.asked), name


def test_start_is_checked() -> None:
    oracle = LINEAR.oracle()
    with pytest.raises(ValueError, match=r"theta: found shape \(3,\), expected \(4,\)"):
        run(GaussNewton(), oracle, torch.zeros(3))
    with pytest.raises(ValueError, match="theta: found NaN or infinity"):
        run(GaussNewton(), oracle, torch.full((4,), math.nan))
    assert oracle.asked == []


def test_trees_refuse_what_they_cannot_store() -> None:
    state = GaussNewton().init(LINEAR.oracle(), torch.zeros(4, dtype=torch.float64))
    with pytest.raises(TypeError, match=r"GaussNewtonState.radius: found a object"):
        state_to_tree(dataclasses.replace(state, radius=object()))  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match=r"expected .* of a LBFGSB state; the checkpoint was written by another method"
    ):
        state_from_tree(LBFGSB(), state_to_tree(state))


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (GaussNewton, {"gradient_accuracy": 1.5}, "GaussNewton.gradient_accuracy: found 1.5"),
        (GaussNewton, {"initial_radius": 3.0}, "GaussNewton.initial_radius: found 3.0"),
        (LBFGSB, {"memory": 0}, "found memory=0"),
        (LBFGSB, {"value_accuracy": 2.0}, "value_accuracy=2.0"),
        (GridSearch, {"points_per_axis": 0}, "GridSearch.points_per_axis: found 0"),
        (RandomSearch, {"count": 0}, "RandomSearch.count: found 0"),
        (BayesianSearch, {"count": -1}, "BayesianSearch.count: found -1"),
        (BayesianSearch, {"sampler": "magic"}, "BayesianSearch.sampler: found 'magic'"),
    ],
)
def test_hyperparameters_are_checked(kind, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_default_choice() -> None:
    parameters = LINEAR.oracle().parameters
    assert isinstance(default_optimizer(parameters, least_squares=True), GaussNewton)
    assert isinstance(default_optimizer(parameters, least_squares=False), LBFGSB)
    many = torch.nn.Module()
    many.weight = torch.nn.Parameter(torch.zeros(11))
    assert isinstance(default_optimizer(type(parameters)(many), least_squares=True), LBFGSB)


def test_every_status_has_a_sentence() -> None:
    assert len({s.value for s in UpperStatus}) == len(UpperStatus)
    assert all(len(s.value) > 10 for s in UpperStatus)
