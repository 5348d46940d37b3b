"""Measured k-space with what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bilearn.mri.io.conventions import to_channels


@dataclass(frozen=True)
class RawData:
    """K-space of one scan, unshifted: the zero frequency is [0, 0], rows are the readout, columns the phase encoding.

    Attributes:
        kspace: (slices, coils, H, W) complex, orthonormal scaling, in the scanner's units; one coil for single-coil data.
        mask: (H, W) bool, unshifted: the samples that were measured; None if all were.
        reference: (slices, h, w) real images stored with the data; None if there are none.
        attributes: scalar attributes of the file.
    """

    kspace: Tensor
    mask: Tensor | None
    reference: Tensor | None
    attributes: dict[str, str | int | float]

    def coil_images(self) -> Tensor:
        """(slices, coils, 2, H, W): inverse transform of every coil, samples not measured taken as zero."""
        return to_channels(torch.fft.ifft2(self.kspace, norm="ortho"))

    def images(self) -> Tensor:
        """(slices, 2, H, W): the complex image of a single coil; of several coils the root sum of squares, imaginary part 0."""
        coils = torch.fft.ifft2(self.kspace, norm="ortho")
        return to_channels(coils[:, 0] if coils.shape[1] == 1 else torch.linalg.vector_norm(coils, dim=1))
