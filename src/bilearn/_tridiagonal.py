"""Direct solve of many symmetric positive definite tridiagonal systems at once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor


def solve_tridiagonal(diag: Tensor, off: Tensor, rhs: Tensor) -> Tensor:
    """Solve T_i q_i = g_i for symmetric positive definite tridiagonal T_i.

    On the CPU all samples are chained into one long tridiagonal matrix whose coupling entries are zero, and LAPACK's
    ``ptsv`` (an L D L' factorization, O(n)) solves it for all right-hand sides in one call. On other devices the
    samples are solved by parallel cyclic reduction (Hockney and Jesshope, Parallel Computers, 1981), log2(n) sweeps.

    Args:
        diag: (B, n) real diagonals.
        off: (B, n - 1) off-diagonals.
        rhs: (B, n), or (K, B, n) for K right-hand sides.

    Returns:
        Solutions with the shape of ``rhs``. A sample whose matrix is not positive definite, or not finite, gives NaN
        and leaves the others untouched. The result carries no autograd graph.

    Raises:
        ValueError: if the shapes do not fit.
    """
    batch, n = diag.shape
    if off.shape != (batch, max(n - 1, 0)) or rhs.shape[-2:] != diag.shape or rhs.ndim not in (2, 3):
        raise ValueError(
            f"solve_tridiagonal: found diag {tuple(diag.shape)}, off {tuple(off.shape)}, rhs {tuple(rhs.shape)}, "
            "expected (B, n), (B, n - 1) and (B, n) or (K, B, n)"
        )
    if rhs.numel() == 0:
        return torch.zeros_like(rhs)
    if diag.device.type == "cpu":
        return _chained_lapack(diag.detach(), off.detach(), rhs.detach())
    return cyclic_reduction(diag.detach(), off.detach(), rhs.detach())


@cache
def _ptsv(dtype: torch.dtype) -> Callable[..., Any]:
    from scipy.linalg import get_lapack_funcs  # a tenth of a second to import, needed for signals only

    (routine,) = get_lapack_funcs(("ptsv",), dtype=np.float64 if dtype == torch.float64 else np.float32)
    return routine


def _chained_lapack(diag: Tensor, off: Tensor, rhs: Tensor) -> Tensor:
    batch, n = diag.shape
    coupling = torch.zeros(batch, n, dtype=off.dtype)
    coupling[:, : n - 1] = off
    d, e = diag.reshape(-1).numpy(), coupling.reshape(-1)[:-1].numpy()
    # one column per right-hand side; the transpose of a contiguous (K, B n) array is in Fortran order, so LAPACK works
    # in place on this copy
    columns = rhs.reshape(-1, batch * n).clone().numpy().T
    _, _, q, info = _ptsv(rhs.dtype)(d, e, columns, overwrite_e=True, overwrite_b=True)
    if (info != 0 or not np.isfinite(q.sum())) and batch > 1:
        parts = [_chained_lapack(diag[i : i + 1], off[i : i + 1], rhs[..., i : i + 1, :]) for i in range(batch)]
        return torch.cat(parts, dim=-2)
    if info != 0:
        return torch.full_like(rhs, torch.nan)
    return torch.from_numpy(np.ascontiguousarray(q.T)).reshape(rhs.shape)


def cyclic_reduction(diag: Tensor, off: Tensor, rhs: Tensor) -> Tensor:
    """Parallel cyclic reduction with the arguments of :func:`solve_tridiagonal`; runs on any device.

    Sweep with stride s = 1, 2, 4, ...: eliminate x_{i-s} and x_{i+s} from equation i with the help of equations i - s
    and i + s, which leaves x_{i-2s} and x_{i+2s}; after log2(n) sweeps every equation stands alone.
    """
    n = diag.shape[-1]
    zero = torch.zeros_like(diag[:, :1])
    lower, upper = torch.cat([zero, off], -1), torch.cat([off, zero], -1)
    middle, g = diag, rhs
    stride = 1
    while stride < n:
        left = -lower / _shifted(middle, -stride, 1.0)
        right = -upper / _shifted(middle, stride, 1.0)
        g = g + left * _shifted(g, -stride, 0.0) + right * _shifted(g, stride, 0.0)
        middle = middle + left * _shifted(upper, -stride, 0.0) + right * _shifted(lower, stride, 0.0)
        lower, upper = left * _shifted(lower, -stride, 0.0), right * _shifted(upper, stride, 0.0)
        stride *= 2
    positive = (middle > 0).all(-1, keepdim=True)
    return torch.where(positive, g / middle, torch.nan)


def _shifted(a: Tensor, by: int, fill: float) -> Tensor:
    """Entry i of the result is entry i + by of ``a``, or ``fill`` outside."""
    edge = torch.full_like(a[..., : abs(by)], fill)
    return torch.cat([edge, a[..., :by]], -1) if by < 0 else torch.cat([a[..., by:], edge], -1)
