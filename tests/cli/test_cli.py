import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from processes import start, wait_for_rows
from typer.testing import CliRunner

from bilearn.cli.main import app
from bilearn.experiment import parse_config, recipe_names, recipe_text

TINY = """
name = "tiny"
[data]
source = "phantoms"
size = 16
train = 2
validation = 1
test = 2
[run]
max_steps = 2
threads = 1
"""


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def text_of(result):
    return " ".join(result.output.split())


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text(TINY)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of the tiny experiment."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "my.toml").write_text(TINY)
    result = call("learn", folder / "my.toml", "-o", folder / "run")
    assert result.exit_code == 0, result.output
    return folder / "run"


def test_learn_leaves_a_complete_run_directory_and_says_what_it_found(finished):
    for name in (
        "config.toml",
        "environment.json",
        "history.jsonl",
        "history.csv",
        "summary.json",
        "metrics.json",
        "images.npz",
        "model.safetensors",
        "model.json",
        "report.html",
        "checkpoint/checkpoint.pt",
    ):
        assert (finished / name).stat().st_size > 0
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["final"]["lower"] <= summary["final"]["value"] <= summary["final"]["upper"]
    assert summary["final"]["certified"]
    assert summary["final"]["value"] < summary["start"]["value"]
    assert set(summary["metrics"]["test"]) == {"noisy", "default", "learned"}
    assert set(summary["metrics"]["test"]["learned"]) == {"psnr", "ssim"}
    assert parse_config((finished / "config.toml").read_text(), "c", "c").run.max_steps == 2
    assert json.loads((finished / "environment.json").read_text())["versions"]["torch"]
    printed = text_of(call("report", finished))
    for part in ("regularizer.alpha", "PSNR", "Learned", "certified", "report.html"):
        assert part in printed


def test_runs_are_numbered_and_never_replaced_silently(here):
    assert call("learn", "my.toml", "-q", "--set", "run.max_steps=1").exit_code == 0
    assert call("learn", "my.toml", "-q", "--set", "run.max_steps=1").exit_code == 0
    assert sorted(p.name for p in (here / "runs").iterdir()) == ["tiny-001", "tiny-002"]
    again = call("learn", "my.toml", "-o", "runs/tiny-001")
    assert again.exit_code == 2
    assert "already holds a run" in again.output
    (here / "runs" / "tiny-001" / "mine.txt").write_text("keep")
    replaced = call("learn", "my.toml", "-o", "runs/tiny-001", "--overwrite", "--seed", "3", "--set", "run.max_steps=1")
    assert replaced.exit_code == 0
    assert (here / "runs" / "tiny-001" / "mine.txt").read_text() == "keep"
    compared = call("compare", "runs/tiny-001", "runs/tiny-002", "-o", "page.html")
    assert compared.exit_code == 0
    assert (here / "page.html").exists()


def test_the_same_seed_gives_the_same_model(here):
    for name in ("a", "b"):
        assert call("learn", "my.toml", "-q", "-o", name).exit_code == 0
    assert (here / "a" / "model.safetensors").read_bytes() == (here / "b" / "model.safetensors").read_bytes()
    call("learn", "my.toml", "-q", "-o", "c", "--seed", "1")
    assert (here / "a" / "model.safetensors").read_bytes() != (here / "c" / "model.safetensors").read_bytes()


def test_recipes_are_listed_and_printed():
    listed = call("recipes")
    assert listed.exit_code == 0
    assert all(name in listed.output for name in recipe_names())
    assert call("recipes", "denoise-photos").output == recipe_text("denoise-photos")
    wrong = call("recipes", "denoise-foto")
    assert wrong.exit_code == 2
    assert "did you mean 'denoise-photos'?" in wrong.output


@pytest.mark.parametrize("command", ["learn", "reconstruct", "evaluate", "compare", "report", "resume", "recipes"])
def test_help_teaches_with_examples(command):
    result = call(command, "--help")
    assert result.exit_code == 0
    assert "Example" in result.output
    assert f"bilearn {command}" in result.output


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["learn", "missing.toml"], "missing.toml: no such file"),
        (["learn", "nonsense"], "recipe 'nonsense': no such recipe"),
        (["learn", "my.toml", "--set", "noise.sigmo=1"], "unknown key 'sigmo' in [noise]; did you mean 'sigma'?"),
        (["learn", "my.toml", "--set", "data.folder=nowhere", "--set", "data.source=folder"], "does not exist"),
        (["learn", "folder.toml"], "found no image among 0 files"),
        (["learn", "nan.toml"], "found NaN or infinity in 1 pixels"),
        (["learn", "mixed.toml"], "set crop = 8 (or smaller)"),
        (["learn", "my.toml", "--device", "warp"], "run.device: found 'warp', which torch cannot use here"),
        (["resume", "nowhere"], "found nothing at nowhere"),
        (["report", "."], "a directory without a run"),
        (["evaluate", "nowhere"], "found nothing at nowhere"),
        (["reconstruct", "nowhere", "x.png"], "found no model.json"),
        (["compare", "a"], "expected at least two run directories"),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(here, arguments, sentence):
    (here / "empty").mkdir()
    for name, shapes in (("nan", [(8, 8)]), ("mixed", [(8, 9), (10, 10)])):
        (here / name).mkdir()
        for i, shape in enumerate(shapes):
            array = np.full(shape, 0.5)
            array[0, 0] = np.nan if name == "nan" else 0.5
            np.save(here / name / f"{i}.npy", array)
        (here / f"{name}.toml").write_text(f'[data]\nfolder = "{name}"\n')
    (here / "folder.toml").write_text('[data]\nfolder = "empty"\n')
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert sentence in text_of(result)
    assert "Traceback" not in result.output
    assert all(line.startswith("bilearn: ") for line in result.output.splitlines())
    assert not (here / "runs").exists()


def test_debug_lets_the_traceback_through(here):
    result = call("learn", "missing.toml", "--debug")
    assert isinstance(result.exception, ValueError)


def test_reconstruct_pictures_of_other_sizes_and_arrays(here, finished):
    random = np.random.default_rng(0)
    (here / "in").mkdir()
    Image.fromarray(random.integers(0, 255, (20, 30), dtype=np.uint8)).save(here / "in" / "a.png")
    Image.fromarray(random.integers(0, 255, (9, 7, 3), dtype=np.uint8)).save(here / "in" / "b.jpg")
    np.save(here / "in" / "c.npy", random.random((2, 5, 5, 5))[:, :1])
    result = call("reconstruct", finished, "in", "-o", "out")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (here / "out").iterdir()) == ["a.png", "b.png", "c_0.npy", "c_1.npy"]
    assert result.output.count("certified within") == 4
    with Image.open(here / "out" / "a.png") as picture:
        assert picture.size == (30, 20)
        assert np.asarray(picture).std() < 60
    again = call("reconstruct", finished, "in", "-o", "out")
    assert again.exit_code == 2
    assert "exists; choose another --output folder or pass --overwrite" in again.output
    assert call("reconstruct", finished, "in", "-o", "out", "--overwrite", "--format", "npy").exit_code == 0
    own = call("reconstruct", finished, "in/a.png", "-o", "in", "--overwrite")
    assert own.exit_code == 2
    assert "would replace its own input" in own.output
    for option, sentence in (
        (["--mask", "in/a.png"], "not learned for inpainting"),
        (["--set", "sigma=2"], "sigma: Extra inputs"),
        (["--format", "gif"], "found 'gif'"),
        (["--accuracy", "0"], "expected a positive number"),
    ):
        wrong = call("reconstruct", finished, "in/a.png", "-o", "other", *option)
        assert wrong.exit_code == 2
        assert sentence in text_of(wrong)


def test_reconstruct_with_masks_and_other_blurs(here):
    for kind in ("mask", "blur"):
        done = call("learn", "my.toml", "-q", "-o", kind, "--set", f"physics.kind={kind}", "--set", "run.max_steps=1")
        assert done.exit_code == 0, done.output
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 255, (20, 24), dtype=np.uint8)).save(here / "y.png")
    Image.fromarray((random.random((20, 24)) > 0.5).astype(np.uint8) * 255).save(here / "mask.png")
    refused = call("reconstruct", "mask", "y.png")
    assert refused.exit_code == 2
    assert "pass --mask" in refused.output
    assert call("reconstruct", "mask", "y.png", "--mask", "mask.png", "-o", "one").exit_code == 0
    assert call("reconstruct", "blur", "y.png", "-o", "one", "--overwrite").exit_code == 0
    assert call("reconstruct", "blur", "y.png", "-o", "two", "--set", "sigma=0.5").exit_code == 0
    assert (here / "one" / "y.png").read_bytes() != (here / "two" / "y.png").read_bytes()


def test_evaluate_own_test_images_and_a_folder(here, finished):
    own = call("evaluate", finished, "--csv", "table.csv")
    assert own.exit_code == 0
    assert all(word in own.output for word in ("PSNR", "SSIM", "mean", "std", "phantom 3"))
    assert len((here / "table.csv").read_text().splitlines()) == 3
    (here / "photos").mkdir()
    yy, xx = np.mgrid[:24, :30]
    Image.fromarray(((yy > 8) * (xx > 9) * 200).astype(np.uint8)).save(here / "photos" / "a.png")
    other = call("evaluate", finished, "--images", "photos", "--csv", "other.csv")
    assert other.exit_code == 0, other.output
    name, *figures = (here / "other.csv").read_text().splitlines()[1].split(",")
    noisy, learned = (float(f) for f in figures[:2])
    assert name == "a"
    assert 19 < noisy < 21
    assert learned > noisy + 3
    assert "applies to a folder" in call("evaluate", finished, "--crop", "8").output


def test_resume_goes_on_after_the_step_limit(here):
    call("learn", "my.toml", "-q", "-o", "short", "--set", "run.max_steps=1")
    call("learn", "my.toml", "-q", "-o", "long", "--set", "run.max_steps=3")
    resumed = call("resume", "short", "--max-steps", "3", "-q")
    assert resumed.exit_code == 0, resumed.output
    assert (here / "short" / "model.safetensors").read_bytes() == (here / "long" / "model.safetensors").read_bytes()
    (here / "short" / "config.toml").unlink()
    assert "learn again" in call("resume", "short").output


def test_ctrl_c_half_way_leaves_a_finished_run_directory_that_can_be_resumed(here):
    arguments = ["learn", "my.toml", "-o", "run", "--set", "optimizer.kind=torch", "--set", "run.max_steps=100000"]
    arguments += ["--set", "optimizer.tolerance=1e-12", "--set", "optimizer.lr=1e-4"]
    process = start(arguments)
    wait_for_rows(here / "run" / "history.jsonl", process)
    os.kill(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "bilearn resume run" in errors
    assert "Traceback" not in errors
    assert "interrupted by the user" in output
    assert json.loads((here / "run" / "summary.json").read_text())["status"] == "interrupted by the user"
    assert (here / "run" / "report.html").exists()
    assert (here / "run" / "model.json").exists()
    steps = json.loads((here / "run" / "summary.json").read_text())["steps"]
    resumed = call("resume", "run", "--max-steps", str(steps + 2), "-q")
    assert resumed.exit_code == 0, resumed.output
    assert json.loads((here / "run" / "summary.json").read_text())["steps"] == steps + 2


def test_help_is_light():
    script = (
        "import sys\nfrom bilearn.cli.main import main\nsys.argv = ['bilearn', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('HEAVY', [m for m in ('torch', 'deepinv', 'numpy', 'scipy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
