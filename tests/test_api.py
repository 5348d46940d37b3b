import subprocess
import sys

import pytest
import torch

import bilearn


def pairs(dtype=torch.float64, count=2):
    generator = torch.Generator().manual_seed(0)
    truth = torch.zeros(count, 1, 12, 12, dtype=dtype)
    truth[:, :, 3:9, 4:10] = 1.0
    return truth, truth + 0.1 * torch.randn(truth.shape, generator=generator, dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_call_learns_and_reconstructs(tmp_path, dtype):
    truth, y = pairs(dtype)
    fit = bilearn.learn(truth, y, max_steps=3, tolerance=1e-2)
    assert fit.final.value < fit.start.value
    assert fit.final.lower <= fit.final.value <= fit.final.upper
    x = fit.reconstruct(y)
    assert x.dtype == dtype
    assert float((x - truth).norm()) < 0.6 * float((y - truth).norm())
    assert set(fit.parameters) == {"regularizer.alpha", "regularizer.xi", "regularizer.nu"}
    assert fit.parameters["regularizer.alpha"].item() == pytest.approx(fit.energy.regularizer.alpha.item())
    summary = fit.summary()
    assert f"objective: {fit.start.value:.6g} -> {fit.final.value:.6g}" in summary
    assert "(certified)" in summary
    fit.save(tmp_path)
    assert torch.equal(bilearn.load(tmp_path).reconstruct(y), x)


def test_arithmetic_is_double_unless_said_otherwise():
    truth, y = pairs(torch.float32)
    assert bilearn.learn(truth, y, max_steps=1).objective.y.dtype == torch.float64
    single = bilearn.learn(truth, y, max_steps=1, dtype=torch.float32)
    assert single.objective.y.dtype == torch.float32
    assert single.model.dtype == torch.float32
    assert single.final.bound > bilearn.learn(truth.double(), y, max_steps=1, tolerance=1e-9).final.bound


def test_own_deepinv_operator_regularizer_and_loss():
    from deepinv.physics import Inpainting

    truth, y = pairs()
    mask = (torch.rand(1, 12, 12, generator=torch.Generator().manual_seed(1)) > 0.3).double()
    physics = Inpainting((1, 12, 12), mask=mask)
    before = {k: v.clone() for k, v in physics.state_dict().items()}
    fit = bilearn.learn(
        truth,
        mask * y,
        physics=physics,
        regularizer=bilearn.SquaredH1(0.3),
        loss=lambda x, target: ((x - target) ** 2).mean((1, 2, 3)),
        validation=(truth, mask * y),
        max_steps=2,
    )
    assert fit.learned.steps <= 2
    assert fit.final.value <= fit.start.value
    assert fit.solve(mask * y, physics).converged
    assert all(torch.equal(v, before[k]) for k, v in physics.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:1], y), "expected \\(N, C, H, W\\) images and as many data"),
        (lambda x, y: (x, y.int()), "expected floating-point numbers"),
        (lambda x, y: (x, y * torch.nan), "found NaN or infinity in y"),
    ],
)
def test_input_that_does_not_fit(change, message):
    with pytest.raises(ValueError, match=message):
        bilearn.learn(*change(*pairs()))


def test_every_public_name_can_be_imported():
    assert all(getattr(bilearn, name) is not None for name in bilearn.__all__)
    assert set(bilearn.__all__) <= set(dir(bilearn))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = bilearn.nonsense


def test_public_names_do_not_import_heavy_modules():
    code = (
        "import sys, bilearn; [getattr(bilearn, n) for n in bilearn.__all__]; "
        "print([m for m in ('deepinv', 'matplotlib', 'skimage', 'typer', 'pydantic', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    light = subprocess.run(
        [sys.executable, "-c", "import sys, bilearn; print('torch' in sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert light.stdout.strip() == "False"
