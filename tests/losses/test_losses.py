import math

import pytest
import torch
from torch import Tensor

from bilearn.losses import (
    CallableLoss,
    NegativePSNR,
    SimilarityError,
    SmoothedL1,
    SquaredError,
    SSIMLoss,
    UpperLoss,
    as_loss,
)
from bilearn.losses.ssim import ssim_lipschitz, ssim_smoothness


def pair(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    x, target = torch.rand(2, 4, 9, generator=generator, dtype=torch.float64).to(dtype)
    return x, target


def squared(x: Tensor, target: Tensor) -> Tensor:
    return (x - target).square().sum(-1)


CERTIFIED: list[UpperLoss] = [
    SquaredError(),
    SquaredError(0.25),
    NegativePSNR(2.0),
    SmoothedL1(0.05),
    CallableLoss(squared, smoothness=2.0),
    CallableLoss(lambda x, t: (x - t).square().sum(-1).add(1).sqrt(), lipschitz=1.0, smoothness=1.0),
]


@pytest.mark.parametrize("loss", CERTIFIED, ids=lambda v: v.name)
def test_gradient_and_gauss_newton_by_autograd(loss: UpperLoss) -> None:
    x, target = pair()
    x.requires_grad_(True)
    (expected,) = torch.autograd.grad(loss(x, target).sum(), x)
    assert torch.allclose(loss.grad(x.detach(), target), expected)
    v = torch.randn(3, 4, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    product = loss.gauss_newton(x.detach(), target, v)
    gram = torch.einsum("kbi,lbi->kl", v, product)
    assert torch.allclose(gram, gram.T)
    assert float(torch.linalg.eigvalsh(gram).min()) > 0
    if not isinstance(loss, NegativePSNR):
        assert torch.allclose(product, UpperLoss.gauss_newton(loss, x.detach(), target, v))


@pytest.mark.parametrize("loss", CERTIFIED, ids=lambda v: v.name)
@pytest.mark.parametrize("size", [1e-9, 1e-3, 0.1, 1.0, 10.0])
def test_intervals_and_variations_hold_in_the_ball(loss: UpperLoss, size: float) -> None:
    x, target = pair()
    radius = torch.full((4,), size, dtype=torch.float64)
    low, high = loss.interval(x, target, radius)
    variation = loss.grad_variation(x, target, radius)
    generator = torch.Generator().manual_seed(1)
    directions = [target - x, x - target, *torch.randn(20, 4, 9, generator=generator, dtype=torch.float64)]
    for direction in directions:
        moved = x + size * direction / direction.norm(dim=-1, keepdim=True)
        value = loss(moved, target)
        assert bool(((low <= value) & (value <= high)).all())
        change = (loss.grad(moved, target) - loss.grad(x, target)).norm(dim=-1)
        assert bool((change <= variation * (1 + 1e-9) + 1e-14).all())


@pytest.mark.parametrize("loss", [SquaredError(3.0), NegativePSNR(1.5)], ids=lambda v: v.name)
def test_interval_through_the_residual_is_exact(loss: UpperLoss) -> None:
    x, target = pair()
    radius = torch.full((4,), 0.2, dtype=torch.float64)
    low, high = loss.interval(x, target, radius)
    direction = (x - target) / (x - target).norm(dim=-1, keepdim=True)
    assert torch.allclose(loss(x + 0.2 * direction, target), high, rtol=1e-12)
    assert torch.allclose(loss(x - 0.2 * direction, target), low, rtol=1e-12)


def test_values() -> None:
    x, target = pair()
    error = (x - target).square().sum(-1)
    assert torch.allclose(SquaredError(0.5)(x, target), 0.5 * error)
    assert torch.allclose(NegativePSNR(2.0)(x, target), 10 * torch.log10(error / 9 / 4.0))
    assert torch.allclose(SmoothedL1(1e-9)(x, target), (x - target).abs().sum(-1), atol=1e-7)
    residual = SquaredError().residual(x, target)
    assert torch.allclose(residual.square(), error)
    assert NegativePSNR().residual(x, target) is None
    assert SquaredError(0.5).gauss_newton_factor == 1.0


def test_complex_reconstructions() -> None:
    x, target = pair()
    z, t = torch.complex(x, target), torch.complex(target, x)
    assert torch.allclose(SquaredError()(z, t), 2 * (x - target).square().sum(-1))
    low, high = SquaredError().interval(z, t, torch.full((4,), 0.1, dtype=torch.float64))
    assert bool((low < SquaredError()(z, t)).all() and (high > SquaredError()(z, t)).all())


def test_perfect_reconstruction() -> None:
    x, _ = pair()
    radius = torch.full((4,), 0.1, dtype=torch.float64)
    low, high = SquaredError().interval(x, x, radius)
    assert torch.equal(low, torch.zeros_like(low))
    assert torch.allclose(high, radius.square())
    low, high = NegativePSNR().interval(x, x, radius)
    assert bool((low == -math.inf).all() and torch.isfinite(high).all())
    assert bool(torch.isinf(NegativePSNR().grad_variation(x, x, radius)).all())


def test_ssim_agrees_with_scikit_image() -> None:
    from skimage.metrics import structural_similarity

    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, 1, 32, 32, generator=generator, dtype=torch.float64)
    x = (target + 0.1 * torch.randn(2, 1, 32, 32, generator=generator, dtype=torch.float64)).requires_grad_(True)
    loss = SSIMLoss()
    values = loss(x, target)
    for i in range(2):
        reference = structural_similarity(
            x[i, 0].detach().numpy(),
            target[i, 0].numpy(),
            data_range=1.0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert abs(float(1 - values[i].detach()) - reference) < 5e-3
    assert bool((loss.grad(x.detach(), target).flatten(1).norm(dim=1) > 0).all())
    low, high = loss.interval(x.detach(), target, torch.full((2,), torch.inf, dtype=torch.float64))
    assert bool(((low == 0) & (high == 2)).all())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (1, 3, 6, 300), (1, 2, 260, 7)])
def test_ssim_is_that_of_torchmetrics(shape: tuple[int, ...], dtype: torch.dtype, tolerance: float) -> None:
    from torchmetrics.functional.image import structural_similarity_index_measure

    generator = torch.Generator().manual_seed(0)
    target = torch.rand(shape, generator=generator, dtype=dtype)
    x = target + 0.1 * torch.randn(shape, generator=generator, dtype=dtype)
    first, second = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours = SSIMLoss(0.8)(first, target)
    theirs = 1 - structural_similarity_index_measure(second, target, reduction="none", data_range=0.8).reshape(-1)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)
    ours.sum().backward()
    theirs.sum().backward()
    torch.testing.assert_close(first.grad, second.grad, rtol=0, atol=10 * tolerance)


def magnitudes() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (3, 2, 24, 20)
    target = torch.randn(shape, generator=generator, dtype=torch.float64)
    target[0] = 0
    target[1, :, 6:] *= 1e-3
    return target + 0.05 * torch.randn(shape, generator=generator, dtype=torch.float64), target


def test_similarity_of_magnitudes() -> None:
    x, target = magnitudes()
    loss, plain = SimilarityError(0.5, 2.0), SimilarityError(0.5, 0.0)
    assert torch.allclose(plain(x, target), SquaredError(0.5)(x, target))
    sizes = [t.norm(dim=1, keepdim=True) for t in (x, target)]
    for i in (1, 2):
        part = SSIMLoss(float(sizes[1][i].max()))(sizes[0][i : i + 1], sizes[1][i : i + 1])
        assert float(loss(x, target)[i] - plain(x, target)[i]) == pytest.approx(2 * float(part), rel=1e-9)
    assert torch.allclose(loss(target, target), torch.zeros(3, dtype=torch.float64), atol=1e-12)


@pytest.mark.parametrize("size", [1e-10, 1e-4, 1e-2, 1.0, 100.0])
@pytest.mark.parametrize("loss", [SimilarityError(0.5, 2.0), SSIMLoss(0.7)], ids=lambda loss: loss.name)
def test_intervals_and_gradient_bounds_of_similarity_hold_in_the_ball(loss: UpperLoss, size: float) -> None:
    x, target = magnitudes()
    radius = torch.full((3,), size, dtype=torch.float64)
    for point in (x, target, 1e-3 * x):
        low, high = loss.interval(point, target, radius)
        slope, bound = loss.grad(point, target), loss.grad_variation(point, target, radius)
        assert bool(torch.isfinite(bound).all())
        noise = torch.randn(10, *x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        for direction in (x - target, loss.grad(point + 1e-9 * x, target), *noise):
            moved = point + size * direction / direction.flatten(1).norm(dim=1).reshape(3, 1, 1, 1)
            value = loss(moved, target)
            assert bool(((low <= value) & (value <= high)).all())
            change = (loss.grad(moved, target) - slope).flatten(1).norm(dim=1)
            assert bool((change <= bound * (1 + 1e-6) + 1e-9).all())


def test_similarity_is_bounded_everywhere() -> None:
    x, target = magnitudes()
    x[2, :, 3] = 0
    infinite = torch.full((3,), torch.inf, dtype=torch.float64)
    low, high = SimilarityError(1e-300, 2.0).interval(x, target, torch.full((3,), 1e100, dtype=torch.float64))
    assert bool(((low <= 0) & (high >= 0) & (high - low <= 9)).all())
    bound = SimilarityError(1.0, 2.0).grad_variation(x, target, infinite)
    assert bool((bound == torch.inf).all())
    widest = torch.full((3,), 2 * ssim_lipschitz(2 * 24 * 20), dtype=torch.float64)
    torch.testing.assert_close(SSIMLoss().grad_variation(x, target, infinite), widest)


def test_the_gradient_bound_of_similarity_is_not_vacuous() -> None:
    """Away from zero magnitudes it vanishes with the radius, in proportion."""
    x, target = magnitudes()
    one, two = (
        SimilarityError(0.5, 2.0).grad_variation(x, target, torch.full((3,), r, dtype=torch.float64))[2]
        for r in (1e-7, 1e-8)
    )
    assert float(two) == pytest.approx(float(one) / 10, rel=1e-3)


def test_the_curvature_of_ssim_stays_below_its_constant() -> None:
    """At a black pair the luminance bends with 2 / c1: within a factor of five of the bound, border included."""
    flat = torch.zeros(1, 1, 30, 30, dtype=torch.float64)
    step = torch.full_like(flat, 1e-6)
    bend = float((SSIMLoss().grad(step, flat) - SSIMLoss().grad(flat, flat)).norm() / step.norm())
    assert ssim_smoothness(900) / 5 < bend <= ssim_smoothness(900)


def test_the_slope_of_ssim_stays_below_its_constant() -> None:
    """Alternating pixels on a dark truth of the worst amplitude: within a factor of five of the bound."""
    shape = (1, 1, 30, 30)
    sign = 1 - 2 * (torch.arange(30)[:, None] + torch.arange(30) & 1).double()
    steepest = 0.0
    for amplitude in (1e-3, 5e-3, 1e-2, 3e-2):
        for image in (torch.full(shape, amplitude, dtype=torch.float64), amplitude * sign.expand(shape)):
            slope = SSIMLoss(1.0).grad(image, torch.zeros_like(image))
            steepest = max(steepest, float(slope.norm()))
    bound = ssim_lipschitz(900)
    assert bound / 5 < steepest <= bound


def test_callable_losses() -> None:
    x, target = pair()
    radius = torch.full((4,), 0.1, dtype=torch.float64)
    loss = as_loss(squared)
    assert loss.name == "squared"
    assert as_loss(loss) is loss
    assert bool(torch.isinf(loss.interval(x, target, radius)[1]).all())
    assert bool(torch.isinf(loss.grad_variation(x, target, radius)).all())
    assert torch.equal(as_loss(lambda a, b: torch.ones(len(a))).grad(x, target), torch.zeros_like(x))


def test_errors_name_the_field() -> None:
    x, target = pair()
    with pytest.raises(ValueError, match="one number per sample"):
        as_loss(lambda a, b: (a - b).square().sum())(x, target)
    with pytest.raises(TypeError, match="loss: found int"):
        as_loss(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="factor: found 0"):
        SquaredError(0.0)
    with pytest.raises(ValueError, match="max_value: found -1"):
        NegativePSNR(-1.0)
    with pytest.raises(ValueError, match="smoothing: found 0"):
        SmoothedL1(0.0)
    with pytest.raises(ValueError, match="lipschitz: found -2"):
        CallableLoss(squared, lipschitz=-2.0)
    with pytest.raises(ValueError, match="max_value: found 0"):
        SSIMLoss(0.0)
    with pytest.raises(ValueError, match="weight: found -1"):
        SimilarityError(1.0, -1.0)
    with pytest.raises(ValueError, match="factor: found 0"):
        SimilarityError(0.0)
    with pytest.raises(ValueError, match=r"expected two batches of images"):
        SSIMLoss()(x, target)
    with pytest.raises(ValueError, match="found images of 5 x 9 pixels"):
        SSIMLoss()(torch.zeros(1, 1, 5, 9), torch.zeros(1, 1, 5, 9))
    with pytest.raises(ValueError, match="target: found shape"):
        SquaredError()(x, target[:2])
