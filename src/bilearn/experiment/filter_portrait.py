"""What a filter regularizer looks like: its filters and the functions of their responses, as arrays for the run directory."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from bilearn.regularizers import FilterRegularizer, Regularizer
from bilearn.regularizers.filter_regularizer import planes
from bilearn.run_records import FilterRecord

_POINTS = 121
_IMAGES = 4
_QUANTILE = 0.995


def portrait(regularizer: Regularizer, images: Tensor) -> dict[str, np.ndarray]:
    """Filters and functions at the current parameters; empty where the regularizer has no filters.

    1. k_c: the filters as they act on images; for a chain of convolutions the composed ones.
    2. Strength of c: mean over some images of sum_j f_c((k_c * x)_j).
    3. On responses t of the normalized filter k_c/|k_c|: f_c(|k_c| t) - f_c(0) and its derivative in t.

    Args:
        regularizer: any regularizer.
        images: (N, C, H, W); the range of t holds 99.5 % of their responses.
    """
    if not isinstance(regularizer, FilterRegularizer):
        return {}
    with torch.no_grad():
        flat = planes(images[:_IMAGES])
        taps = regularizer.bank.taps(images)[:, 0]
        size = taps.flatten(1).norm(dim=1).clamp(min=torch.finfo(taps.dtype).tiny)
        responses = regularizer.bank(flat)
        strength = regularizer.values(responses.clone()).sum((0, 2, 3)) / images[:_IMAGES].shape[0]
        reach = np.quantile((responses / size.reshape(-1, 1, 1)).abs().cpu().numpy(), _QUANTILE)
        t = torch.linspace(-float(reach), float(reach), _POINTS, dtype=images.dtype, device=images.device)
        u = size.reshape(1, -1, 1, 1) * t
        values = regularizer.values(u.clone()) - regularizer.values(torch.zeros_like(u))
        slopes = regularizer.slopes(u.clone()) * size.reshape(1, -1, 1, 1)
    arrays = {
        "taps": taps,
        "strength": strength,
        "responses": t,
        "values": values[0, :, 0],
        "slopes": slopes[0, :, 0],
    }
    return {name: array.cpu().numpy() for name, array in arrays.items()}


def filter_records(portraits: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, FilterRecord]:
    """Records by stage of the portraits that are not empty."""
    return {stage: FilterRecord(**arrays) for stage, arrays in portraits.items() if arrays}
