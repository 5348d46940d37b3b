"""The loop: certificates, statuses, independence of samples, counts, and what it refuses."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from lower_energies import SPECTRUM, DoubleWell, PerSample, Quadratic, SignalTV, data, steps_signal
from torch import Tensor

from bilearn import _batch
from bilearn.fidelities import LeastSquares
from bilearn.lower import LBFGS, ClosedForm, GradientDescent, LowerSolver, NesterovGradient, NewtonCG, minimize
from bilearn.lower.minimize import _CHUNK_ENTRIES
from bilearn.problem import LowerProblem
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.status import SolveError, Status
from bilearn.variational import VariationalEnergy

SOLVERS = [GradientDescent(), NesterovGradient(), NesterovGradient(restart=True), LBFGS(), NewtonCG()]


@pytest.mark.parametrize("solver", [*SOLVERS, ClosedForm()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("distance", [1e-1, 1e-3, 1e-6, 1e-10])
def test_certificates_hold(solver, dtype, distance):
    if dtype == torch.float32 and distance < 1e-3:
        distance *= 1e2
    energy, y = Quadratic(SPECTRUM.to(dtype), "direct"), data(5, 16, dtype=dtype)
    solution = minimize(energy, y, solver, tolerance=Tolerance(distance=distance), throw=False)
    error = _batch.norm(solution.x.double() - y.double() / SPECTRUM)
    assert (error <= solution.error).all()
    assert solution.certified
    if dtype == torch.float64:
        assert solution.converged
    reached = solution.status == Status.CONVERGED
    assert (solution.error[reached] <= distance).all()
    assert (reached | (solution.status == Status.FLOOR)).all()


def test_the_bound_is_not_vacuous():
    y = steps_signal(8, 64)
    exact = minimize(SignalTV(), y, NewtonCG(), tolerance=Tolerance(distance=1e-11)).x
    for solver in SOLVERS:
        solution = minimize(SignalTV(), y, solver, tolerance=Tolerance(distance=1e-3))
        ratio = _batch.norm(solution.x - exact) / solution.error
        assert (ratio <= 1).all()
        assert ratio.median() > 1e-3


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_gradient_tolerance_is_met_at_the_returned_point(solver):
    energy, y = SignalTV(nu=0.05), steps_signal(4, 32)
    solution = minimize(energy, y, solver, tolerance=Tolerance(gradient=1e-7))
    norm = _batch.norm(energy.grad(solution.x, y))
    torch.testing.assert_close(norm, solution.gradient_norm, rtol=1e-6, atol=1e-15)
    assert (norm + solution.rounding <= 1e-7).all()


@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
def test_a_sample_gives_the_same_answer_alone_and_in_a_batch(solver):
    energy = SignalTV(nu=0.02)
    y = torch.cat([steps_signal(3, 40), 0.01 * steps_signal(3, 40, 5), 5 * steps_signal(3, 40, 9)])
    tolerance = Tolerance(distance=1e-6)
    together = minimize(energy, y, solver, tolerance=tolerance)
    assert together.steps.unique().numel() > 1
    for i in range(0, 9, 2):
        alone = minimize(energy, y[i : i + 1], solver, tolerance=tolerance)
        assert alone.steps[0] == together.steps[i]
        torch.testing.assert_close(alone.x[0], together.x[i], rtol=0, atol=1e-10)


@pytest.mark.parametrize("solver", [*SOLVERS, ClosedForm()], ids=repr)
def test_arguments_stay_and_a_second_call_repeats_the_first(solver):
    energy, y = Quadratic(SPECTRUM, "direct"), data(4, 16)
    x0 = data(4, 16, 7)
    kept, given = x0.clone(), y.clone()
    first = minimize(energy, y, solver, x0, Tolerance(distance=1e-5))
    second = minimize(energy, y, solver, x0, Tolerance(distance=1e-5))
    assert torch.equal(x0, kept)
    assert torch.equal(y, given)
    assert torch.equal(first.x, second.x)
    assert torch.equal(first.steps, second.steps)
    assert first.cost == second.cost
    assert not first.x.requires_grad
    assert first.x.data_ptr() != x0.data_ptr()


@pytest.mark.parametrize("solver", [*SOLVERS, ClosedForm()], ids=repr)
def test_an_optimal_start_takes_no_step(solver):
    energy, y = Quadratic(SPECTRUM, "direct"), data(4, 16)
    solution = minimize(energy, y, solver, energy.minimizer(y), Tolerance(distance=1e-8))
    assert (solution.steps == 0).all()
    assert torch.equal(solution.x, energy.minimizer(y))
    assert solution.cost.gradients == 4


@pytest.mark.parametrize("solver", [*SOLVERS, ClosedForm()], ids=repr)
def test_zero_data(solver):
    energy, y = Quadratic(SPECTRUM, "direct"), torch.zeros(3, 16, dtype=torch.float64)
    for x0 in (None, torch.ones_like(y)):
        solution = minimize(energy, y, solver, x0, Tolerance(distance=1e-6))
        assert solution.converged
        assert (_batch.norm(solution.x) <= 1e-6).all()


@pytest.mark.parametrize("solver", [None, *SOLVERS, ClosedForm()], ids=repr)
def test_empty_batch(solver):
    solution = minimize(Quadratic(SPECTRUM, "direct"), data(0, 16), solver)
    assert solution.x.shape == (0, 16)
    assert solution.converged
    assert solution.status.shape == solution.error.shape == (0,)
    assert solution.cost.gradients == 0


@pytest.mark.parametrize("solver", [GradientDescent(), NesterovGradient(), LBFGS(), NewtonCG(), ClosedForm()], ids=repr)
def test_complex_unknowns(solver):
    energy, y = Quadratic(SPECTRUM, "direct"), torch.complex(data(3, 16), data(3, 16, 1))
    solution = minimize(energy, y, solver, tolerance=Tolerance(distance=1e-8))
    assert (_batch.norm(solution.x - energy.minimizer(y)) <= 1e-8).all()
    assert solution.error.dtype == torch.float64


def test_one_gradient_per_step_and_counts_are_calls():
    for solver in SOLVERS:
        energy, y = Quadratic(SPECTRUM), data(6, 16) * torch.logspace(0, -5, 6, dtype=torch.float64)[:, None]
        solution = minimize(energy, y, solver, tolerance=Tolerance(distance=1e-6))
        assert energy.calls == {"value": solution.cost.values, "gradient": solution.cost.gradients}
        if not isinstance(solver, NewtonCG):
            assert solution.cost.gradients >= int(solution.steps.sum()) + 6
            assert solution.cost.gradients <= 6 * (int(solution.steps.max()) + 1)


def test_finished_samples_cost_no_further_work():
    energy = Quadratic(SPECTRUM)
    y = data(10, 16)
    y[1:] *= 1e-6
    solution = minimize(energy, y, GradientDescent(check_every=1), tolerance=Tolerance(distance=1e-4))
    assert (solution.steps[1:] <= 1).all()
    assert solution.steps[0] > 50
    assert solution.cost.gradients < 1.2 * int(solution.steps[0]) + 20


def test_large_samples_are_solved_in_chunks_with_the_same_answers():
    n = _CHUNK_ENTRIES // 2
    energy = Quadratic(torch.linspace(1, 3, n, dtype=torch.float64))
    y = data(5, n)
    whole = minimize(energy, y, NesterovGradient(), tolerance=Tolerance(distance=1e-2))
    assert (_batch.norm(whole.x - energy.minimizer(y)) <= whole.error).all()
    alone = minimize(energy, y[3:4], NesterovGradient(), tolerance=Tolerance(distance=1e-2))
    assert torch.equal(whole.x[3], alone.x[0])
    assert energy.calls["gradient"] == whole.cost.gradients + alone.cost.gradients
    assert whole.status.shape == (5,)


def test_step_limit():
    energy, y = Quadratic(SPECTRUM), data(4, 16)
    solver = GradientDescent(max_steps=7)
    solution = minimize(energy, y, solver, tolerance=Tolerance(distance=1e-9), throw=False)
    assert (solution.status == Status.MAX_STEPS).all()
    assert (solution.steps == 7).all()
    torch.testing.assert_close(_batch.norm(energy.grad(solution.x, y)), solution.gradient_norm, rtol=1e-12, atol=0)
    assert minimize(energy, y, solver, tolerance=Tolerance(distance=1e-9), max_steps=3, throw=False).steps.max() == 3
    start = minimize(energy, y, solver, tolerance=Tolerance(distance=1e-9), max_steps=0, throw=False)
    assert torch.equal(start.x, energy.start(y))
    with pytest.raises(SolveError, match="4 of 4: stopped at the step limit") as caught:
        minimize(energy, y, solver, tolerance=Tolerance(distance=1e-9))
    assert torch.equal(caught.value.solution.x, solution.x)


@pytest.mark.parametrize("solver", [*SOLVERS, ClosedForm()], ids=repr)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_an_impossible_tolerance_ends_at_the_floor(solver, dtype):
    energy, y = Quadratic(SPECTRUM.to(dtype), "direct"), data(4, 16, dtype=dtype)
    solution = minimize(energy, y, solver, tolerance=Tolerance(distance=1e-30), throw=False)
    assert (solution.status == Status.FLOOR).all()
    assert (solution.gradient_norm <= solution.rounding).all()
    assert (solution.error < 1e4 * torch.finfo(dtype).eps * _batch.norm(y)).all()


def test_non_finite_values_return_the_last_finite_point():
    y = torch.tensor([[1.0, 1.0], [1e3, 1.0], [1.2, 1.0]], dtype=torch.float64)
    solution = minimize(PerSample(), y, GradientDescent(), tolerance=Tolerance(distance=1e-9), throw=False)
    assert solution.status.tolist() == [Status.CONVERGED, Status.NON_FINITE, Status.CONVERGED]
    assert torch.isfinite(solution.x).all()
    torch.testing.assert_close(_batch.norm(PerSample().grad(solution.x, y)), solution.gradient_norm, rtol=1e-12, atol=0)
    with pytest.raises(SolveError, match="1 of 3: a non-finite value"):
        minimize(PerSample(), y, GradientDescent(), tolerance=Tolerance(distance=1e-9))


def test_a_non_finite_gradient_at_the_start():
    y = torch.tensor([[1.0, 1.0], [1e200, 1.0]], dtype=torch.float64)
    start = torch.tensor([[1.0, 1.0], [1e200, 1.0]], dtype=torch.float64)
    solution = minimize(PerSample(), y, GradientDescent(), start, Tolerance(distance=1e-9), throw=False)
    assert solution.status.tolist() == [Status.CONVERGED, Status.NON_FINITE]
    assert torch.equal(solution.x[1], start[1])
    assert solution.error[1] == math.inf


def test_a_distance_without_strong_convexity_is_not_certifiable():
    energy, y = Quadratic(SPECTRUM, "unknown"), data(3, 16)
    solution = minimize(energy, y, LBFGS(), tolerance=Tolerance(distance=1e-6), throw=False)
    assert (solution.status == Status.NOT_CERTIFIABLE).all()
    assert (solution.gradient_norm <= 1e-6).all()
    assert (solution.error == math.inf).all()
    assert not solution.certified
    with pytest.raises(SolveError, match="no strong convexity constant is known"):
        minimize(energy, y, LBFGS(), tolerance=Tolerance(distance=1e-6))


@dataclass(frozen=True)
class Frozen(LowerSolver):
    """Never moves, and says so for every second sample."""

    max_steps: int = 10

    def init(self, problem: LowerProblem, x0: Tensor) -> "FrozenState":
        return FrozenState(x0, problem.grad(x0), torch.arange(x0.shape[0]) % 2 == 0, torch.zeros(x0.shape[0]))

    def step(self, problem: LowerProblem, state: "FrozenState") -> "FrozenState":
        return replace(state, age=state.age + 1)

    def stalled(self, state: "FrozenState") -> Tensor:
        return state.stuck & (state.age > 0)


@dataclass(frozen=True)
class FrozenState:
    x: Tensor
    gradient: Tensor
    stuck: Tensor
    age: Tensor


def test_stalled_samples_end_at_once():
    solution = minimize(Quadratic(SPECTRUM), data(4, 16), Frozen(), tolerance=Tolerance(distance=1e-6), throw=False)
    assert solution.status.tolist() == [Status.STALLED, Status.MAX_STEPS] * 2
    assert solution.steps.tolist() == [5, 10, 5, 10]
    assert solution.method == "Frozen"


def test_default_tolerance():
    y = data(3, 16)
    assert (minimize(Quadratic(SPECTRUM), y, NewtonCG()).error <= 4e-3).all()
    assert (minimize(Quadratic(SPECTRUM, "unknown"), y, LBFGS()).gradient_norm <= 4e-3).all()


def test_nonconvex_energies_end_at_stationary_points():
    y = torch.linspace(-2, 2, 6, dtype=torch.float64).reshape(2, 3)
    for solver in (LBFGS(), NewtonCG()):
        for x0 in (y, torch.full_like(y, 0.05), 0.3 * y):
            solution = minimize(DoubleWell(), y, solver, x0, Tolerance(gradient=1e-9))
            second = 3 * solution.x.square() - 1 + 0.1
            assert (second > 0).all()


@pytest.mark.parametrize(
    ("y", "x0", "message"),
    [
        (torch.zeros(2, 16, dtype=torch.int64), None, r"y: found shape \(2, 16\) of torch.int64"),
        (torch.tensor(1.0), None, r"y: found shape \(\) of torch.float32"),
        (torch.full((2, 16), math.nan), None, "y: found NaN or infinity"),
        (torch.zeros(2, 16), torch.full((2, 16), math.inf), "x0: found NaN or infinity"),
        (torch.zeros(2, 16), torch.zeros(3, 16), "x0: found 3 samples for data y with 2"),
    ],
)
def test_refused_input(y, x0, message):
    with pytest.raises(ValueError, match=message):
        minimize(Quadratic(SPECTRUM.float()), y, NewtonCG(), x0)


def test_negative_step_limit():
    with pytest.raises(ValueError, match="max_steps: found -1"):
        minimize(Quadratic(SPECTRUM), data(2, 16), NewtonCG(), max_steps=-1)


def test_float32_below_its_floor_ends_soon() -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.rand(2, 1, 24, 24, generator=generator)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(0.1, 1e-7, 5e-3)).to(torch.float32)
    for solver in (NesterovGradient(), GradientDescent()):
        solution = minimize(energy, y, solver, tolerance=Tolerance(distance=1e-6), throw=False)
        assert (solution.status == Status.FLOOR).all()
        assert solution.steps.max() < 5000
        assert (solution.error < 1e-3).all()
