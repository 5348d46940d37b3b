"""Samples anywhere in k-space, spread on the grid by interpolation weights."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bilearn.mri.pattern import Pattern


class GriddedPattern(Pattern):
    """s = g(d), where d_k = sum_t w_t c(k - p_t) counts the samples near a point k of the grid.

    A sample at the location p, in grid points, gives the four points around it the interpolation weights
    c(u) = cos^2(pi u_1 / 2) cos^2(pi u_2 / 2), |u_i| <= 1. They sum to one, a sample on a point of the grid is that point,
    and, unlike bilinear ones, they have continuous derivatives, so that the gradient in p has no jumps where a sample
    crosses a line of the grid.

    Counting a point twice does not measure it better than once, so the count saturates:
    g(d) = 1 - (1 - d)^2 for d < 1 and 1 beyond. g has a continuous derivative, keeps s in [0, 1], and reaches 1: a sample on
    the grid is taken fully. (1 - exp(-d) never is; min(d, 1) has a kink.) The derivative vanishes where d >= 1: moving
    samples inside of what is sampled densely changes nothing there. A sample on a line of the grid is flat too, across that
    line, since it is at the peak of c; so curves should not start along the axes of k-space.

    Derivatives are exact, by autograd. ``row_norms`` is the sum over samples of the norms of their contributions, by the
    triangle inequality; it holds at the present numbers. k-space is periodic: locations count modulo its size.

    A subclass writes :meth:`locations` and :meth:`location_norms`, and where it weights samples, the other two.

    Args:
        shape: (H, W) of k-space.
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        super().__init__()
        self.shape: tuple[int, int] = (shape[0], shape[1])

    def locations(self) -> Tensor:
        """(T, 2) row and column of every sample, in grid points from the zero frequency."""
        raise NotImplementedError(f"{type(self).__name__} must define locations() -> (T, 2)")

    def readouts(self) -> Tensor:
        """(S, T, 2) the locations by readout; one readout unless a subclass knows better."""
        return self.locations()[None]

    def location_norms(self) -> Tensor:
        """(T,) bounds on the spectral norm of d location_t / d theta."""
        raise NotImplementedError(f"{type(self).__name__} must define location_norms() -> (T,)")

    def sample_weights(self) -> Tensor:
        """(T,) w in [0, 1]; 1 unless a subclass knows better."""
        return torch.ones(len(self.location_norms()), dtype=self.location_norms().dtype)

    def weight_norms(self) -> Tensor:
        """(T,) bounds on |d w_t / d theta|; 0 unless a subclass knows better."""
        return torch.zeros_like(self.location_norms())

    def counts(self) -> Tensor:
        """d, (H, W): how many samples fall on every point."""
        points, weights, _ = self._spread(self.locations())
        return self._gather(points, self.sample_weights()[:, None] * weights)

    def nearest(self) -> Tensor:
        """(H, W) boolean: the points of the grid nearest to the samples."""
        with torch.no_grad():
            rows, columns = (
                at.round().long() % n for at, n in zip(self.locations().unbind(1), self.shape, strict=True)
            )
        mask = torch.zeros(self.shape, dtype=torch.bool, device=rows.device)
        mask[rows, columns] = True
        return mask

    def forward(self) -> Tensor:
        """1 - (1 - min(d, 1))^2."""
        return 1 - (1 - self.counts().clamp(max=1.0)).square()

    def row_norms(self) -> Tensor:
        """g'(d_k) sum_t |(c_t dw_t, w_t grad c_t dp_t)|, dw_t and dp_t the norms declared by the subclass."""
        with torch.no_grad():
            points, weights, slopes = self._spread(self.locations())
            own = self.sample_weights()[:, None]
            counts = self._gather(points, own * weights)
            size = torch.hypot(weights * self.weight_norms()[:, None], own * slopes * self.location_norms()[:, None])
            return 2 * (1 - counts.clamp(max=1.0)) * self._gather(points, size)

    def _spread(self, locations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(T, 4) flat grid points, their weights, and the norms of the gradients of these."""
        corner = locations.detach().floor()
        offset = locations - corner
        index, values, slopes = [], [], []
        for axis, n in enumerate(self.shape):
            base, u = corner[:, axis].long(), offset[:, axis]
            sides = torch.stack((u, u - 1), 1)
            index.append(torch.stack((base % n, (base + 1) % n), 1))
            values.append(torch.cos(math.pi / 2 * sides).square())
            slopes.append(math.pi / 2 * torch.sin(math.pi * sides).abs())
        points = (index[0][:, :, None] * self.shape[1] + index[1][:, None, :]).flatten(1)
        weights = (values[0][:, :, None] * values[1][:, None, :]).flatten(1)
        gradient = torch.hypot(
            slopes[0][:, :, None] * values[1][:, None, :], values[0][:, :, None] * slopes[1][:, None, :]
        )
        return points, weights, gradient.flatten(1)

    def _gather(self, points: Tensor, values: Tensor) -> Tensor:
        grid = values.new_zeros(math.prod(self.shape))
        return grid.index_add(0, points.flatten(), values.flatten()).reshape(self.shape)
