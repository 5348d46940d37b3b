"""A small network on every patch of the image, summed over all patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.curvature import Constant, Curvature
from bilearn.regularizers._theta_cache import ThetaCache
from bilearn.regularizers.network_layers import Convolution, SmoothRectifier


class PatchNetwork(nn.Module):
    """f(x) = sum over the patches p of x of g(p): g has ``layers`` convolutions of side ``size`` and one weight a feature.

    Convolutions without padding make all patches of side 1 + layers (size - 1) at once; each feature is rectified smoothly
    and the last ones are weighted with numbers of either sign. Few pixels decide, so that a handful of images are many samples.
    The first kernels have mean zero: constants added to the image change nothing.

    **Constants.** -Q <= H <= Q, with Q from the recursion of :mod:`bilearn.regularizers.network_layers`. Not convex.

    After Prost, Houdard, Almansa, Papadakis, "Learning local regularization for variational image restoration", SSVM 2021.

    Args:
        channels: of the images.
        features: of every layer.
        layers: number of convolutions.
        size: side of their kernels, odd.
        smoothing: of the rectifier, at the start.
        generator: of the start values; seed 0 if None.

    Attributes:
        options: the first four arguments: with the state dictionary they make the network again.
        side: of the patches.

    Raises:
        ValueError: if there is no layer or the size is even.
    """

    def __init__(
        self,
        channels: int = 1,
        features: int = 16,
        layers: int = 3,
        size: int = 3,
        smoothing: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers: found {layers}, expected at least 1")
        self.options: dict[str, int] = {"channels": channels, "features": features, "layers": layers, "size": size}
        seeded = torch.Generator().manual_seed(0) if generator is None else generator
        widths = [channels, *[features] * layers]
        self.side = 1 + layers * (size - 1)
        self.convolutions = nn.ModuleList(
            Convolution(inner, features, size, seeded, padding=0, zero_mean=k == 0)
            for k, inner in enumerate(widths[:-1])
        )
        self.shifts = nn.ParameterList(
            nn.Parameter(torch.zeros(features, 1, 1, dtype=torch.float64)) for _ in range(layers)
        )
        self.last = Convolution(features, 1, 1, seeded)
        self.activation = SmoothRectifier(smoothing)
        self._cache = ThetaCache()

    def forward(self, x: Tensor) -> Tensor:
        """f (B,).

        Raises:
            ValueError: if the image is smaller than a patch.
        """
        if min(x.shape[-2:]) < self.side:
            raise ValueError(
                f"x: found {x.shape[-2]} x {x.shape[-1]} pixels, expected at least the patch side {self.side}"
            )
        z = x
        for convolution, shift in zip(self.convolutions, self.shifts, strict=True):
            z = self.activation(convolution(z) + shift.to(x))
        return _batch.total(self.last(z))

    def curvature(self, like: Tensor) -> Curvature:
        """-Q and Q, declared."""
        with torch.no_grad():
            return self._cache.get("curvature", self, (like.dtype, like.device), lambda: self._constants(like))

    def _constants(self, like: Tensor) -> Curvature:
        bend = self.activation.steepest(like)
        slope, turn = torch.ones_like(bend), torch.zeros_like(bend)
        for convolution in self.convolutions:
            assert isinstance(convolution, Convolution)
            slope = convolution.norm(like) * slope
            turn = convolution.column_sum(like) * turn + bend * slope.square()
        turn = self.last.column_sum(like) * turn
        return Curvature(Constant(-turn), Constant(turn))
