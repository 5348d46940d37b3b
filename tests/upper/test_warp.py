from __future__ import annotations

import math

import torch
from synthetic_oracles import Numbers

from bilearn.parameters import Identity, Log10, Logit, ParameterVector
from bilearn.upper.warp import Warp, coordinate_rates, descent_warp


def parameters() -> ParameterVector:
    return ParameterVector(Numbers([0.5, -1.0, 2.0], [Identity(), Log10(), Logit()], torch.float64))


def test_rates_are_those_of_the_coordinate_maps() -> None:
    theta = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    expected = torch.tensor([0.0, math.log(10), 1 - 2 * torch.sigmoid(theta[2])], dtype=torch.float64)
    assert torch.allclose(coordinate_rates(parameters(), theta), expected, rtol=1e-12)


def test_warp_is_the_natural_value_up_to_scale() -> None:
    move = torch.tensor([-3.0, 0.4], dtype=torch.float64)
    warp = Warp(torch.full((2,), math.log(10), dtype=torch.float64))
    assert torch.allclose(warp(move), (10**move - 1) / math.log(10), rtol=1e-13)
    assert torch.allclose(warp.inverse(warp(move)), move, rtol=1e-12)
    step = 1e-6
    difference = (warp(move + step) - warp(move - step)) / (2 * step)
    assert torch.allclose(warp.derivative(move), difference, rtol=1e-8)


def test_identity_where_descent_runs_up_the_exponential() -> None:
    theta = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64)
    down = descent_warp(parameters(), theta, torch.tensor([1.0, 1.0, -1.0], dtype=torch.float64))
    up = descent_warp(parameters(), theta, torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64))
    assert (down.rate != 0).tolist() == [False, True, True]
    assert up.rate.tolist() == [0.0, 0.0, 0.0]
    move = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64)
    assert torch.equal(up(move), move)
    assert torch.equal(up.inverse(move), move)
    assert torch.equal(up.derivative(move), torch.ones_like(move))
