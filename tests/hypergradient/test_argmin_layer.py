import pytest
import torch
from toy_energies import Chain, Ridge, data

from bilearn.hypergradient import argmin_layer
from bilearn.solution import Tolerance
from bilearn.status import SolveError

TIGHT = Tolerance(distance=1e-11)


def test_gradcheck_through_data_and_parameters() -> None:
    energy = Chain()
    y = data(pixels=4, samples=2)[0].requires_grad_(True)
    parameters = tuple(energy.parameters())

    def reconstruct(data_: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return argmin_layer(energy, data_, tolerance=TIGHT, adjoint_tolerance=1e-12)

    assert torch.autograd.gradcheck(reconstruct, (y, *parameters), atol=1e-6)


def test_closed_form_and_incoming_gradient() -> None:
    energy = Ridge()
    y, target = data()
    y.requires_grad_(True)
    for factor in (1.0, 2.0):
        y.grad = None
        energy.zero_grad()
        x = argmin_layer(energy, y, tolerance=TIGHT, adjoint_tolerance=1e-12)
        (factor * (x - target).square().sum()).backward()
        (parameter,) = energy.parameters()
        assert parameter.grad is not None
        assert y.grad is not None
        exact = factor * energy.gradient(y.detach(), target)
        assert torch.allclose(parameter.grad, exact, rtol=1e-9)
        scale = 1 + energy.alpha.detach()
        assert torch.allclose(y.grad, factor * 2 * (y.detach() / scale - target) / scale, rtol=1e-9)


def test_second_derivative_is_refused() -> None:
    energy = Chain()
    y, target = data()
    (parameter, _) = energy.parameters()
    x = argmin_layer(energy, y, tolerance=TIGHT)
    (gradient,) = torch.autograd.grad((x - target).square().sum(), parameter, create_graph=True)
    assert bool(torch.isfinite(gradient))
    with pytest.raises(RuntimeError, match="found a second derivative, expected first derivatives only"):
        gradient.backward()


def test_parameters_changed_between_forward_and_backward_are_noticed() -> None:
    energy = Chain()
    y, _ = data()
    x = argmin_layer(energy, y, tolerance=TIGHT)
    with torch.no_grad():
        next(energy.parameters()).add_(0.1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        x.sum().backward()


def test_only_data_or_nothing_to_differentiate() -> None:
    energy = Chain().requires_grad_(False)
    y, _ = data()
    assert not argmin_layer(energy, y).requires_grad
    y.requires_grad_(True)
    argmin_layer(energy, y).sum().backward()
    assert y.grad is not None
    assert bool(torch.isfinite(y.grad).all())


def test_failure_raises_with_the_solution_unless_asked_not_to() -> None:
    energy = Chain(alpha=10.0, nu=1e-3)
    y, _ = data()
    with pytest.raises(SolveError) as caught:
        argmin_layer(energy, y, tolerance=TIGHT, max_steps=1)
    assert caught.value.solution.x.shape == y.shape
    assert argmin_layer(energy, y, tolerance=TIGHT, max_steps=1, throw=False).shape == y.shape


def test_bad_adjoint_tolerance_is_named() -> None:
    with pytest.raises(ValueError, match=r"adjoint_tolerance: found 1\.5"):
        argmin_layer(Chain(), data()[0], adjoint_tolerance=1.5)
