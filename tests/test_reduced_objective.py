import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bilearn.certified_loss import certified_loss
from bilearn.evaluation import Evaluation
from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import TangentHypergradient
from bilearn.losses import CallableLoss, NegativePSNR, SmoothedL1, SquaredError, UpperLoss
from bilearn.lower.gradient_descent import GradientDescent
from bilearn.parameters import ParameterVector
from bilearn.penalties import L2, ConditionNumber
from bilearn.problems import one_parameter, three_parameters
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV, Tikhonov
from bilearn.variational import VariationalEnergy
from bilearn.warm_starts import WarmStarts, predict

POINT = torch.tensor([-1.0, -2.0, -2.0], dtype=torch.float64)


def pair(samples: int = 7, pixels: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    target = (torch.rand(samples, 1, pixels, generator=generator, dtype=torch.float64) > 0.5).double()
    return target + 0.1 * torch.randn(samples, 1, pixels, generator=generator, dtype=torch.float64), target


def tv(**options: object) -> ReducedObjective:
    y, target = pair()
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(0.1, 0.05, 1e-3))
    return ReducedObjective(energy, y, target, **options)  # type: ignore[arg-type]


def ridge(**options: object) -> ReducedObjective:
    y, target = pair()
    return ReducedObjective(VariationalEnergy(LeastSquares(), Tikhonov(0.3)), y, target, **options)  # type: ignore[arg-type]


def test_closed_form_with_mean_and_sum() -> None:
    y, target = pair()
    theta = torch.tensor([-0.4], dtype=torch.float64)
    a = 10 ** float(theta)
    difference = y / (1 + a) - target
    value = float(difference.square().sum())
    slope = float((2 * difference * (-y / (1 + a) ** 2)).sum()) * a * math.log(10)
    tangents = float((y / (1 + a) ** 2 * a * math.log(10)).square().sum())
    for reduction, scale in (("sum", 1.0), ("mean", 1 / 7)):
        found = ridge(reduction=reduction).gauss_newton(theta, accuracy=1e-9)
        assert found.value == pytest.approx(scale * value, rel=1e-10)
        assert found.lower <= scale * value <= found.upper
        assert found.gradient is not None
        assert abs(float(found.gradient[0]) - scale * slope) <= found.gradient_bound <= 1e-9
        assert found.jacobian_gram is not None
        assert float(found.jacobian_gram[0, 0]) == pytest.approx(2 * scale * tangents, rel=1e-9)
        assert found.certified


def test_published_anchors() -> None:
    problem = three_parameters()
    for theta, value, gradient in (
        ([0.0, -1.0, -1.0], 38.944712551067, [43.5366123, 81.6004566, 9.0562613]),
        ([-1.0, -2.0, -2.0], 9.429700667624, [-21.89841889, 0.93105565, 1.78622895]),
    ):
        found = problem.objective.hypergradient(torch.tensor(theta, dtype=torch.float64), accuracy=1e-7)
        assert found.value == pytest.approx(value, rel=1e-10)
        assert found.gradient is not None
        assert torch.allclose(found.gradient, torch.tensor(gradient, dtype=torch.float64), rtol=1e-7)
    single = one_parameter()
    found = single.objective.hypergradient(torch.tensor([-0.5], dtype=torch.float64), accuracy=1e-7)
    assert found.value == pytest.approx(1.505527317412, rel=1e-10)
    assert found.gradient is not None
    assert float(found.gradient[0]) == pytest.approx(-1.61042303, rel=1e-7)


@pytest.mark.parametrize("loss", [SquaredError(), NegativePSNR(), SmoothedL1(0.1)], ids=lambda v: v.name)
def test_values_meet_the_requested_accuracy(loss: UpperLoss) -> None:
    exact = tv(loss=loss).hypergradient(POINT, accuracy=1e-9)
    for accuracy in (1.0, 1e-2, 1e-4, 1e-8):
        found = tv(loss=loss).value(POINT, accuracy)
        assert found.bound <= accuracy * (1 + 1e-6)
        assert found.lower <= exact.value <= found.upper
        assert abs(found.value - exact.value) <= found.bound + exact.bound
        assert found.message == ""
        assert found.accuracy == accuracy


@pytest.mark.parametrize("batch_size", [1, 3, None])
@pytest.mark.parametrize("method", ["hypergradient", "gauss_newton"])
def test_gradients_meet_the_requested_accuracy_in_any_chunks(batch_size: int | None, method: str) -> None:
    exact = tv().hypergradient(POINT, accuracy=1e-10).gradient
    assert exact is not None
    objective = tv(batch_size=batch_size)
    for accuracy in (1.0, 1e-3, 1e-6):
        found: Evaluation = getattr(objective, method)(POINT, accuracy)
        assert found.gradient is not None
        assert float((found.gradient - exact).norm()) <= found.gradient_bound + 1e-10
        assert found.gradient_bound <= accuracy
        assert found.losses.shape == (7,)


def test_default_accuracy_is_relative_to_the_whole() -> None:
    for batch_size in (2, None):
        objective = tv(batch_size=batch_size)
        for theta in (POINT, POINT + 0.1):
            found = objective.hypergradient(theta)
            assert found.gradient is not None
            assert found.gradient_bound <= 1.02e-3 * float(found.gradient.norm())
            assert objective.value(theta).bound <= 1e-3 * found.value


def test_gradient_agrees_with_central_differences_of_the_value() -> None:
    penalty = ConditionNumber(1e-4) + L2(0.1)
    objective = tv(penalty=penalty)
    found = objective.hypergradient(POINT, accuracy=1e-9)
    assert found.gradient is not None
    step = 1e-4
    for p in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[p] = step
        ends = [objective.value(POINT + s * shift, accuracy=1e-13).value for s in (1, -1)]
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(float(found.gradient[p]), rel=1e-5, abs=1e-8)


def test_tangents_may_serve_as_the_estimator_of_the_gradient() -> None:
    exact = tv().hypergradient(POINT, accuracy=1e-8).gradient
    objective = tv(estimator=TangentHypergradient(), batch_size=3)
    assert exact is not None
    for accuracy in (1e-2, 1e-6):
        found = objective.hypergradient(POINT, accuracy)
        assert found.gradient is not None
        assert float((found.gradient - exact).norm()) <= found.gradient_bound + 1e-8
        assert found.gradient_bound <= accuracy
        assert found.jacobian_gram is None


def test_penalty_terms() -> None:
    plain, penalized = tv(), tv(penalty=L2(0.3, ["regularizer.alpha"]))
    a, b = plain.gauss_newton(POINT, 1e-9), penalized.gauss_newton(POINT, 1e-9)
    alpha, rate = 10.0 ** float(POINT[0]), math.log(10)
    assert b.penalty == pytest.approx(0.3 * alpha**2)
    assert b.value - a.value == pytest.approx(0.3 * alpha**2)
    assert a.gradient is not None
    assert b.gradient is not None
    assert float((b.gradient - a.gradient)[0]) == pytest.approx(0.6 * alpha**2 * rate, rel=1e-6)
    assert a.jacobian_gram is not None
    assert b.jacobian_gram is not None
    assert float((b.jacobian_gram - a.jacobian_gram)[0, 0]) == pytest.approx(1.2 * alpha**2 * rate**2, rel=1e-6)
    assert torch.allclose(b.jacobian_gram[1:, 1:], a.jacobian_gram[1:, 1:], atol=1e-9)


def test_order_of_evaluations_changes_values_only_within_bounds() -> None:
    fresh = tv().hypergradient(POINT)
    objective = tv()
    for other in (POINT + 1.0, POINT - 0.5):
        objective.hypergradient(other)
        objective.value(other)
    warm = objective.hypergradient(POINT)
    assert fresh.gradient is not None
    assert warm.gradient is not None
    assert float((fresh.gradient - warm.gradient).norm()) <= fresh.gradient_bound + warm.gradient_bound
    assert max(fresh.lower, warm.lower) <= min(fresh.upper, warm.upper)
    objective.forget()
    again = objective.hypergradient(POINT)
    assert again.value == fresh.value


def test_warm_starts_save_work() -> None:
    objective = tv()
    cold = objective.hypergradient(POINT, 1e-6)
    warm = objective.hypergradient(POINT, 1e-6)
    assert warm.cost.gradients < cold.cost.gradients
    assert objective.reconstructions is not None
    assert objective.reconstructions.shape == objective.target.shape


def test_tangents_predict_the_next_reconstructions() -> None:
    objective = tv()
    objective.gauss_newton(POINT, 1e-6)
    x = objective.reconstructions
    tangents = objective._warm.get("tangent", torch.arange(7))
    assert x is not None
    assert tangents is not None
    step = torch.tensor([0.01, -0.01, 0.02], dtype=torch.float64)
    exact = tv()
    exact.value(POINT + step, 1e-12)
    assert exact.reconstructions is not None
    objective.parameters.set(POINT + step)
    start = predict(objective.energy, objective.y, x, tangents, step.expand(7, -1))
    assert float((start - exact.reconstructions).norm()) < 0.1 * float((x - exact.reconstructions).norm())
    useless = predict(objective.energy, objective.y, x, 1e6 * tangents, step.expand(7, -1))
    assert torch.equal(useless, x)


def test_counts_observer_and_theta() -> None:
    seen: list[Evaluation] = []
    objective = tv(observer=seen.append)
    assert objective.reconstructions is None
    first, second = objective.value(POINT), objective.hypergradient(POINT + 0.1)
    assert seen == [first, second]
    assert objective.evaluations == 2
    assert objective.cost.gradients == first.cost.gradients + second.cost.gradients > 0
    assert torch.allclose(ParameterVector(objective.energy).get(), POINT + 0.1)
    assert first.seconds > 0


def test_residuals() -> None:
    exact = tv().value(POINT, 1e-12)
    found = tv().residuals(POINT, 1e-3)
    assert found.residuals is not None
    assert found.residual_bounds is not None
    assert exact.residuals is not None
    assert float(found.residual_bounds.max()) <= 1e-3
    assert bool(((found.residuals - exact.residuals).abs() <= found.residual_bounds + 1e-9).all())
    with pytest.raises(ValueError, match="expected one with residuals"):
        tv(loss=NegativePSNR()).residuals(POINT)


def test_subset_is_the_objective_of_its_samples_and_shares_work() -> None:
    objective = tv(reduction="sum")
    whole = objective.hypergradient(POINT, 1e-9)
    index = torch.tensor([5, 1])
    part = objective.subset(index).hypergradient(POINT, 1e-9)
    assert torch.allclose(part.losses, whole.losses[index], rtol=1e-9)
    assert part.value == pytest.approx(float(whole.losses[index].sum()))
    assert part.cost.gradients <= 2 * 2
    assert objective.cost.gradients == whole.cost.gradients + part.cost.gradients
    assert objective.subset(index).subset(torch.tensor([1])).samples == 1
    with pytest.raises(ValueError, match="found no sample"):
        objective.subset(torch.tensor([], dtype=torch.int64))


def test_failures_are_reported_not_raised() -> None:
    objective = tv(solver=GradientDescent(max_steps=3))
    for found in (objective.value(POINT, 1e-9), objective.hypergradient(POINT, 1e-9)):
        assert "step limit" in found.message
        assert found.bound > 1e-9
    assert "was not reached" in found.message
    exact = tv().hypergradient(POINT, 1e-9)
    assert found.gradient is not None
    assert exact.gradient is not None
    assert float((found.gradient - exact.gradient).norm()) <= found.gradient_bound
    assert found.lower <= exact.value <= found.upper


def test_unknown_losses_give_infinite_intervals() -> None:
    def squared(x: Tensor, target: Tensor) -> Tensor:
        return (x - target).square().flatten(1).sum(1)

    found = tv(loss=squared).hypergradient(POINT)
    exact = tv().hypergradient(POINT, 1e-9)
    assert found.bound == math.inf
    assert found.gradient_bound == math.inf
    assert not found.certified
    assert found.value == pytest.approx(exact.value, rel=1e-3)
    value = tv(loss=squared).value(POINT)
    assert value.value == pytest.approx(exact.value, rel=1e-3)
    assert not value.certified
    known = tv(loss=CallableLoss(squared, smoothness=2.0)).hypergradient(POINT, 1e-4)
    assert known.gradient_bound <= 1e-4
    assert known.certified


def test_single_precision() -> None:
    y, target = pair()
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(0.1, 0.05, 1e-3))
    objective = ReducedObjective(energy, y.float(), target.float())
    exact = tv().hypergradient(POINT, 1e-9)
    found = objective.hypergradient(POINT)
    assert found.gradient is not None
    assert exact.gradient is not None
    assert float((found.gradient - exact.gradient).norm()) <= found.gradient_bound < 0.2
    assert found.lower <= exact.value <= found.upper


def test_certified_loss_refines_until_it_fits() -> None:
    y, target = pair()
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(0.1, 0.05, 1e-3))
    found = certified_loss(energy, SquaredError(), y, target, accuracy=1e-6)
    wide = torch.maximum(found.upper - found.losses, found.losses - found.lower)
    assert float(wide.sum()) <= 1e-6
    assert found.message == ""
    hard = certified_loss(energy, SquaredError(), y, target, accuracy=1e-18)
    assert "was not reached" in hard.message


def test_warm_starts_offer_only_what_was_stored_and_finite() -> None:
    warm = WarmStarts(4)
    index = torch.tensor([2, 0])
    assert warm.get("x", index) is None
    warm.put("x", index, torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    found = warm.get("x", torch.tensor([0, 2]))
    assert found is not None
    assert torch.equal(found, torch.tensor([[3.0, 4.0], [1.0, 2.0]]))
    assert warm.get("x", torch.tensor([0, 1])) is None
    warm.put("x", torch.tensor([1, 2]), torch.tensor([[5.0, 6.0], [math.nan, 0.0]]))
    found = warm.get("x", torch.tensor([1, 2]))
    assert found is not None
    assert torch.equal(found, torch.tensor([[5.0, 6.0], [1.0, 2.0]]))
    tangents = torch.arange(12.0).reshape(3, 2, 2)
    warm.put("t", torch.tensor([3, 1]), tangents, axis=1)
    found = warm.get("t", torch.tensor([1]))
    assert found is not None
    assert torch.equal(found, tangents[:, 1:])
    warm.clear()
    assert warm.get("x", index) is None


def test_bad_input_is_named() -> None:
    y, target = pair()
    energy = VariationalEnergy(LeastSquares(), Tikhonov(0.3))
    with pytest.raises(ValueError, match="target: found"):
        ReducedObjective(energy, y, target[:3])
    with pytest.raises(ValueError, match="reduction: found 'max'"):
        ReducedObjective(energy, y, target, reduction="max")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="batch_size: found 0"):
        ReducedObjective(energy, y, target, batch_size=0)
    with pytest.raises(ValueError, match="non-finite coordinate"):
        ridge().value(torch.tensor([math.nan], dtype=torch.float64))
    big = ReducedObjective(VariationalEnergy(LeastSquares(), Tikhonov(torch.full((1, 24), 0.3))), y, target)
    with pytest.raises(ValueError, match="at most 16 for tangents"):
        big.gauss_newton(torch.zeros(24, dtype=torch.float64))


def test_a_restored_objective_continues_bit_for_bit(tmp_path: Path) -> None:
    first = tv(batch_size=3)
    first.gauss_newton(POINT)
    torch.save(first.state_tree(), tmp_path / "tree.pt")
    expected = [first.hypergradient(POINT + 0.05), first.value(POINT + 0.1)]
    second = tv(batch_size=3)
    second.load_state_tree(torch.load(tmp_path / "tree.pt", weights_only=True))
    found = [second.hypergradient(POINT + 0.05), second.value(POINT + 0.1)]
    for a, b in zip(expected, found, strict=True):
        assert a.value == b.value
        assert a.cost == b.cost
    assert expected[0].gradient is not None
    assert found[0].gradient is not None
    assert torch.equal(expected[0].gradient, found[0].gradient)
    assert second.cost == first.cost
    assert second.evaluations == first.evaluations
    y, target = pair(samples=3)
    other = ReducedObjective(first.energy, y, target)
    with pytest.raises(ValueError, match="found warm starts of 7 samples, expected 3"):
        other.load_state_tree(first.state_tree())
