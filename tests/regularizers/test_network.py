"""Networks as regularizers: derivatives, scale and weight, declared convexity, an architecture of deepinv."""

from __future__ import annotations

import pytest
import torch
from registry import rand
from torch import Tensor, nn

from bilearn.fidelities import LeastSquares
from bilearn.lower import minimize
from bilearn.regularizers.network import NetworkRegularizer
from bilearn.solution import Tolerance
from bilearn.testing import check_energy
from bilearn.variational import VariationalEnergy

F64 = torch.float64


class Smooth(nn.Module):
    """sum softplus(conv(x)): convex."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, dtype=F64)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=F64))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.softplus(self.conv(x))


class Residual(nn.Module):
    """|x - tanh(conv(x))|^2/2: not convex."""

    def __init__(self) -> None:
        super().__init__()
        self.smooth = Smooth()

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.tanh(self.smooth.conv(x)).sum(1, keepdim=True)
        return 0.5 * (x[..., 1:-1, 1:-1] - inner).square().sum((1, 2, 3))


@pytest.mark.parametrize(("module", "convex"), [(Smooth(), True), (Residual(), False)])
def test_derivatives(module: nn.Module, convex: bool) -> None:
    energy = VariationalEnergy(LeastSquares(), NetworkRegularizer(module, 0.3, 1.7, convex))
    x, y = rand((2, 1, 6, 5), 2), rand((2, 1, 6, 5), 3)
    check_energy(energy, x, y, rtol=1e-5)
    solution = minimize(energy, y, tolerance=Tolerance(gradient=1e-7))
    assert solution.certified == convex
    assert bool(torch.isfinite(solution.error).all()) == convex
    assert solution.stationary != convex


def test_scale_and_weight() -> None:
    module, x = Smooth(), rand((2, 1, 6, 5), 4)
    found = NetworkRegularizer(module, 0.5, 2.0)(x)
    assert torch.allclose(found, 0.125 * module(2 * x).sum((1, 2, 3)))
    names = [n for n, p in NetworkRegularizer(module, learn=("scale",)).named_parameters() if p.requires_grad]
    assert names == ["module.conv.weight", "module.conv.bias", "parametrizations.scale.original"]


def test_an_input_convex_network_of_deepinv() -> None:
    """Its value adds up the images of a batch wrongly, so that it is given one image at a time."""
    from deepinv.models import ICNN

    network = ICNN(in_channels=1, num_filters=3, kernel_dim=3, num_layers=2).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=F64))
        network.zero_clip_weights()
    regularizer = NetworkRegularizer(network, 0.1, convex=True, learn=(), one_by_one=True)
    x, v = rand((2, 1, 8, 8), 5), rand((2, 1, 8, 8), 6) - 0.5
    step = 1e-6
    slope = (regularizer.grad(x).detach() * v).sum((1, 2, 3))
    with torch.no_grad():
        difference = (regularizer(x + step * v) - regularizer(x - step * v)) / (2 * step)
        alone = regularizer(x[1:])
        middle = regularizer(x)
        ends = regularizer(x + v) + regularizer(x - v)
    assert torch.allclose(slope, difference, rtol=1e-5)
    assert torch.allclose(middle[1:], alone)
    assert bool((ends >= 2 * middle - 1e-12).all())


def test_wrong_outputs_and_names() -> None:
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mean()

    with pytest.raises(ValueError, match=r"module: found an output of shape \(\) for 2 images"):
        NetworkRegularizer(Mean())(rand((2, 1, 4, 4), 1))
    with pytest.raises(ValueError, match=r"learn: found \['alpha'\]"):
        NetworkRegularizer(Mean(), learn=("alpha",))
