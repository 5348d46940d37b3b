"""A start for learned regularizers: one gradient step should denoise, which needs no lower-level solve."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.parameters import Identity, ParameterVector
from bilearn.regularizers import Regularizer


@dataclass(frozen=True)
class ScoreMatching:
    """min over theta of E |y - grad R(y; theta) - x|^2 / (pixels sigma^2),  y = x + sigma noise, by Adam on random patches.

    The minimizer over all functions is grad R(y) = -sigma^2 times the score of the noisy images (Tweedie's formula), so that
    R is up to a factor their negative log-density where a regularizer can represent it. A step costs one gradient and one
    mixed product. The result is of the right shape but not of the right size for a given noise level: fit scale and weight,
    then learn in a bilevel way.

    1. Draw ``batch`` patches of ``size`` pixels, turned and flipped at random, and noise.
    2. r = y - grad R(y) - x on the pixels at least ``margin`` away from the border; the gradient of |r|^2 in theta is that
       of -2 <grad R(y), r>, r held fixed.
    3. Adam with a cosine schedule; numbers with bounds (weights, gains) move by ``number_rate`` in their coordinate, all
       others by ``rate``; project on the box.

    Vincent, "A connection between score matching and denoising autoencoders", Neural Computation 23, 2011; as a start of
    bilevel learning in Hertrich et al., arXiv 2510.01755.

    Args:
        sigma: noise of the patches.
        steps, batch, size, margin: as above.
        rate, number_rate: largest step lengths.
        seed: of patches and noise.

    Raises:
        ValueError: if a number is out of range.
    """

    sigma: float = 0.03
    steps: int = 700
    batch: int = 8
    size: int = 64
    margin: int = 6
    rate: float = 5e-3
    number_rate: float = 1e-2
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("sigma", "steps", "batch", "size", "rate", "number_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"ScoreMatching.{name}: found {getattr(self, name)}, expected a positive number")
        if not 0 <= self.margin < self.size / 2:
            raise ValueError(f"ScoreMatching.margin: found {self.margin}, expected at least 0 and below size/2")

    def run(
        self, regularizer: Regularizer, images: Tensor, observer: Callable[[int, float], None] | None = None
    ) -> float:
        """Change the regularizer's learnable parameters in place.

        Args:
            regularizer: R.
            images: (N, C, H, W) true images in [0, 1].
            observer: called with the number of the step and its loss.

        Returns:
            Mean loss over the last tenth of the steps; 1 is what grad R = 0 gives.

        Raises:
            ValueError: if images are smaller than ``size``.
        """
        if images.ndim != 4 or min(images.shape[-2:]) < self.size:
            raise ValueError(
                f"images: found shape {tuple(images.shape)}, expected (N, C, H, W) with at least {self.size} pixels"
            )
        generator = torch.Generator().manual_seed(self.seed)
        vector = ParameterVector(regularizer)
        free = [s.parameter for s in vector.slots if isinstance(s.coordinate, Identity)]
        bounded = [s.parameter for s in vector.slots if not isinstance(s.coordinate, Identity)]
        groups = [{"params": p, "lr": lr} for p, lr in ((free, self.rate), (bounded, self.number_rate)) if p]
        adam = torch.optim.Adam(groups, betas=(0.9, 0.99))
        cosine = torch.optim.lr_scheduler.LambdaLR(
            adam, lambda k: 0.01 + 0.5 * (1 + math.cos(math.pi * k / self.steps))
        )
        losses = []
        for step in range(self.steps):
            x = random_patches(images, self.batch, self.size, generator)
            y = x + self.sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)
            losses.append(self._differentiate(regularizer, vector, x, y))
            adam.step()
            cosine.step()
            vector.set(vector.project(vector.get()))
            if observer is not None:
                observer(step, losses[-1])
        last = losses[-max(1, self.steps // 10) :]
        return sum(last) / len(last)

    def _differentiate(self, regularizer: Regularizer, vector: ParameterVector, x: Tensor, y: Tensor) -> float:
        """Loss of one batch; sets the gradients of the parameters."""
        m = self.margin
        with torch.no_grad():
            difference = y - regularizer.grad(y) - x
            r = torch.zeros_like(x)
            inside = (..., slice(m, x.shape[-2] - m), slice(m, x.shape[-1] - m))
            r[inside] = difference[inside]
            scale = self.sigma**2 * r[inside].numel()
        with torch.enable_grad():
            slopes = torch.autograd.grad(regularizer.directional(y, r), vector.parameters, materialize_grads=True)
        for parameter, slope in zip(vector.parameters, slopes, strict=True):
            parameter.grad = -2 / scale * slope
        return float(r.square().sum()) / scale


def random_patches(images: Tensor, count: int, size: int, generator: torch.Generator) -> Tensor:
    """(count, C, size, size) patches at random places of random images (N, C, H, W), turned and flipped at random."""
    patches = []
    for _ in range(count):
        image = images[int(torch.randint(len(images), (1,), generator=generator))]
        top, left = (int(torch.randint(n - size + 1, (1,), generator=generator)) for n in image.shape[-2:])
        patch = image[:, top : top + size, left : left + size]
        turns, flip = torch.randint(8, (1,), generator=generator).item() % 4, torch.rand(1, generator=generator) < 0.5
        patch = torch.rot90(patch, int(turns), (-2, -1))
        patches.append(patch.flip(-1) if bool(flip) else patch)
    return torch.stack(patches)
