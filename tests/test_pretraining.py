"""Score matching: its gradient, a case with a closed form, and a ridge that denoises in one step."""

from __future__ import annotations

import pytest
import torch

from bilearn.parameters import ParameterVector
from bilearn.pretraining import ScoreMatching, random_patches
from bilearn.regularizers import FilterChain, RidgeRegularizer, Tikhonov, random_layers

IMAGES = torch.rand(3, 1, 24, 20, generator=torch.Generator().manual_seed(4), dtype=torch.float64)


def ridge(weak: float = 0.0) -> RidgeRegularizer:
    bank = FilterChain(random_layers((2, 4), 3, torch.Generator().manual_seed(1)))
    return RidgeRegularizer(bank, weak, weight=0.5, sharpness=4.0, gains=3.0)


@pytest.mark.parametrize("weak", [0.0, 1.0])
def test_gradient_against_central_differences(weak: float) -> None:
    method, regularizer = ScoreMatching(size=16, margin=3), ridge(weak)
    vector = ParameterVector(regularizer)
    x = IMAGES[:, :, :16, :16]
    y = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
    method._differentiate(regularizer, vector, x, y)
    gradient = vector.flatten([p.grad for p in vector.parameters])  # type: ignore[misc]
    theta = vector.get()
    direction = torch.randn(theta.shape, generator=torch.Generator().manual_seed(3), dtype=theta.dtype)
    ends = []
    for sign in (1, -1):
        vector.set(theta + sign * 1e-6 * direction)
        ends.append(method._differentiate(regularizer, vector, x, y))
    assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(float(gradient @ direction), rel=1e-5)


def test_tikhonov_finds_the_wiener_weight() -> None:
    """E |(1 - a) (x + n) - x|^2 is least at a = s^2/(E x^2 + s^2)."""
    sigma, images = 0.5, 2 * torch.randn(4, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    regularizer = Tikhonov(0.1)
    loss = ScoreMatching(sigma, steps=100, batch=4, size=32, margin=0, number_rate=0.02).run(regularizer, images)
    exact = sigma**2 / (float(images.square().mean()) + sigma**2)
    assert float(regularizer.alpha.detach()) == pytest.approx(exact, rel=0.05)
    assert loss == pytest.approx(1 - exact, rel=0.05)


def test_ridge_learns_and_runs_repeat() -> None:
    method = ScoreMatching(0.1, steps=20, batch=2, size=16, margin=2, rate=2e-2, number_rate=3e-2)
    smooth = torch.nn.functional.avg_pool2d(IMAGES, 5, 1, 2)
    seen: list[float] = []
    results = []
    for observer in (lambda _, loss: seen.append(loss), None):
        regularizer = ridge()
        results.append((method.run(regularizer, smooth, observer), ParameterVector(regularizer).get()))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])
    assert results[0][0] < 0.8 * seen[0]


def test_patches_are_turned_parts_of_images() -> None:
    ramp = torch.arange(30.0).reshape(1, 1, 5, 6)
    patches = random_patches(ramp, 20, 2, torch.Generator().manual_seed(0))
    differences = {(float((p[0, 0, 1] - p[0, 0, 0]).abs()), float((p[0, 1, 0] - p[0, 0, 0]).abs())) for p in patches}
    assert differences == {(1.0, 6.0), (6.0, 1.0)}


def test_messages() -> None:
    with pytest.raises(ValueError, match=r"ScoreMatching\.steps: found 0"):
        ScoreMatching(steps=0)
    with pytest.raises(ValueError, match=r"ScoreMatching\.margin: found 8"):
        ScoreMatching(size=16, margin=8)
    with pytest.raises(ValueError, match=r"expected .* at least 32 pixels"):
        ScoreMatching(size=32).run(ridge(), IMAGES)
