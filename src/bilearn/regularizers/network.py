"""Any network with a scalar output per image as a regularizer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.curvature import UNKNOWN_UPPER, Constant, Curvature
from bilearn.parameters import Log10, learnable
from bilearn.regularizers.regularizer import Regularizer

_NAMES = ("weight", "scale")
_BOUNDS = {"weight": (1e-7, 1e7), "scale": (1e-3, 1e3)}

# safety factor of a measured rounding error
_MEASURED = 4.0


class NetworkRegularizer(Regularizer):
    """R(x) = a/t^2 f(t x), f(z) the sum of the network's outputs for one image.

    Gradients and Hessian products come from autograd. f must be differentiable: with smooth activations the energy is C2; with
    ReLU the gradient jumps and nothing converges to small gradients. Nothing is known of the curvature unless ``curvature``
    says so, or f is declared convex: then mu = 0 of the regularizer is, and with a strongly convex data term distances are
    certified.

    H(x) = a f''(t x): constants of f carry over times a. Networks that know theirs are wrapped as
    ``NetworkRegularizer(network, curvature=network.curvature)``.

    Args:
        module: maps images (B, C, H, W) to (B, ...); its parameters are learned as their flags say.
        weight: a > 0.
        scale: t > 0.
        convex: whether f is convex for every value of its learned parameters. Not checked.
        learn: which of "weight" and "scale" are learned.
        curvature: constants of f for images shaped like its argument, at the current parameters; unknown if None.
        one_by_one: give the module one image at a time. Needed where it mixes the images of a batch, as deepinv's ``ICNN`` does
            (version 0.5.0 adds (B, 1) to (B,)); ``bilearn.testing.check_energy`` finds out.
        bounds: of "weight" and "scale", where they differ from the default.

    Raises:
        ValueError: if ``learn`` or ``bounds`` name anything else, or a number is out of bounds.
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
        curvature: Callable[[Tensor], Curvature] | None = None,
        bounds: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        super().__init__()
        limits = {**_BOUNDS, **({} if bounds is None else bounds)}
        for role, names in (("learn", learn), ("bounds", limits)):
            unknown = sorted(set(names) - set(_NAMES))
            if unknown:
                raise ValueError(f"{role}: found {unknown}, expected names out of {list(_NAMES)}")
        self.module, self.convex, self.one_by_one = module, convex, one_by_one
        self._constants = curvature
        learnable(self, "weight", weight, Log10(limits["weight"]), "weight" in learn)
        learnable(self, "scale", scale, Log10(limits["scale"]), "scale" in learn)

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

    def add_value_and_grad(self, out: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """As the two methods, with one pass through the network outside of grad mode."""
        if torch.is_grad_enabled():
            return super().add_value_and_grad(out, x)
        with torch.enable_grad():
            point = x.detach().requires_grad_(True)
            value = self(point)
            (gradient,) = torch.autograd.grad(value.sum(), point, materialize_grads=True)
        return value.detach(), out + gradient

    def rounding(self, x: Tensor) -> Tensor:
        """Four times what is measured against float64 where the network is kept in float64 and x is not; else from L.

        Proved bounds on L are far above the curvature of most networks, and so would be the rounding error that follows.
        """
        if x.dtype == torch.float64 or not all(p.dtype == torch.float64 for p in self.parameters()):
            return super().rounding(x)
        with torch.no_grad():
            fine = x.double()
            measured = _batch.norm(self.grad(x).double() - self.grad(fine))
            return (_MEASURED * measured + super().rounding(fine)).to(x.dtype)

    def curvature(self, like: Tensor) -> Curvature:
        """The constants of f times a; mu = 0 where f is declared convex; unknown elsewhere."""
        if self._constants is not None:
            base, weight = self._constants(like), self.weight.detach().to(like)
            return Curvature(base.strong_convexity * weight, base.smoothness * weight)
        if not self.convex:
            return Curvature()
        return Curvature(Constant(torch.zeros((), dtype=like.dtype, device=like.device)), UNKNOWN_UPPER)
