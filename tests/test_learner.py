import csv
import json
import math

import pytest
import torch

from bilearn.callbacks import Callback
from bilearn.checkpoint import CheckpointError
from bilearn.fidelities import LeastSquares
from bilearn.learner import Learner
from bilearn.lower import NesterovGradient
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.run_directory import RunDirectory
from bilearn.upper import LBFGSB, GaussNewton, RandomSearch, TorchOptimizer, UpperStatus
from bilearn.variational import VariationalEnergy


def objectives(count=3, seed=0):
    """Training and validation objectives over one energy: noisy steps of 24 samples."""
    generator = torch.Generator().manual_seed(seed)
    truth = (torch.rand(count, 1, 1, dtype=torch.float64, generator=generator) * 20 < torch.arange(24)).double()
    data = truth + 0.1 * torch.randn(truth.shape, dtype=torch.float64, generator=generator)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(alpha=1.0, xi=0.1, nu=0.1, axes=1))
    half = count // 2 + 1
    return ReducedObjective(energy, data[:half], truth[:half]), ReducedObjective(energy, data[half:], truth[half:])


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.1)


class Breaks(Callback):
    """Presses Ctrl-C after some steps."""

    def __init__(self, after):
        self.after = after

    def step(self, progress):
        if progress.iteration >= self.after:
            raise KeyboardInterrupt


class Watches(Callback):
    def __init__(self):
        self.seen = []

    def start(self, rows):
        self.seen.append(("start", len(rows)))

    def step(self, progress):
        self.seen.append(("step", progress.iteration))

    def end(self, status):
        self.seen.append(("end", status))


def rows_of(path):
    return [json.loads(line) for line in (path / "history.jsonl").read_text().splitlines()]


def without_times(rows):
    return [{k: v for k, v in row.items() if k != "seconds"} for row in rows]


METHODS = [GaussNewton(), LBFGSB(), TorchOptimizer(adam), RandomSearch(count=6, seed=1)]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, method):
    def learner(path, *callbacks):
        training, validation = objectives()
        run = RunDirectory(path)
        run.path.mkdir(exist_ok=True)
        return Learner(training, method, validation, callbacks, run, max_steps=5)

    whole = learner(tmp_path / "whole").run()
    broken = learner(tmp_path / "broken", Breaks(2)).run()
    assert broken.status is UpperStatus.INTERRUPTED
    rest = learner(tmp_path / "broken").run(resume=True)
    assert torch.equal(whole.theta, rest.theta)
    assert whole.state.best.value == rest.state.best.value
    assert torch.equal(whole.state.current.theta, rest.state.current.theta)
    assert (whole.status, whole.steps, whole.start) == (rest.status, rest.steps, rest.start)
    assert without_times(rows_of(tmp_path / "whole")) == without_times(rows_of(tmp_path / "broken"))
    tables = [list(csv.DictReader((tmp_path / n / "history.csv").open())) for n in ("whole", "broken")]
    assert without_times(tables[0]) == without_times(tables[1])


def test_history_holds_values_bounds_and_what_was_asked(tmp_path):
    training, validation = objectives()
    run = RunDirectory.create(tmp_path / "run")
    learned = Learner(training, GaussNewton(), validation, directory=run, max_steps=3).run()
    rows = rows_of(run.path)
    assert [row["evaluation"] for row in rows] == list(range(1, len(rows) + 1))
    assert len(rows) == training.evaluations
    for row in rows:
        assert row["lower"] <= row["value"] <= row["upper"]
        assert row["certified"]
        assert set(row["parameters"]) == {"regularizer.alpha", "regularizer.xi", "regularizer.nu"}
    assert rows[0]["accuracy"] is None
    assert rows[-1]["accuracy"] > 0
    assert rows[0]["accepted"]
    assert rows[0]["validation"]["lower"] <= rows[0]["validation"]["loss"] <= rows[0]["validation"]["upper"]
    costs = [row["cost"]["gradients"] for row in rows]
    assert costs == sorted(costs)
    assert costs[-1] == training.cost.gradients
    assert learned.start.value == rows[0]["value"]
    assert torch.equal(training.parameters.get(), learned.theta)
    with (run.path / "history.csv").open() as file:
        table = list(csv.DictReader(file))
    assert float(table[-1]["value"]) == rows[-1]["value"]
    assert float(table[0]["validation.loss"]) == rows[0]["validation"]["loss"]


def test_callbacks_see_start_steps_and_end():
    watcher = Watches()
    learned = Learner(objectives()[0], GaussNewton(), callbacks=[watcher], max_steps=2).run()
    assert watcher.seen == [("start", 0), ("step", 0), ("step", 1), ("step", 2), ("end", learned.status.value)]


def test_early_stopping_returns_the_point_of_the_smallest_validation_loss():
    training, _ = objectives()
    generator = torch.Generator().manual_seed(5)
    target = torch.rand(2, 1, 24, dtype=torch.float64, generator=generator)
    validation = ReducedObjective(training.energy, target.clone(), target)
    learned = Learner(training, TorchOptimizer(adam), validation, max_steps=30, patience=3).run()
    assert learned.status is UpperStatus.EARLY_STOP
    assert learned.steps < 30
    best = validation.value(learned.theta).value
    assert best <= validation.value(learned.state.current.theta).value


def test_time_budget_ends_the_run():
    learned = Learner(objectives()[0], TorchOptimizer(adam), max_steps=1000, seconds=1e-9).run()
    assert learned.status is UpperStatus.BUDGET
    assert learned.steps == 0


def test_interrupt_before_the_first_evaluation_returns_the_start():
    training, _ = objectives()
    start = training.parameters.get()

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    training.gauss_newton = interrupt
    learned = Learner(training, GaussNewton()).run()
    assert learned.status is UpperStatus.INTERRUPTED
    assert learned.state is None
    assert learned.start is None
    assert torch.equal(learned.theta, start)


def test_non_finite_objective_ends_with_its_status():
    training, _ = objectives()

    def broken(x, target):
        return ((x - target) ** 2).sum((1, 2)) * math.nan

    bad = ReducedObjective(training.energy, training.y, training.target, broken)
    learned = Learner(bad, LBFGSB()).run()
    assert learned.status is UpperStatus.NON_FINITE
    assert bool(learned.theta.isfinite().all())


def test_checkpoints_come_every_few_steps_and_at_the_end(tmp_path):
    training, _ = objectives()
    run = RunDirectory.create(tmp_path / "run")
    Learner(training, TorchOptimizer(adam), directory=run, max_steps=5, checkpoint_every=100).run()
    more = Learner(objectives()[0], TorchOptimizer(adam), directory=run, max_steps=7).run(resume=True)
    straight = Learner(objectives()[0], TorchOptimizer(adam), max_steps=7).run()
    assert torch.equal(more.theta, straight.theta)
    assert more.steps == 7


def test_resume_needs_a_directory_a_checkpoint_and_the_same_method(tmp_path):
    training, _ = objectives()
    with pytest.raises(ValueError, match="no run directory"):
        Learner(training, GaussNewton()).run(resume=True)
    run = RunDirectory.create(tmp_path / "run")
    with pytest.raises(CheckpointError, match="no checkpoint"):
        Learner(training, GaussNewton(), directory=run).run(resume=True)
    Learner(training, GaussNewton(), directory=run, max_steps=1).run()
    with pytest.raises(CheckpointError, match="written by GaussNewton, found LBFGSB"):
        Learner(training, LBFGSB(), directory=run).run(resume=True)


@pytest.mark.parametrize("option", ["max_steps", "seconds", "patience", "checkpoint_every"])
def test_limits_must_be_positive(option):
    training, validation = objectives()
    with pytest.raises(ValueError, match=f"{option}: found 0"):
        Learner(training, GaussNewton(), validation, **{option: 0})


def test_patience_needs_validation():
    with pytest.raises(ValueError, match="patience: given without a validation objective"):
        Learner(objectives()[0], GaussNewton(), patience=2)


def test_gradient_budget_is_kept_inside_a_step_and_lifted_afterwards():
    objective, _ = objectives()
    objective.solver = NesterovGradient()
    learned = Learner(objective, GaussNewton(), max_steps=50, max_gradients=300).run()
    assert learned.status is UpperStatus.BUDGET
    assert 300 <= objective.cost.gradients <= 400
    assert objective.max_gradients is None
    with pytest.raises(ValueError, match="max_gradients: found 0, expected a positive number"):
        Learner(objective, GaussNewton(), max_gradients=0)
