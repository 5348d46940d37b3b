"""Masks as deepinv operators."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.conventions import center_mask


def as_deepinv_physics(mask: Tensor, coil_maps: Tensor | None = None, dtype: torch.dtype = torch.float32) -> Any:
    """``deepinv.physics.MRI`` (or ``MultiCoilMRI``) with this pattern.

    deepinv's transform is centered, so its k-space is ``center_kspace`` of ours, and the mask is shifted here. Its images are
    ours. A relaxed mask, with entries between 0 and 1, multiplies k-space once in ``physics.A``, twice in ``physics(x)``.

    Args:
        mask: (H, W), unshifted, entries in [0, 1].
        coil_maps: (coils, H, W) complex sensitivities, not shifted; None for a single coil.
        dtype: of the mask.

    Raises:
        DataError: another shape, entries outside [0, 1], or maps that do not fit.
    """
    if mask.ndim != 2:
        raise DataError(f"mask: found shape {tuple(mask.shape)}, expected (H, W)")
    values = mask.detach().to(dtype)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise DataError(f"mask: found entries in [{low:g}, {high:g}], expected [0, 1]")
    from deepinv.physics import MRI, MultiCoilMRI

    centered = center_mask(values)[None, None]
    if coil_maps is None:
        return MRI(mask=centered, img_size=tuple(mask.shape), device=mask.device)
    if coil_maps.ndim != 3 or coil_maps.shape[-2:] != mask.shape or not coil_maps.is_complex():
        raise DataError(
            f"coil_maps: found {coil_maps.dtype} of shape {tuple(coil_maps.shape)}, "
            f"expected complex (coils, {mask.shape[0]}, {mask.shape[1]})"
        )
    return MultiCoilMRI(mask=centered, coil_maps=coil_maps[None], img_size=tuple(mask.shape), device=mask.device)
