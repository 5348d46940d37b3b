"""Numbers of a learned regularizer tuned for another operator, against closed forms."""

from __future__ import annotations

import pytest
import torch

from bilearn.fidelities import LeastSquares
from bilearn.model import LearnedModel
from bilearn.operators import Mask
from bilearn.parameters import ParameterVector
from bilearn.regularizers import SmoothedTV, Tikhonov
from bilearn.retuning import retune
from bilearn.variational import VariationalEnergy

GENERATOR = torch.Generator().manual_seed(0)
TRUTH = torch.rand(3, 1, 8, 8, generator=GENERATOR, dtype=torch.float64)
NOISE = 0.4 * torch.randn(3, 1, 8, 8, generator=GENERATOR, dtype=torch.float64)


def tikhonov(alpha: float = 10.0) -> LearnedModel:
    return LearnedModel(VariationalEnergy(LeastSquares(), Tikhonov(alpha, learn=False)), {"name": "ridge"})


@pytest.mark.parametrize("masked", [False, True])
def test_tikhonov_weight_in_closed_form(masked: bool) -> None:
    """x = m y/(1 + a): the best factor 1/(1 + a) is <m y, x>/|m y|^2."""
    seen = torch.ones(1, 8, 8, dtype=torch.float64)
    if masked:
        seen[:, ::2] = 0.0
    y = seen * (TRUTH + NOISE)
    model = tikhonov()
    found = retune(model, TRUTH, y, Mask(seen) if masked else None, ["alpha"], accuracy=1e-9, finest=1e-4)
    alpha = float((y * y).sum() / (y * TRUTH).sum()) - 1
    assert float(found.model.parameters["regularizer.alpha"]) == pytest.approx(alpha, rel=1e-3)
    assert found.value < found.start
    assert float(model.parameters["regularizer.alpha"]) == 10.0
    assert not any(p.requires_grad for p in found.model.energy.parameters())
    residual = found.model.reconstruct(y) - TRUTH
    assert float(residual.square().sum((1, 2, 3)).mean()) == pytest.approx(found.value, rel=1e-6)


def test_limits_and_learn_flags() -> None:
    regularizer = SmoothedTV(1e-3, learn=("alpha", "nu"))
    model = LearnedModel(VariationalEnergy(LeastSquares(), regularizer))
    found = retune(model, TRUTH, TRUTH + NOISE, names=["alpha"], max_evaluations=5)
    assert found.evaluations == 5
    assert found.cost.gradients > 0
    names = [slot.name for slot in ParameterVector(found.model.energy).slots]
    assert names == ["regularizer.alpha", "regularizer.nu"]
    assert found.value < found.start


def test_messages() -> None:
    with pytest.raises(ValueError, match=r"names: found 'weight', expected scalar numbers .* \['alpha'\]"):
        retune(tikhonov(), TRUTH, TRUTH)
    with pytest.raises(ValueError, match="found 3 images and 2 data"):
        retune(tikhonov(), TRUTH, TRUTH[:2], names=["alpha"])
