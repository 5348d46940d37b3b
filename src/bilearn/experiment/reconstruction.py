"""Files of measured images to files of reconstructions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bilearn.data import DataError, list_images, read_image, to_gray
from bilearn.data.files import PICTURES
from bilearn.data.write import FORMATS, write_image
from bilearn.experiment.load import parse_value
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.new_images import fit_operator
from bilearn.model import LearnedModel, load_model, reconstruction_tolerance
from bilearn.operators import Mask, MatrixOperator
from bilearn.solution import Solution
from bilearn.status import Status


@dataclass(frozen=True)
class Line:
    """What is said of one reconstruction, and whether it reached the accuracy."""

    text: str
    reached: bool


def reconstruct_files(
    model_path: str | Path,
    images: Sequence[str | Path],
    output: str | Path,
    suffix: str | None = None,
    mask: str | Path | None = None,
    settings: Sequence[str] = (),
    accuracy: float = 1e-4,
    overwrite: bool = False,
) -> Iterator[Line]:
    """Reconstruct every image and write it to ``output`` under its own name; yields one line each.

    All inputs are read and checked before the first is reconstructed.

    Args:
        model_path: run directory or model.
        images: files, or folders of them.
        output: folder of the results.
        suffix: 'png', 'tif' or 'npy'; png for pictures and npy for arrays if None.
        mask: inpainting: picture of the observed pixels, white where observed.
        settings: texts "key=value" that replace keys of the physics section.
        accuracy: certified root-mean-square error per pixel.
        overwrite: replace files that exist.

    Raises:
        DataError, ConfigError, ModelError: one sentence on what does not fit.
    """
    if suffix is not None and suffix not in FORMATS:
        raise ConfigError(f"format: found '{suffix}', expected one of {', '.join(FORMATS)}")
    if not accuracy > 0:
        raise ConfigError(f"accuracy: found {accuracy:g}, expected a positive number")
    model = load_model(model_path)
    changes = dict(_setting(text) for text in settings)
    files = [f for given in images for f in (list_images(given) if Path(given).is_dir() else [Path(given)])]
    work = []
    for file in files:
        found = read_image(file)
        for image in found:
            pixels = to_gray(image).pixels if model.description.get("gray", True) else image.pixels
            name = re.sub(r"[^\w.-]+", "_", image.name if len(found) > 1 else file.stem)
            kind = suffix or ("png" if file.suffix.lower() in PICTURES else "npy")
            target = Path(output) / f"{name}.{kind}"
            if target.resolve() == file.resolve():
                raise DataError(f"{target}: the result would replace its own input; choose another --output folder")
            if target.exists() and not overwrite:
                raise DataError(f"{target}: exists; choose another --output folder or pass --overwrite")
            work.append((image.name, pixels, target))
    targets = [target for _, _, target in work]
    if len(set(targets)) < len(targets):
        twice = next(t for t in targets if targets.count(t) > 1)
        raise DataError(f"{twice}: two inputs have the same name; reconstruct them into different folders")
    prepared = [(name, pixels, target, _fitted(model, pixels, mask, changes)) for name, pixels, target in work]
    for name, pixels, target, fitted in prepared:
        solution, images_out = _solve(fitted, pixels, accuracy)
        write_image(target, images_out)
        yield _line(name, target, solution)


def _setting(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    key = key.strip().removeprefix("physics.")
    if not separator or not key:
        raise ConfigError(f"--set {text}: expected key=value, such as sigma=2.0")
    return key, parse_value(value)


def _fitted(model: LearnedModel, pixels: Tensor, mask: str | Path | None, changes: dict[str, Any]) -> LearnedModel:
    """The model with an operator that fits the data."""
    operator = model.energy.operator
    if mask is not None:
        if not isinstance(operator, Mask):
            raise ConfigError("--mask: the model was not learned for inpainting; leave --mask out")
        (picture,) = read_image(mask)
        seen = (to_gray(picture).pixels > 0.5).to(model.dtype)
        if seen.shape[-2:] != pixels.shape[-2:]:
            raise DataError(
                f"{mask}: found {tuple(seen.shape[-2:])} pixels, expected {tuple(pixels.shape[-2:])} as the image"
            )
        return model.with_operator(Mask(seen))
    if isinstance(operator, MatrixOperator):
        if changes:
            raise ConfigError("--set: the geometry of a tomography model cannot be changed; learn it again")
        if tuple(pixels.shape) != tuple(operator.data_shape):
            raise DataError(
                f"data: found shape {tuple(pixels.shape)}, expected {tuple(operator.data_shape)} for this operator"
            )
        return model
    if isinstance(operator, Mask) and list(pixels.shape) != model.description.get("image_shape"):
        raise ConfigError(
            f"data: found {tuple(pixels.shape)}, but the mask of the model fits {model.description.get('image_shape')}; "
            "pass --mask with a picture of the observed pixels"
        )
    return fit_operator(model, tuple(pixels.shape), changes)


def _solve(model: LearnedModel, pixels: Tensor, accuracy: float) -> tuple[Solution, Tensor]:
    y = pixels[None].to(model.dtype)
    tolerance = reconstruction_tolerance(model.energy, y, accuracy)
    with torch.no_grad():
        solution = LearnedModel(model.energy, model.description, tolerance).solve(y, throw=False)
    return solution, solution.x[0]


def _line(name: str, target: Path, solution: Solution) -> Line:
    met = solution.settled
    if bool(torch.isfinite(solution.error).all()):
        per_pixel = float(solution.error.max()) / solution.x[0].numel() ** 0.5
        word = "certified" if solution.certified else "estimated, not certified:"
        proof = f"{word} within {per_pixel:.1e} per pixel of the exact minimizer"
    else:
        proof = f"gradient norm {float(solution.gradient_norm.max()):.1e}, distance to the minimizer unknown"
    status = "" if solution.converged else f"; {Status(int(solution.status[0]))}"
    return Line(f"{name} -> {target}  ({proof}{status})", met)
