"""Memories of variance reduction: the last value of a quantity on every batch, and their weighted mean."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from bilearn.stochastic.sampler import Batch


class GradientTable:
    """SAGA's memory of one quantity: rows m_b for each batch b and the mean sum_b w_b m_b.

    The mean is updated with every row and computed afresh once in as many exchanges as there are rows, so that rounding does
    not pile up.

    Args:
        weights: (K,) w_b of the batches, adding up to 1.
        like: (n,) a vector of the size, dtype and device of the rows.
        path: file for the rows, memory-mapped: for tables that do not fit into memory (CPU only). None keeps them in memory.

    Raises:
        ValueError: if the weights do not add up to 1.
    """

    def __init__(self, weights: Tensor, like: Tensor, path: Path | None = None) -> None:
        if abs(float(weights.sum()) - 1.0) > 1e-6:
            raise ValueError(f"weights: found a sum of {float(weights.sum()):.6g}, expected 1")
        self._weights = weights.to(like)
        count, width = weights.numel(), like.numel()
        if path is None:
            self._rows = like.new_zeros(count, width)
        else:
            mapped = torch.from_file(str(path), shared=True, size=count * width, dtype=like.dtype)
            self._rows = mapped.zero_().reshape(count, width)
        self._mean = torch.zeros_like(like)
        self._exchanges = 0

    @property
    def mean(self) -> Tensor:
        """(n,) weighted mean of the rows."""
        return self._mean

    def exchange(self, batch: Batch, value: Tensor) -> Tensor:
        """Put ``value`` in the row of ``batch``; return the reduced direction scale (value - m_b) + mean before it.

        Its mean over uniformly drawn batches is the full mean of the values, whatever the rows hold and also where the last
        batch is smaller than the others.
        """
        difference = value - self._rows[batch.number]
        direction = batch.scale * difference + self._mean
        self._rows[batch.number] = value
        self._mean = self._mean + batch.weight * difference
        self._exchanges += 1
        if self._exchanges % self._rows.shape[0] == 0:
            self._mean = self._weights @ self._rows
        return direction
