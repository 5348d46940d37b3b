"""Commands in processes of their own, to be interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path


def heed_interrupts() -> None:
    """Undo what a shell does to background jobs, whose children would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """``bilearn ARGUMENTS`` in a new process."""
    script = "from bilearn.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )


def wait_for_rows(history: Path, process: subprocess.Popen[str], seconds: float = 120.0) -> None:
    """Return once the history has three rows; fail where the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    while not (history.exists() and history.read_text().count("\n") >= 3):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)
