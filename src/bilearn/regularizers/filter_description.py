"""Descriptions of filter regularizers as plain values for files, and back; the numbers themselves are a state dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bilearn.regularizers.fields_of_experts import FieldsOfExperts
from bilearn.regularizers.filter_chain import FilterChain
from bilearn.regularizers.filter_regularizer import FilterRegularizer
from bilearn.regularizers.filters import FilterBank, Filters
from bilearn.regularizers.response_potentials import (
    AbsoluteResponse,
    LogCoshResponse,
    ResponsePotential,
    StudentTResponse,
)
from bilearn.regularizers.ridge import RidgeRegularizer
from bilearn.regularizers.splines import SplineResponse


def describe_filters(regularizer: FilterRegularizer) -> dict[str, Any] | None:
    """What :func:`build_filters` needs, as plain values; None where a part is not one of bilearn's own."""
    bank = _describe_bank(regularizer.bank)
    if bank is None:
        return None
    if isinstance(regularizer, RidgeRegularizer):
        return {"kind": "ridge", "weak": regularizer.weak, "bank": bank, "numbers": _numbers(regularizer)}
    if isinstance(regularizer, FieldsOfExperts):
        potential = _describe_potential(regularizer.potential)
        if potential is not None:
            return {"kind": "foe", "bank": bank, "potential": potential, "numbers": _numbers(regularizer)}
    return None


def build_filters(entry: Mapping[str, Any]) -> FilterRegularizer:
    """The regularizer of a description, with numbers inside their bounds; load the state dictionary next.

    Raises:
        KeyError: if the description lacks an entry or names an unknown kind.
    """
    bank, numbers = _build_bank(entry["bank"]), entry["numbers"]
    learn = [name for name, number in numbers.items() if number["learn"]]
    bounds = {name: tuple(number["bounds"]) for name, number in numbers.items()}
    if entry["kind"] == "ridge":
        values = [_inside(numbers[name]) for name in ("weight", "scale", "sharpness", "gains")]
        return RidgeRegularizer(bank, entry["weak"], *values, learn=learn, bounds=bounds)
    potential = _build_potential(entry["potential"], bank.fields)
    weights = numbers["weights"]
    return FieldsOfExperts(bank, _inside(weights), potential, learn, bounds["weights"])


def _numbers(module: nn.Module) -> dict[str, Any]:
    """Bounds and 'learn' of the learnable numbers that ``module`` itself owns."""
    names = dict(module.named_children()).get("parametrizations", nn.ModuleDict()).keys()  # type: ignore[operator]
    entries = {}
    for name in names:
        coordinate = module.get_submodule(f"parametrizations.{name}.0.coordinate")
        learn = module.get_parameter(f"parametrizations.{name}.original").requires_grad
        entries[name] = {"bounds": list(coordinate.bounds), "learn": learn}  # type: ignore[arg-type]
    return entries


def _inside(number: Mapping[str, Any]) -> Tensor:
    low, high = number["bounds"]
    return torch.tensor((low * high) ** 0.5, dtype=torch.float64)


def _learned(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


def _describe_bank(bank: FilterBank) -> dict[str, Any] | None:
    if isinstance(bank, Filters):
        options = {"zero_mean": bank.zero_mean, "boundary": bank.boundary, "learn": _learned(bank)}
        return {"kind": "filters", "fields": bank.fields, "size": bank.size, **options}
    if isinstance(bank, FilterChain):
        shapes = [list(layer.shape) for layer in bank.layers]
        return {"kind": "chain", "shapes": shapes, "padding": bank.padding, "learn": _learned(bank)}
    return None


def _build_bank(entry: Mapping[str, Any]) -> FilterBank:
    if entry["kind"] == "chain":
        return FilterChain([torch.zeros(shape) for shape in entry["shapes"]], entry["padding"], entry["learn"])
    start = torch.zeros(entry["fields"], entry["size"], entry["size"])
    return Filters(start, entry["zero_mean"], entry["boundary"], entry["learn"])


def _describe_potential(potential: ResponsePotential) -> dict[str, Any] | None:
    if isinstance(potential, StudentTResponse):
        return {"kind": "student-t"}
    if isinstance(potential, LogCoshResponse):
        return {"kind": "log-cosh"}
    if isinstance(potential, AbsoluteResponse):
        return {"kind": "absolute", **_numbers(potential)["nu"]}
    if isinstance(potential, SplineResponse):
        sizes = {"pieces": potential.pieces, "span": potential.span, "degree": potential.degree}
        return {"kind": "spline", **sizes, **_numbers(potential)["curvatures"]}
    return None


def _build_potential(entry: Mapping[str, Any], fields: int) -> ResponsePotential:
    if entry["kind"] == "student-t":
        return StudentTResponse()
    if entry["kind"] == "log-cosh":
        return LogCoshResponse()
    bounds = tuple(entry["bounds"])
    if entry["kind"] == "absolute":
        return AbsoluteResponse(fields, _inside(entry), entry["learn"], bounds)
    start = torch.zeros(entry["pieces"])
    return SplineResponse(fields, entry["pieces"], entry["span"], start, bounds, entry["degree"], entry["learn"])
