"""Descriptions of learnable numbers in files, and arguments that rebuild them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bilearn.coarse_map import CoarseMap
from bilearn.parameters import OnGrid


def number_names(module: nn.Module) -> list[str]:
    """Names of the learnable numbers that ``module`` itself owns."""
    return list(dict(module.named_children()).get("parametrizations", nn.ModuleDict()).keys())  # type: ignore[operator]


def numbers_of(module: nn.Module) -> dict[str, Any]:
    """Bounds, shape and 'learn' of every learnable number of ``module``."""
    entries = {}
    for name in number_names(module):
        coordinate = module.get_submodule(f"parametrizations.{name}.0.coordinate")
        parameter = module.get_parameter(f"parametrizations.{name}.original")
        entries[name] = {
            "bounds": list(coordinate.bounds),  # type: ignore[arg-type]
            "learn": parameter.requires_grad,
            "shape": list(parameter.shape),
        }
        if isinstance(coordinate, OnGrid):
            entries[name] |= {"size": list(coordinate.grid.size), "filling": coordinate.grid.filling}
    return entries


def values(numbers: Mapping[str, Any]) -> dict[str, Tensor | CoarseMap]:
    """A value inside the bounds for every number; the saved one replaces it."""
    found: dict[str, Tensor | CoarseMap] = {}
    for name, entry in numbers.items():
        inside = torch.full(entry["shape"], 0.5 * sum(entry["bounds"]), dtype=torch.float64)
        found[name] = CoarseMap(inside, tuple(entry["size"]), entry["filling"]) if "size" in entry else inside
    return found


def limits(numbers: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Bounds by name."""
    return {name: (entry["bounds"][0], entry["bounds"][1]) for name, entry in numbers.items()}


def learned(numbers: Mapping[str, Any]) -> list[str]:
    """Names of those that are learned."""
    return [name for name, entry in numbers.items() if entry["learn"]]
