"""Batches drawn without replacement: each exactly once an epoch, the last one as small as it is."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One draw.

    Attributes:
        number: which batch b it is.
        index: its samples.
        weight: w_b = |b| / N, so that the weighted batch means add up to the full mean.
        scale: w_b times the number of batches: what makes the mean of a batch drawn uniformly unbiased for the full mean. 1
            where all batches have the same size.
    """

    number: int
    index: Tensor
    weight: float
    scale: float


@dataclass(frozen=True)
class SamplerState:
    """Order of the present epoch, position in it, and the state of the generator."""

    order: Tensor
    position: int
    generator: Tensor


@dataclass(frozen=True)
class BatchSampler:
    """Cuts N samples into ceil(N / size) consecutive batches, fixed for the run, and draws a permutation of them each epoch.

    Args:
        samples: N.
        size: samples in a batch; the last one has the rest.

    Raises:
        ValueError: if a number is not positive.
    """

    samples: int
    size: int

    def __post_init__(self) -> None:
        for name in ("samples", "size"):
            if getattr(self, name) < 1:
                raise ValueError(f"BatchSampler.{name}: found {getattr(self, name)}, expected at least 1")

    @property
    def batches(self) -> int:
        """Number of batches."""
        return math.ceil(self.samples / self.size)

    def batch(self, number: int) -> Batch:
        """Batch ``number``."""
        index = torch.arange(number * self.size, min((number + 1) * self.size, self.samples))
        weight = index.numel() / self.samples
        return Batch(number, index, weight, weight * self.batches)

    def init(self, seed: int) -> SamplerState:
        """State before the first epoch."""
        generator = torch.Generator().manual_seed(seed)
        return SamplerState(torch.empty(0, dtype=torch.int64), 0, generator.get_state())

    def draw(self, state: SamplerState) -> tuple[Batch, SamplerState]:
        """The next batch and the state after it."""
        if state.position >= state.order.numel():
            generator = torch.Generator()
            generator.set_state(state.generator)
            order = torch.randperm(self.batches, generator=generator)
            state = SamplerState(order, 0, generator.get_state())
        number = int(state.order[state.position])
        return self.batch(number), replace(state, position=state.position + 1)
