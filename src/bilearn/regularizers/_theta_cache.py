"""Values that depend on the parameters of a module only, computed once per theta."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import nn

T = TypeVar("T")


class ThetaCache:
    """Results by role, recomputed when a parameter was written. Without effect in grad mode. Copies start empty."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def get(self, role: str, module: nn.Module, options: tuple[Any, ...], compute: Callable[[], T]) -> T:
        """``compute()``, or what it returned for the same role, options and parameter values.

        Args:
            role: name of the value.
            module: whose parameters the value depends on.
            options: whatever else it depends on, such as dtype and device.
            compute: makes the value; must not depend on anything else.
        """
        if torch.is_grad_enabled():
            return compute()
        key = (options, tuple((p.data_ptr(), p._version, p.dtype) for p in module.parameters()))
        found = self._kept.get(role)
        if found is None or found[0] != key:
            found = (key, compute())
            self._kept[role] = found
        return found[1]

    def __deepcopy__(self, memo: dict[int, Any]) -> ThetaCache:
        return ThetaCache()

    def __getstate__(self) -> dict[str, Any]:
        return {"_kept": {}}
