"""The command line in several processes, as torchrun starts them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from processes import heed_interrupts
from typer.testing import CliRunner

from bilearn.cli.main import app

TINY = """
name = "tiny"
[data]
source = "phantoms"
size = 16
train = 3
validation = 1
test = 1
[optimizer]
kind = "torch"
tolerance = 1e-12
lr = 1e-4
[run]
max_steps = 100000
threads = 1
"""


def test_ctrl_c_ends_both_processes_in_order_and_one_process_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text(TINY)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    process = subprocess.Popen(
        [*command, "-m", "bilearn", "learn", "my.toml", "-o", "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=heed_interrupts,
    )
    history = tmp_path / "run" / "history.jsonl"
    deadline = time.monotonic() + 120
    try:
        while not (history.exists() and history.read_text().count("\n") >= 3):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=120)
    finally:
        process.terminate()
    assert errors.count("bilearn: interrupted; continue with: bilearn resume run") == 1, errors
    assert output.count("interrupted by the user") == 2
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["status"] == "interrupted by the user"
    assert json.loads((tmp_path / "run" / "environment.json").read_text())["processes"] == 2
    assert (tmp_path / "run" / "report.html").exists()
    rows = [json.loads(line) for line in history.read_text().splitlines()]
    assert [row["evaluation"] for row in rows] == list(range(1, len(rows) + 1))

    resumed = CliRunner().invoke(app, ["resume", "run", "--max-steps", str(summary["steps"] + 1), "-q"])
    assert resumed.exit_code == 0, resumed.output
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == summary["steps"] + 1


def test_too_many_processes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bilearn.distributed import Processes
    from bilearn.experiment import parse_config
    from bilearn.experiment.session import build

    class Eight(Processes):
        count = 8

    with pytest.raises(
        ValueError, match=r"data\.train: found 3 training images for 8 processes, expected at least one"
    ):
        build(parse_config(TINY, "tiny", "tiny"), Eight())
    monkeypatch.setenv("RANK", "1")
    wrong = CliRunner().invoke(app, ["learn", "missing.toml"])
    assert "bilearn (process 1): missing.toml: no such file" in " ".join(wrong.output.split())
