"""Linear forward operators as the energies see them: products, norm bounds and structure."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor, nn

from bilearn.curvature import UNKNOWN_LOWER, UNKNOWN_UPPER, Constant


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

    def norm_squared(self) -> Constant:
        """Upper bound on |A|^2."""
        return UNKNOWN_UPPER

    def smallest_squared(self) -> Constant:
        """Lower bound on the smallest eigenvalue of A'A; zero is always right."""
        return Constant(0.0)

    def normal_diagonal(self, weight: Tensor) -> Tensor | None:
        """Diagonal of A' diag(weight) A where that matrix is diagonal, else None. ``weight`` is shaped like A x."""
        return None

    def normal_symbol(self, like: Tensor) -> Tensor | None:
        """Eigenvalues of A'A in the periodic Fourier basis (layout of ``rfftn`` over the image axes), or None."""
        return None

    def start(self, y: Tensor) -> Tensor:
        """An image to start from, made from the data; A' y unless the operator knows better."""
        return self.A_adjoint(y)


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
    """Any object with ``A`` and ``A_adjoint``, such as a ``deepinv.physics.LinearPhysics``.

    Args:
        physics: the object; its ``A`` maps (B, C, H, W) to data with one sample per row.
        norm_squared: |A|^2 where known. Without it solvers that need a Lipschitz constant refuse this operator.
        rounding_factor: see :class:`ForwardOperator`.
    """

    def __init__(
        self, physics: nn.Module, norm_squared: Constant = UNKNOWN_UPPER, smallest_squared: Constant = UNKNOWN_LOWER
    ) -> None:
        super().__init__()
        self.physics = physics
        self._norm_squared = norm_squared
        self._smallest_squared = Constant(0.0) if not smallest_squared.known else smallest_squared
        self._ndim: int | None = None

    def A(self, x: Tensor) -> Tensor:
        """A x, applied part by part where x is a stack of right-hand sides."""
        return _by_stack(self.physics.A, x, 4)  # type: ignore[arg-type]

    def A_adjoint(self, z: Tensor) -> Tensor:
        """A' z."""
        return _by_stack(self.physics.A_adjoint, z, 4)  # type: ignore[arg-type]

    def norm_squared(self) -> Constant:
        """As given."""
        return self._norm_squared

    def smallest_squared(self) -> Constant:
        """As given, else zero."""
        return self._smallest_squared


def _by_stack(apply, x: Tensor, ndim: int) -> Tensor:  # type: ignore[no-untyped-def]
    if x.ndim <= ndim:
        return apply(x)
    flat = apply(x.flatten(0, 1))
    return flat.unflatten(0, x.shape[:2])
