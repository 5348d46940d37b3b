"""Sensitivity maps from calibration data, by ESPIRiT as in sigpy."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri.io.conventions import center_kspace
from bilearn.mri.io.optional import require


def estimate_coil_maps(kspace: Tensor, calibration: int = 24, crop: float = 0.0, threshold: float = 0.02) -> Tensor:
    """Sensitivities (C, H, W) of the coils, for :class:`bilearn.mri.CoilFourierTransform`; runs on the CPU.

    1. Take the central square of k-space.
    2. Find the maps as leading eigenvectors of the operator that the blocks of that square span (sigpy's ``EspiritCalib``).

    sum_c |S_c|^2 = 1 where the maps are not cropped, and the first coil has no phase: reconstructions have the phase that this
    coil sees.

    Args:
        kspace: (C, H, W) complex, unshifted; only the central square is read, which must be fully sampled.
        calibration: side of the square.
        crop: maps are zero where the eigenvalue, near 1 inside of the object, is not above this number.
        threshold: singular values of the blocks below this part of the largest are noise.

    Raises:
        DataError: if sigpy is not installed, or the shape does not fit.

    Reference:
        Uecker et al., ESPIRiT: an eigenvalue approach to autocalibrating parallel MRI, Magn. Reson. Med. 71, 2014.
    """
    if kspace.ndim != 3 or not kspace.is_complex():
        raise DataError(f"kspace: found {kspace.dtype} of shape {tuple(kspace.shape)}, expected complex (coils, H, W)")
    if not 6 < calibration <= min(kspace.shape[1:]):
        raise DataError(
            f"calibration: found {calibration}, expected 7 to {min(kspace.shape[1:])}, the smaller side of k-space"
        )
    calib = require("sigpy.mri.app", "sensitivity maps by ESPIRiT").EspiritCalib
    centered = center_kspace(kspace.detach()).cpu().numpy()
    maps = calib(centered, calib_width=calibration, thresh=threshold, crop=crop, show_pbar=False).run()
    return torch.from_numpy(maps.copy()).to(kspace.device, kspace.dtype)
