"""Where the zero frequency is, and how images change size."""

from __future__ import annotations

import math

import pytest
import torch

from bilearn.data.images import DataError
from bilearn.mri.io import (
    center_kspace,
    center_mask,
    pad_or_crop,
    to_channels,
    to_complex,
    unshift_kspace,
    unshift_mask,
)

SHAPES = [(8, 6), (7, 6), (8, 5), (7, 9)]


def centered_transform(image: torch.Tensor) -> torch.Tensor:
    """The transform of fastMRI, ISMRMRD tools and deepinv."""
    axes = (-2, -1)
    return torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image, dim=axes), norm="ortho"), dim=axes)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_impulse_in_the_middle_is_flat_centered_and_alternating_unshifted(shape: tuple[int, int]) -> None:
    image = torch.zeros(shape, dtype=torch.complex128)
    image[shape[0] // 2, shape[1] // 2] = 1
    flat = torch.full(shape, 1 / math.sqrt(shape[0] * shape[1]), dtype=torch.complex128)
    torch.testing.assert_close(centered_transform(image), flat)
    torch.testing.assert_close(torch.fft.ifft2(unshift_kspace(flat), norm="ortho"), image)


def test_impulse_in_the_middle_of_an_even_image_changes_sign_at_every_second_entry() -> None:
    flat = torch.ones((4, 4), dtype=torch.complex128)
    signs = 1.0 - 2.0 * ((torch.arange(4)[:, None] + torch.arange(4)) % 2)
    torch.testing.assert_close(unshift_kspace(flat), signs.to(torch.complex128))


@pytest.mark.parametrize("shape", SHAPES)
def test_constant_image_is_an_impulse_at_the_zero_frequency(shape: tuple[int, int]) -> None:
    constant = torch.ones(shape, dtype=torch.complex128)
    expected = torch.zeros(shape, dtype=torch.complex128)
    expected[0, 0] = math.sqrt(shape[0] * shape[1])
    torch.testing.assert_close(unshift_kspace(centered_transform(constant)), expected)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_conversions_are_inverse_and_agree_with_the_transforms(shape: tuple[int, int], dtype: torch.dtype) -> None:
    image = noise(2, 3, *shape).to(dtype)
    unshifted = torch.fft.fft2(image, norm="ortho")
    torch.testing.assert_close(center_kspace(unshifted), centered_transform(image))
    torch.testing.assert_close(unshift_kspace(center_kspace(unshifted)), unshifted)
    assert center_kspace(unshifted).dtype == dtype


@pytest.mark.parametrize("shape", SHAPES)
def test_masks_and_kspace_are_shifted_alike(shape: tuple[int, int]) -> None:
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(1)) < 0.5
    assert torch.equal(unshift_mask(center_mask(mask)), mask)
    only_zero_frequency = torch.zeros(shape, dtype=torch.bool)
    only_zero_frequency[0, 0] = True
    assert torch.nonzero(center_mask(only_zero_frequency)).tolist() == [[shape[0] // 2, shape[1] // 2]]
    kspace = noise(*shape)
    torch.testing.assert_close(center_kspace(mask * kspace), center_mask(mask) * center_kspace(kspace))


def test_channels_hold_real_and_imaginary_part() -> None:
    z = noise(3, 4, 5)
    channels = to_channels(z)
    assert channels.shape == (3, 2, 4, 5)
    assert torch.equal(channels[:, 1], z.imag)
    assert torch.equal(to_complex(channels), z)
    assert torch.equal(to_channels(z.real)[:, 1], torch.zeros(3, 4, 5, dtype=torch.float64))


@pytest.mark.parametrize(("old", "new"), [((4, 4), (6, 7)), ((5, 6), (3, 3)), ((5, 4), (4, 5)), ((4, 5), (5, 2))])
def test_center_pixel_stays_the_center_pixel(old: tuple[int, int], new: tuple[int, int]) -> None:
    image = torch.arange(old[0] * old[1], dtype=torch.float32).reshape(1, 1, *old) + 1
    resized = pad_or_crop(image, new)
    assert resized.shape == (1, 1, *new)
    assert resized[0, 0, new[0] // 2, new[1] // 2] == image[0, 0, old[0] // 2, old[1] // 2]
    assert torch.count_nonzero(resized) == min(old[0], new[0]) * min(old[1], new[1])


def test_padding_twice_and_cropping_back_changes_nothing() -> None:
    image = noise(2, 5, 6)
    assert torch.equal(pad_or_crop(pad_or_crop(image, 9), (5, 6)), image)


def test_size_must_be_positive() -> None:
    with pytest.raises(DataError, match="found 0 x 4, expected positive"):
        pad_or_crop(torch.ones(2, 2), (0, 4))
