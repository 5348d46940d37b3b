"""Learned models that come with the package, by name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent / "models"


def shipped_names() -> list[str]:
    """Names of the models that come with the package."""
    return sorted(entry.parent.name for entry in FOLDER.glob("*/model.json"))


def model_folder(path: str | Path) -> Path:
    """The folder of a shipped model where ``path`` is its name and no file of that name exists; else ``path``."""
    given = Path(path).expanduser()
    return FOLDER / str(path) if not given.exists() and str(path) in shipped_names() else given
