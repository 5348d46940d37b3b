"""Every upper-level method and schedule that a configuration can name: built with its options, and run a few steps."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from bilearn.experiment import ConfigError, ExperimentConfig, parse_config, to_toml
from bilearn.experiment.build_learning import build_optimizer
from bilearn.experiment.optimizer_schema import OptimizerConfig
from bilearn.experiment.session import build, learn
from bilearn.hypergradient import BalancedHypergradient, ImplicitHypergradient
from bilearn.losses import SquaredError
from bilearn.run_directory import RunDirectory
from bilearn.upper import (
    HOAG,
    MAID,
    Adaptive,
    DynamicDFO,
    Fixed,
    FixedAccuracy,
    Geometric,
    InexactSGD,
    Polynomial,
    ScheduledGradient,
    UpperOptimizer,
    UpperStatus,
)

DATA = '[data]\nsource = "signals"\nsize = 16\ntrain = 3\ntest = 1\n[run]\nmax_steps = 3\nseed = 7\n'
OPTIONS = {
    "scheduled-gradient": 'step_length = { kind = "fixed", value = 0.03 }',
    "inexact-sgd": "initial_length = 0.05\ninitial_accuracy = 0.05\nminibatch = 2",
    "random": "points = 3",
    "bayesian": "points = 3",
    "grid": "points = 2",
}
KINDS = [get_args(model.model_fields["kind"].annotation)[0] for model in get_args(get_args(OptimizerConfig)[0])]


def parse(kind: str, options: str = "", more: str = "") -> ExperimentConfig:
    text = f'{DATA}[optimizer]\nkind = "{kind}"\n{options or OPTIONS.get(kind, "")}\n{more}'
    return parse_config(text, "my.toml", "my")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_runs(kind: str, tmp_path: Path) -> None:
    config = parse(kind)
    assert parse_config(to_toml(config), "my.toml", "my") == config
    directory = RunDirectory(tmp_path)
    learned = learn(build(config), directory)
    assert learned.status not in (UpperStatus.RUNNING, UpperStatus.NON_FINITE)
    record = directory.read()
    assert record.summary is not None
    assert record.summary.final is not None
    assert record.summary.final.certified
    assert record.summary.start is not None
    assert record.summary.final.lower <= record.summary.start.upper
    minibatches = [row.minibatch for row in record.history if row.minibatch is not None]
    assert minibatches == ([2, 1, 2, 1] if kind == "inexact-sgd" else [])


@pytest.mark.parametrize(
    ("kind", "options", "expected"),
    [
        ("maid", "initial_length = 0.1\ninitial_accuracy = 2.0\ntolerance = 1e-3", MAID(0.1, 2.0, gradient_tolerance=1e-3)),
        ("hoag", "initial_length = 0.2", HOAG(Geometric(0.1, 0.9), 0.2, gradient_tolerance=1e-4)),
        ("hoag", 'accuracy = { kind = "polynomial", initial = 2.0, power = 1.5 }',
         HOAG(Polynomial(2.0, 1.5), gradient_tolerance=1e-4)),
        ("scheduled-gradient",
         'step_length = { kind = "geometric", initial = 0.1, factor = 0.5, floor = 1e-3 }\n'
         'accuracy = { kind = "adaptive", relative = 0.2, initial = 3.0 }',
         ScheduledGradient(Geometric(0.1, 0.5, 1e-3), Adaptive(0.2, 3.0), gradient_tolerance=1e-4)),
        ("scheduled-gradient",
         'step_length = { kind = "fixed", value = 0.1 }', ScheduledGradient(Fixed(0.1), gradient_tolerance=1e-4)),
        ("inexact-sgd",
         "initial_length = 0.1\ninitial_accuracy = 0.2\nlength_power = 0.7\naccuracy_power = 0.3\nminibatch = 4\n"
         "epochs_between_values = 2", InexactSGD(0.1, 0.2, 0.7, 0.3, 4, 7, 2)),
        ("dynamic-dfo", "initial_radius = 1.0\nfinal_radius = 1e-3\npoints = 5\ntolerance = 1e-6\nmax_evaluations = 40",
         DynamicDFO(initial_radius=1.0, final_radius=1e-3, points=5, decrease_tolerance=1e-6, max_evaluations=40)),
    ],
)  # fmt: skip
def test_options_reach_the_method(kind: str, options: str, expected: UpperOptimizer) -> None:
    config = parse(kind, options)
    parameters = build(config).objective.parameters
    assert build_optimizer(config.optimizer, config.run.seed, parameters, SquaredError()) == expected


@pytest.mark.parametrize("choice", ["steps = 30", "distance = 1e-2", "steps = 30\ntrusted = true"])
def test_a_fixed_accuracy_wraps_what_the_method_sees(choice: str, tmp_path: Path) -> None:
    experiment = build(parse("lbfgsb", more=f"[optimizer.fixed_accuracy]\n{choice}\n[solver]\nkind = 'nesterov'\n"))
    assert isinstance(experiment.objective, FixedAccuracy)
    directory = RunDirectory(tmp_path)
    learn(experiment, directory)
    record = directory.read()
    assert all(row.accuracy is None for row in record.history)
    assert all(row.objective.certified for row in record.history)
    assert record.summary is not None
    assert record.summary.final is not None
    assert record.summary.final.bound <= 1e-4 * record.summary.final.value
    assert record.summary.solver == "NesterovGradient"


def test_budget_and_kind_of_error_reach_the_run(tmp_path: Path) -> None:
    text = DATA + '[solver]\nkind = "nesterov"\n[optimizer]\nkind = "maid"\n[hypergradient]\nerror = "estimate"\n'
    experiment = build(parse_config(text, "my.toml", "my", ["run.max_gradients=60"]))
    assert experiment.objective.estimator == ImplicitHypergradient(error="estimate")
    config = parse_config(text.replace("estimate", "observed"), "test", "test")
    assert build(config).objective.estimator == BalancedHypergradient()
    assert learn(experiment, RunDirectory(tmp_path)).status is UpperStatus.BUDGET


@pytest.mark.parametrize(
    ("kind", "options", "sentence"),
    [
        ("lbfgsb", "fixed_accuracy = { }", "fixed_accuracy: found none of distance and steps, expected exactly one"),
        ("lbfgsb", "fixed_accuracy = { steps = 3, distance = 0.1 }", "found both of distance and steps"),
        ("dynamic-dfo", "final_radius = 1.0", "final_radius: found 1, expected less than initial_radius"),
        ("hoag", 'accuracy = { kind = "geometrc", initial = 1.0 }', "did you mean 'geometric'?"),
        ("scheduled-gradient", "tolerance = 1.0", "step_length is missing; add it"),
    ],
)
def test_mistakes_are_explained(kind: str, options: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(kind, options)
    assert sentence in str(caught.value)
