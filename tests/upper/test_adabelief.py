from __future__ import annotations

import math

import pytest
import torch
from synthetic_oracles import LINEAR
from torch import nn

from bilearn.upper import TorchOptimizer, run
from bilearn.upper.adabelief import AdaBelief


def test_first_two_steps_follow_the_published_formulas() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, -2.0], dtype=torch.float64))
    optimizer = AdaBelief([parameter], lr=0.1, betas=(0.5, 0.9), eps=1e-3)
    expected = [1.0, -2.0]
    mean, variance = [0.0, 0.0], [0.0, 0.0]
    for step, gradient in enumerate(([3.0, 0.5], [-1.0, 0.25]), 1):
        parameter.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
        for k in range(2):
            mean[k] = 0.5 * mean[k] + 0.5 * gradient[k]
            variance[k] = 0.9 * variance[k] + 0.1 * (gradient[k] - mean[k]) ** 2 + 1e-3
            scale = math.sqrt(variance[k] / (1 - 0.9**step)) + 1e-3
            expected[k] -= 0.1 * mean[k] / (1 - 0.5**step) / scale
    assert parameter.tolist() == pytest.approx(expected, rel=1e-12)


def test_every_number_matters_and_the_optimum_is_reached() -> None:
    oracle = LINEAR.oracle()
    state = run(TorchOptimizer(lambda p: AdaBelief(p, lr=0.05, betas=(0.8, 0.99))), oracle, max_steps=400)
    assert oracle.exact(state.best.theta) == pytest.approx(LINEAR.optimum, rel=1e-3)
    ends = set()
    for options in ({}, {"lr": 0.02}, {"betas": (0.5, 0.999)}, {"betas": (0.9, 0.9)}, {"eps": 1e-2}):
        parameter = nn.Parameter(torch.tensor([1.0], dtype=torch.float64))
        optimizer = AdaBelief([parameter], **options)
        for _ in range(3):
            optimizer.zero_grad()
            loss = optimizer.step(lambda p=parameter: _backward(p))
            assert loss is not None
        ends.add(float(parameter.detach()))
    assert len(ends) == 5


def _backward(parameter: nn.Parameter) -> float:
    value = (parameter.exp() + parameter**2).sum()
    (2 * value).backward()
    return float(value.detach())


@pytest.mark.parametrize("options", [{"lr": 0.0}, {"betas": (1.0, 0.9)}, {"eps": 0.0}])
def test_wrong_numbers_are_named(options: dict) -> None:
    with pytest.raises(ValueError, match="AdaBelief: found lr"):
        AdaBelief([nn.Parameter(torch.zeros(1))], **options)
