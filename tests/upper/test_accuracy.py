from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from synthetic_oracles import LINEAR, SyntheticOracle

from bilearn.upper.accuracy import better, compare, projected_gradient, refine, slope, tighten

POINT = torch.tensor([0.2, 0.1, 0.0, -0.3], dtype=torch.float64)
LOWER_POINT = torch.tensor([0.9, 0.15, -0.5, -0.9], dtype=torch.float64)


def pair(oracle: SyntheticOracle):
    return oracle.hypergradient(POINT), oracle.hypergradient(LOWER_POINT)


@pytest.mark.parametrize("error", ["above", "below", "mixed"])
@pytest.mark.parametrize("fraction", [1e-3, 0.9, 0.999, 1.001, 1.1])
def test_comparison_is_right_whatever_the_error(error: str, fraction: float) -> None:
    oracle = LINEAR.oracle(error, sloppy=0.9)
    current, trial = pair(oracle)
    decrease = oracle.exact(POINT) - oracle.exact(LOWER_POINT)
    assert decrease > 0
    verdict = compare(oracle, current, trial, decrease, fraction, 0.1)
    assert verdict.decided
    assert verdict.accepted == (fraction < 1)
    assert verdict.requests == len(oracle.asked) - 2
    assert verdict.requests > 0
    assert verdict.decrease == pytest.approx(decrease, rel=0.2)


def test_clear_comparisons_ask_nothing() -> None:
    oracle = LINEAR.oracle("above", sloppy=1e-6)
    current, trial = pair(oracle)
    assert compare(oracle, current, trial, 1.0, 1e-3, 0.1).requests == 0
    assert not compare(oracle, trial, current, 1.0, 1e-3, 0.1).accepted


def test_floor_leaves_the_comparison_open() -> None:
    oracle = LINEAR.oracle("mixed", floor=100.0)
    current, trial = pair(oracle)
    verdict = compare(oracle, current, trial, 1.0, 1e-3, 0.1)
    assert not verdict.decided
    assert not verdict.accepted
    assert verdict.requests <= 2


def test_negligible_differences_are_left_open() -> None:
    oracle = LINEAR.oracle("mixed")
    current = oracle.hypergradient(POINT)
    verdict = compare(oracle, current, oracle.hypergradient(POINT), 1.0, 1e-12, 0.1, negligible=1e-3)
    assert not verdict.decided
    assert min(a for _, _, a in oracle.asked if a is not None) >= 1e-4


def test_unknown_bounds_count_as_exact() -> None:
    oracle = LINEAR.oracle("unknown")
    current, trial = pair(oracle)
    verdict = compare(oracle, current, trial, 1.0, 1e-3, 0.1)
    assert verdict.accepted
    assert verdict.requests == 0


def test_tighten_reaches_the_relative_accuracy() -> None:
    oracle = LINEAR.oracle("below", sloppy=0.9)
    first = oracle.hypergradient(POINT)
    tight, requests = tighten(oracle.hypergradient, oracle.parameters, first, 1e-3, 0.0)
    assert requests == len(oracle.asked) - 1 > 0
    assert tight.gradient_bound <= 1e-3 * slope(oracle.parameters, tight)
    assert tighten(oracle.hypergradient, oracle.parameters, first, 1e-3, math.inf) == (first, 0)


def test_tighten_gives_up_at_the_floor() -> None:
    oracle = LINEAR.oracle("below", floor=1e3)
    first = oracle.hypergradient(POINT)
    tight, requests = tighten(oracle.hypergradient, oracle.parameters, first, 1e-3, 0.0)
    assert requests == 1
    assert tight is first


def test_refine_keeps_the_gradient_and_adds_the_work() -> None:
    oracle = LINEAR.oracle("above")
    first = oracle.hypergradient(POINT)
    fine = refine(oracle, first, 1e-3)
    assert fine.bound <= 1.01e-3
    assert fine.lower <= oracle.exact(POINT) <= fine.upper
    assert fine.gradient is first.gradient
    assert fine.cost.gradients == 2
    assert refine(oracle, fine, 1.0) is fine


def test_best_is_the_smaller_certified_value() -> None:
    exact = LINEAR.oracle().value(LOWER_POINT)
    vague = dataclasses.replace(exact, value=exact.value - 1, lower=exact.value - 3, upper=exact.value + 1)
    broken = dataclasses.replace(exact, value=math.nan, lower=-math.inf, upper=math.inf)
    unknown = dataclasses.replace(exact, value=exact.value - 1, lower=-math.inf, upper=math.inf)
    assert better(exact, vague) is exact
    assert better(vague, exact) is exact
    assert better(exact, broken) is exact
    assert better(broken, exact) is exact
    assert better(exact, unknown) is unknown


def test_projected_gradient_drops_what_pushes_outward() -> None:
    parameters = LINEAR.oracle().parameters
    theta = torch.tensor([-1.0, -1.0, 1.0, 0.0], dtype=torch.float64)
    gradient = torch.tensor([2.0, -3.0, 4.0, 5.0], dtype=torch.float64)
    assert projected_gradient(parameters, theta, gradient).tolist() == [0.0, -3.0, 4.0, 5.0]
