"""Quality of a learned model on other images with known truth."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError

from bilearn.data import NamedImage, read_folder, stack
from bilearn.experiment.build_data import Pairs, add_noise, prepare
from bilearn.experiment.build_physics import build_operator
from bilearn.experiment.data_schema import DataConfig, NoiseConfig, PhysicsConfig
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.stages import StageResult, metric_rows, reconstruct_stage
from bilearn.model import LearnedModel, load_model
from bilearn.run_records import ImageRow

_PHYSICS: TypeAdapter[Any] = TypeAdapter(PhysicsConfig)
_NOISE: TypeAdapter[Any] = TypeAdapter(NoiseConfig)


def evaluate_folder(run: str | Path, folder: str | Path, crop: int | None = None, seed: int = 0) -> list[ImageRow]:
    """Figures of a learned model on a folder of true images.

    Data are made as in the run, with its operator and its noise; images keep their own sizes unless cropped.

    Args:
        run: run directory or model.
        folder: true images.
        crop: crop all images to this many pixels.
        seed: seed of the noise; each image's noise depends on the seed and the image's name only.

    Returns:
        One row per image with the stages 'noisy' and 'learned'.

    Raises:
        DataError, ConfigError, ModelError: one sentence on what does not fit.
    """
    model = load_model(run)
    config = DataConfig(folder=str(folder), gray=bool(model.description.get("gray", True)), crop=crop)
    images = prepare(read_folder(folder), config, torch.Generator().manual_seed(seed))
    rows = []
    for index, image in enumerate(images):
        truth = stack([image]).to(model.dtype)
        fitted = fit_operator(model, tuple(truth.shape[1:]))
        clean = fitted.energy.operator.A(truth)
        pairs = Pairs(truth, add_noise(clean, noise_of(model), _generator(seed, image)), (image.name,))
        stages = {
            "noisy": StageResult.of_data(fitted.energy, pairs),
            "learned": reconstruct_stage(fitted.energy, pairs),
        }
        (row,) = metric_rows("test", pairs, stages)
        rows.append(replace(ImageRow.from_json(row), index=index))
    return rows


def fit_operator(
    model: LearnedModel, image_shape: tuple[int, ...], changes: dict[str, Any] | None = None
) -> LearnedModel:
    """The model with the operator of its own physics section, built for images of another shape.

    Args:
        model: a model whose description has "physics".
        image_shape: (C, H, W).
        changes: keys of the physics section to replace.

    Raises:
        ConfigError: if a key is unknown or the operator does not exist for this shape.
    """
    section = dict(model.description.get("physics") or {})
    if not changes and list(image_shape) == model.description.get("image_shape"):
        return model
    if not section:
        raise ConfigError(
            "physics: the model was learned with an operator that only Python knows; "
            "use bilearn.load(...).reconstruct(y, physics=...)"
        )
    if section["kind"] == "identity" and not changes:
        return model
    try:
        physics = _PHYSICS.validate_python({**section, **(changes or {})})
    except ValidationError as error:
        entry = error.errors()[0]
        key = ".".join(str(part) for part in entry["loc"])
        raise ConfigError(f"physics {section['kind']}: {key}: {entry['msg']}") from None
    operator = build_operator(physics, image_shape, int(model.description.get("seed", 0))).to(model.dtype)
    return model.with_operator(operator)


def noise_of(model: LearnedModel) -> Any:
    """The noise section the model was learned with; none if it has none."""
    return _NOISE.validate_python(model.description.get("noise") or {"kind": "none"})


def _generator(seed: int, image: NamedImage) -> torch.Generator:
    digest = hashlib.sha256(f"bilearn evaluate {seed} {image.name}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
