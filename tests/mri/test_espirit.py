"""Sensitivity maps from calibration data."""

from __future__ import annotations

import sys

import pytest
import torch

from bilearn.data.images import DataError
from bilearn.mri import CoilFourierTransform, birdcage_maps
from bilearn.mri.io.espirit import estimate_coil_maps


def kspace(maps: torch.Tensor) -> torch.Tensor:
    """Of a bright square with a dark frame, noise-free."""
    x = torch.zeros(1, 2, *maps.shape[1:], dtype=torch.float64)
    x[:, 0, 6:26, 8:25] = 1 + 0.3 * torch.rand(20, 17, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    z = CoilFourierTransform(maps).A(x)[0]
    return torch.complex(z[0], z[1])


def test_simulated_maps_are_found_inside_of_the_object() -> None:
    maps = birdcage_maps(4, (32, 32))
    found = estimate_coil_maps(kspace(maps), calibration=20)
    phase = maps[0] / maps[0].abs()
    assert found.dtype == torch.complex128
    assert float((found - maps / phase)[:, 8:24, 10:23].abs().max()) < 0.02


def test_missing_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sigpy.mri.app", None)
    with pytest.raises(DataError, match="package sigpy is not installed"):
        estimate_coil_maps(kspace(birdcage_maps(2, (32, 32))))


def test_refusals() -> None:
    with pytest.raises(DataError, match="expected complex"):
        estimate_coil_maps(torch.zeros(2, 8, 8))
    with pytest.raises(DataError, match="calibration: found 24"):
        estimate_coil_maps(torch.zeros(2, 8, 8, dtype=torch.complex128))
