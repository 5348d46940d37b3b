"""The published 1-D problems: data, and values and gradients against the anchors of an independent implementation."""

from __future__ import annotations

import pytest
import torch

from bilearn.problems import KnownProblem, indicator_signals, one_parameter, three_parameters

ONE_PARAMETER = [
    (-2.0, 19.325199450996, -10.02080301),
    (-1.0, 4.182752106375, -10.82240472),
    (-0.5, 1.505527317412, -1.61042303),
    (0.0, 1.752551101925, 2.879565),
    (0.5, 7.550709108918, 29.13660596),
    (1.0, 61.721890801201, 272.28305909),
]
THREE_PARAMETERS = [
    ((0.0, -1.0, -1.0), 38.944712551067, (43.5366123, 81.6004566, 9.0562613)),
    ((-1.0, -2.0, -2.0), 9.429700667624, (-21.89841889, 0.93105565, 1.78622895)),
]


def vector(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


@pytest.fixture(scope="module")
def one() -> KnownProblem:
    return one_parameter()


@pytest.fixture(scope="module")
def three() -> KnownProblem:
    return three_parameters()


def test_signals_are_the_published_ones() -> None:
    x, y = indicator_signals(10, 256, 0.1)
    assert x[:5].sum(1).tolist() == [109, 98, 105, 120, 88]
    assert x.dtype == y.dtype == torch.float64
    assert float((y - x).std()) == pytest.approx(0.1, rel=0.05)
    again, _ = indicator_signals(20, 256, 0.1)
    assert torch.equal(again[:10], x)


@pytest.mark.parametrize(("theta", "value", "slope"), ONE_PARAMETER)
def test_one_parameter_anchors(one: KnownProblem, theta: float, value: float, slope: float) -> None:
    evaluation = one.objective.hypergradient(vector(theta), 1e-9 * abs(slope))
    exact = one.objective.value(vector(theta), 1e-10)
    assert evaluation.gradient is not None
    assert exact.value == pytest.approx(value, rel=1e-8)
    assert evaluation.gradient.item() == pytest.approx(slope, rel=1e-8, abs=1e-8)
    assert exact.certified
    assert exact.lower <= exact.value <= exact.upper


@pytest.mark.parametrize(("theta", "value", "slopes"), THREE_PARAMETERS)
def test_three_parameter_anchors_with_penalty(
    three: KnownProblem, theta: tuple[float, ...], value: float, slopes: tuple[float, ...]
) -> None:
    evaluation = three.objective.hypergradient(vector(*theta), 1e-8)
    exact = three.objective.value(vector(*theta), 1e-10)
    assert evaluation.gradient is not None
    assert exact.value == pytest.approx(value, rel=1e-8)
    assert torch.allclose(evaluation.gradient, vector(*slopes), rtol=1e-8, atol=1e-7)
    alpha, xi, nu = (10.0**t for t in theta)
    penalty = 1e-6 * ((1 + 4 * alpha / nu + xi) / (1 + xi)) ** 2
    assert exact.penalty == pytest.approx(penalty, rel=1e-12)
    assert float(exact.losses.sum()) == pytest.approx(value - penalty, rel=1e-8)


def test_known_optima(one: KnownProblem, three: KnownProblem) -> None:
    for problem, accuracy in ((one, 1e-9), (three, 1e-9)):
        found = problem.objective.value(problem.minimizer, accuracy)
        assert found.value == pytest.approx(problem.optimum, rel=1e-9)
    slope = one.objective.hypergradient(one.minimizer, 1e-7).gradient
    assert slope is not None
    assert abs(slope.item()) < 1e-4
    inner = three.objective.hypergradient(three.minimizer, 1e-7).gradient
    assert inner is not None
    assert inner[[0, 2]].abs().max() < 1e-4
    assert inner[1] >= 0
    assert three.minimizer[1] == three.objective.parameters.lower[1]


def test_boxes_and_starts(one: KnownProblem, three: KnownProblem) -> None:
    assert one.objective.parameters.lower.tolist() == [-7]
    assert one.objective.parameters.upper.tolist() == [7]
    assert three.objective.parameters.lower.tolist() == [-7, -7, -7]
    assert three.objective.parameters.upper.tolist() == [7, 0, 0]
    assert three.start.tolist() == [0, -1, -1]
    assert three_parameters(1e-4).optimum != three_parameters(1e-4).optimum
