"""Masks from the Fourier coefficients of training images: the largest ones, and random draws from their density."""

from __future__ import annotations

import torch
from torch import Tensor

from bilearn._spectral import as_complex
from bilearn.mri.masks.draw import draw_mask
from bilearn.mri.masks.lattice import Lattice, Unit


def mean_energy(images: Tensor, unit: Unit = "points") -> Tensor:
    """Mean of |F x|^2 over the images, summed over the samples of each cell: (cells,), float64, without shift.

    Args:
        images: (N, 2, H, W) complex images in two channels, or (N, 1, H, W) real ones.
        unit: points, rows or columns.

    Raises:
        ValueError: another shape, or no images.
    """
    if images.ndim != 4 or images.shape[0] == 0 or images.shape[1] not in (1, 2):
        raise ValueError(
            f"training_images: found shape {tuple(images.shape)}, expected (N, 2, H, W) complex images in two channels or "
            "(N, 1, H, W) real ones, N at least 1"
        )
    exact = images.detach().cpu().double()
    spectrum = torch.fft.fft2(as_complex(exact, 2) if exact.shape[1] == 2 else exact[:, 0], norm="ortho")
    energy = spectrum.abs().square().reshape(-1, *exact.shape[-2:]).mean(0)
    axes = {"points": (), "rows": (1,), "columns": (0,)}[unit]
    return (energy.sum(axes) if axes else energy).reshape(-1)


def _check_shape(shape: tuple[int, int], images: Tensor) -> None:
    if tuple(images.shape[-2:]) != tuple(shape):
        raise ValueError(
            f"training_images: found images of {tuple(images.shape[-2:])} pixels, expected {tuple(shape)} like the mask"
        )


def largest_coefficients(
    shape: tuple[int, int], count: int, training_images: Tensor, *, unit: Unit = "points", center: int = 0
) -> Tensor:
    """The cells with the largest mean energy |F x|^2 over the training images; among equal ones, those first in storage.

    Args:
        shape: height and width of k-space.
        count: samples of the mask, the center included; see :func:`bilearn.mri.masks.sample_count`.
        training_images: (N, 2, H, W) complex images in two channels, or (N, 1, H, W) real ones.
        unit: points, rows or columns.
        center: side of the fully sampled block around the zero frequency in points, or number of central lines.

    Returns:
        Boolean (H, W) on the CPU, without shift, with exactly ``count`` samples.

    Raises:
        ValueError: images of another shape, or a count that is impossible, not a number of whole lines, or smaller than
            the center.
    """
    lattice = Lattice(shape, unit)
    inside, _ = lattice.center_and_rest(count, center)
    _check_shape(shape, training_images)
    energy = mean_energy(training_images, unit).masked_fill(inside, torch.inf)
    return lattice.mask(torch.argsort(energy, descending=True, stable=True)[: lattice.cell_count(count)])


def spectral_density(
    shape: tuple[int, int],
    count: int,
    training_images: Tensor,
    *,
    seed: int,
    unit: Unit = "points",
    center: int = 0,
    power: float = 0.5,
) -> Tensor:
    """Random cells with probabilities min(1, c E^power), E the mean energy |F x|^2 over the training images.

    Knoll et al., Adapted random sampling patterns for accelerated MRI, MAGMA 24, 2011: the density is the spectrum of
    reference images; power 1/2 is its magnitude, 1 its power spectrum.

    Args:
        shape: height and width of k-space.
        count: samples of the mask, the center included; see :func:`bilearn.mri.masks.sample_count`.
        training_images: (N, 2, H, W) complex images in two channels, or (N, 1, H, W) real ones.
        seed: of the choice.
        unit: points, rows or columns.
        center: side of the fully sampled block around the zero frequency in points, or number of central lines.
        power: of the energy, at least 0 (uniform).

    Returns:
        Boolean (H, W) on the CPU, without shift, with exactly ``count`` samples.

    Raises:
        ValueError: a negative power, images of another shape, or a count that is impossible, not a number of whole
            lines, or smaller than the center.
    """
    if not power >= 0:
        raise ValueError(f"power: found {power}, expected a number >= 0")
    _check_shape(shape, training_images)
    return draw_mask(Lattice(shape, unit), mean_energy(training_images, unit) ** power, count, center, seed)
