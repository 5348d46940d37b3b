"""Architectures of regularizer networks: derivatives in x and parameters, proved constants, convexity, denoisers of deepinv."""

from __future__ import annotations

import copy

import pytest
import torch
from registry import rand
from torch import Tensor, nn

from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.lower import minimize
from bilearn.parameters import ParameterVector
from bilearn.regularizers import (
    DenoiserResidual,
    DifferenceNetwork,
    InputConvexNetwork,
    NetworkRegularizer,
    PatchNetwork,
    TotalDeepVariation,
    smoothed,
)
from bilearn.regularizers.network_layers import Convolution, SmoothRectifier
from bilearn.solution import Tolerance
from bilearn.testing import check_energy, check_hypergradient
from bilearn.testing.reference import dense_hessian
from bilearn.variational import VariationalEnergy

F64 = torch.float64
SHAPE = (1, 6, 5)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def convex(seed: int = 1, channels: int = 1, layers: int = 2) -> InputConvexNetwork:
    network = InputConvexNetwork(channels, 2, layers, 3, 0.3, seeded(seed))
    with torch.no_grad():
        for shift in network.shifts:
            shift.copy_(0.2 * torch.randn(shift.shape, generator=seeded(seed + 50), dtype=F64))
    return network


def knowing(network: InputConvexNetwork | DifferenceNetwork | PatchNetwork) -> NetworkRegularizer:
    return NetworkRegularizer(network, 0.3, 1.7, curvature=network.curvature)


def denoiser() -> nn.Module:
    from deepinv.models import DnCNN

    network = DnCNN(1, 1, depth=3, nf=2, pretrained=None).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=seeded(4), dtype=F64))
    return network


ARCHITECTURES = {
    "icnn": lambda: knowing(convex()),
    "icnn-color": lambda: knowing(convex(2, 3, 3)),
    "idcnn": lambda: knowing(DifferenceNetwork(convex(2), convex(3))),
    "patches": lambda: knowing(PatchNetwork(1, 2, 2, 3, 0.3, seeded(5))),
    "tdv": lambda: NetworkRegularizer(TotalDeepVariation(1, 2, 2, 2, seeded(6)), 0.1, 1.7),
    "lsr": lambda: NetworkRegularizer(DenoiserResidual(smoothed(denoiser(), 0.2, learn=True), 0.1), 0.3, 1.7),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_derivatives_and_constants(name: str) -> None:
    """Gradients in x and in every parameter against finite differences to 1e-6; what is declared against samples."""
    regularizer = ARCHITECTURES[name]()
    energy = VariationalEnergy(LeastSquares(), regularizer)
    shape = (2, 3, 6, 5) if name == "icnn-color" else (2, *SHAPE)
    check_energy(energy, rand(shape, 2), rand(shape, 3))
    declared = regularizer.curvature(rand(shape, 2)).strong_convexity
    assert declared.declared == (name not in ("tdv", "lsr"))
    assert (float(declared.value) < 0) == (name in ("idcnn", "patches"))


@pytest.mark.parametrize("name", ["idcnn", "tdv", "lsr"])
def test_nonconvex_solves_are_stationary_and_never_certified(name: str) -> None:
    energy = VariationalEnergy(LeastSquares(), ARCHITECTURES[name]())
    solution = minimize(energy, rand((2, *SHAPE), 3), tolerance=Tolerance(gradient=1e-7))
    assert not solution.certified
    assert solution.stationary
    assert bool(torch.isinf(solution.error).all())


def test_an_input_convex_network_certifies_distances_and_hypergradients_agree() -> None:
    regularizer = knowing(convex())
    regularizer.module.requires_grad_(False)
    energy = VariationalEnergy(LeastSquares(), regularizer)
    y, target = rand((2, *SHAPE), 3), rand((2, *SHAPE), 4)
    rough = minimize(energy, y, tolerance=Tolerance(distance=1e-2))
    fine = minimize(energy, y, tolerance=Tolerance(gradient=1e-12))
    assert rough.certified
    assert bool(((rough.x - fine.x).flatten(1).norm(dim=1) <= rough.error + fine.error).all())
    check_hypergradient(ImplicitHypergradient(error="estimate"), energy, SquaredError(), y, target)


def test_a_sharp_weak_difference_is_certified_where_its_constant_is_small() -> None:
    network = DifferenceNetwork(convex(2), convex(3))
    below = -float(network.curvature(rand((1, *SHAPE), 1)).strong_convexity.value)
    regularizer = NetworkRegularizer(network, 0.5 / below, curvature=network.curvature)
    energy = VariationalEnergy(LeastSquares(), regularizer)
    y = rand((1, *SHAPE), 3)
    assert float(energy.curvature(y).strong_convexity.value) == pytest.approx(0.5)
    lowest = torch.linalg.eigvalsh(dense_hessian(energy.hessian(y, y), y))[:, 0]
    assert float(lowest) >= 0.5
    assert minimize(energy, y).certified


def test_convexity_is_a_box_and_survives_any_parameters() -> None:
    """Learning moves W inside W >= 0; after any projected step f is convex along every line."""
    network = convex(7)
    vector = ParameterVector(network)
    box = {s.name: s.coordinate.bounds[0] for s in vector.slots}
    assert box["onward.0.weight"] == 0.0
    vector.set(vector.project(torch.randn(len(vector), generator=seeded(8), dtype=F64)))
    assert float(vector.natural()["onward.0.weight"].min()) == 0.0
    x, v = rand((4, *SHAPE), 9), rand((4, *SHAPE), 10) - 0.5
    with torch.no_grad():
        ends, middle = network(x + v) + network(x - v), network(x)
    assert bool((ends >= 2 * middle - 1e-12).all())


def test_norms_hold_and_are_not_far_off() -> None:
    for layer in (Convolution(2, 3, 3, seeded(1)), Convolution(2, 3, 3, seeded(2), nonnegative=True)):
        layer.requires_grad_(False)
        matrix = torch.stack([layer(e.reshape(1, 2, 16, 16)).flatten() for e in torch.eye(512, dtype=F64)], 1)
        exact, bound = float(torch.linalg.matrix_norm(matrix, 2)), float(layer.norm(matrix))
        assert exact <= bound <= 1.1 * exact
        assert float(layer.column_sum(matrix)) == pytest.approx(float(matrix.abs().sum(0).max()))


def test_upsampling_is_the_adjoint_for_odd_and_even_sides() -> None:
    layer = Convolution(2, 3, 3, seeded(1), stride=2)
    for sides in ((6, 5), (7, 8)):
        x = rand((1, 2, *sides), 1)
        u = rand(tuple(layer(x).shape), 2)
        back = layer.upsample(u, x)
        assert torch.isclose((layer(x) * u).sum(), (x * back).sum(), rtol=1e-12)


def test_the_rectifier() -> None:
    s = SmoothRectifier(0.5, learn=False)
    t = torch.linspace(-4, 4, 801, dtype=F64, requires_grad=True)
    (slope,) = torch.autograd.grad(s(t).sum(), t, create_graph=True)
    (second,) = torch.autograd.grad(slope.sum(), t)
    slope = slope.detach()
    assert float(s(torch.zeros((), dtype=F64)).abs()) == 0.0
    assert 0 < float(slope.min()) <= float(slope.max()) < 1
    assert float(second.max()) == pytest.approx(float(s.steepest(t)))
    assert float(second.min()) > 0


def test_constants_are_free_inside_and_size_is_checked() -> None:
    network = PatchNetwork(1, 2, 2, 3, 0.3, seeded(5))
    x = rand((1, *SHAPE), 1)
    assert torch.allclose(network(x), network(x + 0.7))
    with pytest.raises(ValueError, match="found 4 x 6 pixels, expected at least the patch side 5"):
        network(rand((1, 1, 4, 6), 1))


def test_the_residual_of_a_denoiser() -> None:
    """The value of the definition, the full gradient (plug-and-play drops its Jacobian), and the original left alone."""
    network = denoiser()
    before = copy.deepcopy(network.state_dict())
    residual = DenoiserResidual(smoothed(network, 1e-6))
    x = rand((2, *SHAPE), 1)
    with torch.no_grad():
        assert torch.allclose(residual(x), 0.5 * (x - network(x)).square().sum((1, 2, 3)), atol=1e-5)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), network.state_dict().values(), strict=True))
    gradient = NetworkRegularizer(residual, learn=()).grad(x).detach()
    assert not torch.allclose(gradient, x - residual.denoiser(x).detach(), rtol=1e-2)
    leaky = smoothed(nn.Sequential(nn.LeakyReLU(0.2)), 1e-6)
    assert torch.allclose(leaky(x - 0.5), nn.functional.leaky_relu(x - 0.5, 0.2), atol=1e-5)


def test_bad_input() -> None:
    class Narrow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[..., 1:]

    with pytest.raises(ValueError, match=r"denoiser: found shape \(1, 1, 6, 4\)"):
        DenoiserResidual(Narrow())(rand((1, *SHAPE), 1))
    with pytest.raises(ValueError, match="found no ReLU or LeakyReLU module in Narrow"):
        smoothed(Narrow())
    with pytest.raises(ValueError, match="size: found 4, expected an odd kernel size"):
        Convolution(1, 1, 4, seeded(1))
    for make in (lambda: InputConvexNetwork(layers=0), lambda: PatchNetwork(layers=0)):
        with pytest.raises(ValueError, match="layers: found 0, expected at least 1"):
            make()
    with pytest.raises(ValueError, match="scales: found 0, expected at least 1"):
        TotalDeepVariation(scales=0)


@pytest.mark.parametrize("name", ["icnn", "patches", "tdv"])
def test_rounding_in_single_precision_is_near_what_happens(name: str) -> None:
    """Bounds on L are loose; a rounding error that followed from them would hide reachable accuracies."""
    regularizer = ARCHITECTURES[name]()
    x = rand((2, *SHAPE), 1).float()
    with torch.no_grad():
        error = (regularizer.grad(x).double() - regularizer.grad(x.double())).flatten(1).norm(dim=1)
    bound = regularizer.rounding(x).detach().double()
    assert bool((bound >= error).all())
    assert float(bound.max()) <= 1e-5
    (value, gradient), zero = (regularizer.add_value_and_grad(torch.zeros_like(x), x), torch.zeros_like(x))
    with torch.no_grad():
        kept = regularizer.add_value_and_grad(zero, x)
    assert torch.allclose(kept[0], value.detach())
    assert torch.allclose(kept[1], gradient.detach(), atol=1e-6)
