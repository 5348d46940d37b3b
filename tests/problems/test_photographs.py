"""The 2-D problem on a folder of images, made here so that the test needs no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bilearn.problems import kodak, kodak_images


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from PIL import Image

    generator = np.random.default_rng(0)
    for name in ("b.png", "a.png"):
        Image.fromarray(generator.integers(0, 256, (8, 6, 3), dtype=np.uint8)).save(tmp_path / name)
    return tmp_path


def test_images_are_gray_in_sorted_order(folder: Path) -> None:
    from PIL import Image

    images = kodak_images(folder)
    assert images.shape == (2, 1, 8, 6)
    assert images.dtype == torch.float64
    red, green, blue = np.asarray(Image.open(folder / "a.png"), dtype=float)[3, 2]
    assert images[0, 0, 3, 2].item() == pytest.approx((0.299 * red + 0.587 * green + 0.114 * blue) / 255)


def test_missing_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="found no PNG file"):
        kodak_images(tmp_path)


def test_problem_as_published(folder: Path) -> None:
    problem = kodak(folder, sigma=0.1)
    noise = problem.objective.y - problem.objective.target
    expected = 0.1 * np.random.RandomState(0).randn(8, 6)
    assert np.allclose(noise[0, 0].numpy(), expected)
    assert problem.start.tolist() == [0, -1, -1]
    evaluation = problem.objective.value(problem.start, 1e-6)
    assert evaluation.certified
    assert evaluation.bound <= 1e-6
    assert evaluation.value == pytest.approx(float(evaluation.losses.sum()))
