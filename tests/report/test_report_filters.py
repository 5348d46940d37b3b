"""Filters and potentials: what a run records about them, and what its report shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bilearn.experiment import parse_config
from bilearn.experiment.filter_portrait import portrait
from bilearn.experiment.session import build, learn
from bilearn.regularizers import FieldsOfExperts, FilterChain, RidgeRegularizer, SmoothedTV, random_layers
from bilearn.report import write_report
from bilearn.report.filters import filter_grid
from bilearn.run_directory import RunDirectory

TINY = """
[data]
source = "phantoms"
size = 16
train = 1
test = 1
[regularizer]
kind = "foe"
filters = 3
size = 3
[hypergradient]
error = "estimate"
[optimizer]
kind = "lbfgsb"
[run]
max_steps = 1
threads = 1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = RunDirectory.create(tmp_path_factory.mktemp("filters") / "run")
    learn(build(parse_config(TINY, "tiny", "tiny")), directory)
    write_report(directory.path)
    return directory.path


def images() -> torch.Tensor:
    return torch.rand(2, 1, 12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def test_a_portrait_is_what_the_regularizer_does() -> None:
    """Strengths add up to the mean value; slopes are derivatives of the values; a chain shows its composed filters."""
    layers = random_layers((2, 3), 3, torch.Generator().manual_seed(2))
    for regularizer in (FieldsOfExperts(weights=0.3), RidgeRegularizer(FilterChain(layers), weak=1.0, sharpness=3.0)):
        found = portrait(regularizer, images())
        value = regularizer(images()).mean().item()
        assert found["strength"].sum() == pytest.approx(value)
        slopes = np.gradient(found["values"], found["responses"], axis=1)
        away_from_kinks = np.quantile(np.abs(slopes - found["slopes"])[:, 1:-1], 0.9)
        assert away_from_kinks < 0.01 * np.abs(found["slopes"]).max()
        assert found["taps"].shape[1:] == (5, 5)
        assert np.abs(found["taps"].sum((1, 2))).max() < 1e-12
    assert portrait(SmoothedTV(), images()) == {}


def test_a_run_keeps_filters_before_and_after(run: Path) -> None:
    records = RunDirectory(run).read().filters
    assert list(records) == ["default", "learned"]
    assert records["learned"].taps.shape == (3, 3, 3)
    assert not np.array_equal(records["default"].taps, records["learned"].taps)
    page = (run / "report.html").read_text()
    assert 'id="filters"' in page
    assert 'alt="learned filters"' in page
    assert page.count("Derivative of the strongest filters") == 1


def test_the_grid_puts_the_strongest_first() -> None:
    taps = np.stack([np.full((2, 2), 3.0), np.full((2, 2), -5.0)])
    grid = filter_grid(taps, np.array([1, 0]))
    assert grid.shape == (18, 36)
    assert (grid[3:15, 3:15] == -1).all()
    assert (grid[3:15, 21:33] == 1).all()
    assert (grid[:3] == 0).all()
