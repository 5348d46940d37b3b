"""A learned regularizer tuned for the data, operator and noise of a configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from bilearn.experiment.build_data import Pairs, build_data
from bilearn.experiment.build_model import build_fidelity
from bilearn.experiment.load import load_config
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.session import model_extra
from bilearn.experiment.stages import StageResult
from bilearn.lower import AcceleratedDescent, minimize
from bilearn.metrics import quality
from bilearn.model import DESCRIPTION, LearnedModel, load_model, reconstruction_tolerance, save_model
from bilearn.retuning import retune


def retune_config(
    model: str | Path,
    target: str | Path,
    output: str | Path,
    names: Sequence[str] = ("weight", "scale"),
    settings: Sequence[str] = (),
    overwrite: bool = False,
) -> Iterator[str]:
    """Tune, write the model into ``output``, and say what was reached on the test images; yields lines of text.

    Args:
        model: run directory, ``model.json``, or name of a shipped model.
        target: recipe or TOML file: its sections data, noise, physics and fidelity count.
        output: folder of the new model.
        names: numbers of the regularizer to tune.
        settings: texts "section.key=value" that change the configuration.
        overwrite: replace a model in ``output``.

    Raises:
        DataError, ConfigError, ModelError: one sentence on what does not fit.
    """
    if (Path(output) / DESCRIPTION).exists() and not overwrite:
        raise ConfigError(f"{output}: holds a model; choose another --output or pass --overwrite")
    learned = load_model(model)
    config = load_config(target, [*settings, f'run.dtype="{learned.description.get("dtype", "float64")}"'])
    if config.run.threads is not None:
        torch.set_num_threads(config.run.threads)
    data = build_data(config)
    fidelity = build_fidelity(config.fidelity, tuple(data.train.data.shape[1:]))
    try:
        found = retune(learned, data.train.truth, data.train.data, data.operator, names, fidelity=fidelity)
    except ValueError as error:
        raise ConfigError(f"retune: {error}") from None
    parameters = found.model.parameters
    numbers = ", ".join(f"{name} = {float(parameters[f'regularizer.{name}']):.4g}" for name in names)
    yield (
        f"tuned on {len(data.train)} pairs: {numbers}; squared error {found.start:.5g} -> {found.value:.5g} "
        f"({found.evaluations} evaluations, {found.cost.gradients} gradients)"
    )
    extra = {**model_extra(config, data), "name": f"{learned.description.get('name', 'model')} for {config.name}"}
    path = save_model(output, found.model.energy, extra)
    if data.test is not None:
        yield _figures(found.model, data.test)
    yield f"model: {path.parent}"


def _figures(model: LearnedModel, pairs: Pairs) -> str:
    before = StageResult.of_data(model.energy, pairs).figures
    tolerance = reconstruction_tolerance(model.energy, pairs.data)
    with torch.no_grad():
        x = minimize(model.energy, pairs.data, AcceleratedDescent(), tolerance=tolerance, throw=False).x
    after = quality(x, pairs.truth)
    parts = [f"{name} {float(before[name].mean()):.3f} -> {float(after[name].mean()):.3f}" for name in after]
    return f"{len(pairs)} test images, from the data to the reconstructions: {', '.join(parts)}"
