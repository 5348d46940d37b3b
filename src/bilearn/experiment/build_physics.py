"""Forward operators of a configuration."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bilearn.experiment.data_schema import BlurConfig, IdentityConfig, MaskConfig, PhysicsConfig, TomographyConfig
from bilearn.experiment.messages import ConfigError
from bilearn.operators import ForwardOperator, FourierBlur, Identity, Mask, MatrixOperator


def build_operator(config: PhysicsConfig, image_shape: tuple[int, ...], seed: int) -> ForwardOperator:
    """The operator for images of one shape, in float64.

    Args:
        config: the section [physics].
        image_shape: (C, H, W), or (C, L) for signals.
        seed: used where the section has no seed of its own.

    Raises:
        ConfigError: if the operator does not exist for this shape.
    """
    if isinstance(config, IdentityConfig):
        return Identity()
    if isinstance(config, BlurConfig):
        sizes = image_shape[1:]
        return FourierBlur(gaussian_kernel(config, sizes), sizes)
    if isinstance(config, MaskConfig):
        generator = torch.Generator().manual_seed(seed if config.seed is None else config.seed)
        return Mask(random_mask(config.keep, image_shape[1:], generator))
    return _tomography(config, image_shape)


def gaussian_kernel(config: BlurConfig, sizes: tuple[int, ...]) -> Tensor:
    """Sampled normal density with sum 1, as many axes as ``sizes``, cut to fit into the image."""
    wanted = config.size or 2 * round(3 * config.sigma) + 1
    if config.size is not None and config.size > min(sizes):
        raise ConfigError(f"physics.size: found {config.size}, expected at most the image size {min(sizes)}")
    side = min(wanted, min(sizes) - 1 + min(sizes) % 2)
    axis = torch.arange(side, dtype=torch.float64) - side // 2
    profile = torch.exp(-0.5 * (axis / config.sigma) ** 2)
    kernel = profile if len(sizes) == 1 else profile[:, None] * profile[None, :]
    return kernel / kernel.sum()


def random_mask(keep: float, sizes: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(1, H, W) of zeros and ones with exactly round(keep * pixels) ones, at least one."""
    pixels = int(torch.tensor(sizes).prod())
    ones = max(1, round(keep * pixels))
    mask = torch.zeros(pixels, dtype=torch.float64)
    mask[torch.randperm(pixels, generator=generator)[:ones]] = 1.0
    return mask.reshape(1, *sizes)


def _tomography(config: TomographyConfig, image_shape: tuple[int, ...]) -> ForwardOperator:
    """deepinv's parallel-beam operator as a sparse matrix, divided by a proved bound of its norm."""
    if len(image_shape) != 3 or image_shape[0] != 1 or image_shape[1] != image_shape[2]:
        shape = " x ".join(str(n) for n in image_shape)
        raise ConfigError(
            f"physics.kind = 'tomography': found images {shape}, expected square gray images; set data.crop"
        )
    from deepinv.physics import Tomography

    from bilearn.interop import tomography_matrix

    angles: Any = torch.arange(config.angles, dtype=torch.float32) * (config.arc / config.angles)
    raw = tomography_matrix(Tomography(angles, image_shape[1], normalize=False, circle=False))
    norm = float(raw.norm_squared().value) ** 0.5
    return MatrixOperator(raw.matrix.to_sparse_coo() / norm, raw.image_shape, raw.data_shape)
