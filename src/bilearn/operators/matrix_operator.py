"""A forward operator stored as a sparse or dense matrix."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import torch
from torch import Tensor

from bilearn.curvature import Constant
from bilearn.operators.operator import ForwardOperator


class MatrixOperator(ForwardOperator):
    """A x = M vec(x), for tomography and other operators whose matrix fits in memory.

    |A|^2 is bounded by |M|_1 |M|_inf (Schur), which is proved and, for the nonnegative matrices of tomography, tight to
    a small factor.

    Args:
        matrix: (m, n) real, dense or sparse CSR.
        image_shape: (C, H, W) of one image, n = C H W.
        data_shape: shape of one datum, m entries.
    """

    matrix: Tensor
    transpose: Tensor

    def __init__(self, matrix: Tensor, image_shape: tuple[int, ...], data_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.image_shape, self.data_shape = tuple(image_shape), tuple(data_shape)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse (CSR|invariant)")
            if matrix.layout == torch.strided:
                transpose = matrix.t().contiguous()
                absolute = matrix.abs()
                rows, columns = absolute.sum(1).max(), absolute.sum(0).max()
            else:
                entries = matrix.to_sparse_coo().coalesce()
                matrix, transpose = entries.to_sparse_csr(), entries.t().coalesce().to_sparse_csr()
                (row, column), size = entries.indices(), entries.values().abs()
                rows = torch.zeros(matrix.shape[0], dtype=size.dtype).index_add(0, row, size).max()
                columns = torch.zeros(matrix.shape[1], dtype=size.dtype).index_add(0, column, size).max()
        self.register_buffer("matrix", matrix)
        self.register_buffer("transpose", transpose)
        self._bound = float(rows) * float(columns)

    def __deepcopy__(self, memo: dict[int, Any]) -> MatrixOperator:
        """A copy that shares the matrices, which never change (and torch cannot copy sparse ones)."""
        other = copy.copy(self)
        other._buffers = dict(self._buffers)
        memo[id(self)] = other
        return other

    def _multiply(self, matrix: Tensor, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        if x.dtype != matrix.dtype:
            raise ValueError(
                f"x: found {x.dtype} for a matrix of {matrix.dtype}; move both to one dtype, e.g. operator.to({x.dtype})"
            )
        lead = x.shape[: x.ndim - (len(self.image_shape) if matrix is self.matrix else len(self.data_shape))]
        columns = x.reshape(-1, matrix.shape[1]).t()
        return (matrix @ columns).t().reshape(*lead, *shape)

    def A(self, x: Tensor) -> Tensor:
        """M vec(x)."""
        return self._multiply(self.matrix, x, self.data_shape)

    def A_adjoint(self, z: Tensor) -> Tensor:
        """M' z, as an image."""
        return self._multiply(self.transpose, z, self.image_shape)

    def norm_squared(self) -> Constant:
        """Schur bound on |M|^2."""
        return Constant(self._bound)

    def start(self, y: Tensor) -> Tensor:
        """M' y scaled by the least-squares step along it."""
        back = self.A_adjoint(y)
        forward = self.A(back)
        axes, data_axes = tuple(range(1, back.ndim)), tuple(range(1, forward.ndim))
        step = back.square().sum(axes) / forward.square().sum(data_axes).clamp(min=torch.finfo(y.dtype).tiny)
        return back * step.reshape(-1, *([1] * (back.ndim - 1)))
