"""Filter regularizers in configurations, model files and whole learning runs."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from registry import rand

import bilearn
from bilearn.experiment.build_model import build_regularizer
from bilearn.experiment.load import parse_config
from bilearn.experiment.messages import ConfigError
from bilearn.fidelities import LeastSquares
from bilearn.model import load_model, save_model
from bilearn.regularizers import (
    AbsoluteResponse,
    FieldsOfExperts,
    FilterChain,
    Filters,
    LogCoshResponse,
    Regularizer,
    RidgeRegularizer,
    SplineResponse,
    StudentTResponse,
    random_filters,
    random_layers,
)
from bilearn.upper import LBFGSB
from bilearn.variational import VariationalEnergy

SHAPE = (1, 8, 8)


def regularizer(text: str) -> Regularizer:
    config = parse_config(f'[data]\nsource = "phantoms"\ntrain = 1\n[regularizer]\n{text}', "test.toml", "test")
    return build_regularizer(config.regularizer, SHAPE, seed=3)


@pytest.mark.parametrize(
    "text",
    [
        'kind = "foe"',
        'kind = "foe"\nstart = "random"\nfilters = 3\nsize = 3\npotential = "log-cosh"\nlearn_filters = false',
        'kind = "foe"\npotential = "absolute"\nnu = 0.1\nboundary = "zero"\nzero_mean = false',
        'kind = "foe"\npotential = "spline"\nweak = 0.3\ndegree = 1\nspan = 2.0\npieces = 7',
        'kind = "crr"\nchannels = [2, 3]\nsize = 3',
        'kind = "wcrr"\nweight = { start = 0.5, bounds = [0.1, 0.9] }\nlearn_filters = false',
        'kind = "icnn"\nfeatures = 2\nsize = 3\nscale = 2.0',
        'kind = "idcnn"\nfeatures = 2\nlayers = 1\nlearn_network = false',
        'kind = "patch-network"\nfeatures = 2\nlayers = 2',
        'kind = "tdv"\nfeatures = 2\nblocks = 1\nscales = 2\nweight = { start = 0.5, bounds = [0.1, 0.9] }',
    ],
)
def test_configured_models_survive_a_file(text: str, tmp_path: Path) -> None:
    made = regularizer(text)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(0.9)
    save_model(tmp_path, VariationalEnergy(LeastSquares(), made), {"image_shape": list(SHAPE), "dtype": "float64"})
    energy = load_model(tmp_path).energy
    x = rand((2, *SHAPE), 1)
    assert torch.equal(energy.regularizer(x), made(x))
    learned = [[p.requires_grad for p in m.parameters()] for m in (made, energy.regularizer)]
    assert learned[0] == learned[1]


def test_the_options_arrive() -> None:
    foe = regularizer('kind = "foe"\nfilters = 5\nsize = 4\nstart = "random"\nweights = 0.2')
    assert isinstance(foe, FieldsOfExperts)
    assert isinstance(foe.bank, Filters)
    assert isinstance(foe.potential, StudentTResponse)
    expected = random_filters(5, 4, torch.Generator().manual_seed(3))
    assert torch.equal(foe.bank.filters[:, 0].detach(), expected)
    assert math.isclose(float(foe.weights.detach().max()), 0.2)
    kinds = {"log-cosh": LogCoshResponse, "absolute": AbsoluteResponse, "spline": SplineResponse}
    for name, kind in kinds.items():
        made = regularizer(f'kind = "foe"\npotential = "{name}"')
        assert isinstance(made, FieldsOfExperts)
        assert isinstance(made.potential, kind)
    ridge = regularizer('kind = "wcrr"\nsharpness = 7.0')
    assert isinstance(ridge, RidgeRegularizer)
    assert (ridge.weak, round(float(ridge.sharpness), 9)) == (1.0, 7.0)
    assert isinstance(ridge.bank, FilterChain)
    layers = random_layers((4, 8, 64), 5, torch.Generator().manual_seed(3))
    assert torch.equal(ridge.bank.layers[2].detach(), layers[2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('kind = "foe"\nfilters = 25', "found 25 of size 5, expected between 1 and 24"),
        ('kind = "foe"\nweights = { start = 0.1, pixelwise = true }', r"regularizer\.weights\.pixelwise"),
        ('kind = "crr"\nsize = 4', "expected .* with an odd size"),
    ],
)
def test_what_does_not_fit_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        regularizer(text)


def test_signals_are_refused() -> None:
    config = parse_config('[data]\nsource = "phantoms"\ntrain = 1\n[regularizer]\nkind = "foe"', "test.toml", "test")
    with pytest.raises(ConfigError, match="needs images, found signals"):
        build_regularizer(config.regularizer, (1, 30))


@pytest.mark.parametrize(("weight", "certain"), [(0.02, True), (20.0, False)])
def test_a_run_on_a_nonconvex_energy_is_never_certified(weight: float, certain: bool) -> None:
    """The same Field of Experts where the data term makes the sum convex, and where it does not."""
    truth = rand((3, *SHAPE), 4).round()
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    start = random_filters(2, 3, torch.Generator().manual_seed(6))
    bounds = (0.01, 0.05) if certain else (10.0, 40.0)
    foe = FieldsOfExperts(start, weight, learn=("weights",), bounds=bounds)
    fit = bilearn.learn(truth, 3 * truth + 0.3 * noise, regularizer=foe, optimizer=LBFGSB(), max_steps=2)
    assert fit.start.certified == certain
    assert fit.final.certified == certain
    assert math.isfinite(fit.final.upper) == certain
    assert fit.final.value <= fit.start.value
    if not certain:
        assert "stationary points, at an unknown distance from a minimizer" in fit.final.message
