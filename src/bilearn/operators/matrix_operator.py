"""A forward operator stored as a sparse or dense matrix."""

from __future__ import annotations

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
        sparse = matrix.layout != torch.strided
        if sparse:
            coo = matrix.to_sparse_coo().coalesce()
            transpose = coo.t().coalesce().to_sparse_csr()
            matrix = coo.to_sparse_csr()
            ones = torch.ones(matrix.shape[1], 1, dtype=matrix.dtype)
            absolute = torch.sparse_csr_tensor(matrix.crow_indices(), matrix.col_indices(), matrix.values().abs(), matrix.shape)
            rows = (absolute @ ones).max()
            back = torch.sparse_csr_tensor(
                transpose.crow_indices(), transpose.col_indices(), transpose.values().abs(), transpose.shape
            )
            columns = (back @ torch.ones(matrix.shape[0], 1, dtype=matrix.dtype)).max()
        else:
            transpose = matrix.t().contiguous()
            rows, columns = matrix.abs().sum(1).max(), matrix.abs().sum(0).max()
        self.register_buffer("matrix", matrix)
        self.register_buffer("transpose", transpose)
        self._bound = float(rows) * float(columns)

    def _multiply(self, matrix: Tensor, x: Tensor, shape: tuple[int, ...]) -> Tensor:
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
