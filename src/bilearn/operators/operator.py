"""Linear forward operators as the energies see them: products, norm bounds and structure."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from bilearn._spectral import Basis
from bilearn.curvature import UNKNOWN_UPPER, Constant


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues of A' diag(weight) A.

    Attributes:
        basis: the basis.
        values: broadcast against transformed images, with a leading axis per sample.
        exact: whether the basis diagonalizes the matrix and these are its eigenvalues.
    """

    basis: Basis
    values: Tensor
    exact: bool


class ForwardOperator(nn.Module):
    """A linear map A from images x (B, ...) to data (B, ...).

    An author must write ``A`` and ``A_adjoint``, and may declare ``norm_squared`` (largest eigenvalue of A'A),
    ``smallest_squared`` (smallest one) and structure that solvers use. ``A`` and ``A_adjoint`` also accept a stack of
    right-hand sides (K, B, ...).
    """

    #: Rounding error of one application is at most this many unit roundoffs times |A| |x|.
    rounding_factor: float = 16.0

    @abstractmethod
    def A(self, x: Tensor) -> Tensor:
        """A x."""

    @abstractmethod
    def A_adjoint(self, z: Tensor) -> Tensor:
        """A' z."""

    def normal(self, v: Tensor, weight: Tensor) -> Tensor:
        """A' diag(weight) A v, ``weight`` (B, ...) shaped like A v; worth writing where it takes less memory than A v."""
        return self.A_adjoint(weight * self.A(v))

    def norm_squared(self) -> Constant:
        """Upper bound on |A|^2."""
        return UNKNOWN_UPPER

    def smallest_squared(self) -> Constant:
        """Lower bound on the smallest eigenvalue of A'A; zero is always right."""
        return Constant(0.0)

    def normal_diagonal(self, weight: Tensor) -> Tensor | None:
        """Diagonal of A' diag(weight) A where that matrix is diagonal, else None. ``weight`` is shaped like A x."""
        return None

    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor | None:
        """Eigenvalues of A'A where ``basis`` diagonalizes it, else None."""
        return None

    def normal_spectrum(self, weight: Tensor, like: Tensor) -> Spectrum | None:
        """A' diag(weight) A in a basis of this operator's own that diagonalizes it, at least nearly, else None.

        Args:
            weight: (B, ...) nonnegative, shaped like A x.
            like: (B, ...) any tensor shaped like x.
        """
        return None

    def start(self, y: Tensor) -> Tensor:
        """An image to start from, made from the data, in memory of its own; A' y unless the operator knows better."""
        return self.A_adjoint(y.detach().clone())


class Identity(ForwardOperator):
    """A x = x (denoising)."""

    rounding_factor = 0.0

    def A(self, x: Tensor) -> Tensor:
        """A x."""
        return x

    def A_adjoint(self, z: Tensor) -> Tensor:
        """A' z."""
        return z

    def norm_squared(self) -> Constant:
        """1."""
        return Constant(1.0)

    def smallest_squared(self) -> Constant:
        """1."""
        return Constant(1.0)

    def normal_diagonal(self, weight: Tensor) -> Tensor | None:
        """The weight itself."""
        return weight

    def normal_symbol(self, basis: Basis, like: Tensor) -> Tensor | None:
        """1 in every basis."""
        return torch.ones((), dtype=like.dtype, device=like.device)


class Mask(ForwardOperator):
    """A x = mask * x (inpainting, or any diagonal operator).

    Args:
        mask: real weights that broadcast against images (1, C, H, W); soft masks are allowed.
    """

    rounding_factor = 1.0
    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.detach().clone())

    def A(self, x: Tensor) -> Tensor:
        """Mask times x."""
        return self.mask.to(x.dtype) * x

    def A_adjoint(self, z: Tensor) -> Tensor:
        """Mask times z."""
        return self.mask.to(z.dtype) * z

    def norm_squared(self) -> Constant:
        """Largest squared mask entry."""
        return Constant(float(self.mask.abs().max()) ** 2)

    def smallest_squared(self) -> Constant:
        """Smallest squared mask entry."""
        return Constant(float(self.mask.abs().min()) ** 2)

    def normal_diagonal(self, weight: Tensor) -> Tensor | None:
        """mask^2 * weight."""
        return self.mask.to(weight.dtype) ** 2 * weight


class Unstructured(ForwardOperator):
    """Any object with ``A`` and ``A_adjoint``, such as a ``deepinv.physics.LinearPhysics``, used as it is.

    Args:
        physics: the object; its ``A`` maps (B, C, H, W) to data with one sample per row.
        norm_squared: |A|^2 where known; solvers that need a Lipschitz constant refuse an operator without it.
        image_axes, data_axes: number of axes of a batch of images and of a batch of data.
    """

    def __init__(
        self, physics: Any, norm_squared: Constant = UNKNOWN_UPPER, image_axes: int = 4, data_axes: int = 4
    ) -> None:
        super().__init__()
        self.physics = physics
        self._norm_squared = norm_squared
        self._axes = image_axes, data_axes

    def A(self, x: Tensor) -> Tensor:
        """A x; a stack of right-hand sides is applied as one larger batch."""
        return _by_stack(self.physics.A, x, self._axes[0])

    def A_adjoint(self, z: Tensor) -> Tensor:
        """A' z."""
        return _by_stack(self.physics.A_adjoint, z, self._axes[1])

    def norm_squared(self) -> Constant:
        """As given."""
        return self._norm_squared


def _by_stack(apply: Callable[[Tensor], Tensor], x: Tensor, axes: int) -> Tensor:
    if x.ndim <= axes:
        return apply(x)
    return apply(x.flatten(0, 1)).unflatten(0, x.shape[:2])
