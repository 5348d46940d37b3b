"""Total deep variation (TDV): a multi-scale residual network whose output is summed over the pixels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.regularizers.network_layers import Convolution, StudentT


class TotalDeepVariation(nn.Module):
    """f(x) = sum over pixels of w' N(K x), N a chain of U-shaped blocks with the Student-t activation phi.

    1. K: convolution with mean-zero kernels.
    2. N: ``blocks`` macro-blocks. Each goes down through ``scales`` resolutions and up again, with one residual step
       u + B phi(A u) at every place. Going down halves the sides by a convolution with stride two; going up applies a
       transposed one and mixes it with the features of the same resolution by a 1 x 1 convolution. A block adds what its
       predecessor had at each resolution.
    3. w: one weight a feature.

    f is infinitely often differentiable and not convex; nothing is declared of its curvature.

    Kobler, Effland, Kunisch, Pock, "Total deep variation for linear inverse problems", CVPR 2020.

    Args:
        channels: of the images.
        features: at every resolution.
        scales: resolutions.
        blocks: macro-blocks.
        generator: of the start values; seed 0 if None.

    Attributes:
        options: the first four arguments: with the state dictionary they make the network again.

    Raises:
        ValueError: if there are no scales or blocks.
    """

    def __init__(
        self,
        channels: int = 1,
        features: int = 32,
        scales: int = 3,
        blocks: int = 3,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        for name, found in (("scales", scales), ("blocks", blocks)):
            if found < 1:
                raise ValueError(f"{name}: found {found}, expected at least 1")
        self.options: dict[str, int] = {
            "channels": channels,
            "features": features,
            "scales": scales,
            "blocks": blocks,
        }
        seeded = torch.Generator().manual_seed(0) if generator is None else generator
        self.first = Convolution(channels, features, 3, seeded, zero_mean=True)
        self.blocks = nn.ModuleList(_MacroBlock(features, scales, seeded) for _ in range(blocks))
        self.last = Convolution(features, 1, 1, seeded)

    def forward(self, x: Tensor) -> Tensor:
        """f (B,)."""
        u, earlier = self.first(x), []
        for block in self.blocks:
            earlier = block(u, earlier)
            u = earlier[0]
        return _batch.total(self.last(u))


class _Residual(nn.Module):
    """u + B phi(A u)."""

    def __init__(self, features: int, generator: torch.Generator) -> None:
        super().__init__()
        self.inner = Convolution(features, features, 3, generator)
        self.outer = Convolution(features, features, 3, generator, gain=0.5)
        self.activation = StudentT()

    def forward(self, u: Tensor) -> Tensor:
        return u + self.outer(self.activation(self.inner(u)))


class _MacroBlock(nn.Module):
    """Down through the resolutions and up again; returns the features of every resolution, the finest first."""

    def __init__(self, features: int, scales: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down_steps = nn.ModuleList(_Residual(features, generator) for _ in range(scales))
        self.up_steps = nn.ModuleList(_Residual(features, generator) for _ in range(scales - 1))
        self.downs = nn.ModuleList(Convolution(features, features, 3, generator, stride=2) for _ in range(scales - 1))
        self.ups = nn.ModuleList(Convolution(features, features, 3, generator, stride=2) for _ in range(scales - 1))
        self.mixes = nn.ModuleList(Convolution(2 * features, features, 1, generator) for _ in range(scales - 1))

    def forward(self, u: Tensor, earlier: list[Tensor]) -> list[Tensor]:
        found: list[Tensor] = []
        for k, step in enumerate(self.down_steps):
            u = u if k == 0 else self.downs[k - 1](u)
            u = step(u + earlier[k] if earlier and k else u)
            found.append(u)
        for k in reversed(range(len(self.up_steps))):
            up = self.ups[k]
            assert isinstance(up, Convolution)
            u = self.up_steps[k](self.mixes[k](torch.cat((found[k], up.upsample(u, found[k])), 1)))
            found[k] = u
        return found
