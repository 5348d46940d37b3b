"""What is remembered of every sample between evaluations: reconstruction, adjoint, tangents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.energy import Energy


class WarmStarts:
    """Starts of the next solves, one row per sample, kept in one tensor per kind.

    Kinds are named by the caller. A row is offered only after it was stored; rows that are not finite are not stored.

    Args:
        samples: number of samples N.
    """

    def __init__(self, samples: int) -> None:
        self._samples = samples
        self._values: dict[str, Tensor] = {}
        self._filled: dict[str, Tensor] = {}
        self._axes: dict[str, int] = {}

    def get(self, kind: str, index: Tensor) -> Tensor | None:
        """Rows ``index`` along the sample axis, or None unless all of them are stored."""
        if kind not in self._values or not bool(self._filled[kind][index].all()):
            return None
        return self._values[kind].index_select(self._axes[kind], index)

    def put(self, kind: str, index: Tensor, value: Tensor, axis: int = 0) -> None:
        """Store the finite rows of ``value``, whose sample axis is ``axis``."""
        rows = value.transpose(0, axis) if axis else value
        finite = torch.isfinite(_batch.norm(rows))
        if kind not in self._values or self._values[kind].dtype != value.dtype:
            shape = list(value.shape)
            shape[axis] = self._samples
            self._values[kind] = value.new_zeros(shape)
            self._axes[kind] = axis
            self._filled[kind] = torch.zeros(self._samples, dtype=torch.bool, device=value.device)
        if not bool(finite.all()):
            keep = finite.nonzero().squeeze(1)
            index, value = index[keep], value.index_select(axis, keep)
        self._values[kind].index_copy_(axis, index, value)
        self._filled[kind][index] = True

    def tree(self) -> dict[str, dict[str, Any]]:
        """Everything stored, for a checkpoint; tensors are not copied."""
        return {"values": dict(self._values), "filled": dict(self._filled), "axes": dict(self._axes)}

    def restore(self, tree: dict[str, dict[str, Any]], device: torch.device) -> None:
        """Replace everything by a copy of what :meth:`tree` gave.

        Raises:
            ValueError: if it belongs to another number of samples.
        """
        for rows in tree["filled"].values():
            if rows.numel() != self._samples:
                raise ValueError(
                    f"checkpoint: found warm starts of {rows.numel()} samples, expected {self._samples}; "
                    "the data are not those of the checkpoint"
                )
        self._values = {kind: value.clone().to(device) for kind, value in tree["values"].items()}
        self._filled = {kind: rows.clone().to(device) for kind, rows in tree["filled"].items()}
        self._axes = dict(tree["axes"])

    def copy(self, kinds: Sequence[str]) -> dict[str, Any]:
        """Copies of the stored rows of some kinds, for :meth:`overwrite`."""
        present = [kind for kind in kinds if kind in self._values]
        return {
            kind: {"values": self._values[kind].clone(), "filled": self._filled[kind].clone(), "axis": self._axes[kind]}
            for kind in present
        }

    def overwrite(self, copy: dict[str, Any]) -> None:
        """Replace the kinds of a :meth:`copy`, which is copied again; other kinds stay."""
        for kind, rows in copy.items():
            self._values[kind], self._filled[kind] = rows["values"].clone(), rows["filled"].clone()
            self._axes[kind] = rows["axis"]

    @staticmethod
    def rows(copy: dict[str, Any], kind: str, index: Tensor) -> Tensor | None:
        """Rows ``index`` of one kind of a :meth:`copy`, or None unless all of them are stored."""
        if kind not in copy or not bool(copy[kind]["filled"][index].all()):
            return None
        return copy[kind]["values"].index_select(copy[kind]["axis"], index)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._filled.clear()
        self._axes.clear()


def predict(energy: Energy, y: Tensor, x: Tensor, tangents: Tensor, steps: Tensor) -> Tensor:
    """Start for a new theta: per sample x or its first-order prediction, whichever has the smaller gradient there.

    Args:
        energy: the energy at the new theta.
        y: (B, ...) data.
        x: (B, ...) reconstructions at earlier theta.
        tangents: (P, B, ...) their derivatives in theta, possibly from a theta before that.
        steps: (B, P) change of theta since x was computed.

    Returns:
        (B, ...) start. Costs two gradients per sample.
    """
    weights = steps.T.to(x.device, _batch.norm(x).dtype)
    moved = x + (tangents * _batch.expand(weights, tangents)).sum(0)
    with torch.no_grad():
        better = _batch.norm(energy.grad(moved, y)) < _batch.norm(energy.grad(x, y))
    return _batch.where(better, moved, x)
