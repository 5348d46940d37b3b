"""Recorded runs of every kind a report meets: photographs, signals, tomography, interrupted, many parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data
from skimage.metrics import structural_similarity
from skimage.restoration import denoise_tv_chambolle
from skimage.transform import iradon, radon

from bilearn.run_directory import RunDirectory
from bilearn.run_records import ImageSet

CONFIG = """name = "denoise-photos"

[data]
source = "photographs"
crop = [128, 128]
noise = { kind = "gaussian", sigma = 0.1 }

[regularizer]
kind = "smoothed-tv"
alpha = { start = 0.1, bounds = [1e-5, 100.0], coordinate = "log10" }

[run]
seed = %d
threads = 2
"""


def history_rows(
    steps: int, parameters: Callable[[float], dict[str, Any]], optimum: float, certified: bool = True
) -> list[dict[str, Any]]:
    """A plausible course: values fall geometrically to ``optimum``, intervals tighten, some trials are rejected."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    cost, seconds = 0, 0.0
    for k in range(steps):
        progress = k / (steps - 1)
        rejected = k % 7 == 4
        excess = 0.55 * optimum * 10 ** (-5 * progress)
        value = optimum + excess * (2.5 if rejected else 1)
        width = optimum * 10 ** (-2 - 3.4 * progress) * rng.uniform(0.6, 1.4)
        kind = "value" if rejected else ("gauss_newton" if k % 2 else "hypergradient")
        cost += int(400 * (1 + 3 * progress) * rng.uniform(0.8, 1.2))
        seconds += 0.9 * (1 + progress)
        rows.append(
            {
                "evaluation": k + 1,
                "iteration": k - k // 7,
                "kind": kind,
                "accepted": not rejected,
                "value": value,
                "lower": value - width,
                "upper": value + 0.8 * width,
                "gradient_norm": None if rejected else 20 * excess / optimum + 1e-4,
                "gradient_bound": None if rejected else 3 * width / optimum,
                "accuracy": width * 1.2 if rejected else 4 * width / optimum,
                "certified": certified,
                "lower_error": width / 3,
                "message": "newton-cg: 2 of 8: stopped at the step limit" if k == 5 else "",
                "parameters": parameters(progress),
                "cost": {
                    "values": cost // 2, "gradients": cost, "hessian_products": 3 * cost, "direct_solves": 0,
                    "cross_products": k + 1,
                },
                "seconds": seconds,
                **({"validation": {"loss": value * 1.05, "psnr": 28.0}} if k % 3 == 0 else {}),
            }
        )  # fmt: skip
    return rows


def _statistics(rows: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for metric in [k for k in rows[0] if k in ("psnr", "ssim")]:
        for stage in rows[0][metric]:
            values = [row[metric][stage] for row in rows]
            found.setdefault(stage, {})[metric] = {"mean": float(np.mean(values)), "std": float(np.std(values))}
    return found


def _psnr(truth: np.ndarray, picture: np.ndarray) -> float:
    return -10 * math.log10(float(np.mean((truth - picture) ** 2)))


def record(
    path: Path,
    name: str,
    images: list[ImageSet],
    rows: list[dict[str, Any]],
    parameters: dict[str, Any],
    maps: dict[str, np.ndarray] | None = None,
    status: str = "the projected gradient is below the requested tolerance",
    ssim: bool = True,
    seed: int = 0,
    image_names: list[str] | None = None,
) -> Path:
    """Write a finished run."""
    run = RunDirectory.create(path)
    run.write_config(CONFIG % seed)
    run.write_environment(
        {"python": "3.11.2", "versions": {"torch": "2.14.1", "bilearn": "0.1.0"}, "machine": "Linux x86_64, 2 cores",
         "threads": 2, "seed": seed, "command": ["bilearn", "learn", name], "started": "2026-07-01T10:15:00"}
    )  # fmt: skip
    for row in rows:
        run.append_history(row)
    metrics: list[dict[str, Any]] = []
    for i, image in enumerate(images):
        stages = {"noisy": image.data, "default": image.default, "learned": image.learned}
        alike = {k: v for k, v in stages.items() if v is not None and v.shape == image.truth.shape}
        row: dict[str, Any] = {
            "split": "test", "index": i, "name": image_names[i] if image_names else f"{name}-{i}",
            "psnr": {k: _psnr(image.truth, v) for k, v in alike.items()},
        }  # fmt: skip
        if ssim:
            axis = 0 if image.truth.ndim == 3 else None
            row["ssim"] = {
                k: float(structural_similarity(image.truth, v, data_range=1.0, channel_axis=axis))
                for k, v in alike.items()
            }
        metrics.append(row)
    first, last = rows[0], rows[-1]
    run.write_metrics(metrics)
    run.write_images(images, maps)
    run.write_summary(
        {
            "name": name,
            "status": status,
            "solver": {"name": "NewtonCG", "reason": "the Hessian is well preconditioned by cosines"},
            "optimizer": "GaussNewton",
            "start": {k: first[k] for k in ("value", "lower", "upper", "certified")},
            "final": {k: last[k] for k in ("value", "lower", "upper", "certified")},
            "parameters": parameters,
            "metrics": {"test": _statistics(metrics)},
            "cost": last["cost"],
            "seconds": last["seconds"],
            "library_version": "0.1.0",
        }
    )
    run.write_model_description({"energy": "variational"})
    run.write_bytes("model.safetensors", b"weights")
    return path


def tv_parameters(progress: float) -> dict[str, Any]:
    return {
        "regularizer.alpha": 10 ** (-1 - 0.24 * progress),
        "regularizer.nu": 10 ** (-2 + 0.6 * progress * (1.4 - progress)),
        "regularizer.xi": 10 ** (-3 - 4 * min(1.0, 1.3 * progress)),
    }


def tv_summary() -> dict[str, Any]:
    start, end = tv_parameters(0.0), tv_parameters(1.0)
    bounds = {"regularizer.alpha": (1e-5, 1e2), "regularizer.nu": (1e-4, 1.0), "regularizer.xi": (1e-7, 1.0)}
    return {
        k: {
            "value": end[k], "start": start[k], "lower_bound": bounds[k][0], "upper_bound": bounds[k][1],
            "coordinate": "log10", "at_bound": "lower" if k.endswith("xi") else None,
        }
        for k in end
    }  # fmt: skip


def photographs(count: int = 4, size: int = 128, weight: float = 0.09) -> list[ImageSet]:
    rng = np.random.default_rng(0)
    camera = data.camera() / 255.0
    corners = [(60, 180), (140, 220), (330, 120), (20, 350), (300, 330), (200, 40)][:count]
    images = []
    for row, column in corners:
        truth = camera[row : row + size, column : column + size]
        noisy = truth + 0.1 * rng.standard_normal(truth.shape)
        images.append(
            ImageSet(truth, noisy, denoise_tv_chambolle(noisy, weight=0.3), denoise_tv_chambolle(noisy, weight=weight))
        )
    return images


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of runs: photos, photos-adam, signals, tomography, interrupted, map, color."""
    root = tmp_path_factory.mktemp("runs")
    rows = history_rows(36, tv_parameters, 26.18)
    record(
        root / "photos",
        "denoise-photos",
        photographs(),
        rows,
        tv_summary(),
        image_names=["coat", "tripod", "grass & <sky>", "tower"],
    )
    record(
        root / "photos-adam", "denoise-photos-adam", photographs(weight=0.14),
        history_rows(60, tv_parameters, 26.9, certified=False), tv_summary(),
        status="stopped at the limit of upper-level steps", seed=1,
    )  # fmt: skip
    _signals(root / "signals")
    _tomography(root / "tomography")
    _interrupted(root / "interrupted", rows)
    _map(root / "map")
    _color(root / "color")
    return root


def _signals(path: Path) -> None:
    rng = np.random.default_rng(1)
    images = []
    for _ in range(3):
        truth = np.repeat(rng.uniform(0, 1, 10), 26)[:256]
        noisy = truth + 0.1 * rng.standard_normal(256)
        images.append(
            ImageSet(
                truth[None], noisy[None], denoise_tv_chambolle(noisy, weight=0.9)[None],
                denoise_tv_chambolle(noisy, weight=0.25)[None],
            )
        )  # fmt: skip
    record(path, "signals", images, history_rows(18, tv_parameters, 2.826874151573), tv_summary(), ssim=False)


def _tomography(path: Path) -> None:
    from skimage.data import shepp_logan_phantom
    from skimage.transform import resize

    rng = np.random.default_rng(2)
    truth = resize(shepp_logan_phantom(), (96, 96), anti_aliasing=True)
    angles = np.linspace(0, 180, 40, endpoint=False)
    sinogram = radon(truth, angles)
    sinogram = sinogram + 0.5 * rng.standard_normal(sinogram.shape)
    adjoint = iradon(sinogram, angles, filter_name=None)
    inverse = iradon(sinogram, angles)
    image = ImageSet(
        truth[None], sinogram[None], denoise_tv_chambolle(inverse, weight=0.6)[None],
        denoise_tv_chambolle(inverse, weight=0.15)[None], adjoint[None],
    )  # fmt: skip
    record(path, "sparse-view-ct", [image], history_rows(14, tv_parameters, 0.000913), tv_summary())


def _interrupted(path: Path, rows: list[dict[str, Any]]) -> None:
    run = RunDirectory.create(path)
    run.write_config(CONFIG % 0)
    run.write_environment({"python": "3.11.2", "seed": 0})
    for row in rows[:9]:
        run.append_history(row)
    with open(path / "history.jsonl", "a") as file:
        file.write('{"evaluation": 10, "iter')


def _map(path: Path) -> None:
    truth = photographs(1)[0].truth
    rows, columns = np.mgrid[0:50, 0:100] / 50
    weights = 10 ** (-2 + np.sin(3 * rows) * np.cos(2 * columns))
    weights[:4, :9] = 1e-4
    name = "regularizer.weight"

    def spread(progress: float) -> dict[str, Any]:
        values = 10 ** (-2 + progress * (np.log10(weights) + 2))
        return {name: {"min": float(values.min()), "max": float(values.max()), "mean": float(values.mean())}}

    parameter = {
        "value": spread(1.0)[name], "start": spread(0.0)[name], "lower_bound": 1e-4, "upper_bound": 10.0,
        "coordinate": "log10", "entries": 5000, "at_bound": {"lower": 36, "upper": 0},
    }  # fmt: skip
    history = history_rows(120, spread, 11.2)
    for row in history:
        row.update(lower=-math.inf, upper=math.inf, gradient_bound=math.inf, certified=False)
    rng = np.random.default_rng(4)
    noisy = truth + 0.1 * rng.standard_normal(truth.shape)
    image = ImageSet(truth, noisy, denoise_tv_chambolle(noisy, weight=0.2), denoise_tv_chambolle(noisy, weight=0.1))
    record(path, "weight-map", [image], history, {name: parameter}, maps={name: weights})


def _color(path: Path) -> None:
    rng = np.random.default_rng(5)
    truth = np.moveaxis(data.astronaut()[10:138, 150:278] / 255.0, -1, 0)
    noisy = truth + 0.1 * rng.standard_normal(truth.shape)
    better = [denoise_tv_chambolle(noisy, weight=w, channel_axis=0) for w in (0.4, 0.12)]
    record(
        path,
        "<script>alert(1)</script>",
        [ImageSet(truth, noisy, *better)],
        history_rows(12, tv_parameters, 5.0),
        tv_summary(),
    )
