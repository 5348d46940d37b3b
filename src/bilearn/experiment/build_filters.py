"""Filter regularizers of a configuration."""

from __future__ import annotations

from typing import Any

import torch

from bilearn.experiment.data_schema import Parameter
from bilearn.experiment.messages import ConfigError
from bilearn.experiment.model_schema import ConvexRidgeConfig, FieldsOfExpertsConfig, WeaklyConvexRidgeConfig
from bilearn.regularizers import (
    AbsoluteResponse,
    FieldsOfExperts,
    FilterChain,
    FilterRegularizer,
    Filters,
    LogCoshResponse,
    ResponsePotential,
    RidgeRegularizer,
    SplineResponse,
    StudentTResponse,
    cosine_filters,
    random_filters,
    random_layers,
)


def build_filter_regularizer(
    config: FieldsOfExpertsConfig | ConvexRidgeConfig | WeaklyConvexRidgeConfig, image_shape: tuple[int, ...], seed: int
) -> FilterRegularizer:
    """The regularizer of a section with kind "foe", "crr" or "wcrr" for images (C, H, W).

    Args:
        config: the section.
        image_shape: of one image.
        seed: of random filters.

    Raises:
        ConfigError: for signals, for a value per pixel, or where an option does not fit the others.
    """
    if len(image_shape) != 3:
        raise ConfigError(f"regularizer.kind = '{config.kind}': needs images, found signals; choose 'smoothed-tv'")
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Parameter) and value.varies:
            raise ConfigError(
                f"regularizer.{name}.{'cells' if value.cells else 'pixelwise'}: filters have one value for the whole image"
            )
    generator = torch.Generator().manual_seed(seed)
    try:
        if isinstance(config, FieldsOfExpertsConfig):
            return _experts(config, generator)
        return _ridge(config, generator)
    except ValueError as error:
        raise ConfigError(f"regularizer: {error}") from None


def _experts(config: FieldsOfExpertsConfig, generator: torch.Generator) -> FieldsOfExperts:
    if config.start == "cosine":
        start = cosine_filters(config.filters, config.size)
    else:
        start = random_filters(config.filters, config.size, generator)
    bank = Filters(start, config.zero_mean, config.boundary, config.learn_filters)
    learn = ["weights"] if config.weights.learn else []
    options: dict[str, Any] = {} if config.weights.bounds is None else {"bounds": config.weights.bounds}
    return FieldsOfExperts(bank, config.weights.start, _potential(config), learn, **options)


def _potential(config: FieldsOfExpertsConfig) -> ResponsePotential:
    if config.potential == "student-t":
        return StudentTResponse()
    if config.potential == "log-cosh":
        return LogCoshResponse()
    if config.potential == "absolute":
        options: dict[str, Any] = {} if config.nu.bounds is None else {"bounds": config.nu.bounds}
        return AbsoluteResponse(config.filters, config.nu.start, config.nu.learn, **options)
    limits = (-config.weak, config.steepest)
    return SplineResponse(config.filters, config.pieces, config.span, bounds=limits, degree=config.degree)


def _ridge(config: ConvexRidgeConfig | WeaklyConvexRidgeConfig, generator: torch.Generator) -> RidgeRegularizer:
    bank = FilterChain(random_layers(config.channels, config.size, generator), learn=config.learn_filters)
    numbers = {name: getattr(config, name) for name in ("weight", "scale", "sharpness", "gains")}
    return RidgeRegularizer(
        bank,
        weak=1.0 if isinstance(config, WeaklyConvexRidgeConfig) else 0.0,
        **{name: number.start for name, number in numbers.items()},
        learn=[name for name, number in numbers.items() if number.learn],
        bounds={name: number.bounds for name, number in numbers.items() if number.bounds is not None},
    )
