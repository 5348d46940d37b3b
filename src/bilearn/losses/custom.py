"""Any function (x, target) -> (B,) as an upper-level loss."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch
from bilearn.losses.loss import UpperLoss, scaled_variation, slack, smooth_interval


@dataclass(frozen=True)
class CallableLoss(UpperLoss):
    """A user's loss; its constants, where given, are what makes bounds finite.

    Args:
        fn: (x, target) -> (B,), differentiable by torch.
        lipschitz: constant with |fn(x') - fn(x)| <= lipschitz |x' - x| per sample, or None where unknown.
        smoothness: Lipschitz constant of fn's gradient in x per sample, or None where unknown.

    Raises:
        ValueError: if a constant is not positive, or (when called) ``fn`` does not return one number per sample.
    """

    fn: Callable[[Tensor, Tensor], Tensor]
    lipschitz: float | None = None
    smoothness: float | None = None

    def __post_init__(self) -> None:
        for name in ("lipschitz", "smoothness"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: found {value}, expected a positive number, or None where it is unknown")

    @property
    def name(self) -> str:
        """Name of the wrapped function."""
        return getattr(self.fn, "__name__", type(self.fn).__name__)

    @property
    def _constants(self) -> tuple[float, float]:
        smoothness = math.inf if self.smoothness is None else self.smoothness
        return smoothness, math.inf if self.lipschitz is None else self.lipschitz

    def __call__(self, x: Tensor, target: Tensor) -> Tensor:
        value = self.fn(x, target)
        if value.shape != (_batch.size(x),):
            raise ValueError(
                f"loss {self.name}: found a result of shape {tuple(value.shape)}, expected ({_batch.size(x)},), one number "
                "per sample; reduce over all axes but the first"
            )
        return value

    def interval(self, x: Tensor, target: Tensor, radius: Tensor) -> tuple[Tensor, Tensor]:
        """From the given constants; infinite without any."""
        with torch.no_grad():
            value = self(x, target)
        steepness = _batch.norm(self.grad(x, target))
        low, high = smooth_interval(value, steepness, *self._constants, radius)
        return low - slack(value, x), high + slack(value, x)

    def grad_variation(self, x: Tensor, target: Tensor, radius: Tensor) -> Tensor:
        """min(smoothness R, 2 lipschitz); infinite without any."""
        return scaled_variation(*self._constants, radius)


def as_loss(loss: UpperLoss | Callable[[Tensor, Tensor], Tensor]) -> UpperLoss:
    """An :class:`UpperLoss` as it is; any other callable (x, target) -> (B,) without constants.

    Raises:
        TypeError: if ``loss`` is not callable.
    """
    if isinstance(loss, UpperLoss):
        return loss
    if not callable(loss):
        raise TypeError(f"loss: found {type(loss).__name__}, expected an UpperLoss or a function (x, target) -> (B,)")
    return CallableLoss(loss)
