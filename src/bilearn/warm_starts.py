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
        kept: first of the samples whose rows are kept here, and the one after the last; all if None. Every ``index`` is a
            subset of them.
    """

    def __init__(self, samples: int, kept: tuple[int, int] | None = None) -> None:
        self._samples = samples
        self._first, end = (0, samples) if kept is None else kept
        self._size = end - self._first
        self._values: dict[str, Tensor] = {}
        self._filled: dict[str, Tensor] = {}
        self._axes: dict[str, int] = {}

    def get(self, kind: str, index: Tensor) -> Tensor | None:
        """Rows ``index`` along the sample axis, or None unless all of them are stored."""
        rows = index - self._first
        if kind not in self._values or not bool(self._filled[kind][rows].all()):
            return None
        return self._values[kind].index_select(self._axes[kind], rows)

    def put(self, kind: str, index: Tensor, value: Tensor, axis: int = 0) -> None:
        """Store the finite rows of ``value``, whose sample axis is ``axis``."""
        rows = value.transpose(0, axis) if axis else value
        finite = torch.isfinite(_batch.norm(rows))
        if kind not in self._values or self._values[kind].dtype != value.dtype:
            shape = list(value.shape)
            shape[axis] = self._size
            self._values[kind] = value.new_zeros(shape)
            self._axes[kind] = axis
            self._filled[kind] = torch.zeros(self._size, dtype=torch.bool, device=value.device)
        index = index - self._first
        if not bool(finite.all()):
            keep = finite.nonzero().squeeze(1)
            index, value = index[keep], value.index_select(axis, keep)
        self._values[kind].index_copy_(axis, index, value)
        self._filled[kind][index] = True

    def tree(self) -> dict[str, Any]:
        """Everything stored, for a checkpoint; tensors are not copied."""
        return {
            "values": dict(self._values),
            "filled": dict(self._filled),
            "axes": dict(self._axes),
            "size": self._size,
        }

    @staticmethod
    def joined(trees: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """One tree from those of all processes, in their order."""
        if len(trees) == 1:
            return trees[0]
        joined: dict[str, Any] = {"values": {}, "filled": {}, "axes": {}, "size": sum(tree["size"] for tree in trees)}
        for kind in dict.fromkeys(kind for tree in trees for kind in tree["values"]):
            parts = [
                {"values": tree["values"].get(kind), "filled": tree["filled"].get(kind), "axis": tree["axes"].get(kind)}
                for tree in trees
            ]
            rows = _joined_kind(parts, [tree["size"] for tree in trees])
            joined["values"][kind], joined["filled"][kind], joined["axes"][kind] = rows.values()
        return joined

    def restore(self, tree: dict[str, Any], device: torch.device) -> None:
        """Replace everything by a copy of what :meth:`tree` gave for all samples.

        Raises:
            ValueError: if it belongs to another number of samples.
        """
        for rows in tree["filled"].values():
            if rows.numel() != self._samples:
                raise ValueError(
                    f"checkpoint: found warm starts of {rows.numel()} samples, expected {self._samples}; "
                    "the data are not those of the checkpoint"
                )
        self._axes = dict(tree["axes"])
        self._values = {
            kind: self._own(value, self._axes[kind]).clone().to(device) for kind, value in tree["values"].items()
        }
        self._filled = {kind: self._own(rows, 0).clone().to(device) for kind, rows in tree["filled"].items()}

    def _own(self, rows: Tensor, axis: int) -> Tensor:
        """The rows kept here, of those of all samples."""
        return rows if rows.shape[axis] == self._size else rows.narrow(axis, self._first, self._size)

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
            self._axes[kind] = rows["axis"]
            self._values[kind] = self._own(rows["values"], rows["axis"]).clone()
            self._filled[kind] = self._own(rows["filled"], 0).clone()

    def rows(self, copy: dict[str, Any], kind: str, index: Tensor) -> Tensor | None:
        """Rows ``index`` of one kind of a :meth:`copy`, or None unless all of them are stored."""
        place = index - self._first
        if kind not in copy or not bool(self._own(copy[kind]["filled"], 0)[place].all()):
            return None
        return self._own(copy[kind]["values"], copy[kind]["axis"]).index_select(copy[kind]["axis"], place)

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._filled.clear()
        self._axes.clear()


def whole(trees: Sequence[Any], kept: Sequence[tuple[int, int]]) -> Any:
    """One tree from those of all processes: every :meth:`WarmStarts.copy` in it gets the rows of all, the rest is the first's.

    Args:
        trees: of all processes in order, alike but for the rows.
        kept: first sample of each process, and the one after its last.
    """
    first = trees[0]
    if isinstance(first, list | tuple):
        return type(first)(whole(parts, kept) for parts in zip(*trees, strict=True))
    if not isinstance(first, dict):
        return first
    kinds = dict.fromkeys(kind for tree in trees for kind in tree)
    entries = [tree[kind] for tree in trees for kind in tree]
    if entries and all(isinstance(entry, dict) and set(entry) == _COPY for entry in entries):
        sizes = [end - begin for begin, end in kept]
        return {kind: _joined_kind([tree.get(kind, {}) for tree in trees], sizes) for kind in kinds}
    return {key: whole([tree[key] for tree in trees], kept) for key in first}


_COPY = {"values", "filled", "axis"}


def _joined_kind(parts: Sequence[dict[str, Any]], sizes: Sequence[int]) -> dict[str, Any]:
    """Rows of one kind, after one another; zeros that are not offered where a process has none."""
    known = next(part for part in parts if part.get("values") is not None)
    axis, like = known["axis"], known["values"]
    values, filled = [], []
    for part, size in zip(parts, sizes, strict=True):
        if part.get("values") is None:
            shape = [*like.shape[:axis], size, *like.shape[axis + 1 :]]
            part = {"values": like.new_zeros(shape), "filled": known["filled"].new_zeros(size)}
        values.append(part["values"].to(like))
        filled.append(part["filled"].to(known["filled"]))
    return {"values": torch.cat(values, axis), "filled": torch.cat(filled), "axis": axis}


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
