"""Ridge regularizers against a plain implementation of the definition; norms near the border; certificates."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from registry import rand
from torch import Tensor

from bilearn.fidelities import LeastSquares
from bilearn.regularizers.filter_chain import FilterChain, layer_norm_squared, random_layers
from bilearn.regularizers.ridge import RidgeRegularizer, load_ridge, ridge_from_state
from bilearn.testing import check_energy
from bilearn.variational import VariationalEnergy

F64 = torch.float64


def random_state(channels: tuple[int, ...] = (4, 8, 64), outer: bool = True) -> dict[str, Tensor]:
    """A state dictionary in the format of the comparative study."""
    generator = torch.Generator().manual_seed(3)
    layers = random_layers(channels, 5, generator)
    state = {"regularizer.filters.0.parametrizations.weight.original": layers[0]}
    state.update({f"regularizer.filters.{k}.weight": layer for k, layer in enumerate(layers) if k})
    noise = torch.randn(1, channels[-1], 1, 1, generator=generator, dtype=F64)
    state["regularizer.scaling"] = math.log(20) + 0.3 * noise
    state["regularizer.beta"] = torch.tensor(3.7, dtype=F64)
    if outer:
        state["alpha"], state["scale"] = torch.tensor([-0.4], dtype=F64), torch.tensor(0.25, dtype=F64)
    return state


def definition(state: dict[str, Tensor], x: Tensor, w: float) -> Tensor:
    """e^(a - 2t) R(e^t x) with R(x) = sum_c e^(-2 s_c) sum_j [e^-b phi(e^b u_j) - w phi(u_j)], u = e^s W x."""
    first, second, third = (state[k] for k in sorted(k for k in state if "filters" in k))
    first = first - first.mean((1, 2, 3), keepdim=True)

    def chain(image: Tensor) -> Tensor:
        for layer in (first, second, third):
            image = F.conv2d(image, layer, padding=2)
        return image

    impulse = torch.zeros(1, 1, 25, 25, dtype=F64)
    impulse[0, 0, 12, 12] = 1
    response = chain(impulse)
    for layer in (third, second, first):
        response = F.conv_transpose2d(response, layer, padding=2)
    norm = torch.fft.fft2(response, s=(256, 256)).abs().max().sqrt()

    def huber(z: Tensor) -> Tensor:
        return torch.where(z.abs() <= 1, z**2 / 2, z.abs() - 0.5)

    a, t = state.get("alpha", torch.zeros(())), state.get("scale", torch.zeros(()))
    s, b = state["regularizer.scaling"], state["regularizer.beta"]
    u = torch.exp(s) * chain(torch.exp(t) * x) / norm
    terms = torch.exp(-2 * s) * (torch.exp(-b) * huber(torch.exp(b) * u) - w * huber(u))
    return torch.exp(a - 2 * t) * terms.sum((1, 2, 3))


@pytest.mark.parametrize("weak", [0.0, 1.0])
@pytest.mark.parametrize("outer", [True, False])
def test_state_dictionaries_give_the_energy_of_the_definition(weak: float, outer: bool, tmp_path: Path) -> None:
    state = random_state(outer=outer)
    x = rand((2, 1, 20, 17), 1)
    torch.save(state, tmp_path / "weights.pt")
    for regularizer in (ridge_from_state(state, weak), load_ridge(tmp_path / "weights.pt", weak)):
        expected = definition(state, x, weak)
        assert torch.allclose(regularizer(x), expected, rtol=1e-9)
        point = x.clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(definition(state, point, weak).sum(), point)
        with torch.no_grad():
            assert torch.allclose(regularizer.grad(x), gradient, atol=1e-9)
    assert sum(p.numel() for p in ridge_from_state(state, weak).parameters()) == 13767


def test_incomplete_state_is_refused() -> None:
    state = random_state()
    del state["regularizer.beta"]
    with pytest.raises(ValueError, match=r"found no regularizer\.beta among"):
        ridge_from_state(state, 0.0)
    with pytest.raises(ValueError, match=r"found no regularizer\.filters\.\* among"):
        ridge_from_state({k: v for k, v in random_state().items() if "filters" not in k}, 0.0)


def small(padding: str = "once", **options: object) -> RidgeRegularizer:
    layers = random_layers((2, 3), 3, torch.Generator().manual_seed(7))
    bank = FilterChain(layers, padding)  # type: ignore[arg-type]
    return RidgeRegularizer(bank, **{"sharpness": 4.0, "gains": 3.0, "scale": 1.2, **options})  # type: ignore[arg-type]


@pytest.mark.parametrize("padding", ["once", "layers"])
@pytest.mark.parametrize("weak", [0.0, 1.0])
def test_derivatives_and_bounds(padding: str, weak: float) -> None:
    energy = VariationalEnergy(
        LeastSquares(), small(padding, weak=weak, weight=0.4, learn=("weight", "scale", "gains"))
    )
    check_energy(energy, rand((2, 1, 7, 6), 11), rand((2, 1, 7, 6), 12))


def test_chain_norms() -> None:
    """|W| = 1 inside; with zeros in every layer the norm may be larger, and the declared bound holds there too."""
    generator = torch.Generator().manual_seed(8)
    layers = random_layers((3, 4), 3, generator)
    once, cut = FilterChain(layers), FilterChain(layers, "layers")
    unit = torch.eye(256, dtype=F64).reshape(-1, 1, 16, 16)
    ones, weights = torch.ones(4, dtype=F64), torch.tensor([0.2, 1.0, 3.0, 0.0], dtype=F64)
    with torch.no_grad():
        for bank in (once, cut):
            columns = bank(unit)
            adjoint = bank.adjoint(columns).flatten(1)
            assert torch.allclose(adjoint, columns.flatten(1) @ columns.flatten(1).T, atol=1e-12)
            for a in (ones, weights):
                exact = float(torch.linalg.eigvalsh(torch.einsum("ncij,mcij,c->nm", columns, columns, a))[-1])
                bound = float(bank.weighted_norm_squared(a))
                assert exact <= bound
                assert bank is cut or bound < 1.25 * exact
            reached = columns.square().sum(0).sqrt().amax((1, 2))
            assert bool((reached <= bank.lengths(ones) * (1 + 1e-12)).all())
            assert bank is cut or bool((columns.abs().sum(0).amax((1, 2)) <= bank.sums(ones) * (1 + 1e-12)).all())
            single = bank.adjoint(columns[:2].float())
            assert float((single - bank.adjoint(columns[:2]).float()).abs().max()) < 1e-5
        inside = once(unit)[100, :, 4:12, 4:12]
        assert torch.allclose(cut(unit)[100, :, 4:12, 4:12], inside, atol=1e-13)
        assert 1.0 <= float(once.weighted_norm_squared(ones)) < 1.01
        identity = torch.zeros(2, 2, 3, 3, dtype=F64)
        identity[0, 0, 1, 1], identity[1, 1, 1, 1] = 2.0, 3.0
        assert math.isclose(float(layer_norm_squared(identity)), 9.0, rel_tol=0.01)


@pytest.mark.parametrize(("weight", "weak", "certain"), [(5.0, 0.0, True), (0.9, 1.0, True), (1.1, 1.0, False)])
def test_strong_convexity_of_denoising(weight: float, weak: float, certain: bool) -> None:
    mu = (
        VariationalEnergy(LeastSquares(), small(weak=weak, weight=weight))
        .curvature(rand((1, 1, 8, 8), 1))
        .strong_convexity
    )
    value = float(torch.as_tensor(mu.value).detach())
    assert mu.declared
    assert (value > 0) == certain
    assert math.isclose(value, 1 - weak * weight, abs_tol=0.01)


def test_options_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"learn: found \['beta'\]"):
        RidgeRegularizer(learn=("beta",))
    with pytest.raises(ValueError, match=r"RidgeRegularizer\.weak: found 2"):
        RidgeRegularizer(weak=2)
    with pytest.raises(ValueError, match=r"layers: found shape \(4, 2, 5, 5\), expected \(channels, 1"):
        FilterChain([torch.zeros(4, 2, 5, 5)])
    with pytest.raises(ValueError, match="padding: found 'twice'"):
        FilterChain([torch.zeros(4, 1, 5, 5)], padding="twice")  # type: ignore[arg-type]
    assert RidgeRegularizer().bank.fields == 64
