"""Learned models inside deepinv: as a reconstructor, in its test loop and trainer, and as a prior of its optimizers."""

from __future__ import annotations

from pathlib import Path

import deepinv
import pytest
import torch
from deepinv.optim import GD, L2, PGD
from registry import rand
from torch.utils.data import DataLoader

from bilearn.fidelities import LeastSquares
from bilearn.interop import as_operator
from bilearn.interop.reconstructor import LearnedPrior, VariationalReconstructor, with_operator
from bilearn.losses import SquaredError
from bilearn.lower.minimize import minimize
from bilearn.regularizers import SmoothedTV
from bilearn.solution import Tolerance
from bilearn.testing import newton_minimizer, reference_hypergradient
from bilearn.variational import VariationalEnergy

SHAPE = (1, 6, 5)
TIGHT = Tolerance(distance=1e-10)


def blur() -> deepinv.physics.LinearPhysics:
    kernel = rand((1, 1, 3, 3), 70)
    return deepinv.physics.BlurFFT(img_size=SHAPE, filter=kernel / kernel.sum()).double()


def energy(physics: deepinv.physics.LinearPhysics | None = None) -> VariationalEnergy:
    return VariationalEnergy(LeastSquares(), SmoothedTV(0.1, 0.1, 0.2), as_operator(physics, image_shape=SHAPE))


def test_reconstructs_with_its_own_or_the_given_physics() -> None:
    y = rand((2, *SHAPE), 71)
    model = VariationalReconstructor(energy(), tolerance=TIGHT)
    with torch.no_grad():
        own, given = model(y), model(y, blur())
    assert torch.allclose(own, newton_minimizer(energy(), y), atol=1e-9)
    assert torch.allclose(given, newton_minimizer(energy(blur()), y), atol=1e-9)
    assert model.solution is not None
    assert model.solution.certified
    assert bool((model.solution.error <= 1e-10).all())


def test_another_operator_shares_parameters_and_leaves_the_model_alone() -> None:
    first = energy()
    other = with_operator(first, as_operator(blur()))
    assert other.regularizer is first.regularizer
    assert type(first.operator).__name__ == "Identity"
    first.regularizer.alpha = 0.3  # type: ignore[assignment]
    assert float(other.regularizer.alpha.detach()) == pytest.approx(0.3)  # type: ignore[operator, union-attr]


def test_conversions_are_kept_until_the_physics_changes() -> None:
    y = rand((2, *SHAPE), 78)
    physics = deepinv.physics.Inpainting(SHAPE, mask=(rand(SHAPE, 79) > 0.4).double()).double()
    model = VariationalReconstructor(energy(), tolerance=TIGHT)
    with torch.no_grad():
        first = model(y, physics)
        kept = model._converted
        assert torch.equal(model(y, physics), first)
        assert model._converted is kept
        physics.update(mask=torch.ones(1, *SHAPE, dtype=torch.float64))
        assert torch.allclose(model(y, physics), model(y), atol=1e-9)
    assert model._converted is not kept


@pytest.mark.parametrize("padding", ["valid", "circular", "reflect"])
def test_physics_that_does_not_know_its_image_size(padding: str) -> None:
    kernel = rand((1, 1, 3, 3), 80)
    physics = deepinv.physics.Blur(kernel / kernel.sum(), padding=padding).double()
    y = physics.A(rand((2, *SHAPE), 81))
    model = VariationalReconstructor(energy(), tolerance=TIGHT)
    with torch.no_grad():
        found = model(y, physics)
    truth = newton_minimizer(energy(physics), y)
    assert torch.allclose(found, truth, atol=1e-8)


def test_tomography_in_float32() -> None:
    physics = deepinv.physics.Tomography(angles=6, img_width=8, circle=False, normalize=False)
    y = physics.A(rand((2, 1, 8, 8), 82).float())
    model = VariationalReconstructor(energy().float(), tolerance=Tolerance(distance=0.5))
    with torch.no_grad():
        found = model(y, physics)
    assert found.dtype == torch.float32
    assert model.solution is not None
    truth = newton_minimizer(energy(physics), y.double())
    error = (found.double() - truth).flatten(1).norm(dim=1)
    assert bool((error <= 0.5).all())
    assert bool((error <= model.solution.error).all())


def test_gradient_through_the_reconstructor() -> None:
    y, target = rand((2, *SHAPE), 72), rand((2, *SHAPE), 73)
    model = VariationalReconstructor(energy(), tolerance=TIGHT)
    (model(y, blur()) - target).square().sum().backward()
    _, expected = reference_hypergradient(energy(blur()), SquaredError(), y, target)
    found = torch.stack([p.grad for p in model.parameters() if p.grad is not None])
    assert torch.allclose(found, expected, rtol=1e-5)


def test_deepinv_test_loop() -> None:
    x = rand((4, *SHAPE), 74).float()
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.1, rng=torch.Generator().manual_seed(0)))
    loader = DataLoader(deepinv.datasets.TensorDataset(x=x, y=physics(x)), batch_size=2)
    model = VariationalReconstructor(energy().float())
    results = deepinv.test(
        model,
        loader,
        physics,
        metrics=[deepinv.metric.PSNR()],
        verbose=False,
        show_progress_bar=False,
        non_blocking_transfers=False,
    )
    with torch.no_grad():
        expected = deepinv.metric.PSNR()(model(loader.dataset.y), x).mean()  # type: ignore[attr-defined]
    assert results["PSNR"] == pytest.approx(float(expected), rel=1e-5)


def test_deepinv_trainer_lowers_the_loss(tmp_path: Path) -> None:
    x = rand((4, *SHAPE), 75).round().float()
    physics = deepinv.physics.Denoising(deepinv.physics.GaussianNoise(0.2, rng=torch.Generator().manual_seed(0)))
    y = physics(x)
    loader = DataLoader(deepinv.datasets.TensorDataset(x=x, y=y), batch_size=4)
    model = VariationalReconstructor(energy().float())
    with torch.no_grad():
        before = (model(y) - x).square().mean()
    trainer = deepinv.Trainer(
        model=model,
        physics=physics,
        train_dataloader=loader,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.1),
        losses=deepinv.loss.SupLoss(),
        epochs=8,
        save_path=str(tmp_path),
        ckp_interval=100,
        verbose=False,
        show_progress_bar=False,
        non_blocking_transfers=False,
        device="cpu",
    )
    trainer.train()
    with torch.no_grad():
        after = (model(y) - x).square().mean()
    assert float(after) < 0.9 * float(before)


@pytest.mark.parametrize("method", [GD, PGD], ids=["gd", "pgd"])
def test_learned_prior_in_deepinv_optimizers(method: type) -> None:
    physics, y = blur(), rand((2, *SHAPE), 76)
    regularizer = SmoothedTV(0.1, 0.1, 0.5)
    prior = LearnedPrior(regularizer)
    step = 1 / (1 + 8 * 0.1 / 0.5 + 0.1)
    options = {"g_first": True} if method is PGD else {}
    optimizer = method(
        data_fidelity=L2(), prior=prior, lambda_reg=1.0, stepsize=step, max_iter=600, early_stop=False, **options
    )
    with torch.no_grad():
        found = optimizer(y, physics)
    truth = minimize(VariationalEnergy(LeastSquares(), regularizer, as_operator(physics)), y, tolerance=TIGHT).x
    assert torch.allclose(found, truth, atol=1e-5)


def test_learned_prior_value_and_gradient() -> None:
    regularizer = SmoothedTV(0.1, 0.1, 0.2)
    prior = LearnedPrior(regularizer)
    x = rand((2, *SHAPE), 77)
    assert prior.explicit_prior
    assert torch.equal(prior(x), regularizer(x))
    assert torch.equal(prior.grad(x), regularizer.grad(x))
