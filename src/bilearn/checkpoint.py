"""Atomic checkpoints: a tree of tensors and plain values in one file, written beside the old one and swapped in."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch

from bilearn._files import replacing

FILE = "checkpoint.pt"
FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint that cannot be used."""


def save_checkpoint(folder: str | Path, tree: dict[str, Any]) -> Path:
    """Write ``tree`` to ``folder/checkpoint.pt``: temporary file, flush to disk, rename.

    A crash at any moment leaves either the old checkpoint or the new one.

    Args:
        folder: created where missing.
        tree: nested dictionaries, lists and tuples of tensors, numbers, strings and None.
    """
    target = Path(folder) / FILE
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target) as file:
        torch.save({"format": FORMAT, "tree": tree}, file)
    return target


def load_checkpoint(folder: str | Path) -> dict[str, Any]:
    """The tree stored in ``folder``; nothing in the file is executed (``weights_only``).

    Raises:
        CheckpointError: if there is none, or it is damaged or of another format.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no checkpoint; the run ended before its first step, learn again instead of resuming"
        )
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise CheckpointError(f"{path}: damaged ({error}); learn again") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version of bilearn; learn again")
    return content["tree"]
