import json
import math
import os

import numpy as np
import pytest

from bilearn.run_directory import RunDirectory
from bilearn.run_records import HistoryRow, ImageSet, Spread, Summary, encode


def row(evaluation: int, **more):
    return {"evaluation": evaluation, "value": 1.0 / evaluation, "lower": -math.inf, "upper": 2.0, **more}


def test_create_refuses_to_overwrite_a_run_silently(tmp_path):
    run = RunDirectory.create(tmp_path / "a" / "run")
    run.append_history(row(1))
    with pytest.raises(FileExistsError, match="already holds a run"):
        RunDirectory.create(run.path)
    assert len(run.read().history) == 1


def test_overwrite_removes_the_files_of_the_run_and_no_others(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.append_history(row(1))
    run.checkpoint_path.mkdir()
    (run.checkpoint_path / "state").write_text("x")
    (run.path / "notes.txt").write_text("mine")
    again = RunDirectory.create(run.path, overwrite=True)
    assert sorted(p.name for p in again.path.iterdir()) == ["notes.txt"]


def test_overwrite_refuses_a_directory_that_is_no_run(tmp_path):
    (tmp_path / "config.toml").write_text("somebody's")
    with pytest.raises(FileExistsError, match="holds no earlier run"):
        RunDirectory.create(tmp_path, overwrite=True)
    assert (tmp_path / "config.toml").read_text() == "somebody's"


def test_create_refuses_a_file(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(NotADirectoryError, match="is a file"):
        RunDirectory.create(tmp_path / "f")


def test_create_accepts_an_empty_directory(tmp_path):
    assert RunDirectory.create(tmp_path).path == tmp_path


@pytest.mark.parametrize("make", [False, True])
def test_open_names_what_it_found(tmp_path, make):
    path = tmp_path / "run"
    if make:
        path.mkdir()
    with pytest.raises(FileNotFoundError, match="a directory without a run" if make else "found nothing"):
        RunDirectory.open(path)


def test_history_round_trip_with_infinities_and_spreads(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.append_history(
        row(
            1,
            kind="hypergradient",
            accepted=False,
            gradient_norm=np.float32(0.5),
            gradient_bound=math.inf,
            accuracy=1e-3,
            parameters={"alpha": 0.1, "map": {"min": 0.0, "max": 2.0, "mean": 1.0}},
            cost={"gradients": 7},
            validation={"loss": 3.0},
        )
    )
    (stored,) = run.read().history
    assert stored.objective.lower == -math.inf
    assert stored.objective.bound == math.inf
    assert stored.gradient_norm == 0.5
    assert stored.gradient_bound == math.inf
    assert stored.parameters == {"alpha": 0.1, "map": Spread(0.0, 2.0, 1.0)}
    assert (stored.accepted, stored.cost, stored.validation) == (False, {"gradients": 7}, {"loss": 3.0})
    line = (run.path / "history.jsonl").read_text()
    assert json.loads(line, parse_constant=pytest.fail)["lower"] == "-inf"


def test_a_line_cut_short_by_a_crash_is_ignored_and_then_replaced(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.append_history(row(1))
    with open(run.path / "history.jsonl", "a") as file:
        file.write('{"evaluation": 2, "val')
    assert [r.evaluation for r in run.read().history] == [1]
    run.append_history(row(2))
    assert [r.evaluation for r in run.read().history] == [1, 2]


def test_a_history_that_is_one_broken_line_starts_again(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    (run.path / "history.jsonl").write_text('{"evalu')
    run.append_history(row(1))
    assert [r.evaluation for r in run.read().history] == [1]


def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    (run.path / "history.jsonl").write_text('{"evaluation": 1, "value": 1}\noops\n{"evaluation": 2, "value": 1}\n')
    with pytest.raises(ValueError, match=r"history\.jsonl, line 2"):
        run.read()


def test_truncate_history_forgets_what_a_resumed_run_repeats(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    for k in range(1, 6):
        run.append_history(row(k))
    run.truncate_history(3)
    run.append_history(row(4, message="again"))
    history = run.read().history
    assert [r.evaluation for r in history] == [1, 2, 3, 4]
    assert history[-1].message == "again"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"value": 1.0}, "'evaluation' is missing"),
        ({"evaluation": 1}, "'value' is missing"),
        ({"evaluation": 1, "value": "many"}, "expected a number"),
        ({"evaluation": 1, "value": 1.0, "parameters": {"a": {"min": 0}}}, "parameter a: 'max' is missing"),
    ],
)
def test_history_refuses_malformed_rows_before_writing(tmp_path, entry, message):
    run = RunDirectory.create(tmp_path / "run")
    with pytest.raises(ValueError, match=message):
        run.append_history(entry)
    assert not (run.path / "history.jsonl").exists()


def test_encode_names_the_entry_that_cannot_be_stored():
    with pytest.raises(TypeError, match=r"summary\.final\.value: found object"):
        encode({"final": {"value": object()}}, "summary")
    assert encode({"a": (np.int64(1), np.array([1.5, math.nan]))}) == {"a": [1, [1.5, "nan"]]}


def test_images_and_maps_round_trip(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.append_history(row(1))
    rng = np.random.default_rng(0)
    first = ImageSet(
        rng.random((8, 8)), rng.random((4, 11)), rng.random((8, 8)), rng.random((8, 8)), rng.random((8, 8))
    )
    second = ImageSet(rng.random((3, 5, 6)))
    run.write_images([first, second], {"model.weight": np.eye(3)})
    record = run.read()
    np.testing.assert_array_equal(record.images[0].data, first.data)
    np.testing.assert_array_equal(record.images[0].adjoint, first.adjoint)
    np.testing.assert_array_equal(record.images[1].truth, second.truth)
    assert record.images[1].learned is None
    np.testing.assert_array_equal(record.maps["model.weight"], np.eye(3))


def test_a_damaged_archive_is_named(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.append_history(row(1))
    (run.path / "images.npz").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(ValueError, match=r"images\.npz"):
        run.read()


def test_summary_and_metrics_round_trip(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_summary(
        {
            "status": "all planned points were evaluated",
            "solver": {"name": "CG", "reason": "it is quadratic"},
            "final": {"value": 2.0, "lower": 1.9, "upper": 2.1, "certified": True},
            "parameters": {
                "a": {"value": 1.0, "start": 2.0, "lower_bound": 1.0, "coordinate": "Log10", "at_bound": "lower"},
                "m": {"value": {"min": 0, "max": 1, "mean": 0.5}, "entries": 9, "at_bound": {"lower": 2, "upper": 1}},
            },
            "metrics": {"test": {"learned": {"psnr": {"mean": 30.0, "std": 1.0}}}},
        }
    )
    run.write_metrics([{"split": "test", "index": 0, "name": "x", "psnr": {"learned": 30.0}}])
    record = run.read()
    summary = record.summary
    assert summary is not None
    assert (summary.name, summary.solver, summary.solver_reason) == ("run", "CG", "it is quadratic")
    assert summary.final is not None
    assert summary.final.width == pytest.approx(0.2)
    one, many = summary.parameters
    assert (one.coordinate, one.at_lower, one.at_upper, one.upper_bound) == ("log10", 1, 0, math.inf)
    assert (many.entries, many.at_lower, many.at_upper) == (9, 2, 1)
    assert summary.metrics["test"]["learned"]["psnr"].mean == 30.0
    assert record.metrics[0].figures == {"psnr": {"learned": 30.0}}
    assert "history.jsonl" in record.missing
    assert "summary.json" not in record.missing


def test_a_solver_may_be_a_plain_name():
    assert Summary.from_json({"solver": "Newton", "solver_reason": "why"}, "n").solver_reason == "why"


def test_a_failed_write_keeps_the_old_file_and_leaves_no_temporary(tmp_path, monkeypatch):
    run = RunDirectory.create(tmp_path / "run")
    run.write_config("old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        run.write_config("new")
    assert [p.name for p in run.path.iterdir()] == ["config.toml"]
    assert (run.path / "config.toml").read_text() == "old"


def test_a_damaged_json_file_is_named(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    (run.path / "summary.json").write_text("{")
    with pytest.raises(ValueError, match=r"summary\.json: not valid JSON"):
        run.read()


def test_environment_and_model_description_are_kept(tmp_path):
    run = RunDirectory.create(tmp_path / "run")
    run.write_environment({"seed": 3, "versions": {"torch": "2"}})
    run.write_model_description({"energy": "tv"})
    record = run.read()
    assert record.environment["versions"] == {"torch": "2"}
    assert record.model == {"energy": "tv"}


def test_history_rows_default_to_accepted_values():
    stored = HistoryRow.from_json({"evaluation": 1, "value": 2.0})
    assert (stored.kind, stored.accepted, stored.gradient_norm) == ("value", True, None)
    assert stored.objective.width == math.inf
