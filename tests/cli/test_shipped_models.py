"""``reconstruct --model`` and ``retune`` with the models that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from bilearn.cli.main import app
from bilearn.model import load_model

CONFIG = """
name = "holes"
[data]
source = "phantoms"
size = 16
train = 2
test = 1
[physics]
kind = "mask"
keep = 0.6
[noise]
kind = "gaussian"
sigma = 0.02
"""


def call(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text(CONFIG)
    noise = np.random.default_rng(0).normal(128, 25, (24, 20)).clip(0, 255)
    Image.fromarray(noise.astype(np.uint8)).save(tmp_path / "y.png")
    return tmp_path


def test_reconstruct_by_name(here: Path) -> None:
    done = call("reconstruct", "--model", "crr", "y.png", "-o", "out")
    assert done.exit_code == 0, done.output
    assert "certified within" in done.output
    with Image.open(here / "out" / "y.png") as picture:
        assert np.asarray(picture).std() < 0.6 * np.asarray(Image.open(here / "y.png")).std()
    missing = call("reconstruct", "y.png")
    assert missing.exit_code == 2
    assert "expected a model and at least one image" in " ".join(missing.output.split())


def test_retune_writes_a_model_for_the_new_operator(here: Path) -> None:
    done = call("retune", "crr", "my.toml", "-o", "holes", "--number", "weight")
    assert done.exit_code == 0, done.output
    assert "tuned on 2 pairs: weight = " in done.output
    assert "1 test images" in done.output
    model, shipped = load_model("holes"), load_model("crr")
    assert model.description["physics"] == {"kind": "mask", "keep": 0.6}
    for name, value in shipped.energy.regularizer.bank.state_dict().items():
        assert bool((model.energy.regularizer.bank.state_dict()[name] == value).all())
    assert float(model.parameters["regularizer.weight"]) != float(shipped.parameters["regularizer.weight"])
    again = call("retune", "crr", "my.toml", "-o", "holes")
    assert again.exit_code == 2
    assert "holds a model" in again.output
    wrong = call("retune", "crr", "my.toml", "-o", "other", "--number", "alpha")
    assert wrong.exit_code == 2
    assert "names: found 'alpha'" in " ".join(wrong.output.split())
