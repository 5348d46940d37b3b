"""Sampling patterns: learnable modules that say to which degree every point of k-space is sampled.

Here are the contract, :class:`Pattern`, and patterns whose learned numbers are degrees of sampling themselves;
:mod:`bilearn.mri.patterns` holds the others. A pattern has no axis for samples: all images and slices share it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bilearn import _batch
from bilearn.parameters import Identity, is_learned, learnable


class Pattern(nn.Module):
    """A map from learnable parameters theta to degrees of sampling s on the grid of k-space, without shift.

    ``pattern()`` returns s of shape (H, W), or (n,) for signals; [0, 0] is the zero frequency. The weight of a sample's
    squared residual is ``weighting(s)`` (:mod:`bilearn.mri.weighting`). With J = ds/dtheta, an author

    * must write ``forward``, differentiable in the parameters. Products with J and J' come from autograd, so it should cost
      about as much memory as s itself;
    * may write ``row_norms``, from which every certificate of the data term follows (it must then hold at the present
      theta). Without it hypergradients are still exact, but their error bounds are infinite;
    * may write ``scaled_norm`` where more is known of J than the norms of its rows;
    * may write ``without`` and ``tied``, with which a fixed center and symmetry remove the numbers they make superfluous.
    """

    def forward(self) -> Tensor:
        """s, shape (H, W) or (n,), nonnegative, in memory of its own."""
        raise NotImplementedError(f"{type(self).__name__} must define forward() -> (H, W)")

    def row_norms(self) -> Tensor:
        """Bounds, shaped like s, on |ds_k/dtheta|, the 2-norm over the parameters in their coordinates."""
        return torch.full_like(self().detach(), torch.inf)

    def scaled_norm(self, size: Tensor) -> Tensor:
        """Bound (B,) on the spectral norm of J' diag(size); here the Frobenius norm from ``row_norms``.

        Args:
            size: (B, *grid) nonnegative.
        """
        return _batch.norm(finite_product(size, self.row_norms()))

    def without(self, center: Tensor) -> Pattern:
        """A pattern equal to this one off ``center``, without the learned numbers that act on ``center`` only.

        Args:
            center: (H, W) or (n,), boolean.

        Returns:
            This pattern, unless it knows which numbers these are.
        """
        return self

    def tied(self) -> Pattern:
        """A pattern with s(k) = s(-k) where this kind of pattern can be made so by sharing numbers, else this pattern."""
        return self


class GroupedPattern(Pattern):
    """Degrees that each govern a group of points of k-space: lines, symmetric pairs, spokes; a partition.

    s is linear in the degrees, so an exact number of samples can be asked for.

    Args:
        degrees: (U,) start.
        groups: (H, W) or (n,) integers: which degree governs a point; -1 where s = 1 and -2 where s = 0, whatever is
            learned.
        bounds: lower and upper bound of every degree.
        learn: whether the pattern is learned.
        dtype: dtype of the parameter.

    Raises:
        ValueError: if a value is outside the bounds, or the groups do not fit the degrees.
    """

    degrees: Tensor
    groups: Tensor

    def __init__(
        self,
        degrees: Tensor,
        groups: Tensor,
        bounds: tuple[float, float] = (0.0, 1.0),
        learn: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        _check_groups(degrees, groups)
        _register(self, degrees, bounds, learn, dtype)
        self.bounds = bounds
        self.register_buffer("groups", groups.detach().clone())

    def forward(self) -> Tensor:
        """The degree of every point's group."""
        return self._padded()[self.groups]

    def row_norms(self) -> Tensor:
        """1, or 0 where nothing is learned."""
        return (self.groups >= 0).to(self.degrees.dtype) * float(is_learned(self, "degrees"))

    def scaled_norm(self, size: Tensor) -> Tensor:
        """Largest 2-norm of ``size`` over a group, exact: the rows of J' diag(size) have disjoint supports."""
        squares = finite_product(size, self.row_norms().to(size.device)).square().flatten(1)
        count = len(self.degrees)
        slots = torch.where(self.groups < 0, count, self.groups).flatten()
        return squares.new_zeros(len(squares), count + 1).index_add_(1, slots, squares).amax(1).sqrt()

    def without(self, center: Tensor) -> GroupedPattern:
        """Points of ``center`` leave their groups; groups that lose all their points are gone."""
        return self._regrouped(torch.where(center.to(self.groups.device), -1, self.groups))

    def tied(self) -> GroupedPattern:
        """Groups that contain mirror images of each other are joined; their degree is the mean over their points."""
        return self._regrouped(_joined(self.groups))

    def _regrouped(self, groups: Tensor) -> GroupedPattern:
        """The same degrees on other groups, averaged over points and numbered without gaps."""
        inside = groups >= 0
        if not bool(inside.any()):
            raise ValueError("groups: found no point left to learn, expected at least one point outside of the center")
        _, numbers = groups[inside].unique(return_inverse=True)
        fresh = groups.masked_scatter(inside, numbers)
        learned = inside & (self.groups >= 0)
        counts = torch.bincount(fresh[learned])
        values = self._padded().detach()[self.groups[learned]]
        degrees = values.new_zeros(len(counts)).index_add_(0, fresh[learned], values) / counts
        low, high = self.bounds
        return GroupedPattern(
            degrees.clamp(low, high), fresh, self.bounds, is_learned(self, "degrees"), self.degrees.dtype
        )

    def _padded(self) -> Tensor:
        """The degrees, and last what the groups -2 and -1 read."""
        return torch.cat((self.degrees, self.degrees.new_tensor([0.0, 1.0])))


class FreePattern(Pattern):
    """Every point of k-space has a degree of its own, optimized as it is, within a box.

    Args:
        degrees: start, shape (H, W) or (n,).
        bounds: lower and upper bound of every entry; an upper bound below 1 for :class:`bilearn.mri.Odds`.
        learn: whether the pattern is learned.
        dtype: dtype of the parameter.

    Raises:
        ValueError: if a value is outside the bounds.
    """

    degrees: Tensor

    def __init__(
        self,
        degrees: Tensor,
        bounds: tuple[float, float] = (0.0, 1.0),
        learn: bool = True,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        _register(self, degrees, bounds, learn, dtype)
        self.bounds = bounds

    def forward(self) -> Tensor:
        """A copy of the degrees."""
        return self.degrees.clone()

    def row_norms(self) -> Tensor:
        """1, or 0 where nothing is learned."""
        return torch.full_like(self.degrees.detach(), float(is_learned(self, "degrees")))

    def scaled_norm(self, size: Tensor) -> Tensor:
        """Largest entry of ``size``, exact: J is the identity."""
        return _batch.max_abs(finite_product(size, self.row_norms()))

    def without(self, center: Tensor) -> GroupedPattern:
        """Degrees for the points off ``center``."""
        return self._grouped().without(center)

    def tied(self) -> GroupedPattern:
        """A degree for every pair k, -k."""
        return self._grouped().tied()

    def _grouped(self) -> GroupedPattern:
        degrees = self.degrees.detach()
        groups = torch.arange(degrees.numel(), device=degrees.device).reshape(degrees.shape)
        return GroupedPattern(degrees.flatten(), groups, self.bounds, is_learned(self, "degrees"), degrees.dtype)


def mirrored(grid: Tensor, axes: int | None = None) -> Tensor:
    """The value at -k for every k, over the last ``axes`` axes (all if None); the zero frequency stays."""
    last = tuple(range(-(grid.ndim if axes is None else axes), 0))
    return grid.flip(last).roll([1] * len(last), last)


def _register(module: nn.Module, degrees: Tensor, bounds: tuple[float, float], learn: bool, dtype: torch.dtype) -> None:
    if bounds[0] < 0:
        raise ValueError(f"bounds: found lower {bounds[0]}, expected a number >= 0: a degree of sampling")
    learnable(module, "degrees", degrees, Identity(bounds), learn, dtype)


def _check_groups(degrees: Tensor, groups: Tensor) -> None:
    if degrees.ndim != 1 or groups.dtype != torch.int64 or groups.ndim not in (1, 2):
        raise ValueError(
            f"degrees, groups: found shape {tuple(degrees.shape)} and {groups.dtype} of shape {tuple(groups.shape)}, "
            "expected (U,) and int64 of shape (n,) or (H, W)"
        )
    used = groups[groups >= 0].unique()
    if int(groups.min()) < -2 or used.tolist() != list(range(len(degrees))):
        raise ValueError(
            f"groups: found {len(used)} different groups from {int(groups.min())} to {int(groups.max())}, expected every "
            f"number from 0 to {len(degrees) - 1}, one for each degree, -1 for always and -2 for never"
        )


def _joined(groups: Tensor) -> Tensor:
    """Groups united with those of their mirror images; a group that meets -1 becomes -1, points of -2 join the others."""
    filled = torch.where(groups == -2, mirrored(groups), groups) + 2
    own, other = filled.flatten(), mirrored(filled).flatten()
    labels = torch.arange(int(own.max()) + 1, device=groups.device)
    while True:
        lowest = labels.scatter_reduce(0, own, labels[other], "amin")
        if torch.equal(lowest, labels):
            return labels[filled] - 2
        labels = lowest


def finite_product(size: Tensor, norms: Tensor) -> Tensor:
    """Size times norms, zero where the size is zero even if the norm is infinite."""
    return torch.where(size > 0, size * norms.to(size.dtype), 0.0)
