"""Stochastic bilevel methods: samplers, tables, fixed points, closed forms, divergence, records."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bilearn.hypergradient import ImplicitHypergradient
from bilearn.lower import NewtonCG, minimize
from bilearn.reduced_objective import ReducedObjective
from bilearn.solution import Tolerance
from bilearn.stochastic import (
    MASOBA,
    SABA,
    SOBA,
    AmIGO,
    BatchSampler,
    FiniteSum,
    GradientTable,
    HyperCleaning,
    QuadraticSum,
    RidgeLogistic,
    SharedEnergy,
    SharedLoss,
    StocBiO,
    StochasticMethod,
    exact,
    run_stochastic,
    simulated_quadratic,
)
from bilearn.upper import Fixed, Polynomial, UpperStatus

METHODS: list[StochasticMethod[Any]] = [
    SOBA(step_size=Fixed(0.05)),
    SABA(step_size=Fixed(0.05)),
    MASOBA(step_size=Fixed(0.05)),
    StocBiO(step_size=Fixed(0.1), terms=60),
    AmIGO(step_size=Fixed(0.1)),
]


@cache
def quadratic() -> QuadraticSum:
    """200 samples in batches of 64: the last batch has 8."""
    return simulated_quadratic(200, 136, 8, 6, mu=0.3, seed=3)


def classes(samples: int, features: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(samples, features, generator=generator, dtype=torch.float64)
    noise = torch.randn(samples, generator=generator, dtype=torch.float64)
    return a, (a[:, 0] - 0.5 * a[:, 1] + 0.7 * noise > 0).long()


@cache
def logistic() -> RidgeLogistic:
    return RidgeLogistic(*classes(90, 5, 1), *classes(70, 5, 2))


def three_classes() -> RidgeLogistic:
    (a, c), (b, d) = classes(40, 4, 3), classes(30, 4, 4)
    return RidgeLogistic(a, c + (a[:, 2] > 0.5), b, d + (b[:, 2] > 0.5))


def cleaning() -> HyperCleaning:
    (a, c), (b, d) = classes(30, 4, 5), classes(20, 4, 6)
    return HyperCleaning(a, torch.where(torch.arange(30) < 6, 1 - c, c), b, d)


def test_sampler_draws_each_batch_once_an_epoch() -> None:
    sampler = BatchSampler(200, 64)
    assert [sampler.batch(b).index.numel() for b in range(sampler.batches)] == [64, 64, 64, 8]
    state, orders = sampler.init(0), []
    for _ in range(6):
        seen = []
        for _ in range(sampler.batches):
            batch, state = sampler.draw(state)
            assert batch.weight == batch.index.numel() / 200
            seen.append(batch)
        assert sorted(torch.cat([b.index for b in seen]).tolist()) == list(range(200))
        assert sum(b.weight for b in seen) == pytest.approx(1.0)
        assert sum(b.scale for b in seen) == pytest.approx(len(seen))
        orders.append(tuple(b.number for b in seen))
    assert len(set(orders)) > 1
    again, _ = sampler.draw(sampler.init(0))
    assert again.number == orders[0][0]


@pytest.mark.parametrize("on_disk", [False, True])
def test_tables_are_unbiased_for_any_content_and_partial_batches(on_disk: bool, tmp_path: Path) -> None:
    sampler = BatchSampler(20, 8)
    values = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = torch.tensor([sampler.batch(b).weight for b in range(3)])
    batches = [sampler.batch(b) for b in range(3)]
    directions = []
    for drawn in range(3):
        table = GradientTable(weights, values[0], tmp_path / f"{drawn}.table" if on_disk else None)
        for b in range(3):
            table.exchange(batches[b], values[batches[b].index].mean(0) + b)
        directions.append(table.exchange(batches[drawn], values[batches[drawn].index].mean(0)))
    assert torch.allclose(torch.stack(directions).mean(0), values.mean(0))
    if on_disk:
        assert (tmp_path / "0.table").stat().st_size >= 3 * 3 * 8
    with pytest.raises(ValueError, match="found a sum of 2"):
        GradientTable(torch.ones(2), values[0])


@pytest.mark.parametrize("make", [quadratic, logistic, three_classes, cleaning])
def test_derivatives_of_problems(make: Any) -> None:
    problem: FiniteSum = make()
    generator = torch.Generator().manual_seed(7)

    def near(start: Tensor) -> Tensor:
        return start + 0.3 * torch.randn(start.shape, generator=generator, dtype=torch.float64)

    z, v, x = near(problem.lower_start), near(problem.lower_start), near(problem.upper_start)
    index = torch.arange(3, 11)
    parts, own = problem.lower_parts(z, x, v, index), FiniteSum.lower_parts(problem, z, x, v, index)
    for a, b in zip(vars(parts).values(), vars(own).values(), strict=True):
        assert torch.allclose(a, b, atol=1e-12)
    assert torch.allclose(parts.gradient, problem.lower_gradient(z, x, index))
    assert torch.allclose(parts.product, problem.hessian_product(z, x, v, index))
    upper, reference = problem.upper_parts(z, x, index), FiniteSum.upper_parts(problem, z, x, index)
    assert torch.allclose(upper.lower, reference.lower)
    assert torch.allclose(upper.upper, reference.upper)
    sampler = BatchSampler(problem.lower_samples, 8)
    batches = [sampler.batch(b) for b in range(sampler.batches)]
    mean = sum(b.weight * problem.lower(z, x, b.index) for b in batches)
    assert float(torch.as_tensor(mean)) == pytest.approx(float(problem.lower(z, x, None)), rel=1e-12)


@pytest.mark.parametrize("make", [quadratic, logistic, three_classes, cleaning])
def test_exact_gradient_against_differences(make: Any) -> None:
    problem: FiniteSum = make()
    x = problem.upper_start + 0.1
    found, step = exact(problem, x, tolerance=1e-12), 1e-4
    for p in range(0, x.numel(), max(1, x.numel() // 4)):
        ends = []
        for sign in (1, -1):
            moved = x.clone()
            moved[p] += sign * step
            ends.append(exact(problem, moved, found.z, tolerance=1e-12).value)
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(found.gradient[p]), rel=1e-5, abs=1e-8)


def test_quadratic_closed_form() -> None:
    problem = quadratic()
    x = problem.minimizer()
    assert float(exact(problem, x).gradient.norm()) < 1e-8
    other = x + 0.1
    expected = problem.reduced_hessian() @ (other - x)
    assert torch.allclose(exact(problem, other).gradient, expected, atol=1e-8)


def test_saba_with_a_partial_last_batch_converges_linearly_to_the_solution_of_full_sums() -> None:
    problem = quadratic()
    result = run_stochastic(SABA(step_size=Fixed(0.15)), problem, 2400, record_every=400)
    norms = [r.gradient_norm for r in result.records]
    assert float((result.x - problem.minimizer()).norm()) < 1e-10
    assert norms[1] < 1e-2 * norms[0]
    assert norms[2] < 0.1 * norms[1]
    assert result.records[-1].noise < 1e-9
    assert result.records[-1].lower_error < 1e-9


def test_full_tables_start_without_noise() -> None:
    zero, full = (run_stochastic(SABA(initialize=k), quadratic(), 1, record_every=1) for k in ("zero", "full"))
    assert full.records[0].noise < 1e-12 < zero.records[0].noise
    assert full.calls > zero.calls


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_methods_reach_a_thousandth_of_the_squared_gradient(method: StochasticMethod[Any]) -> None:
    steps = 150 if isinstance(method, StocBiO | AmIGO) else 1000
    result = run_stochastic(method, quadratic(), steps, record_every=steps // 4)
    first, last = result.records[0], result.records[-1]
    assert last.gradient_norm**2 < 1e-3 * first.gradient_norm**2
    assert result.status is UpperStatus.MAX_STEPS
    assert result.calls >= last.calls > 0


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_with_all_samples_in_one_batch_nothing_is_noise(method: StochasticMethod[Any]) -> None:
    whole = replace(method, step_size=Fixed(0.1), batch_size=1000)
    result = run_stochastic(whole, quadratic(), 160, record_every=80)
    if not isinstance(method, MASOBA):
        assert all(r.noise < 1e-10 for r in result.records[-2:])
    falls = 0.3 if isinstance(method, SOBA | SABA | MASOBA) else 0.05
    assert result.records[-1].gradient_norm < falls * result.records[0].gradient_norm


def test_records_tell_noise_from_lower_level_error() -> None:
    problem = quadratic()
    still = SOBA(step_size=Fixed(1e-9), batch_size=8)
    (start, *_) = run_stochastic(still, problem, 2, record_every=1).records
    assert start.noise > 0
    assert start.lower_error == pytest.approx(
        float(
            (
                problem.upper_parts(problem.lower_start, problem.upper_start, None).upper
                - exact(problem, problem.upper_start).gradient
            ).norm()
        ),
        rel=1e-6,
    )
    solved = exact(problem, problem.upper_start)
    at_solution = run_stochastic(still, problem, 1, z=solved.z).records[0]
    assert at_solution.lower_distance < 1e-6
    assert at_solution.adjoint_distance == pytest.approx(float(solved.adjoint.norm()), rel=1e-3)


def test_the_same_seed_gives_the_same_run_and_another_one_does_not() -> None:
    runs = [run_stochastic(SABA(seed=s), quadratic(), 40, record_every=40).x for s in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.allclose(runs[0], runs[2])


def test_tables_on_disk_change_nothing(tmp_path: Path) -> None:
    a = run_stochastic(SABA(), quadratic(), 30, record_every=30)
    b = run_stochastic(SABA(directory=tmp_path / "tables"), quadratic(), 30, record_every=30)
    assert torch.equal(a.x, b.x)
    assert len(list((tmp_path / "tables").iterdir())) == 5


@pytest.mark.parametrize("method", [SOBA(step_size=Fixed(50.0)), SABA(step_size=Fixed(50.0))], ids=lambda m: m.name)
def test_divergence_is_caught_and_the_last_good_state_kept(method: StochasticMethod[Any]) -> None:
    problem = quadratic()
    result = run_stochastic(method, problem, 500, record_every=3)
    assert result.status is UpperStatus.NON_FINITE
    assert "diverged at step" in result.message
    assert "Lower step_size" in result.message
    assert bool(torch.isfinite(result.x).all())
    assert result.iteration < 500
    assert all(math.isfinite(r.gradient_norm) for r in result.records)


def test_budget_tolerance_and_callback() -> None:
    problem, seen = quadratic(), []
    short = run_stochastic(SABA(), problem, 1000, max_calls=5000, record_every=10, callback=seen.append)
    assert short.status is UpperStatus.BUDGET
    assert 5000 <= short.calls < 5600
    assert tuple(seen) == short.records
    solved = run_stochastic(SABA(), problem, 5000, gradient_tolerance=1e-5, record_every=100)
    assert solved.status is UpperStatus.STATIONARY
    assert solved.iteration < 5000


def test_shared_energy_has_certificates_and_the_same_gradient() -> None:
    problem = logistic()
    energy = SharedEnergy(problem)
    data = energy.data()
    solution = minimize(energy, data, tolerance=Tolerance(distance=1e-6))
    assert solution.certified
    assert float((solution.x[0] - exact(problem, problem.upper_start).z).norm()) <= 1e-6
    gradient = ImplicitHypergradient(fallback=1e-10).estimate(
        energy, SharedLoss(problem), data, solution.x, solver=NewtonCG()
    )
    assert torch.allclose(gradient.gradient, exact(problem, problem.upper_start).gradient, atol=1e-8)


def test_saba_and_a_deterministic_method_agree_on_logistic_regression() -> None:
    problem = logistic()
    target = torch.zeros_like(problem.lower_start)[None]
    energy = SharedEnergy(problem)
    objective = ReducedObjective(energy, energy.data(), target, SharedLoss(problem))
    x = problem.upper_start + 0.2
    answer = objective.hypergradient(x, 1e-7)
    found = exact(problem, x)
    assert answer.value == pytest.approx(found.value, abs=1e-6)
    assert answer.gradient is not None
    assert torch.allclose(answer.gradient, found.gradient, atol=1e-6)
    result = run_stochastic(SABA(step_size=Fixed(0.3), ratio=0.3, batch_size=16), problem, 500, record_every=250)
    assert result.records[-1].gradient_norm < 0.1 * result.records[0].gradient_norm
    assert result.records[-1].value < result.records[0].value
    assert problem.accuracy(result.z) > 0.75


def test_cleaning_gives_wrong_labels_less_weight() -> None:
    problem = cleaning()
    result = run_stochastic(SABA(step_size=Fixed(0.3), ratio=0.003, batch_size=8), problem, 300, record_every=150)
    assert float(result.x[:6].mean()) < float(result.x[6:].mean()) - 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SOBA(ratio=0.0), r"SOBA\.ratio: found 0\.0"),
        (lambda: SABA(initialize="half"), r"SABA\.initialize: found 'half'"),  # type: ignore[arg-type]
        (lambda: MASOBA(average=0.0), r"MASOBA\.average: found 0\.0"),
        (lambda: StocBiO(terms=-1), r"StocBiO\.terms: found -1"),
        (lambda: AmIGO(inner_steps=0), r"AmIGO\.inner_steps: found 0"),
        (lambda: BatchSampler(0, 3), r"BatchSampler\.samples: found 0"),
        (lambda: run_stochastic(SOBA(), quadratic(), 0), "max_steps: found 0"),
        (lambda: HyperCleaning(*classes(5, 2, 0), *classes(5, 2, 1), ridge=0.0), r"ridge: found 0\.0"),
        (
            lambda: RidgeLogistic(*classes(5, 2, 0), *classes(5, 3, 1)),
            "validation_features: found 3 columns, expected 2",
        ),
        (
            lambda: RidgeLogistic(torch.zeros(4, 2), torch.zeros(3).long(), *classes(5, 2, 1)),
            r"labels: found shape \(3,\)",
        ),
    ],
)
def test_bad_options_are_named(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_published_steps_are_the_defaults() -> None:
    assert SOBA().step_size == Polynomial(0.1, 0.5)
    assert [m().step_size for m in (SABA, StocBiO, AmIGO)] == [Fixed(0.1)] * 3
