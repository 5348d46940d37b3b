"""Input-convex networks (ICNN) and their differences (IDCNN), with proved curvature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.curvature import Constant, Curvature
from bilearn.regularizers._theta_cache import ThetaCache
from bilearn.regularizers.network_layers import Convolution, SmoothRectifier


class InputConvexNetwork(nn.Module):
    """f(x) = sum of z_n,  z_1 = s(V_0 x + b_0),  z_{k+1} = s(W_k z_k + V_k x + b_k),  W_k >= 0,  s convex and increasing.

    f is convex in x whatever its parameters: sums and increasing convex functions of convex functions are convex. All
    activations share one smooth rectifier s whose smoothing is learned, so that f is infinitely often differentiable. The
    kernels V have mean zero: away from the border f does not see constants. W_k >= 0 is a box of the upper-level method, not
    a change of the parameters behind its back.

    **Constants.** 0 <= H <= Q, with Q from the recursion of :mod:`bilearn.regularizers.network_layers`.

    Amos, Xu, Kolter, "Input convex neural networks", ICML 2017; as a regularizer: Mukherjee et al., "Learned convex
    regularizers for inverse problems", arXiv 2008.02839.

    Args:
        channels: of the images.
        features: of every layer.
        layers: n >= 1.
        size: side of the kernels, odd.
        smoothing: of s, at the start.
        generator: of the start values; seed 0 if None.

    Attributes:
        options: the first four arguments: with the state dictionary they make the network again.

    Raises:
        ValueError: if there is no layer or the size is even.
    """

    def __init__(
        self,
        channels: int = 1,
        features: int = 32,
        layers: int = 2,
        size: int = 5,
        smoothing: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers: found {layers}, expected at least 1")
        self.options: dict[str, int] = {"channels": channels, "features": features, "layers": layers, "size": size}
        seeded = torch.Generator().manual_seed(0) if generator is None else generator
        self.from_image = nn.ModuleList(
            Convolution(channels, features, size, seeded, zero_mean=True) for _ in range(layers)
        )
        self.onward = nn.ModuleList(
            Convolution(features, features, size, seeded, nonnegative=True) for _ in range(layers - 1)
        )
        self.shifts = nn.ParameterList(
            nn.Parameter(torch.zeros(features, 1, 1, dtype=torch.float64)) for _ in range(layers)
        )
        self.activation = SmoothRectifier(smoothing)
        self._cache = ThetaCache()

    def forward(self, x: Tensor) -> Tensor:
        """f (B,)."""
        z: Tensor | None = None
        for k, (image, shift) in enumerate(zip(self.from_image, self.shifts, strict=True)):
            inner = image(x) + shift.to(x)
            z = self.activation(inner if z is None else inner + self.onward[k - 1](z))
        assert z is not None
        return _batch.total(z)

    def curvature(self, like: Tensor) -> Curvature:
        """0 and Q, declared."""
        with torch.no_grad():
            return self._cache.get("curvature", self, (like.dtype, like.device), lambda: self._constants(like))

    def _constants(self, like: Tensor) -> Curvature:
        bend = self.activation.steepest(like)
        slope = turn = torch.zeros((), dtype=like.dtype, device=like.device)
        for k, image in enumerate(self.from_image):
            direct = _layer(image).norm(like)
            if k == 0:
                slope = direct
            else:
                onward = _layer(self.onward[k - 1])
                slope = onward.norm(like) * slope + direct
                turn = onward.column_sum(like) * turn
            turn = turn + bend * slope.square()
        return Curvature(Constant(torch.zeros_like(turn)), Constant(turn))


class DifferenceNetwork(nn.Module):
    """f(x) = f_1(x) - f_2(x) with two input-convex networks (IDCNN): not convex; -Q_2 <= H <= Q_1, declared.

    Zhang, Leong, "Learning difference-of-convex regularizers for inverse problems", arXiv 2502.00240.

    Args:
        plus, minus: f_1 and f_2.
    """

    def __init__(self, plus: InputConvexNetwork, minus: InputConvexNetwork) -> None:
        super().__init__()
        self.plus, self.minus = plus, minus

    def forward(self, x: Tensor) -> Tensor:
        """f (B,)."""
        return self.plus(x) - self.minus(x)

    def curvature(self, like: Tensor) -> Curvature:
        """-Q_2 and max(Q_1, Q_2)."""
        above, below = (torch.as_tensor(n.curvature(like).smoothness.value) for n in (self.plus, self.minus))
        return Curvature(Constant(-below), Constant(torch.maximum(above, below)))


def _layer(module: nn.Module) -> Convolution:
    assert isinstance(module, Convolution)
    return module
