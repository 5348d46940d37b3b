"""Any network with a scalar output per image as a regularizer."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.curvature import UNKNOWN_UPPER, Constant, Curvature
from bilearn.parameters import Log10, learnable
from bilearn.regularizers.regularizer import Regularizer

_NAMES = ("weight", "scale")


class NetworkRegularizer(Regularizer):
    """R(x) = a/t^2 f(t x), f(z) the sum of the network's outputs for one image.

    Gradients and Hessian products come from autograd. f must be differentiable: with smooth activations the energy is C2; with
    ReLU the gradient jumps and nothing converges to small gradients. Nothing is known of the curvature unless f is declared
    convex: then mu = 0 of the regularizer is, and with a strongly convex data term distances are certified.

    An input-convex network is ``NetworkRegularizer(icnn, convex=True)``, a difference of two
    ``Sum(NetworkRegularizer(f, convex=True), ...)`` with the sign in the second module's output, a least-squares residual
    around a denoiser a module that returns |z - denoiser(z)|^2/2.

    Args:
        module: maps images (B, C, H, W) to (B, ...); its parameters are learned as their flags say.
        weight: a > 0.
        scale: t > 0.
        convex: whether f is convex for every value of its learned parameters. Not checked.
        learn: which of "weight" and "scale" are learned.
        one_by_one: give the module one image at a time. Needed where it mixes the images of a batch, as deepinv's ``ICNN`` does
            (version 0.5.0 adds (B, 1) to (B,)); ``bilearn.testing.check_energy`` finds out.

    Raises:
        ValueError: if ``learn`` names anything else, or a number is not positive.
    """

    weight: Tensor
    scale: Tensor

    def __init__(
        self,
        module: nn.Module,
        weight: float = 1.0,
        scale: float = 1.0,
        convex: bool = False,
        learn: Collection[str] = _NAMES,
        one_by_one: bool = False,
    ) -> None:
        super().__init__()
        unknown = sorted(set(learn) - set(_NAMES))
        if unknown:
            raise ValueError(f"learn: found {unknown}, expected names out of {list(_NAMES)}")
        self.module, self.convex, self.one_by_one = module, convex, one_by_one
        learnable(self, "weight", weight, Log10((1e-7, 1e7)), "weight" in learn)
        learnable(self, "scale", scale, Log10((1e-3, 1e3)), "scale" in learn)

    def forward(self, x: Tensor) -> Tensor:
        """Value (B,).

        Raises:
            ValueError: if the network does not keep one output, or several, per image.
        """
        scale = self.scale.to(x)
        z = scale * x
        output = torch.cat([self.module(image) for image in z.split(1)]) if self.one_by_one else self.module(z)
        if output.ndim == 0 or output.shape[0] != x.shape[0]:
            raise ValueError(
                f"module: found an output of shape {tuple(output.shape)} for {x.shape[0]} images, expected one row per image; "
                "do not average over the batch"
            )
        return (self.weight.to(x) / scale.square()) * _batch.total(output)

    def curvature(self, like: Tensor) -> Curvature:
        """mu = 0 where f is declared convex; everything else is unknown."""
        if not self.convex:
            return Curvature()
        return Curvature(Constant(torch.zeros((), dtype=like.dtype, device=like.device)), UNKNOWN_UPPER)
