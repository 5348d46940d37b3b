"""Directories, records, interruption, resuming and drawing of experiments."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import toy_experiment
from PIL import Image
from toy_experiment import Toy
from typer.testing import CliRunner

import bilearn.experiments as registry
from bilearn.cli.main import app
from bilearn.experiments.drawing import draw
from bilearn.experiments.records import Results, packed, unpacked
from bilearn.experiments.session import new_directory, resume_experiment, run_experiment


@pytest.fixture(autouse=True)
def toy(monkeypatch):
    monkeypatch.setitem(registry.EXPERIMENTS, "toy", ("toy_experiment", "Toy"))
    toy_experiment.CALLS.clear()
    toy_experiment.INTERRUPT_AT.clear()


def test_everything_is_recorded_and_drawn_from_the_records(tmp_path):
    shown = []
    results = run_experiment(Toy(count=3), tmp_path, lambda *state: shown.append(state))
    assert shown[0] == (0, 3, "squares")
    assert shown[-1] == (3, 3, "finished")
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["status"] == "finished"
    assert content["options"] == {"seed": 0, "count": 3, "factors": [1.0, 2.0]}
    assert content["environment"]["versions"]["torch"]
    assert content["parts"]["rows/second"] == {"sum": 5.0, "factors": [1.0, 2.0]}
    assert Results.read(tmp_path) == results
    page = (tmp_path / "report.html").read_text()
    for text in ("What the toy found.", "<svg", "A note.", "darker", "finished", "results.json"):
        assert text in page
    assert "http" not in page.replace("http://www.w3.org", "")
    for name in ("squares", "picture"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.width > 200
    before = (tmp_path / "squares.png").read_bytes()
    (tmp_path / "squares.png").unlink()
    draw(tmp_path)
    assert (tmp_path / "squares.png").read_bytes() == before
    assert toy_experiment.CALLS == ["rows/first", "rows/second", "picture"]


def test_an_interrupt_keeps_what_is_done_and_resume_computes_the_rest(tmp_path):
    toy_experiment.INTERRUPT_AT.append("rows/second")
    results = run_experiment(Toy(), tmp_path)
    assert results.status == "interrupted"
    assert list(results.parts) == ["rows/first"]
    assert "interrupted" in (tmp_path / "report.html").read_text()
    assert (tmp_path / "squares.png").exists()
    toy_experiment.INTERRUPT_AT.clear()
    results = resume_experiment(tmp_path)
    assert results.status == "finished"
    assert toy_experiment.CALLS == ["rows/first", "rows/second", "rows/second", "picture"]
    assert results.parts["rows/second"]["sum"] == 30.0


def test_an_error_is_recorded_and_raised(tmp_path, monkeypatch):
    def broken(self, done):
        raise RuntimeError("no")

    monkeypatch.setattr(Toy, "_sums", broken)
    with pytest.raises(RuntimeError, match="no"):
        run_experiment(Toy(), tmp_path)
    results = Results.read(tmp_path)
    assert results.status == "failed"
    assert list(results.parts) == ["rows/first"]


def test_parts_get_earlier_results_as_they_are_recorded(tmp_path):
    results = run_experiment(Toy(), tmp_path)
    assert results.parts["rows/first"]["rows"][0]["bound"] == "inf"
    assert math.isinf(float(results.parts["rows/first"]["rows"][0]["bound"]))


def test_results_below_some_words():
    results = Results("toy", {}, {}, parts={"a/b/c": 1, "a/d": 2, "ab": 3})
    assert results.below("a") == {"b/c": 1, "d": 2}
    assert results.below("a", "b") == {"c": 1}


def test_packed_arrays_come_back():
    array = np.random.default_rng(0).random((3, 4, 5)).astype(np.float32)
    stored = json.loads(json.dumps(packed(array)))
    assert np.array_equal(unpacked(stored), array)


def test_directories_are_numbered_and_never_overwritten(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [new_directory("toy").name for _ in range(2)] == ["toy-001", "toy-002"]
    run_experiment(Toy(), new_directory("toy", "mine"))
    with pytest.raises(FileExistsError, match=r"mine holds results\.json of an experiment; resume it"):
        new_directory("toy", "mine")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(FileExistsError, match="other is not empty"):
        new_directory("toy", "other")
    with pytest.raises(NotADirectoryError, match="is a file"):
        new_directory("toy", tmp_path / "other" / "file")


def test_damaged_and_missing_records_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"found no results\.json"):
        draw(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(ValueError, match="not the record of an experiment"):
        draw(tmp_path)
    (tmp_path / "results.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="found format 99, expected 1"):
        draw(tmp_path)


def test_commands_for_every_experiment(tmp_path):
    def call(*arguments):
        return CliRunner().invoke(app, ["experiment", *map(str, arguments)])

    listed = call("list")
    assert listed.exit_code == 0
    assert "Squares." in listed.output
    toy_experiment.INTERRUPT_AT.append("picture")
    run_experiment(Toy(), tmp_path)
    stopped = call("resume", tmp_path)
    assert stopped.exit_code == 130
    assert "interrupted; continue with: bilearn experiment resume" in " ".join(stopped.output.split())
    toy_experiment.INTERRUPT_AT.clear()
    resumed = call("resume", tmp_path)
    assert resumed.exit_code == 0
    assert "Rows" in resumed.output
    drawn = call("page", tmp_path)
    assert drawn.exit_code == 0
    assert "report.html" in drawn.output.replace("\n", "")
    assert call("page", tmp_path / "nothing").exit_code == 2
