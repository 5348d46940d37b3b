"""Scratch tensors reused between calls: fresh temporaries cost more in page faults than in arithmetic."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Workspace:
    """Scratch tensors by role, remade when shape, dtype or device change. Copies start empty. Not for several threads."""

    def __init__(self) -> None:
        self._tensors: dict[str, Tensor] = {}

    def take(self, role: str, like: Tensor) -> Tensor:
        """An uninitialized tensor shaped like ``like``, valid until the same role is taken again."""
        kept = self._tensors.get(role)
        if kept is None or kept.shape != like.shape or kept.dtype != like.dtype or kept.device != like.device:
            kept = torch.empty_like(like, memory_format=torch.contiguous_format)
            self._tensors[role] = kept
        return kept

    def __deepcopy__(self, memo: dict[int, Any]) -> Workspace:
        return Workspace()

    def __getstate__(self) -> dict[str, Any]:
        return {"_tensors": {}}
