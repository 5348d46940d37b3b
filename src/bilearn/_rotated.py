"""Hessians applied in an orthonormal basis in which their data term is diagonal."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn import _batch
from bilearn._spectral import Transform
from bilearn._workspace import Workspace
from bilearn.energy import Apply, Hessian, Rotated
from bilearn.regularizers import TermHessian


class DiagonalPlusTerm(Hessian):
    """diag(data) + Q R'' Q', for vectors in the basis Q.

    A product takes the two transforms around R'' and the preconditioner none; in the image they take four.

    Args:
        transform: Q and Q'.
        data: shaped like the vectors.
        inverse: shaped like ``data``, the preconditioner.
        prior: R''.
    """

    def __init__(self, transform: Transform, data: Tensor, inverse: Tensor, prior: TermHessian) -> None:
        self._transform, self._data, self._inverse, self._prior = transform, data, inverse, prior
        self._workspace = Workspace()

    def __call__(self, v: Tensor) -> Tensor:
        x = self._transform.leave(v)
        out = self._prior.add_to(self._workspace.take("image", x).zero_(), x)
        return self._transform.enter(out).addcmul_(self._data, v)

    def select(self, index: Tensor) -> Hessian:
        data, inverse = (_batch.select(t, index) for t in (self._data, self._inverse))
        return DiagonalPlusTerm(self._transform, data, inverse, self._prior.select(index))

    def preconditioner(self) -> Apply | None:
        """Multiplication."""
        inverse = self._inverse
        return lambda v: inverse * v


def rotate(transform: Transform, data: Tensor, inverse: Tensor, prior: TermHessian, single: bool) -> Rotated:
    """:class:`DiagonalPlusTerm`, in single precision where that is asked for and R'' can be computed in it.

    Args:
        transform, prior: see :class:`DiagonalPlusTerm`.
        data, inverse: (B, ...) in the layout of transformed images, before the axis for real and imaginary part.
        single: whether single precision is asked for.
    """
    own = data.dtype
    rough = prior.cast(torch.float32) if single and own == torch.float64 else None
    dtype = own if rough is None else torch.float32
    chosen = prior if rough is None else rough
    # multiplying by a broadcast last axis costs seven times as much
    pairs = [torch.stack((t, t), -1) for t in (data.to(dtype), inverse.to(dtype))]
    hessian = DiagonalPlusTerm(transform, pairs[0], pairs[1], chosen)
    return Rotated(
        hessian, lambda x: transform.enter(x.to(dtype)), lambda v: transform.leave(v).to(own), rough is not None
    )
