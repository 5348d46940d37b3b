import pytest
import torch
from torch import Tensor, nn

from bilearn.curvature import Constant, Curvature
from bilearn.energy import Energy
from bilearn.parameters import Identity, Log10, learnable
from bilearn.penalties import L1, L2, ConditionNumber, Sparsity


class Weighted(Energy):
    def __init__(self) -> None:
        super().__init__()
        learnable(self, "alpha", 0.5, Log10())
        learnable(self, "mask", torch.tensor([0.2, 0.9, 0.0]), Identity((0.0, 1.0)))
        self.bias = nn.Parameter(torch.tensor([-2.0], dtype=torch.float64), requires_grad=False)

    def curvature(self, y: Tensor) -> Curvature:
        return Curvature(Constant(1 + self.alpha), Constant(1 + 4 * self.alpha))


Y = torch.zeros(2, 3, dtype=torch.float64)


def test_condition_number_and_its_derivative() -> None:
    energy = Weighted()
    penalty = ConditionNumber(1e-2)
    kappa = (1 + 4 * 0.5) / 1.5
    value = penalty(energy, Y)
    assert float(value.detach()) == pytest.approx(1e-2 * kappa**2)
    original = energy.parametrizations["alpha"].original  # type: ignore[index, union-attr]
    assert torch.autograd.gradcheck(lambda _: penalty(energy, Y), (original,))


def test_condition_number_takes_the_mean_over_samples() -> None:
    class PerSample(Weighted):
        def curvature(self, y: Tensor) -> Curvature:
            return Curvature(Constant(torch.tensor([1.0, 2.0])), Constant(torch.tensor([3.0, 4.0])))

    assert float(ConditionNumber(1.0)(PerSample(), Y)) == pytest.approx((9 + 4) / 2)


def test_condition_number_needs_constants() -> None:
    class Unknown(Weighted):
        def curvature(self, y: Tensor) -> Curvature:
            return Curvature()

    with pytest.raises(ValueError, match="no mu > 0 and L for Unknown"):
        ConditionNumber(1.0)(Unknown(), Y)


def test_penalties_act_on_natural_values_of_the_chosen_parameters() -> None:
    energy = Weighted()
    assert float(L1(2.0)(energy, Y).detach()) == pytest.approx(2 * (0.5 + 1.1))
    assert float(L2(2.0, ["mask"])(energy, Y).detach()) == pytest.approx(2 * (0.04 + 0.81))
    assert float(Sparsity(1.0, ["mask"])(energy, Y).detach()) == pytest.approx(1.1 + 0.16 + 0.09)
    total = L1(2.0, ["alpha"]) + L2(1.0, ["alpha"]) + L1(1.0, ["mask"])
    assert float(total(energy, Y).detach()) == pytest.approx(1 + 0.25 + 1.1)


def test_derivative_through_the_coordinate() -> None:
    energy = Weighted()
    original = energy.parametrizations["alpha"].original  # type: ignore[index, union-attr]
    assert torch.autograd.gradcheck(lambda _: (L2(1.0) + Sparsity(0.5))(energy, Y), (original,))


def test_errors_name_the_field() -> None:
    with pytest.raises(ValueError, match="weight: found -1"):
        L1(-1.0)
    with pytest.raises(ValueError, match="weight: found nan"):
        ConditionNumber(float("nan"))
    with pytest.raises(ValueError, match=r"names: found 'beta'.*alpha, mask"):
        L2(1.0, ["beta"])(Weighted(), Y)
    with pytest.raises(ValueError, match="names: found the string 'mask'"):
        L2(1.0, "mask")
