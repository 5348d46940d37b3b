"""Several per-sample tensors in one, so that data of an auxiliary energy can be selected sample by sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn import _batch


@dataclass(frozen=True)
class Packing:
    """How tensors (B, ...) of different shapes lie side by side in one real tensor (B, K).

    Attributes:
        shapes: of one sample of each tensor.
        dtypes: of each tensor; complex ones become pairs of reals.
    """

    shapes: tuple[torch.Size, ...]
    dtypes: tuple[torch.dtype, ...]

    @classmethod
    def of(cls, *tensors: Tensor) -> Packing:
        """The layout of these tensors."""
        return cls(tuple(t.shape[1:] for t in tensors), tuple(t.dtype for t in tensors))

    def pack(self, *tensors: Tensor) -> Tensor:
        """(B, K) all numbers of a sample in one row, in the widest real dtype."""
        rows = [(torch.view_as_real(t) if t.is_complex() else t).reshape(_batch.size(t), -1) for t in tensors]
        dtype = rows[0].dtype
        for row in rows[1:]:
            dtype = torch.promote_types(dtype, row.dtype)
        return torch.cat([row.to(dtype) for row in rows], 1)

    def unpack(self, packed: Tensor) -> tuple[Tensor, ...]:
        """The tensors again."""
        parts, begin = [], 0
        for shape, dtype in zip(self.shapes, self.dtypes, strict=True):
            width = shape.numel() * (2 if dtype.is_complex else 1)
            row = packed[:, begin : begin + width]
            begin += width
            if dtype.is_complex:
                real = torch.empty(0, dtype=dtype).real.dtype
                pairs = row.to(real).reshape(-1, *shape, 2).contiguous()
                parts.append(torch.view_as_complex(pairs))
            else:
                parts.append(row.to(dtype).reshape(-1, *shape))
        return tuple(parts)
