"""Dynamic-accuracy derivative-free optimization: decisions, certificates, work, hostile starts, resumes."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from synthetic_oracles import ERRORS, FREUDENSTEIN_ROTH, LINEAR, ROSENBROCK, UNBOUNDED, Problem, SyntheticOracle

from bilearn.evaluation import Evaluation
from bilearn.lower import NesterovGradient
from bilearn.parameters import Coordinate, Identity
from bilearn.penalties import ConditionNumber
from bilearn.problems import one_parameter, three_parameters
from bilearn.upper import DynamicDFO, UpperStatus, run, state_from_tree, state_to_tree
from bilearn.upper.box_quadratic import minimize_in_box
from bilearn.upper.dynamic_dfo_geometry import MANY, choose, renew_set
from bilearn.upper.dynamic_dfo_model import InterpolationModel
from bilearn.upper.dynamic_dfo_points import Points
from bilearn.upper.interpolation import Lagrange
from bilearn.upper.interpolation_set import InterpolationSet

CONVERGED = {UpperStatus.SMALL_DECREASE, UpperStatus.SMALL_STEP}


WEIGHTS = MANY + 4


def saturating(theta: torch.Tensor) -> torch.Tensor:
    """Residuals that are steep near the lower bound, coupled with the next; some weights belong on the bound."""
    target = torch.linspace(-0.3, 0.6, WEIGHTS, dtype=torch.float64)
    steep = theta / (theta + 0.2) - target
    return torch.cat((steep, 0.3 * (theta[1:] - theta[:-1])))


def many_weights() -> Problem:
    """A problem with more than 16 plain parameters; the optimum is that of Gauss-Newton steps in the box."""
    theta = torch.full((WEIGHTS,), 0.5, dtype=torch.float64)
    for _ in range(60):
        jacobian = torch.autograd.functional.jacobian(saturating, theta)
        assert isinstance(jacobian, torch.Tensor)
        step = minimize_in_box(jacobian.T @ jacobian, jacobian.T @ saturating(theta), 0.01 - theta, 1.0 - theta)
        theta = theta + 0.5 * step
    optimum = float(saturating(theta).square().sum())
    box: list[Coordinate] = [Identity((0.01, 1.0)) for _ in range(WEIGHTS)]
    return Problem("many", saturating, box, [0.5] * WEIGHTS, optimum, theta.tolist())


class ResidualOracle(SyntheticOracle):
    """Adds residuals whose errors are those of the value, spread evenly."""

    def value(self, theta: torch.Tensor, accuracy: float | None = None) -> Evaluation:
        found = super().value(theta, accuracy)
        exact = self.problem.residual(theta.double())
        value = max(found.value, 0.0)
        computed = exact * (math.sqrt(value) / float(exact.norm()))
        bounds = torch.full_like(exact, math.inf) if self.error == "unknown" else (computed - exact).abs()
        return replace(found, value=value, residuals=computed, residual_bounds=bounds)


def check_requests(oracle: SyntheticOracle, state) -> None:
    for kind, theta, accuracy in oracle.asked:
        assert kind == "value"
        assert accuracy is not None
        assert bool(((theta >= oracle.parameters.lower) & (theta <= oracle.parameters.upper)).all())
    assert state.evaluations == len(oracle.asked)


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("problem", [ROSENBROCK, UNBOUNDED], ids=lambda p: p.name.split()[0])
def test_least_squares_reaches_the_optimum(problem: Problem, error: str) -> None:
    oracle = ResidualOracle(problem, error, torch.float64)
    state = run(DynamicDFO(), oracle, max_steps=200)
    check_requests(oracle, state)
    assert state.status in CONVERGED
    assert oracle.exact(state.best.theta) == pytest.approx(problem.optimum, rel=1e-5)


@pytest.mark.parametrize(("problem", "error"), [(LINEAR, "exact"), (LINEAR, "below"), (UNBOUNDED, "mixed")])
def test_any_loss_reaches_the_optimum(problem: Problem, error: str) -> None:
    oracle = problem.oracle(error)
    state = run(DynamicDFO(), oracle, max_steps=300)
    check_requests(oracle, state)
    assert state.status in CONVERGED
    assert oracle.exact(state.best.theta) == pytest.approx(problem.optimum, rel=1e-4)


def test_large_residuals_need_the_second_order_of_the_interpolants() -> None:
    def evaluations(points: int | None) -> int:
        oracle = ResidualOracle(FREUDENSTEIN_ROTH, "exact", torch.float64)
        state = run(DynamicDFO(points=points), oracle, max_steps=400)
        assert oracle.exact(state.best.theta) == pytest.approx(FREUDENSTEIN_ROTH.optimum, rel=1e-3)
        return len(oracle.asked)

    assert evaluations(None) < evaluations(3)


@pytest.mark.parametrize(("error", "each"), [("exact", 10), ("below", 10), ("mixed", 25)])
def test_many_parameters_reach_the_optimum_on_bounds(error: str, each: int) -> None:
    problem = many_weights()
    oracle = ResidualOracle(problem, error, torch.float64)

    def reached(state):
        return UpperStatus.EARLY_STOP if oracle.exact(state.best.theta) <= 1.01 * problem.optimum else None

    state = run(DynamicDFO(max_evaluations=each * WEIGHTS), oracle, max_steps=300, callback=reached)
    check_requests(oracle, state)
    assert state.status is UpperStatus.EARLY_STOP
    assert min(problem.minimizer) == pytest.approx(0.01)


def test_renewal_replaces_the_farthest_points_a_few_at_a_time() -> None:
    oracle = ResidualOracle(many_weights(), "exact", torch.float64)
    points = Points(oracle, (), ())
    start = torch.tensor(oracle.problem.start, dtype=torch.float64)
    points.add(start, 1.0)
    for axis in range(WEIGHTS):
        points.add(start - 0.4 * torch.eye(WEIGHTS, dtype=torch.float64)[axis], 1.0)
    radius, counts = 0.1, []
    assert not choose(points, radius, None).fully_linear
    while renew_set(points, radius, None, 1.0):
        counts.append(points.requests)
        assert len(counts) < WEIGHTS
    assert counts[0] == 1 + WEIGHTS + 3
    final = choose(points, radius, None)
    assert final.fully_linear
    assert float(points.nodes()[final.chosen].abs().max()) <= 2 * radius


@pytest.mark.parametrize("error", ["above", "below", "mixed"])
def test_accepted_points_really_decrease(error: str) -> None:
    oracle = ResidualOracle(ROSENBROCK, error, torch.float64)
    accepted: list[torch.Tensor] = []
    run(DynamicDFO(), oracle, max_steps=100, callback=lambda state: accepted.append(state.current.theta))
    values = [oracle.exact(theta) for theta in accepted]
    assert values[-1] < values[0]
    assert all(b <= a for a, b in itertools.pairwise(values))


def test_accuracy_follows_progress() -> None:
    oracle = ResidualOracle(ROSENBROCK, "mixed", torch.float64)
    run(DynamicDFO(), oracle, max_steps=100)
    asked = [accuracy for _, _, accuracy in oracle.asked if accuracy is not None]
    assert asked[0] == math.inf
    assert min(asked) < 1e-4 * max(a for a in asked if a < math.inf)


def test_a_floor_of_the_oracle_ends_the_run_near_what_it_can_tell() -> None:
    oracle = ResidualOracle(LINEAR, "mixed", torch.float64, floor=1e-3)
    state = run(DynamicDFO(), oracle, max_steps=200)
    assert state.status in CONVERGED
    assert oracle.exact(state.best.theta) <= LINEAR.optimum + 0.05


def test_non_finite_points_are_left() -> None:
    oracle = ResidualOracle(ROSENBROCK, "exact", torch.float64)
    oracle.fails_at = lambda theta: bool((theta[1] < 0.85) & (theta[0] < -0.9))
    state = run(DynamicDFO(), oracle, max_steps=100)
    assert any(oracle.fails_at(theta) for _, theta, _ in oracle.asked)
    assert oracle.exact(state.best.theta) == pytest.approx(ROSENBROCK.optimum, rel=1e-4)


def test_non_finite_start() -> None:
    oracle = ROSENBROCK.oracle()
    oracle.fails_at = lambda theta: True
    state = run(DynamicDFO(), oracle)
    assert state.status is UpperStatus.NON_FINITE
    assert len(oracle.asked) == 1


def test_budgets() -> None:
    oracle = ResidualOracle(ROSENBROCK, "mixed", torch.float64)
    state = run(DynamicDFO(max_evaluations=20), oracle, max_steps=100)
    assert state.status is UpperStatus.BUDGET
    assert 20 <= state.evaluations < 60
    assert run(DynamicDFO(max_gradients=5), ROSENBROCK.oracle(), max_steps=100).status is UpperStatus.BUDGET


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"acceptance": 0.0}, "acceptance"),
        ({"decision_accuracy": 0.16}, "decision_accuracy"),
        ({"final_radius": 1.0}, "final_radius"),
        ({"screening": 1.0}, "screening"),
    ],
)
def test_bad_hyperparameters(options: dict[str, float], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        DynamicDFO(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", [0.0, 1.0, 2.0, -1.0, -2.0])
def test_published_problem_within_the_budget_of_gradients(start: float) -> None:
    """0.1 % from all published starts with fewer than 20,000 lower-level gradients over all ten samples (FISTA)."""
    problem, reference = one_parameter(), one_parameter().objective
    problem.objective.solver = NesterovGradient()

    def reached(state):
        exact = reference.value(state.best.theta, 1e-6)
        return UpperStatus.EARLY_STOP if exact.upper <= 1.001 * problem.optimum else None

    state = run(DynamicDFO(), problem.objective, torch.tensor([start], dtype=torch.float64), callback=reached)
    assert state.status is UpperStatus.EARLY_STOP
    assert problem.objective.cost.gradients < 20_000


@pytest.mark.parametrize("solver", [NesterovGradient(steady=True), None], ids=["accelerated", "default"])
def test_every_interval_of_a_complete_run_contains_the_exact_value(solver: NesterovGradient | None) -> None:
    problem, seen = three_parameters(), []
    problem.objective.solver = solver
    problem.objective.observer = seen.append
    run(DynamicDFO(max_evaluations=30), problem.objective, problem.start)
    reference = three_parameters().objective
    for found in seen:
        exact = reference.value(found.theta, 1e-9)
        assert found.lower - exact.bound <= exact.value <= found.upper + exact.bound
        assert found.certified
        if found.accuracy is not None and not found.message:
            assert found.bound <= found.accuracy * (1 + 1e-9)
        bounds, residuals = found.residual_bounds, found.residuals
        assert bool(((residuals - exact.residuals).abs() <= bounds + exact.residual_bounds).all())


@pytest.mark.parametrize("start", [[7.0, -7.0, -7.0], [7.0, 0.0, 0.0], [-7.0, -7.0, -7.0]])
def test_hostile_starts_end_in_bounded_time_with_a_reason(start: list[float]) -> None:
    problem = three_parameters()
    problem.objective.solver = NesterovGradient(max_steps=100)
    state = run(DynamicDFO(max_evaluations=40), problem.objective, torch.tensor(start, dtype=torch.float64))
    assert state.status is not UpperStatus.RUNNING
    assert state.evaluations < 100
    exact = three_parameters().objective.value(state.best.theta, 1e-4)
    assert exact.value - exact.bound <= state.best.upper


def test_a_resumed_run_goes_on_bit_for_bit() -> None:
    def objective():
        problem = three_parameters()
        problem.objective.solver = NesterovGradient(steady=True)
        return problem

    method, whole = DynamicDFO(), objective()
    expected = run(method, whole.objective, whole.start, max_steps=4)
    first, second = objective(), objective()
    half = run(method, first.objective, first.start, max_steps=2)
    second.objective.load_state_tree(first.objective.state_tree())
    again = run(method, second.objective, state=state_from_tree(method, state_to_tree(half)), max_steps=4)
    assert torch.equal(again.best.theta, expected.best.theta)
    assert again.best.value == expected.best.value
    assert second.objective.cost == whole.objective.cost


def test_a_point_continues_where_its_own_solves_stopped() -> None:
    objective = three_parameters().objective
    objective.solver = NesterovGradient(steady=True)
    here, there = (
        torch.tensor([-0.5, -2.0, -2.0], dtype=torch.float64),
        torch.tensor([0.5, 0.0, -1.0], dtype=torch.float64),
    )
    objective.value(here, 1e-3)
    kept = objective.snapshot()
    frozen = kept["x"]["values"].clone()
    objective.value(there, 1e-3)
    cold = objective.value(here, 1e-3).cost.gradients
    objective.value(there, 1e-3)
    objective.restore(kept)
    warm = objective.value(here, 1e-3).cost.gradients
    assert warm == objective.samples
    assert warm < 0.2 * cold
    assert torch.equal(kept["x"]["values"], frozen)


def test_penalty_terms_are_those_of_the_penalty() -> None:
    objective = three_parameters().objective
    theta = torch.tensor([0.1, -1.0, -1.5], dtype=torch.float64)
    terms = objective.penalty_terms(theta)
    alpha, xi, nu = (10**theta).tolist()
    assert terms.value == pytest.approx(1e-6 * ((1 + 4 * alpha / nu + xi) / (1 + xi)) ** 2, rel=1e-12)
    step = 1e-6
    for i in range(3):
        move = step * torch.eye(3, dtype=torch.float64)[i]
        slope = (objective.penalty_terms(theta + move).value - objective.penalty_terms(theta - move).value) / (2 * step)
        assert float(terms.gradient[i]) == pytest.approx(slope, rel=1e-6)
    assert isinstance(objective.penalty, ConditionNumber)


def test_restart_where_the_interval_permits_a_decrease() -> None:
    def finished(oracle: SyntheticOracle, restarts: int):
        return run(DynamicDFO(restarts=restarts), oracle, max_steps=300)

    inexact = ResidualOracle(ROSENBROCK, "mixed", torch.float64)
    plain = finished(inexact, 0)
    assert (plain.restarts, plain.status in CONVERGED) == (0, True)
    assert plain.current.bound > 1e-7 * plain.current.value
    again = finished(ResidualOracle(ROSENBROCK, "mixed", torch.float64), 1)
    assert (again.restarts, again.status in CONVERGED) == (1, True)
    assert again.evaluations > plain.evaluations
    assert again.best.upper <= plain.best.upper
    assert again.current.bound <= 1e-6 * again.current.value


@pytest.mark.parametrize(("error", "floor"), [("exact", 0.0), ("unknown", 0.0), ("mixed", 1e-3)])
def test_no_restart_without_errors_or_below_the_floor(error: str, floor: float) -> None:
    state = run(DynamicDFO(restarts=3), ResidualOracle(LINEAR, error, torch.float64, floor=floor), max_steps=300)
    assert state.restarts <= (1 if floor else 0)
    assert state.status in CONVERGED


def test_residual_vectors_belong_to_the_snapshot() -> None:
    objective = three_parameters().objective
    theta = torch.tensor([-0.5, -2.0, -2.0], dtype=torch.float64)
    found = objective.value(theta, 1e-3)
    kept = objective.snapshot()
    objective.value(theta + 0.5, 1e-3)
    vectors = objective.residual_vectors(kept)
    assert vectors is not None
    torch.testing.assert_close(vectors.norm(dim=1), found.residuals)
    assert float(vectors.square().sum()) == pytest.approx(found.value - found.penalty, rel=1e-12)
    assert objective.residual_vectors({}) is None


def test_model_is_that_of_gauss_and_newton_plus_the_penalty() -> None:
    problem = three_parameters(1e-4)
    objective, radius = problem.objective, 1e-4
    points = Points(objective, (), ())
    points.add(problem.start, 1e-7)
    for axis in range(3):
        points.add(problem.start + radius * torch.eye(3, dtype=torch.float64)[axis], 1e-7)
    lagrange = Lagrange.of(points.nodes())
    assert lagrange is not None
    model = InterpolationModel.of(points, [0, 1, 2, 3], lagrange)
    exact = objective.gauss_newton(problem.start, 1e-4)
    terms = objective.penalty_terms(problem.start)
    assert terms.hessian is not None
    assert exact.gradient is not None
    assert exact.jacobian_gram is not None
    torch.testing.assert_close(model.gradient, exact.gradient - terms.gradient, rtol=1e-2, atol=1e-2)
    torch.testing.assert_close(model.hessian, exact.jacobian_gram - terms.hessian, rtol=2e-2, atol=1e-2)
    move = torch.tensor([0.1, -0.2, 0.3], dtype=torch.float64)
    there = objective.penalty_terms(problem.start + move).value
    smooth = float(model.gradient @ move + 0.5 * move @ model.hessian @ move)
    assert model.decrease(move) == pytest.approx(terms.value - there - smooth, rel=1e-12)
    edge = torch.ones(3, dtype=torch.float64)
    best = model.minimize(-edge, edge)
    corners = [torch.tensor(c, dtype=torch.float64) for c in itertools.product((-1.0, 0.0, 1.0), repeat=3)]
    assert all(model.decrease(best) >= model.decrease(corner) - 1e-9 for corner in corners)
    assert float(model.influence(best).sum()) < 0.01 * model.decrease(best)


def test_lagrange_functions_interpolate() -> None:
    generator = torch.Generator().manual_seed(1)
    nodes = torch.cat(
        (torch.zeros(1, 3, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64, generator=generator))
    )
    for count in (4, 6):
        found = Lagrange.of(nodes[:count])
        assert found is not None
        table = torch.stack([found(node) for node in nodes[:count]])
        torch.testing.assert_close(table, torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-9)
        assert float(found.constants.sum()) == pytest.approx(1.0)
        assert bool((found.curvatures.abs().amax() < 1e-9) if count == 4 else (found.curvatures.abs().amax() > 1e-3))
    assert Lagrange.of(nodes[:3]) is None
    assert Lagrange.of(torch.cat((nodes[:3], nodes[1:3].mean(0, keepdim=True)))) is None


def test_interpolation_set_is_fully_linear_only_where_near_points_span() -> None:
    axes = torch.cat((torch.zeros(1, 2, dtype=torch.float64), torch.eye(2, dtype=torch.float64)))
    near = InterpolationSet.choose(axes, 1.0, 5)
    assert near.fully_linear
    assert near.missing is None
    far = InterpolationSet.choose(axes, 0.2, 5)
    assert not far.fully_linear
    assert far.lagrange is not None
    lost = InterpolationSet.choose(axes, 0.05, 5)
    assert lost.lagrange is None
    flat = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.5, 0.001]], dtype=torch.float64)
    degenerate = InterpolationSet.choose(flat, 1.0, 5)
    assert degenerate.missing is not None
    assert degenerate.missing.tolist() == pytest.approx([0.0, 1.0], abs=5e-3)
