"""Every experiment in its quick form: records hold what was certified, pages and figures are drawn from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from bilearn.cli.main import app
from bilearn.experiments.denoise_1d import Denoise1D
from bilearn.experiments.denoise_kodak import DenoiseKodak
from bilearn.experiments.denoise_kodak_sections import settled
from bilearn.experiments.mri_1d_sampling import MRI1DSampling
from bilearn.experiments.records import Results, column, numbers, unpacked
from bilearn.experiments.session import run_experiment
from bilearn.experiments.trace import Exact, trace
from bilearn.problems import one_parameter
from bilearn.upper import GaussNewton


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for k in range(2):
        smooth = np.cumsum(generator.standard_normal((20, 20)), axis=1)
        pixels = np.clip(128 + 20 * smooth, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def call(*arguments):
    return CliRunner().invoke(app, ["experiment", *map(str, arguments)])


def test_trace_counts_and_certifies():
    known = one_parameter()
    record = trace(GaussNewton(), known.objective, known.start, Exact(one_parameter().objective), 100, 4)
    assert len(record["evaluations"]) == 4
    work = column(record["evaluations"], "work")
    assert (np.diff(work) > 0).all()
    assert work[-1] == record["steps"][-1]["work"]
    for step in record["steps"]:
        assert step["lower"] <= step["exact"] + step["exact_bound"]
        assert step["exact"] - step["exact_bound"] <= step["upper"]
    assert record["steps"][-1]["exact"] < 1.4
    assert all(row["kind"] == "gradient" for row in record["evaluations"])


def test_trace_does_not_record_an_interrupted_run():
    known = one_parameter()

    def interrupt(theta):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trace(GaussNewton(), known.objective, known.start, interrupt)


def test_exact_values_are_the_published_ones():
    found = Exact(one_parameter().objective)(torch.tensor([0.0], dtype=torch.float64))
    assert found.value == pytest.approx(1.752551101925, abs=1e-9)
    assert found.bound <= 1e-9


def test_denoise_1d(tmp_path):
    experiment = Denoise1D.quick(evaluations=3, work=4_000, starts=1, grid=3)
    results = run_experiment(experiment, tmp_path)
    assert results.status == "finished"
    run = results.parts["run/one/dynamic-fista"]
    assert all(row["certified"] for row in run["evaluations"])
    for row in results.parts["landscape"]["rows"]:
        assert row["lower"] <= row["exact"] <= row["upper"]
    first = run["evaluations"][0]
    assert unpacked(first["signal"]).shape == numbers(run["truth"]).shape == (256,)
    for name in ("cost-one", "cost-three", "reconstructions-one", "accuracy", "starts-one", "starts-three"):
        assert (tmp_path / f"{name}.png").stat().st_size > 1000
    page = (tmp_path / "report.html").read_text()
    assert "dynamic, FISTA" in page
    assert "certified interval" in page


def test_denoise_1d_starts_depend_on_the_seed_only():
    known = one_parameter()
    starts = [Denoise1D(seed=seed)._start(known, k) for seed in (0, 0, 1) for k in (0, 7)]
    assert torch.equal(starts[1], starts[3])
    assert not torch.equal(starts[1], starts[5])
    assert torch.equal(starts[0], starts[4])


@pytest.mark.parametrize(
    ("experiment", "options", "message"),
    [
        (Denoise1D, {"starts": 0}, "expected positive numbers"),
        (Denoise1D, {"solvers": ("newton",)}, "solvers: found"),
        (DenoiseKodak, {"levels": (0.0,)}, "levels: found"),
        (DenoiseKodak, {"levels": (0.1, 0.1)}, "each number once"),
        (DenoiseKodak, {"size": 2}, "size = 2"),
        (MRI1DSampling, {"evaluations": 0}, "expected at least 1"),
        (MRI1DSampling, {"methods": ("x",)}, "methods: found"),
    ],
)
def test_wrong_options_are_named(experiment, options, message):
    with pytest.raises(ValueError, match=message):
        experiment(**options)


def test_denoise_kodak(tmp_path, photographs):
    options = ("--size", 16, "--levels", "0.1,1e-7")
    called = call("denoise-kodak", photographs, "--quick", *options, "-o", tmp_path / "out")
    assert called.exit_code == 0, called.output
    results = Results.read(tmp_path / "out")
    assert results.status == "finished"
    for record in results.below("level").values():
        assert record["certified"]
        assert float(record["lower"]) <= float(record["upper"])
        assert float(record["level"]) < 0.1 or float(record["upper"]) < 0.9 * float(record["data_loss"])
        restored = unpacked(record["truth"]) + float(record["level"]) * unpacked(record["error"])
        assert np.abs(restored - unpacked(record["truth"])).max() < 6 * float(record["level"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "alpha/sigma" in page
    assert (tmp_path / "out" / "alpha-against-noise.png").exists()


def test_denoise_kodak_refuses_before_it_makes_a_directory(tmp_path, photographs, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments, message in (
        ((tmp_path / "nothing",), "nothing"),
        ((photographs, "--images", 3), "found 2 images"),
        ((photographs, "--size", 64, "--images", 2), "20 x 20"),
        ((photographs, "--levels", "a,b"), "--levels: found 'a,b'"),
    ):
        called = call("denoise-kodak", *arguments)
        assert called.exit_code == 2, called.output
        assert message in called.output
    assert not (tmp_path / "runs").exists()


def test_settled_levels():
    def level(sigma, ratio):
        return {"level": sigma, "parameters": {"alpha": ratio * sigma}}

    levels = [level(1e-1, 0.7), level(1e-2, 0.0101), level(1e-3, 0.01), level(1e-4, 0.0099)]
    assert settled(levels) == levels[1:]
    assert settled(levels[:2]) == []


def test_mri_1d_sampling(tmp_path):
    results = run_experiment(MRI1DSampling.quick(evaluations=3), tmp_path)
    run = results.parts["run/default"]
    assert len(run["steps"][-1]["theta"]) == len(run["frequency"]) == 64
    exact = column(run["steps"], "exact")
    assert exact[-1] < exact[0]
    assert numbers(run["pictures"]["learned"]["real"]).shape == (2, 64)
    assert (tmp_path / "pattern.png").exists()
    assert "weight c" in (tmp_path / "report.html").read_text()
