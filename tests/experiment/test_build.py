import numpy as np
import pytest
import torch
from PIL import Image

from bilearn.data import DataError
from bilearn.experiment import ConfigError, parse_config
from bilearn.experiment.build_data import build_data
from bilearn.experiment.build_learning import build_estimator, build_optimizer, build_solver
from bilearn.experiment.build_model import build_energy, build_fidelity, build_loss, build_penalty, build_regularizer
from bilearn.experiment.build_physics import build_operator
from bilearn.experiment.session import build

PHANTOMS = '[data]\nsource = "phantoms"\nsize = 16\ntrain = 3\nvalidation = 1\ntest = 2\n'


def parse(text, *overrides):
    return parse_config(text, "my.toml", "my", overrides)


def test_data_repeat_with_the_seed_and_parts_have_their_own_noise():
    first, again, other = (build_data(parse(PHANTOMS, f"run.seed={seed}")) for seed in (1, 1, 2))
    assert torch.equal(first.train.data, again.train.data)
    assert not torch.equal(first.train.truth, other.train.truth)
    more = build_data(parse(PHANTOMS, "run.seed=1", "data.train=4"))
    torch.testing.assert_close(more.test.data - more.test.truth, first.test.data - first.test.truth)
    noise = first.train.data - first.train.truth
    assert float(noise.std()) == pytest.approx(0.1, rel=0.1)


def test_dtype_reaches_data_and_operator():
    data = build_data(parse(PHANTOMS, "run.dtype=float32", "physics.kind=blur"))
    assert data.train.data.dtype == torch.float32
    assert data.operator.A(data.train.truth).dtype == torch.float32


def test_blur_keeps_the_mean_and_smooths():
    operator = build_operator(parse(PHANTOMS, "physics.kind=blur").physics, (1, 16, 16), 0)
    image = torch.rand(2, 1, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    blurred = operator.A(image)
    torch.testing.assert_close(blurred.mean((1, 2, 3)), image.mean((1, 2, 3)))
    assert float(blurred.var()) < 0.2 * float(image.var())
    assert float(operator.norm_squared().value) == pytest.approx(1.0)
    with pytest.raises(ConfigError, match=r"physics\.size: found 33"):
        build_operator(parse(PHANTOMS, "physics.kind=blur", "physics.size=33").physics, (1, 16, 16), 0)


def test_mask_keeps_the_asked_fraction():
    operator = build_operator(parse(PHANTOMS, "physics.kind=mask", "physics.keep=0.25").physics, (1, 16, 16), 0)
    assert int(operator.A(torch.ones(1, 1, 16, 16)).sum()) == 64


def test_tomography_is_scaled_below_one_and_adjoint():
    config = parse(PHANTOMS, "physics.kind=tomography", "physics.angles=5", "physics.arc=90")
    operator = build_operator(config.physics, (1, 16, 16), 0)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(1, 1, 16, 16, dtype=torch.float64, generator=generator)
    y = operator.A(x)
    z = torch.rand(y.shape, dtype=torch.float64, generator=generator)
    torch.testing.assert_close((y * z).sum(), (x * operator.A_adjoint(z)).sum())
    assert float(operator.norm_squared().value) == pytest.approx(1.0)
    for _ in range(30):
        x = operator.A_adjoint(operator.A(x / x.norm()))
    assert 0.3 < float(x.norm()) <= 1.0
    with pytest.raises(ConfigError, match="expected square gray images"):
        build_operator(config.physics, (1, 16, 18), 0)


def test_own_folders(tmp_path):
    for folder, count in (("train", 3), ("test", 2)):
        (tmp_path / folder).mkdir()
        for i in range(count):
            array = np.random.default_rng(i).integers(0, 255, (20 + i, 24, 3), dtype=np.uint8)
            Image.fromarray(array).save(tmp_path / folder / f"{i}.png")
    text = f'[data]\nfolder = "{tmp_path}/train"\ntest_folder = "{tmp_path}/test"\n'
    with pytest.raises(DataError, match="mixed sizes"):
        build_data(parse(text))
    data = build_data(parse(text, "data.crop=[16, 12]"))
    assert data.train.truth.shape == (3, 1, 16, 12)
    assert data.test.names == ("0", "1")
    color = build_data(parse(text, "data.crop=16", "data.gray=false"))
    assert color.train.truth.shape == (3, 3, 16, 16)
    with pytest.raises(DataError, match="crops_per_image: found 2 without a crop size"):
        build_data(parse(text, "data.crops_per_image=2"))


def test_measured_data_are_used_as_they_are(tmp_path):
    arrays = np.random.default_rng(0).random((2, 2, 8, 9))
    for folder in ("truth", "measured"):
        (tmp_path / folder).mkdir()
        for i in range(2):
            np.save(tmp_path / folder / f"{i}.npy", arrays[int(folder == "measured"), i])
    text = f'[data]\nfolder = "{tmp_path}/truth"\nmeasurements = "{tmp_path}/measured"\nshuffle = false\n'
    data = build_data(parse(text))
    np.testing.assert_array_equal(data.train.truth.numpy()[:, 0], arrays[0])
    np.testing.assert_array_equal(data.train.data.numpy()[:, 0], arrays[1])
    (tmp_path / "measured" / "1.npy").rename(tmp_path / "measured" / "other.npy")
    with pytest.raises(DataError, match="found no file named like the image '1'"):
        build_data(parse(text))


@pytest.mark.parametrize(
    "section",
    [
        'kind = "kullback-leibler"\nbackground = 0.1',
        'kind = "huber"\nscale = { start = 0.2 }',
        'kind = "pseudo-huber"\nweight = { start = 2.0, bounds = [1.0, 3.0] }',
        'kind = "kullback-leibler"\nbackground = { start = 0.2, bounds = [0.1, 1.0] }',
        'kind = "poisson-gaussian"\nvariance = { start = 0.2 }\ngain = 0.3',
        'kind = "student-t"',
        'kind = "student-t"\nscale = { start = 0.2, pixelwise = true }\nweight = { start = 0.4, cells = [2, 3] }',
        "weight = { start = 2.0 }",
        "weight = { start = 2.0, pixelwise = true, bounds = [1.0, 3.0] }",
    ],
)
def test_fidelities_have_their_values(section):
    config = parse(PHANTOMS + f"[fidelity]\n{section}\n").fidelity
    fidelity = build_fidelity(config, (1, 6, 8))
    for name, number in config.model_dump().items():
        if name == "kind":
            continue
        value = getattr(fidelity, name)
        coordinate = fidelity.get_parameter(f"parametrizations.{name}.original")
        assert coordinate.requires_grad == number["learn"]
        assert coordinate.numel() == (48 if number["pixelwise"] else 6 if number["cells"] else 1)
        assert value.numel() == (48 if number["pixelwise"] or number["cells"] else 1)
        assert torch.allclose(value, torch.full_like(value, number["start"]))
        if number["bounds"] is not None:
            box = fidelity.get_submodule(f"parametrizations.{name}.0.coordinate").bounds
            assert box == tuple(number["bounds"])


def test_maps_of_few_numbers_are_checked():
    text = PHANTOMS + "[fidelity]\nweight = { start = 2.0, cells = [3, 9] }\n"
    with pytest.raises(ConfigError, match=r"fidelity\.weight\.cells: values: found a grid of \(3, 9\)"):
        build_fidelity(parse(text).fidelity, (1, 6, 8))
    with pytest.raises(ConfigError, match="pixelwise, cells: found both"):
        parse(PHANTOMS + "[fidelity]\nweight = { start = 2.0, cells = [3, 9], pixelwise = true }\n")
    signal = build_fidelity(parse(PHANTOMS + "[fidelity]\nweight = { start = 2.0, cells = [3] }\n").fidelity, (9,))
    assert signal.weight.shape == (1, 9)


def test_sum_and_pixelwise_regularizers():
    text = PHANTOMS + (
        '[regularizer]\nkind = "sum"\n'
        '[[regularizer.terms]]\nkind = "smoothed-tv"\nalpha = { start = 0.2, pixelwise = true }\nnu = 0.1\nxi = 0.1\n'
        '[[regularizer.terms]]\nkind = "tikhonov"\n[[regularizer.terms]]\nkind = "squared-h1"\nalpha = 3.0\n'
    )
    regularizer = build_regularizer(parse(text).regularizer, (1, 16, 16))
    counts = [p.numel() for p in regularizer.parameters() if p.requires_grad]
    assert sorted(counts) == [1, 256]
    assert regularizer(torch.zeros(2, 1, 16, 16)).shape == (2,)


def test_space_variant_tv_has_its_maps():
    text = PHANTOMS + (
        '[regularizer]\nkind = "space-variant-tv"\nalpha = { cells = [2, 3] }\nangle = { start = 1.1, pixelwise = true }\n'
        "ratio = 0.3\nexponent = { start = 1.5 }\n"
    )
    regularizer = build_regularizer(parse(text).regularizer, (1, 6, 8))
    learned = {n: p.numel() for n, p in regularizer.named_parameters() if p.requires_grad}
    assert sorted(learned.values()) == [1, 6, 48]
    assert regularizer.alpha.shape == regularizer.angle.shape == (1, 1, 6, 8)
    assert (regularizer.ratio.item(), regularizer.exponent.item()) == pytest.approx((0.3, 1.5))
    assert regularizer(torch.zeros(2, 1, 6, 8)).shape == (2,)
    for wrong, message in (
        ("nu = { start = 0.1, pixelwise = true }", "xi and nu are one number each"),
        ("ratio = { start = 1.5, bounds = [0.1, 2.0] }", "regularizer: bounds of the ratio"),
    ):
        section = parse(PHANTOMS + f'[regularizer]\nkind = "space-variant-tv"\n{wrong}\n').regularizer
        with pytest.raises(ConfigError, match=message):
            build_regularizer(section, (1, 6, 8))
    with pytest.raises(ConfigError, match="needs images, found signals"):
        build_regularizer(parse(text).regularizer, (1, 8))


def test_nothing_to_learn_is_refused():
    config = parse(PHANTOMS + '[regularizer]\nkind = "tikhonov"\nalpha = 0.1\n')
    operator = build_operator(config.physics, (1, 16, 16), 0)
    with pytest.raises(ConfigError, match="found no learned parameter"):
        build_energy(config.fidelity, config.regularizer, operator, (1, 16, 16))


def test_losses_penalties_solvers_estimators_and_methods_are_those_asked_for():
    for kind, name in (("negative-psnr", "NegativePSNR"), ("smoothed-l1", "SmoothedL1"), ("ssim", "SSIMLoss")):
        assert build_loss(parse(PHANTOMS, f"loss.kind={kind}").loss).name == name
    assert build_penalty(None) is None
    for kind, name in (("l1", "L1"), ("l2", "L2"), ("sparsity", "Sparsity"), ("condition-number", "ConditionNumber")):
        penalty = build_penalty(parse(PHANTOMS, f"penalty.kind={kind}", "penalty.weight=0.5").penalty)
        assert (type(penalty).__name__, penalty.weight) == (name, 0.5)
    solvers = {"newton-cg": "NewtonCG", "nesterov": "NesterovGradient", "lbfgs": "LBFGS", "closed-form": "ClosedForm"}
    for kind, name in solvers.items():
        solver = build_solver(parse(PHANTOMS, f"solver.kind={kind}", "solver.max_steps=17").solver)
        assert (solver.name, solver.max_steps) == (name, 17)
    assert build_solver(parse(PHANTOMS).solver) is None
    for kind, name in (
        ("unrolled", "Unrolled"),
        ("one-step", "OneStep"),
        ("neumann", "Neumann"),
        ("value-function-penalty", "ValueFunctionPenalty"),
        ("zeroth-order", "ZerothOrder"),
        ("implicit", "ImplicitHypergradient"),
    ):
        config = parse(PHANTOMS, f"hypergradient.kind={kind}", "optimizer.kind=lbfgsb").hypergradient
        assert build_estimator(config).name == name
    experiment = build(parse(PHANTOMS, "loss.kind=ssim"))
    assert experiment.optimizer.name == "LBFGSB"
    names = {
        "auto": "GaussNewton",
        "gauss-newton": "GaussNewton",
        "projected-gradient": "ProjectedGradient",
        "torch": "TorchOptimizer",
        "grid": "GridSearch",
        "random": "RandomSearch",
        "bayesian": "BayesianSearch",
    }
    parameters = experiment.objective.parameters
    for kind, name in names.items():
        config = parse(PHANTOMS, f"optimizer.kind={kind}")
        assert build_optimizer(config.optimizer, 3, parameters, build_loss(config.loss)).name == name


def test_start_parameters_make_the_default_reconstruction():
    experiment = build(parse(PHANTOMS, "regularizer.alpha.start=0.07"))
    assert experiment.energy.regularizer.alpha.item() == pytest.approx(0.07)
    assert experiment.validation is not None
    assert experiment.objective.samples == 3
