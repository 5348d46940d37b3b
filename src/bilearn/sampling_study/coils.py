"""Sensitivity maps of a study with several coils: simulated, read from a file, or estimated from measured k-space."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bilearn.data.images import DataError
from bilearn.mri import birdcage_maps
from bilearn.mri.io import center_kspace, estimate_coil_maps, read_raw, unshift_kspace
from bilearn.mri.io.size import pad_or_crop

BIRDCAGE, ESPIRIT = "birdcage", "espirit"
MAPS = "maps.npy"
"""File of a run directory with the maps in use, (C, H, W) complex."""

_CALIBRATION = 24


def coil_maps(coils: int, source: str, images: Sequence[str], count: int, size: int) -> Tensor | None:
    """(C, size, size) complex128 sensitivities; None for one coil that sees evenly.

    Args:
        coils: number of coils; with maps that are read or estimated 1 stands for as many as there are.
        source: "birdcage" (simulated), "espirit" (estimated from the k-space of the training file), or an .npy file.
        images: training images.
        count: training images taken.
        size: side of the images in pixels.

    Raises:
        DataError: if maps cannot be read or estimated.
        ValueError: if their number or size is another one.
    """
    if source == BIRDCAGE:
        return None if coils == 1 else birdcage_maps(coils, (size, size))
    maps = estimated_maps(images, count, size) if source == ESPIRIT else read_maps(Path(source))
    if tuple(maps.shape[1:]) != (size, size):
        raise ValueError(
            f"maps: found {tuple(maps.shape[1:])} pixels in {source}, expected {size} x {size} as the images"
        )
    if coils not in (1, len(maps)):
        raise ValueError(f"coils: found {coils}, but {source} has maps of {len(maps)} coils; leave --coils out")
    return maps


def read_maps(path: Path) -> Tensor:
    """(C, H, W) complex128 from an .npy file, pixel [0, 0] a corner of the image.

    Raises:
        DataError: if the file is missing or holds something else.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"maps: {path} cannot be read ({error}); expected birdcage, espirit, or an .npy file of complex (coils, H, W)"
        ) from error
    if not isinstance(array, np.ndarray) or array.ndim != 3 or array.dtype.kind != "c":
        raise DataError(
            f"maps: found {getattr(array, 'dtype', 'an archive')} in {path}, expected complex (coils, H, W)"
        )
    return torch.from_numpy(array).to(torch.complex128)


def estimated_maps(images: Sequence[str], count: int, size: int) -> Tensor:
    """ESPIRiT maps of the measured slice, see :func:`measured_kspace`."""
    kspace = measured_kspace(images, count, size)
    return estimate_coil_maps(kspace[0], min(_CALIBRATION, size))


@lru_cache(maxsize=2)
def _measured(path: str, size: int) -> Tensor:
    raw = read_raw(path)
    if raw.mask is not None:
        raise DataError(f"{path}: k-space is undersampled, expected full k-space to learn from")
    if raw.kspace.shape[1] < 2:
        raise DataError(f"{path}: found one coil, expected several to estimate maps from")
    images = torch.fft.ifft2(raw.kspace.to(torch.complex128), norm="ortho")
    side = max(size, *images.shape[-2:])
    centered = center_kspace(torch.fft.fft2(pad_or_crop(images, side), norm="ortho"))
    kspace = unshift_kspace(pad_or_crop(centered, size)) * (size / side)
    seen = torch.linalg.vector_norm(torch.fft.ifft2(kspace, norm="ortho"), dim=1)
    return kspace / seen.amax((1, 2)).clamp(min=torch.finfo(torch.float64).tiny)[:, None, None, None]


def measured_kspace(images: Sequence[str], count: int, size: int) -> Tensor:
    """(1, C, size, size) complex full k-space of the middle slice of a raw file, without shift.

    The images of the coils are padded to squares; of their k-space the lowest ``size`` x ``size`` frequencies are kept, and
    scaled so that the root sum of squares is at most 1. Every slice has maps of its own, and a pattern is learned with the
    maps of one, so one slice is taken.

    Raises:
        DataError: if there is not exactly one file, or it is not fully sampled k-space of several coils.
    """
    if len(images) != 1 or count != 1:
        raise DataError(
            f"maps: found {len(images)} sets and count {count}, expected one raw file and count 1: estimated maps "
            "belong to one slice"
        )
    slices = _measured(str(images[0]), size)
    return slices[math.floor(len(slices) / 2)][None]


def save_maps(maps: Tensor, directory: Path) -> None:
    """Write ``maps.npy``."""
    np.save(directory / MAPS, maps.numpy())
