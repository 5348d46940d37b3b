"""The comparison of methods: costs, profiles, cells, and the quick version as a whole."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from bilearn.cli.main import app
from bilearn.experiments.compare_methods import CompareMethods
from bilearn.experiments.comparison_cells import random_start, run_cell
from bilearn.experiments.comparison_pages import Cells
from bilearn.experiments.comparison_rows import ACCURACIES, METHODS, chosen
from bilearn.experiments.comparison_statistics import (
    cost_to,
    data_profile,
    median_cost,
    performance_ratios,
    steps_of,
)
from bilearn.experiments.records import Results
from bilearn.experiments.trace import Exact
from bilearn.problems import one_parameter
from bilearn.upper import GaussNewton


def cell(exact: list[float], work: list[float]) -> dict[str, list[float]]:
    return {"exact": exact, "work": work}


def test_costs_are_those_of_the_first_good_incumbent() -> None:
    runs = [cell([3.0, 2.0, 1.0], [10, 20, 30]), cell([3.0], [5]), cell([1.5], [40])]
    assert cost_to(runs[0], 2.0, "work") == 20
    assert cost_to(runs[1], 2.0, "work") == math.inf
    assert median_cost(runs, 2.0, "work") == 40
    assert median_cost(runs[:2], 2.0, "work") == math.inf


def test_profiles_are_fractions_of_all_pairs() -> None:
    costs = {"a": [1.0, 4.0, math.inf], "b": [2.0, 2.0, math.inf]}
    assert data_profile(costs["a"], np.array([0.5, 1.0, 4.0])).tolist() == pytest.approx([0.0, 1 / 3, 2 / 3])
    ratios = performance_ratios(costs)
    assert ratios["a"].tolist() == [1.0, 2.0, math.inf]
    assert ratios["b"].tolist() == [2.0, 1.0, math.inf]
    assert steps_of(ratios["a"]).tolist() == [1.0, 2.0]
    assert steps_of([math.inf]).tolist() == [1.0]


def test_starts_are_seeded_and_stay_near_the_published_one() -> None:
    problem = one_parameter()
    parameters = problem.objective.parameters
    starts = [random_start(parameters, problem.start, 2.0, k, 0) for k in range(20)]
    assert torch.equal(starts[0], problem.start)
    assert all(torch.equal(random_start(parameters, problem.start, 2.0, k, 0), s) for k, s in enumerate(starts))
    assert not torch.equal(random_start(parameters, problem.start, 2.0, 1, 1), starts[1])
    cloud = torch.stack(starts)
    assert float(cloud.abs().max()) <= 2.0
    assert float(cloud.max()) > 1.0
    assert float(cloud.min()) < -1.0


def test_a_cell_records_exact_values_and_what_they_cost() -> None:
    problem = one_parameter()
    found = run_cell(
        problem,
        GaussNewton(),
        lambda o: o,
        problem.start,
        Exact(one_parameter().objective),
        50,
        1.001 * problem.optimum,
    )
    assert found["exact"] == sorted(found["exact"], reverse=True)
    assert found["exact"][0] == pytest.approx(1.752551101925, rel=1e-10)
    assert found["exact"][-1] == found["returned"] <= 1.001 * problem.optimum
    assert found["status"] == "stopped at the work or time budget"
    assert found["gradients"][-1] == problem.objective.cost.gradients == found["cost"]["gradients"]
    assert 0.0 < found["honesty"] <= 1.0
    for column in ("evaluations", "work", "gradients", "products", "seconds"):
        assert found[column] == sorted(found[column])


def test_quick_version_is_computed_drawn_and_resumed(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    arguments = ["experiment", "compare-methods", "--quick", "-o", str(directory)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Adaptive against fixed accuracy" in (directory / "report.html").read_text()
    assert (directory / "profiles-0_1-percent.png").stat().st_size > 1000
    results = Results.read(directory)
    assert len(results.parts) == 1 + 2 * 2
    cells = Cells(results)
    assert cells.methods() == ["gauss-newton", "l-bfgs-b"]
    assert cells.best["1param"] == pytest.approx(1.3714888337818, rel=1e-9)
    ours = cells.of["1param", "default", "gauss-newton", "adaptive"]
    assert math.isfinite(cost_to(ours[0], cells.target("1param", 1e-3), "work"))
    kept = results.parts.pop("run/1param/default/l-bfgs-b/adaptive/0")
    results.status = "interrupted"
    results.write(directory)
    done = CliRunner().invoke(app, ["experiment", "resume", str(directory), "--quiet"])
    assert done.exit_code == 0, done.output
    again = Results.read(directory).parts["run/1param/default/l-bfgs-b/adaptive/0"]
    assert again["exact"] == kept["exact"]


def test_what_cannot_be_run_is_refused() -> None:
    with pytest.raises(ValueError, match="methods: found 'newton', expected some of gauss-newton, l-bfgs-b"):
        CompareMethods(methods=("newton",))
    with pytest.raises(ValueError, match=r"images: found none, expected a folder of PNG files for kodak"):
        CompareMethods(problems=("kodak",))
    with pytest.raises(ValueError, match="found starts=0"):
        CompareMethods(starts=0)


def test_parts_leave_out_what_makes_no_sense() -> None:
    names = tuple(row.name for row in ACCURACIES)
    plan = CompareMethods(problems=("1param", "mri-1d"), accuracies=names, starts=1)
    keys = [part.key for part in plan.parts()]
    assert keys[:2] == ["best/1param", "best/mri-1d"]
    assert len(set(keys)) == len(keys)
    assert "run/mri-1d/default/l-bfgs-b/adaptive/0" in keys
    assert not [k for k in keys if k.startswith(("run/mri-1d/default/gauss-newton", "run/mri-1d/default/grid"))]
    assert not [k for k in keys if "steps" in k]
    assert not [k for k in keys if "random" in k and "distance" in k]
    assert [row.name for row in chosen(METHODS, ("maid", "hoag"), "methods")] == ["maid", "hoag"]
