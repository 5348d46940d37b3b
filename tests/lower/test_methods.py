"""What each method promises beyond the loop: exact iterates, rates, line searches, hyperparameters, refusals."""

import math
from dataclasses import replace

import pytest
import torch
from lower_energies import SPECTRUM, DoubleWell, Quadratic, SignalTV, data, steps_signal

from bilearn import _batch
from bilearn.fidelities import LeastSquares
from bilearn.lower import (
    LBFGS,
    ClosedForm,
    GradientDescent,
    NesterovGradient,
    NewtonCG,
    default_solver,
    explain_default,
    minimize,
)
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.status import Status
from bilearn.variational import VariationalEnergy

TIGHT = Tolerance(gradient=1e-14)


def run(energy, y, solver, steps, x0=None):
    return minimize(energy, y, solver, x0, TIGHT, max_steps=steps, throw=False)


def test_gradient_descent_takes_the_optimal_step():
    y, k = data(3, 16), 9
    x = run(Quadratic(SPECTRUM), y, GradientDescent(), k).x
    factor = 1 - (1 - 2 * SPECTRUM / (SPECTRUM.max() + SPECTRUM.min())) ** k
    torch.testing.assert_close(x, factor * y / SPECTRUM, rtol=1e-12, atol=1e-14)
    convex = run(Quadratic(SPECTRUM, "convex"), y, GradientDescent(relaxation=0.5), k).x
    torch.testing.assert_close(convex, (1 - (1 - SPECTRUM / 200) ** k) * y / SPECTRUM, rtol=1e-12, atol=1e-14)


def textbook_fista(y, mu, smoothness, steps):
    """Extrapolated point after ``steps`` steps, scalar by scalar as printed, with t_0 = 0."""
    q, t = mu / smoothness, 0.0
    x = x_old = torch.zeros_like(y)
    for _ in range(steps + 1):
        t_next = (1 - q * t * t + math.sqrt((1 - q * t * t) ** 2 + 4 * t * t)) / 2
        beta = (t - 1) / t_next * (1 - q * t_next) / (1 - q)
        z = x + beta * (x - x_old)
        x_old, x, t = x, z - (SPECTRUM * z - y) / smoothness, t_next
    return z


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
def test_nesterov_agrees_with_the_textbook(steps):
    y = data(3, 16)
    strong = run(Quadratic(SPECTRUM), y, NesterovGradient(), steps).x
    torch.testing.assert_close(strong, textbook_fista(y, 1.0, 100.0, steps), rtol=1e-11, atol=1e-13)


def test_nesterov_keeps_its_rate():
    energy, y = Quadratic(SPECTRUM), data(3, 16)
    distance = _batch.norm(energy.minimizer(y))
    for k in (20, 60):
        error = _batch.norm(run(energy, y, NesterovGradient(), k).x - energy.minimizer(y))
        assert (error**2 <= (1 - 0.1) ** (k - 1) * 100 * 1.1 * distance**2).all()


class Timid(Quadratic):
    """Declares far less strong convexity than it has."""

    def curvature(self, y):
        known = super().curvature(y)
        return replace(known, strong_convexity=known.strong_convexity * 1e-6)


def test_restarts_act_where_they_should():
    y = data(3, 16)
    tolerance = Tolerance(gradient=1e-8)
    convex = minimize(Quadratic(SPECTRUM, "convex"), y, NesterovGradient(), tolerance=tolerance)
    assert convex.converged
    assert convex.steps.max() < 400
    plain, restarted = (
        minimize(Timid(SPECTRUM), y, NesterovGradient(restart=r), tolerance=tolerance) for r in (False, True)
    )
    assert restarted.steps.max() < 0.7 * plain.steps.min()
    equal = Quadratic(torch.full((16,), 3.0, dtype=torch.float64))
    assert (minimize(equal, y, NesterovGradient(check_every=1), tolerance=tolerance).steps == 1).all()


def test_steady_momentum_saves_steps_from_a_warm_start():
    energy, y = Quadratic(SPECTRUM), data(3, 16)
    near = energy.minimizer(y) + 1e-3 * y
    tolerance = Tolerance(gradient=1e-8)
    plain, steady = (
        minimize(energy, y, NesterovGradient(steady=s, check_every=1), near, tolerance) for s in (False, True)
    )
    assert steady.converged
    assert bool((steady.steps < plain.steps).all())
    convex = Quadratic(SPECTRUM, "convex")
    first, second = (
        minimize(convex, y, NesterovGradient(steady=s), near, tolerance).steps.tolist() for s in (False, True)
    )
    assert first == second


@pytest.mark.parametrize("solver", [GradientDescent(), NesterovGradient()])
def test_gradient_methods_ask_for_the_lipschitz_constant(solver):
    with pytest.raises(ValueError, match=rf"{solver.name}: SignalTV\.curvature\(y\)\.smoothness is unknown"):
        minimize(SignalTV(known=False), steps_signal(2, 8), solver)


def test_lbfgs_needs_no_constants_and_few_steps():
    y = steps_signal(5, 64)
    unknown, known = (
        minimize(SignalTV(known=k), y, LBFGS(), tolerance=Tolerance(gradient=1e-9)) for k in (False, True)
    )
    exact = minimize(SignalTV(), y, NewtonCG(), tolerance=Tolerance(gradient=1e-12)).x
    for solution in (unknown, known):
        assert (_batch.norm(solution.x - exact) <= 2e-9).all()
        assert solution.steps.max() < 120
    short = minimize(SignalTV(), y, LBFGS(memory=1), tolerance=Tolerance(gradient=1e-9))
    assert short.steps.max() > known.steps.max()


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_lbfgs_does_not_depend_on_the_scale_of_the_problem(scale):
    y = scale * data(3, 16)
    solution = minimize(Quadratic(SPECTRUM, "unknown"), y, LBFGS(), tolerance=Tolerance(gradient=1e-8 * scale))
    assert solution.steps.max() < 120
    assert (_batch.norm(solution.x - y / SPECTRUM) <= 1e-8 * scale).all()


def test_lbfgs_armijo_constant_and_decrease():
    energy, y = DoubleWell(), data(4, 10)
    x0 = 3 * data(4, 10, 2)
    loose, strict = (run(energy, y, LBFGS(armijo=c), 12, x0) for c in (1e-4, 0.49))
    assert not torch.equal(loose.x, strict.x)
    for solution in (loose, strict):
        assert (energy(solution.x, y) < energy(x0, y)).all()


class Cliff(Quadratic):
    """A gradient that contradicts the values: no downhill step exists."""

    def grad(self, x, y):
        return -super().grad(x, y)


@pytest.mark.parametrize("solver", [LBFGS(check_every=1), NewtonCG()])
def test_a_hopeless_line_search_is_reported_as_stalled(solver):
    y = data(2, 16)
    solution = minimize(Cliff(SPECTRUM), y, solver, tolerance=Tolerance(gradient=1e-8), throw=False)
    assert (solution.status == Status.STALLED).all()
    assert torch.equal(solution.x, torch.zeros_like(y))


@pytest.mark.parametrize("nu", [1e-1, 1e-2, 1e-4])
def test_newton_solves_rough_total_variation_from_the_data(nu):
    energy, y = SignalTV(alpha=0.4, nu=nu), steps_signal(2, 32)
    solution = minimize(energy, y, NewtonCG(), tolerance=Tolerance(gradient=1e-9))
    assert solution.steps.max() < 150
    norm = _batch.norm(energy.grad(solution.x, y))
    assert (norm <= 1e-9).all()


def test_newton_converges_quadratically_to_the_rounding_floor():
    energy, y = SignalTV(), steps_signal(4, 48)
    solution = minimize(energy, y, NewtonCG(smallest_forcing=1e-9), tolerance=Tolerance(gradient=1e-30), throw=False)
    assert (solution.status == Status.FLOOR).all()
    assert (solution.gradient_norm < 1e-13).all()
    one = minimize(energy, y, NewtonCG(smallest_forcing=1e-9), tolerance=Tolerance(gradient=1e-3))
    assert (solution.steps - one.steps <= 4).all()


def test_newton_on_a_quadratic_takes_one_direct_solve():
    energy, y = Quadratic(SPECTRUM, "direct"), data(3, 16)
    solution = minimize(energy, y, NewtonCG(), tolerance=Tolerance(distance=1e-12))
    assert (solution.steps == 1).all()
    assert (solution.cost.direct_solves, solution.cost.hessian_products, solution.cost.values) == (3, 0, 0)
    torch.testing.assert_close(solution.x, energy.minimizer(y), rtol=1e-13, atol=0)


def test_newton_counts_products_and_uses_the_preconditioner():
    y = data(3, 16)
    tolerance = Tolerance(distance=1e-9)
    plain = minimize(Quadratic(SPECTRUM), y, NewtonCG(), tolerance=tolerance)
    better = minimize(Quadratic(SPECTRUM, "preconditioner"), y, NewtonCG(), tolerance=tolerance)
    assert 0 < better.cost.hessian_products < plain.cost.hessian_products
    tight = minimize(Quadratic(SPECTRUM), y, NewtonCG(smallest_forcing=1e-8, largest_forcing=1e-8), tolerance=tolerance)
    assert tight.steps.max() < plain.steps.max()
    short = minimize(Quadratic(SPECTRUM), y, NewtonCG(inner_steps=2), tolerance=tolerance)
    assert short.steps.max() > plain.steps.max()


def test_newton_armijo_constant():
    energy, y = SignalTV(alpha=0.4, nu=1e-3), steps_signal(3, 48)
    loose, strict = (run(energy, y, NewtonCG(armijo=c), 10) for c in (1e-4, 0.4))
    assert not torch.equal(loose.x, strict.x)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientDescent(relaxation=0.0), "GradientDescent: relaxation: found 0.0"),
        (lambda: NesterovGradient(check_every=0), "NesterovGradient: check_every: found 0"),
        (lambda: LBFGS(memory=0), "LBFGS: memory: found 0"),
        (lambda: LBFGS(armijo=0.5), "LBFGS: armijo: found 0.5"),
        (lambda: NewtonCG(largest_forcing=1.0), "NewtonCG: found forcing"),
        (lambda: NewtonCG(inner_steps=0), "NewtonCG: inner_steps: found 0"),
    ],
)
def test_hyperparameters_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_closed_form_solves_and_refines():
    y = data(4, 16)
    for offer, steps in (("direct", 1), ("rough", 2)):
        energy = Quadratic(SPECTRUM, offer)
        solution = minimize(energy, y, ClosedForm(), data(4, 16, 3), Tolerance(distance=1e-11))
        assert (solution.steps == steps).all()
        assert solution.cost.direct_solves == 4 * steps
        torch.testing.assert_close(solution.x, energy.minimizer(y), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("nu", [1e-1, 1e-3, 1e-5])
@pytest.mark.parametrize("alpha", [0.03, 0.4, 10.0])
def test_the_primal_dual_model_takes_few_steps_on_rough_signals(nu, alpha):
    regularizer = SmoothedTV(alpha, 1e-3, nu, axes=1, boundary="dirichlet")
    energy, y = VariationalEnergy(LeastSquares(), regularizer), steps_signal(6, 96)
    solution = minimize(energy, y, NewtonCG(), tolerance=Tolerance(distance=1e-9))
    assert solution.steps.max() <= 25
    other = minimize(energy, y, NewtonCG(), steps_signal(6, 96, 4), Tolerance(distance=1e-9))
    assert (_batch.norm(solution.x - other.x) <= 2e-9).all()


@pytest.mark.parametrize("isotropic", [True, False])
@pytest.mark.parametrize("coupled", [True, False])
def test_the_primal_dual_model_tends_to_the_hessian(isotropic, coupled):
    regularizer = SmoothedTV(0.2, 1e-3, 0.05, isotropic=isotropic, coupled=coupled)
    energy, y = VariationalEnergy(LeastSquares(), regularizer), data(2, 2 * 6 * 5).reshape(2, 2, 6, 5)
    solution = minimize(energy, y, NewtonCG(smallest_forcing=1e-8), tolerance=Tolerance(distance=1e-12))
    memory = None
    v = data(2, 2 * 6 * 5, 8).reshape(2, 2, 6, 5)
    exact = energy.hessian(solution.x, y)(v)
    for _ in range(3):
        model, advance = energy.newton_model(solution.x, y, memory)
        assert (_batch.dot(v, model(v)) > 0).all()
        gap = _batch.norm(model(v) - exact)
        memory = advance(torch.zeros_like(y))
    assert (gap <= 1e-12).all()
    first, _ = energy.newton_model(solution.x, y, None)
    assert (_batch.dot(v, first(v)) > _batch.dot(v, exact)).all()
    index = torch.tensor([1])
    torch.testing.assert_close(model.select(index)(v[1:]), model(v)[1:], rtol=1e-13, atol=1e-14)


def test_closed_form_asks_for_a_quadratic_with_a_direct_solve():
    with pytest.raises(ValueError, match=r"SignalTV\.curvature\(y\)\.hessian_lipschitz is not a declared zero"):
        minimize(SignalTV(), steps_signal(2, 8), ClosedForm())
    with pytest.raises(ValueError, match="the Hessian of Quadratic offers no direct solve"):
        minimize(Quadratic(SPECTRUM), data(2, 16), ClosedForm())


class Curved(Quadratic):
    """Not declared quadratic."""

    def curvature(self, y):
        known = super().curvature(y)
        return type(known)(known.strong_convexity, known.smoothness)


@pytest.mark.parametrize(
    ("energy", "name", "reason"),
    [
        (Quadratic(SPECTRUM, "direct"), "ClosedForm", "quadratic and its Hessian offers a direct solve"),
        (Curved(SPECTRUM, "direct"), "NewtonCG", "the Hessian offers a direct solve"),
        (Quadratic(SPECTRUM), "NesterovGradient", r"well conditioned (L/mu = 100)"),
        (Quadratic(SPECTRUM, "preconditioner", declared=3.0), "NewtonCG", "products and a preconditioner"),
        (Quadratic(SPECTRUM, declared=3.0), "NewtonCG", "known in closed form"),
        (SignalTV(nu=1e-3), "NesterovGradient", "their Lipschitz constant is known"),
        (SignalTV(known=False), "LBFGS", "without a Lipschitz constant"),
    ],
)
def test_the_default_and_its_explanation(energy, name, reason):
    y = data(3, 16)
    assert default_solver(energy, y).name == name
    assert explain_default(energy, y).startswith(f"{name}, because")
    assert reason in explain_default(energy, y)
    assert minimize(energy, y).method == name
