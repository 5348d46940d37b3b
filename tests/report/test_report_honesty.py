"""What a report may call certified, and what it may call the objective."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from bilearn.callbacks import Callback, Progress
from bilearn.cli.progress import objective_text
from bilearn.fidelities import LeastSquares
from bilearn.hypergradient import ImplicitHypergradient
from bilearn.learner import Learner
from bilearn.problems import indicator_signals
from bilearn.reduced_objective import ReducedObjective
from bilearn.regularizers import SmoothedTV
from bilearn.report.curves import accuracy_charts, objective_charts
from bilearn.report.digest import findings, read_digest
from bilearn.run_directory import RunDirectory
from bilearn.upper import MAID, InexactSGD, UpperOptimizer
from bilearn.variational import VariationalEnergy


class Watcher(Callback):
    """Keeps every row."""

    def __init__(self) -> None:
        self.rows: list[dict] = []

    def step(self, progress: Progress) -> None:
        self.rows += [dict(row) for row in progress.rows]


def learn(path: Path, optimizer: UpperOptimizer, estimator: ImplicitHypergradient | None = None) -> list[dict]:
    x, y = indicator_signals(4, 16, 0.1)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(1.0, 0.1, 0.1, axes=1, boundary="dirichlet"))
    objective = ReducedObjective(energy, y, x, reduction="sum", estimator=estimator)
    watcher = Watcher()
    path.mkdir(exist_ok=True)
    directory = RunDirectory(path)
    learned = Learner(objective, optimizer, callbacks=[watcher], directory=directory, max_steps=5).run()
    assert learned.start is not None
    assert learned.start.value == next(row["value"] for row in watcher.rows if row["minibatch"] is None)
    return watcher.rows


def test_minibatches_are_labelled_and_never_drawn_as_the_objective(tmp_path: Path) -> None:
    rows = learn(tmp_path, InexactSGD(0.05, 0.05, batch_size=2))
    stored = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [row["minibatch"] for row in stored] == [row["minibatch"] for row in rows]
    assert [row["minibatch"] for row in rows if row["kind"] == "hypergradient"] == [2] * 6
    assert [row["minibatch"] for row in rows if row["kind"] == "value"] == [None] * 3
    run = read_digest(tmp_path)
    assert [row.evaluation for row in run.whole] == [row["evaluation"] for row in rows if row["minibatch"] is None]
    assert run.accepted == run.whole
    assert run.start is not None
    assert run.final is not None
    assert run.start.value == run.whole[0].objective.value
    assert run.final.value == min(row.objective.value for row in run.whole)
    assert "6 evaluations of minibatches are not drawn" in str(objective_charts(run))
    assert "(of minibatches)" in str(accuracy_charts(run))


def test_estimated_bounds_are_never_called_proved(tmp_path: Path) -> None:
    learn(tmp_path / "proved", MAID())
    learn(tmp_path / "estimated", MAID(), ImplicitHypergradient(error="estimate"))
    proved, estimated = read_digest(tmp_path / "proved"), read_digest(tmp_path / "estimated")
    charts = str(accuracy_charts(proved))
    assert charts.count("estimated bound, not certified") == 0
    assert "proved bound" in charts
    assert not any("gradients were estimated" in f.title for f in findings(proved))
    charts = str(accuracy_charts(estimated))
    assert "proved bound" not in charts
    assert "estimated bound, not certified" in charts
    assert "gradient error ≈" in charts
    assert "gradient error ≤" not in charts
    (told,) = [f for f in findings(estimated) if "gradients were estimated" in f.title]
    assert "not a proved bound" in told.text
    assert "certified band" not in str(objective_charts(estimated))
    assert torch.isfinite(torch.tensor([row.gradient_bound or 0.0 for row in estimated.whole])).all()


def test_the_progress_line_says_what_is_estimated() -> None:
    x, y = indicator_signals(2, 16, 0.1)
    energy = VariationalEnergy(LeastSquares(), SmoothedTV(1.0, 0.1, 0.1, axes=1, boundary="dirichlet"))
    estimated = ReducedObjective(energy, y, x, estimator=ImplicitHypergradient(error="estimate"))
    theta = estimated.parameters.get()
    assert objective_text(estimated.hypergradient(theta)).endswith("(estimated)")
    assert " ± " in objective_text(estimated.value(theta))
    assert "estimated" not in objective_text(estimated.value(theta))
    unknown = ReducedObjective(energy, y, x, lambda found, target: (found - target).abs().flatten(1).sum(1))
    assert objective_text(unknown.value(theta)).endswith("no bound known")
