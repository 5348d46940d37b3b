"""Per-sample arithmetic: the only file that knows that axis 0 of a tensor counts samples.

Every tensor of a lower-level problem has shape (B, ...). A stack of K right-hand sides has shape (K, B, ...); functions
that take ``dims`` reduce the trailing axes only, so that they serve both.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


def size(x: Tensor) -> int:
    """Number of samples in ``x``."""
    return x.shape[0]


def _trailing(x: Tensor, lead: int) -> tuple[int, ...]:
    return tuple(range(lead, x.ndim))


def dot(a: Tensor, b: Tensor, lead: int = 1) -> Tensor:
    """Real inner product over all axes after the first ``lead`` ones; complex tensors count as pairs of reals."""
    product = (a.conj() * b).real if a.is_complex() else a * b
    dims = _trailing(product, lead)
    return product.sum(dims) if dims else product


def norm(a: Tensor, lead: int = 1) -> Tensor:
    """Euclidean norm over all axes after the first ``lead`` ones."""
    if a.ndim <= lead:
        return a.abs()
    return torch.linalg.vector_norm(a, dim=_trailing(a, lead))


def max_abs(a: Tensor, lead: int = 1) -> Tensor:
    """Largest absolute value over all axes after the first ``lead`` ones."""
    return a.abs().amax(_trailing(a, lead)) if a.ndim > lead else a.abs()


def total(a: Tensor, lead: int = 1) -> Tensor:
    """Sum over all axes after the first ``lead`` ones."""
    return a.sum(_trailing(a, lead)) if a.ndim > lead else a


def expand(scalars: Tensor, like: Tensor) -> Tensor:
    """Reshape one number per sample, shape (B,) or (K, B), so that it multiplies ``like``."""
    return scalars.reshape(scalars.shape + (1,) * (like.ndim - scalars.ndim))


def where(mask: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Per-sample choice: ``a`` where ``mask`` holds, ``b`` elsewhere."""
    return torch.where(expand(mask, a), a, b)


def samples(x: Tensor) -> int:
    """Number of entries of one sample."""
    return x[0].numel() if x.shape[0] else 0


def select(value: T, index: Tensor) -> T:
    """Keep the samples ``index`` of a per-sample value.

    Tensors with at least one axis are indexed along axis 0, dataclasses and tuples field by field; numbers, strings,
    zero-dimensional tensors and None are shared by all samples and stay as they are.
    """
    chosen: Any = value
    if isinstance(value, Tensor):
        chosen = value if value.ndim == 0 else value.index_select(0, index)
    elif isinstance(value, tuple):
        chosen = tuple(select(v, index) for v in value)
    elif isinstance(value, dict):
        chosen = {k: select(v, index) for k, v in value.items()}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        chosen = dataclasses.replace(
            value, **{f.name: select(getattr(value, f.name), index) for f in dataclasses.fields(value) if f.init}
        )
    return chosen
