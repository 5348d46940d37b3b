"""``import bilearn`` costs little more than ``import torch`` and pulls in nothing heavy."""

from __future__ import annotations

import re
import subprocess
import sys

HEAVY = (
    "deepinv", "matplotlib", "skimage", "PIL", "typer", "rich", "pydantic", "optuna", "tensorboard", "torch.utils.tensorboard",
    "h5py", "scipy", "torchvision", "tqdm",
)  # fmt: skip


def python(code: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter with this one's path."""
    prefix = f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}; "
    return subprocess.run([sys.executable, *options, "-c", prefix + code], capture_output=True, text=True, check=True)


def test_imports_nothing_heavy() -> None:
    code = (
        "import torch; before = set(sys.modules); import bilearn; print(*sorted(set(sys.modules) - before)); "
        "[getattr(bilearn, name) for name in bilearn.__all__]; print(*sorted(set(sys.modules) - before))"
    )
    bare, used = (set(line.split()) for line in python(code).stdout.splitlines())
    assert "bilearn" in bare
    assert not sorted(bare & set(HEAVY))
    assert "bilearn.variational" in used
    assert not sorted(used & {"deepinv", "matplotlib", "skimage", "typer", "pydantic", "optuna", "tensorboard"})


def test_adds_at_most_300_ms_to_torch() -> None:
    log = python("import torch; import bilearn", "-X", "importtime").stderr
    cumulative = [int(m[1]) for m in re.finditer(r"\|\s*(\d+) \| bilearn$", log, re.MULTILINE)]
    assert len(cumulative) == 1
    assert cumulative[0] < 300_000, f"import bilearn took {cumulative[0] / 1000:.0f} ms on top of torch"
