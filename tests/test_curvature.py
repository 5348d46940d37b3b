"""Curvature constants and their sources."""

from __future__ import annotations

import math

import pytest
import torch

from bilearn.curvature import UNKNOWN_LOWER, UNKNOWN_UPPER, Constant, Curvature, Source


def test_the_weaker_source_wins() -> None:
    declared, estimated = Constant(2.0), Constant(3.0, Source.ESTIMATED)
    assert declared + estimated == Constant(5.0, Source.ESTIMATED)
    assert declared.times(estimated) == Constant(6.0, Source.ESTIMATED)
    assert (declared * 0.5) == Constant(1.0)
    assert (declared + UNKNOWN_LOWER).source is Source.UNKNOWN


def test_declared_and_known() -> None:
    assert Constant(1.0).declared
    assert Constant(1.0, Source.ESTIMATED).known
    assert not Constant(1.0, Source.ESTIMATED).declared
    assert not UNKNOWN_UPPER.known
    assert UNKNOWN_UPPER.value == math.inf
    assert UNKNOWN_LOWER.value == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64])
def test_per_sample(dtype: torch.dtype) -> None:
    like = torch.zeros(3, 2, dtype=dtype)
    real = torch.float32 if dtype == torch.complex64 else dtype
    assert Constant(2.0).per_sample(like).tolist() == [2.0] * 3
    assert Constant(2.0).per_sample(like).dtype == real
    each = Constant(torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)).per_sample(like)
    assert each.tolist() == [1.0, 2.0, 3.0]
    assert each.dtype == real


def test_sum_of_terms() -> None:
    first = Curvature(Constant(1.0), Constant(2.0), Constant(3.0), Constant(4.0))
    total = first + Curvature(Constant(0.5), Constant(1.0, Source.ESTIMATED))
    assert total.strong_convexity == Constant(1.5)
    assert total.smoothness == Constant(3.0, Source.ESTIMATED)
    assert not total.hessian_lipschitz.known
    assert total.cross_lipschitz.value == math.inf
    assert not Curvature().strong_convexity.known
