"""The least-squares residual of a denoiser as a function of the image."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.regularizers.network_layers import SmoothRectifier


class DenoiserResidual(nn.Module):
    """f(x) = 1/2 |x - D(x)|^2 for any denoiser D: least-squares residual (LSR), the form of network Tikhonov (NETT).

    The gradient is x - D(x) - J_D(x)'(x - D(x)), with the Jacobian that plug-and-play drops. f is not convex and nothing is
    declared of its curvature. D must be differentiable: see :func:`smoothed` for networks with rectifiers.

    Li, Schwab, Antholzer, Haltmeier, "NETT: solving inverse problems with deep neural networks", Inverse Problems 36, 2020;
    Zou, Liu, Wohlberg, Kamilov, "Deep equilibrium learning of regularization functionals for imaging inverse problems", IEEE
    Open J. Signal Process. 4, 2023.

    Args:
        denoiser: maps images (B, C, H, W) to images of the same shape.
        sigma: noise level, the denoiser's second argument, if it takes one (those of deepinv do).
    """

    def __init__(self, denoiser: nn.Module, sigma: float | None = None) -> None:
        super().__init__()
        self.denoiser, self.sigma = denoiser, sigma

    def forward(self, x: Tensor) -> Tensor:
        """f (B,).

        Raises:
            ValueError: if the denoiser changes the shape.
        """
        image = self.denoiser(x) if self.sigma is None else self.denoiser(x, self.sigma)
        if image.shape != x.shape:
            raise ValueError(f"denoiser: found shape {tuple(image.shape)}, expected that of the image {tuple(x.shape)}")
        return 0.5 * _batch.total((x - image).square())


def smoothed(module: nn.Module, smoothing: float = 0.01, learn: bool = False) -> nn.Module:
    """A copy of a network with a :class:`SmoothRectifier` in place of every ``nn.ReLU`` and ``nn.LeakyReLU``.

    With kinks the gradient of an energy jumps: solvers do not reach small gradients, and hypergradients leave out what the
    kinks contribute. The slope of a leaky rectifier is kept: s(t) - slope s(-t).

    Args:
        module: any network whose activations are modules.
        smoothing: nu of the rectifiers: the smaller, the nearer to the original and the worse conditioned.
        learn: whether every nu is learned.

    Raises:
        ValueError: if there is no such activation.
    """
    result = copy.deepcopy(module)
    count = 0
    for owner in list(result.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, nn.ReLU):
                setattr(owner, name, SmoothRectifier(smoothing, learn))
            elif isinstance(child, nn.LeakyReLU):
                setattr(owner, name, _Leaky(child.negative_slope, smoothing, learn))
            else:
                continue
            count += 1
    if count == 0:
        raise ValueError(f"module: found no ReLU or LeakyReLU module in {type(module).__name__} to smooth")
    return result


class _Leaky(nn.Module):
    """s(t) - slope s(-t)."""

    def __init__(self, slope: float, smoothing: float, learn: bool) -> None:
        super().__init__()
        self.slope, self.rectifier = slope, SmoothRectifier(smoothing, learn)

    def forward(self, t: Tensor) -> Tensor:
        return self.rectifier(t) - self.slope * self.rectifier(torch.neg(t))
