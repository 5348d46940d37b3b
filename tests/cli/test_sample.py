"""``bilearn sample`` from the command line: run directories, exports, comparisons, and errors as sentences."""

import json
import os
import shlex
import signal

import numpy as np
import pytest
import torch
from processes import start, wait_for_rows
from typer.testing import CliRunner

from bilearn.cli.main import app
from bilearn.mri.io import read_mask
from bilearn.sampling import SamplingResult


def call(*arguments):
    return CliRunner().invoke(app, ["sample", *map(str, arguments)])


def text_of(result):
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Three smooth images in a file, so that no data package is needed."""
    path = tmp_path_factory.mktemp("images") / "blobs.npy"
    axis = np.linspace(-1, 1, 12)
    blobs = [np.exp(-8 * ((axis[:, None] - c) ** 2 + (axis + c) ** 2)) for c in (-0.3, 0.0, 0.3)]
    np.save(path, np.stack(blobs))
    return path


SMALL = ("--size", 12, "--count", 2, "--steps", 1, "--exchanges", 1, "--starts", "0.5", "--regularizer", "h1")


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """A learned pattern of columns."""
    run = tmp_path_factory.mktemp("finished") / "run"
    result = call("learn", images, "--rate", 0.25, "--pattern", "columns", "--center", 1, *SMALL, "-o", run)
    assert result.exit_code == 0, result.output
    assert "36 of 144 points, 25.00 %" in text_of(result)
    return run


def test_learn_writes_a_complete_run_directory(finished):
    for name in (
        "sampling.json",
        "sampling.npz",
        "mask.npy",
        "results.json",
        "report.html",
        "pattern.png",
        "density.png",
    ):
        assert (finished / name).is_file(), name
    result = SamplingResult.load(finished)
    mask = read_mask(finished / "mask.npy")
    assert torch.equal(mask, result.mask)
    assert int(mask.sum()) == 36
    assert bool(mask[0, 0]), "the central column is always sampled"
    assert bool((mask == mask[:1]).all()), "whole columns"
    last = result.attempt.last
    assert last.certified
    assert last.lower <= last.value <= last.upper
    records = json.loads((finished / "results.json").read_text())
    assert records["status"] == "finished"
    assert records["parts"]["learning"]["samples"] == 36


def test_page_is_drawn_from_records_alone(finished, images):
    before = (finished / "report.html").read_text()
    (finished / "report.html").unlink()
    hidden = images.with_suffix(".hidden")
    images.rename(hidden)
    try:
        result = call("page", finished)
    finally:
        hidden.rename(images)
    assert result.exit_code == 0, result.output
    assert (finished / "report.html").read_text() == before
    assert "From degrees to a mask" in before


def test_export_round_trip(finished, tmp_path):
    result = call("export", finished, tmp_path / "mask.mat")
    assert result.exit_code == 0, result.output
    assert "36 of 144 samples" in result.output
    assert torch.equal(read_mask(tmp_path / "mask.mat"), SamplingResult.load(finished).mask)
    again = call("export", finished, tmp_path / "mask.mat")
    assert again.exit_code == 2
    assert "mask.mat" in again.output


def test_penalty_learns_the_number_of_samples(images, tmp_path):
    result = call("learn", images, "--penalty", 0.01, 0.01, *SMALL, "-o", tmp_path / "run", "--quiet")
    assert result.exit_code == 0, result.output
    learned = SamplingResult.load(tmp_path / "run")
    assert 0 < learned.samples <= 144
    assert learned.settings["penalty"] == [0.01, 0.01]


def test_baseline_and_list(images, tmp_path):
    listed = call("baseline", "list")
    assert listed.exit_code == 0
    assert "poisson-disc" in listed.output
    arguments = ("--rate", 0.25, "--size", 12, "--count", 1, "--regularizer", "h1")
    result = call("baseline", "low-pass", images, *arguments, "-o", tmp_path / "mask")
    assert result.exit_code == 0, result.output
    assert int(read_mask(tmp_path / "mask" / "mask.npy").sum()) == 36
    assert (tmp_path / "mask" / "report.html").is_file()
    result = call("baseline", "probabilistic", images, *arguments, "--pattern", "rows", "-o", tmp_path / "drawn")
    assert result.exit_code == 0, result.output
    mask = read_mask(tmp_path / "drawn" / "mask.npy")
    assert int(mask.sum()) == 36
    assert torch.equal(mask, mask[:, :1].expand_as(mask)), "whole rows"


def test_compare_judges_runs_and_baselines_at_equal_counts(finished, images, tmp_path):
    out = tmp_path / "comparison"
    result = call(
        "compare", finished, "--images", images, "--count", 2, "--baselines", "low-pass,equispaced", "-o", out
    )
    assert result.exit_code == 0, result.output
    parts = json.loads((out / "results.json").read_text())["parts"]
    assert list(parts) == ["rate/36/learned", "rate/36/low-pass", "rate/36/equispaced"]
    assert all(record["samples"] == 36 and len(record["quality"]["psnr"]) == 2 for record in parts.values())
    assert "learned minus it" in (out / "report.html").read_text()


def test_ctrl_c_half_way_names_the_command_that_continues(images, tmp_path, monkeypatch):
    """And that command finishes as an uninterrupted run would."""
    monkeypatch.chdir(tmp_path)
    options = [
        "--rate",
        "0.25",
        "--size",
        "12",
        "--count",
        "2",
        "--steps",
        "40",
        "--exchanges",
        "1",
        "--starts",
        "0.5",
        "-q",
    ]
    arguments = ["sample", "learn", str(images), *options, "--regularizer", "tv"]
    process = start(arguments)
    run = tmp_path / "runs" / "sample-001"
    history = run / "stages" / "0.5" / "relaxed" / "history.jsonl"
    wait_for_rows(history, process)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    sentence = next(line for line in errors.splitlines() if "continue with: " in line)
    words = shlex.split(sentence.partition("continue with: ")[2])
    assert words == ["bilearn", *arguments, "--output", "runs/sample-001"]
    assert json.loads((run / "results.json").read_text())["status"] == "interrupted"
    refused = call(*words[2:-3], "h1", *words[-2:])
    assert "unfinished run with other options" in text_of(refused)
    assert call("page", run).exit_code == 2, "there is no mask yet"

    resumed = call(*words[2:])
    assert resumed.exit_code == 0, resumed.output
    assert json.loads((run / "results.json").read_text())["status"] == "finished"
    whole = call(*words[2:-2], "--output", "whole")
    assert whole.exit_code == 0, whole.output
    first, second = (SamplingResult.load(folder) for folder in (run, tmp_path / "whole"))
    assert torch.equal(first.mask, second.mask)
    assert torch.equal(first.degrees, second.degrees)
    assert first.attempt.last.value == second.attempt.last.value


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("learn", "--rate", 0.2, "--penalty", 0.1, 0.1), "rate, penalty: found 0.2"),
        (("learn", "--rate", 2), "rate: found 2.0"),
        (("learn", "--regularizer", "l1"), "regularizer: found 'l1'"),
        (("learn", "--pattern", "stars"), "pattern: found 'stars'"),
        (("learn", "--starts", "high"), "starts: found 'high'"),
        (("learn", "nowhere.npy"), "nowhere.npy: neither a file nor a built-in set"),
        (("baseline", "nothing"), "baselines: found nothing"),
        (("export", "nowhere", "mask.npy"), "nowhere"),
        (("page", "nowhere"), "expected a directory written by 'bilearn sample learn'"),
        (("compare", "nowhere"), "expected a directory written by 'bilearn sample learn'"),
    ],
)
def test_wrong_input_is_one_sentence_and_leaves_nothing(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert message in text_of(result)
    assert "Traceback" not in result.output
    assert not list(tmp_path.iterdir())


def test_finished_runs_are_not_overwritten(finished, images):
    result = call("learn", images, "--rate", 0.25, "--pattern", "columns", "--center", 1, *SMALL, "-o", finished)
    assert result.exit_code == 2
    assert "holds a finished run" in text_of(result)
