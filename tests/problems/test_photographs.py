"""The 2-D problem on a folder of images, made here so that the test needs no data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bilearn.problems import kodak, kodak_images, published_tv


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


def test_corners_are_the_first_pixels(folder: Path) -> None:
    corners = kodak(folder, count=1, pixels=4).objective.target
    assert torch.equal(corners, kodak_images(folder)[:1, :, :4, :4])


def test_published_tv(folder: Path, tmp_path: Path) -> None:
    problem = published_tv(folder, pixels=4)
    assert problem.objective.y.shape == (2, 1, 4, 4)
    noise = problem.objective.y - problem.objective.target
    assert np.allclose(noise.numpy(), 0.1 * np.random.RandomState(19).randn(2, 1, 4, 4))
    assert problem.start.mul(np.log(10.0)).tolist() == pytest.approx([-5.0, -5.0])
    evaluation = problem.objective.value(problem.start, 1e-6)
    assert evaluation.value == pytest.approx(float(evaluation.losses.mean()))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="expected photographs"):
        published_tv(tmp_path / "empty")
