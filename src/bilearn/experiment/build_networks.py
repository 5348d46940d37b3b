"""Network regularizers of a configuration."""

from __future__ import annotations

from typing import Any

import torch

from bilearn.experiment.messages import ConfigError
from bilearn.experiment.network_schema import (
    DifferenceConfig,
    InputConvexConfig,
    NetworkConfig,
    PatchNetworkConfig,
    TotalDeepVariationConfig,
)
from bilearn.regularizers import (
    DifferenceNetwork,
    InputConvexNetwork,
    NetworkRegularizer,
    PatchNetwork,
    TotalDeepVariation,
)


def build_network_regularizer(config: NetworkConfig, image_shape: tuple[int, ...], seed: int) -> NetworkRegularizer:
    """The regularizer of a section with kind "icnn", "idcnn", "patch-network" or "tdv" for images (C, H, W).

    Args:
        config: the section.
        image_shape: of one image.
        seed: of the network's start values.

    Raises:
        ConfigError: for signals, for a value per pixel, or where an option does not fit the others.
    """
    if len(image_shape) != 3:
        raise ConfigError("regularizer.kind: networks need images, found signals; choose 'smoothed-tv'")
    numbers = {"weight": config.weight, "scale": config.scale}
    for name, number in numbers.items():
        if number.pixelwise:
            raise ConfigError(f"regularizer.{name}.pixelwise: networks have one value for the whole image")
    options: dict[str, Any] = {
        "learn": [name for name, number in numbers.items() if number.learn],
        "bounds": {name: number.bounds for name, number in numbers.items() if number.bounds is not None},
    }
    try:
        network, constants = _network(config, image_shape[0], torch.Generator().manual_seed(seed))
    except ValueError as error:
        raise ConfigError(f"regularizer: {error}") from None
    network.requires_grad_(config.learn_network)
    return NetworkRegularizer(network, config.weight.start, config.scale.start, curvature=constants, **options)


def _network(config: NetworkConfig, channels: int, generator: torch.Generator) -> tuple[Any, Any]:
    """The network and its curvature, None where nothing is known."""
    if isinstance(config, TotalDeepVariationConfig):
        return TotalDeepVariation(channels, config.features, config.scales, config.blocks, generator), None
    assert isinstance(config, (InputConvexConfig, DifferenceConfig, PatchNetworkConfig))
    sizes = (channels, config.features, config.layers, config.size, config.smoothing, generator)
    if isinstance(config, InputConvexConfig):
        network = InputConvexNetwork(*sizes)
    elif isinstance(config, DifferenceConfig):
        network = DifferenceNetwork(InputConvexNetwork(*sizes), InputConvexNetwork(*sizes))
    else:
        network = PatchNetwork(*sizes)
    return network, network.curvature
