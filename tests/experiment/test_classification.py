"""Ridge weights of logistic regression as a task: constants, the run, its records and its report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bilearn.experiment import ClassificationConfig, ConfigError, parse_task, recipe_text
from bilearn.experiment.build_task import build_task
from bilearn.experiment.classification import build_classification
from bilearn.experiment.session import learn
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.lower import minimize
from bilearn.model import ModelError, load_model
from bilearn.reduced_objective import ReducedObjective
from bilearn.report import write_report
from bilearn.run_directory import RunDirectory
from bilearn.solution import Tolerance
from bilearn.stochastic.exact import exact
from bilearn.stochastic.problems import RidgeLogistic, classification_figures
from bilearn.stochastic.ridge_energy import RidgeEnergy, ValidationLoss
from bilearn.testing import check_energy

F64 = torch.float64


def problem(classes: int = 2) -> RidgeLogistic:
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(40, 4, generator=generator, dtype=F64)
    teacher = torch.randn(4, classes, generator=generator, dtype=F64)
    labels = (features @ teacher + torch.randn(40, classes, generator=generator, dtype=F64)).argmax(1)
    return RidgeLogistic(features[:25], labels[:25], features[25:], labels[25:])


@pytest.mark.parametrize("classes", [2, 3])
def test_derivatives_and_constants(classes: int) -> None:
    energy = RidgeEnergy(problem(classes), 0.3)
    x = torch.randn(2, energy.problem.lower_start.numel(), generator=torch.Generator().manual_seed(2), dtype=F64)
    y = energy.data().repeat(2, 1)
    check_energy(energy, x, y)
    columns = energy.cross_columns(x, y, list(energy.parameters()))
    assert torch.allclose(energy.cross_norm(x, y), torch.linalg.matrix_norm(columns.transpose(0, 1), 2), rtol=1e-12)


def test_the_loss_stays_in_its_interval() -> None:
    energy = RidgeEnergy(problem(), 0.3)
    loss, y = ValidationLoss(energy.problem), energy.data()
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(1, 4, generator=generator, dtype=F64)
    radius = torch.tensor([0.7], dtype=F64)
    low, high = loss.interval(x, y, radius)
    bound = loss.grad_variation(x, y, radius)
    for _ in range(50):
        step = torch.randn(1, 4, generator=generator, dtype=F64)
        moved = x + radius * step / step.norm()
        assert bool((low <= loss(moved, y)) & (loss(moved, y) <= high))
        assert bool((loss.grad(moved, y) - loss.grad(x, y)).norm() <= bound)


def test_hypergradients_are_certified_and_right() -> None:
    energy = RidgeEnergy(problem(), 0.3)
    y = energy.data()
    objective = ReducedObjective(energy, y, y, ValidationLoss(energy.problem), estimator=ImplicitHypergradient())
    theta = objective.parameters.get() + 0.3 * torch.arange(4, dtype=F64)
    found = objective.hypergradient(theta, 1e-4)
    assert found.gradient is not None
    reference = exact(energy.problem, theta * torch.log(torch.tensor(10.0, dtype=F64)), tolerance=1e-13)
    gradient = reference.gradient * torch.log(torch.tensor(10.0, dtype=F64))
    assert found.certified
    assert found.gradient_bound is not None
    assert float((found.gradient - gradient).norm()) <= found.gradient_bound <= 1e-4
    assert found.lower <= reference.value <= found.upper


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe with a few steps."""
    config = parse_task(recipe_text("logistic"), "logistic", "logistic", overrides=["run.max_steps=6"])
    directory = RunDirectory.create(tmp_path_factory.mktemp("logistic") / "run")
    learn(build_task(config), directory)
    write_report(directory.path)
    return directory.path


def test_a_run_records_loss_and_accuracy_of_every_part(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    metrics = summary["metrics"]
    assert summary["samples"] == "samples"
    assert list(metrics) == ["test", "validation", "train"]
    before, after = (metrics["validation"][stage]["loss"]["mean"] for stage in ("default", "learned"))
    assert after < 0.75 * before
    assert after == pytest.approx(summary["final"]["value"], rel=1e-4)
    assert all(0.9 < metrics[split]["learned"]["accuracy"]["mean"] <= 1 for split in metrics)


def test_the_saved_classifier_is_the_one_that_was_measured(run: Path) -> None:
    config = parse_task((run / "config.toml").read_text(), "config", "config")
    assert isinstance(config, ClassificationConfig)
    features, labels = build_classification(config).test
    model = load_file(run / "model.safetensors")
    metrics = json.loads((run / "summary.json").read_text())["metrics"]["test"]["learned"]
    figures = classification_figures(model["coefficients"].flatten(), features, labels)
    assert figures["loss"] == pytest.approx(metrics["loss"]["mean"])
    assert figures["accuracy"] == metrics["accuracy"]["mean"]
    with pytest.raises(ModelError, match="holds a classifier, expected a model of images"):
        load_model(run)


def test_the_report_speaks_of_samples(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert " on the test samples" in page
    assert "Accuracy learned" in page
    assert 'id="pictures"' not in page
    assert "#pictures" not in page
    assert "images.npz" not in page
    assert "model[&quot;coefficients&quot;]" in page


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[data]\nvalidation = 0.6\ntest = 0.5", "validation + test: found 1.1, expected less than 0.95"),
        ("[ridge]\nweight = 0.1", "ridge.weight: is what is learned"),
        ("[run]\npatience = 3", "run.patience is for images"),
        ("[noise]\nsigma = 0.1", "unknown key 'noise' at the top level"),
    ],
)
def test_mistakes(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_task(f'task = "classification"\n{text}', "my.toml", "my")
    assert sentence in str(caught.value)


def test_an_unknown_task() -> None:
    with pytest.raises(ConfigError, match="task: found 'regression'; expected one of classification"):
        parse_task('task = "regression"', "my.toml", "my")


def test_the_exact_classifier_has_no_gradient() -> None:
    energy = RidgeEnergy(problem(), 0.3)
    solution = minimize(energy, energy.data(), tolerance=Tolerance(distance=1e-9))
    assert solution.certified
    gradient: Tensor = energy.grad(solution.x, energy.data()).detach()
    assert float(gradient.norm()) < 1e-9
