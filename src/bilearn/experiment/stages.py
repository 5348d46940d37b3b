"""Reconstructions of a set of pairs and their figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bilearn.experiment.build_data import Pairs
from bilearn.lower.minimize import minimize
from bilearn.metrics import quality
from bilearn.model import reconstruction_tolerance
from bilearn.run_records import ImageSet
from bilearn.variational import VariationalEnergy


@dataclass(frozen=True)
class StageResult:
    """Images of one stage ('noisy', 'default', 'learned') with their figures.

    Attributes:
        images: (N, ...) shaped like the truth.
        figures: metric -> (N,).
        errors: (N,) bound on the distance to the exact minimizer; None for data.
        message: what the solver did not reach, else empty.
    """

    images: Tensor
    figures: dict[str, Tensor]
    errors: Tensor | None = None
    message: str = ""

    @staticmethod
    def of_data(energy: VariationalEnergy, pairs: Pairs) -> StageResult:
        """The data themselves, or the image the operator makes of them where shapes differ (sinograms)."""
        images = pairs.data if pairs.data.shape == pairs.truth.shape else energy.start(pairs.data)
        return StageResult(images, quality(images, pairs.truth))


def reconstruct_stage(energy: VariationalEnergy, pairs: Pairs) -> StageResult:
    """Reconstruct all pairs at the energy's current parameters, to a certified root-mean-square error of 1e-4."""
    with torch.no_grad():
        solution = minimize(energy, pairs.data, tolerance=reconstruction_tolerance(energy, pairs.data), throw=False)
    message = "" if solution.settled else solution.describe()
    return StageResult(solution.x, quality(solution.x, pairs.truth), solution.error, message)


def statistics(stages: Mapping[str, StageResult]) -> dict[str, dict[str, dict[str, float]]]:
    """stage -> metric -> mean and standard deviation over the images."""
    return {
        stage: {
            metric: {"mean": float(v.mean()), "std": float(v.std(correction=1)) if v.numel() > 1 else 0.0}
            for metric, v in result.figures.items()
        }
        for stage, result in stages.items()
    }


def metric_rows(split: str, pairs: Pairs, stages: Mapping[str, StageResult]) -> list[dict[str, Any]]:
    """One row per image: metric -> stage -> value."""
    metrics = list(dict.fromkeys(m for result in stages.values() for m in result.figures))
    return [
        {
            "split": split,
            "index": i,
            "name": name,
            **{m: {s: float(r.figures[m][i]) for s, r in stages.items() if m in r.figures} for m in metrics},
        }
        for i, name in enumerate(pairs.names)
    ]


def image_sets(
    energy: VariationalEnergy, pairs: Pairs, stages: Mapping[str, StageResult], count: int
) -> list[ImageSet]:
    """Pictures of the first ``count`` pairs."""
    back = energy.start(pairs.data) if pairs.data.shape != pairs.truth.shape else None
    return [
        ImageSet(
            truth=_array(pairs.truth[i]),
            data=_array(pairs.data[i]),
            default=_array(stages["default"].images[i]),
            learned=_array(stages["learned"].images[i]),
            adjoint=None if back is None else _array(back[i]),
        )
        for i in range(min(count, len(pairs)))
    ]


def _array(image: Tensor) -> np.ndarray:
    return (image[0] if image.shape[0] == 1 else image).cpu().numpy().astype(np.float32)
