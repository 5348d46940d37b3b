"""Descriptions of network regularizers as plain values for files, and back; the numbers themselves are a state dictionary."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bilearn.regularizers.input_convex import DifferenceNetwork, InputConvexNetwork
from bilearn.regularizers.network import NetworkRegularizer
from bilearn.regularizers.patch_network import PatchNetwork
from bilearn.regularizers.total_deep_variation import TotalDeepVariation


def describe_network(regularizer: NetworkRegularizer) -> dict[str, Any] | None:
    """What :func:`build_network` needs, as plain values; None where the network is not one of bilearn's own."""
    network = regularizer.module
    learned = any(p.requires_grad for p in network.parameters())
    if isinstance(network, DifferenceNetwork):
        parts = {"plus": network.plus.options, "minus": network.minus.options}
        return {"kind": "network", "network": "idcnn", "learn_network": learned, **parts}
    kinds = {"icnn": InputConvexNetwork, "patch-network": PatchNetwork, "tdv": TotalDeepVariation}
    for name, kind in kinds.items():
        if isinstance(network, kind):
            return {"kind": "network", "network": name, "learn_network": learned, "options": network.options}
    return None


def build_network(
    entry: Mapping[str, Any],
    learn: Collection[str],
    bounds: Mapping[str, tuple[float, float]],
) -> NetworkRegularizer:
    """The regularizer of a description, its network at random; load the state dictionary next.

    Args:
        entry: the description.
        learn: which of "weight" and "scale" are learned.
        bounds: of both; the numbers start in their middle.

    Raises:
        KeyError: if the description lacks an entry or names an unknown network.
    """
    weight, scale = (0.5 * sum(bounds[name]) for name in ("weight", "scale"))
    if entry["network"] == "tdv":
        regularizer = NetworkRegularizer(
            TotalDeepVariation(**entry["options"]), weight, scale, learn=learn, bounds=bounds
        )
    else:
        network = _with_constants(entry)
        regularizer = NetworkRegularizer(
            network, weight, scale, learn=learn, bounds=bounds, curvature=network.curvature
        )
    regularizer.module.requires_grad_(entry["learn_network"])
    return regularizer


def _with_constants(entry: Mapping[str, Any]) -> InputConvexNetwork | DifferenceNetwork | PatchNetwork:
    if entry["network"] == "idcnn":
        return DifferenceNetwork(InputConvexNetwork(**entry["plus"]), InputConvexNetwork(**entry["minus"]))
    if entry["network"] == "icnn":
        return InputConvexNetwork(**entry["options"])
    if entry["network"] == "patch-network":
        return PatchNetwork(**entry["options"])
    raise KeyError(f"unknown network {entry['network']!r}")
