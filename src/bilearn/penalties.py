"""Penalties on theta: added to the upper-level objective, differentiable in the energy's parameters."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bilearn.energy import Energy
from bilearn.parameters import ParameterVector


class Penalty(ABC):
    """A number that depends on theta alone (and, through curvature constants, possibly on the data).

    An author must write ``__call__``. Penalties add: ``L1(0.1) + ConditionNumber(1e-6)``.
    """

    @abstractmethod
    def __call__(self, energy: Energy, y: Tensor) -> Tensor:
        """Zero-dimensional tensor, differentiable in the learnable parameters of ``energy``."""

    def __add__(self, other: Penalty) -> Penalty:
        return Sum((self, other))


@dataclass(frozen=True)
class Sum(Penalty):
    """Sum of penalties; ``a + b`` makes one."""

    parts: tuple[Penalty, ...]

    def __call__(self, energy: Energy, y: Tensor) -> Tensor:
        return torch.stack([part(energy, y) for part in self.parts]).sum()


def _check_weight(weight: float) -> None:
    if not (weight >= 0 and math.isfinite(weight)):
        raise ValueError(f"weight: found {weight}, expected a finite number >= 0")


def _title(energy: Energy) -> str:
    return type(energy).__name__.removeprefix("Parametrized")


@dataclass(frozen=True)
class ConditionNumber(Penalty):
    """weight * (L / mu)^2 with the declared constants of the energy; the mean over samples where they differ.

    Keeps the lower level cheap: its cost grows with L / mu.

    Args:
        weight: factor >= 0.

    Raises:
        ValueError: if the weight is negative, or (when called) the energy does not know mu > 0 and L.

    Reference:
        Ehrhardt, Roberts, "Inexact derivative-free optimization for bilevel learning", JMIV 63, 2021.
    """

    weight: float

    def __post_init__(self) -> None:
        _check_weight(self.weight)

    def __call__(self, energy: Energy, y: Tensor) -> Tensor:
        curvature = energy.curvature(y)
        mu, smoothness = (torch.as_tensor(c.value) for c in (curvature.strong_convexity, curvature.smoothness))
        if not bool((mu > 0).all()) or not bool(torch.isfinite(smoothness).all()):
            raise ValueError(
                f"ConditionNumber: found no mu > 0 and L for {_title(energy)}, expected both; "
                "add a strongly convex term or declare them in curvature(y)"
            )
        return self.weight * (smoothness / mu).square().mean()


@dataclass(frozen=True)
class _OnValues(Penalty):
    """weight * sum of a function of the natural values of selected parameters.

    Args:
        weight: factor >= 0.
        names: names of the parameters (as in ``ParameterVector``); all learnable ones if None.
    """

    weight: float
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        _check_weight(self.weight)
        if isinstance(self.names, str):
            raise ValueError(
                f"names: found the string {self.names!r}, expected a list of names; write [{self.names!r}]"
            )

    @abstractmethod
    def _measure(self, values: Tensor) -> Tensor:
        """Elementwise penalty."""

    def __call__(self, energy: Energy, y: Tensor) -> Tensor:
        slots = {slot.name: slot for slot in ParameterVector(energy).slots}
        chosen = list(slots) if self.names is None else list(self.names)
        missing = [name for name in chosen if name not in slots]
        if missing:
            raise ValueError(
                f"names: found {missing[0]!r}, expected names of learnable parameters; there are {', '.join(slots)}"
            )
        values = [slots[name].coordinate(slots[name].parameter).reshape(-1) for name in chosen]
        return self.weight * self._measure(torch.cat(values)).sum()


class L1(_OnValues):
    """weight * sum |value|."""

    def _measure(self, values: Tensor) -> Tensor:
        return values.abs()


class L2(_OnValues):
    """weight * sum value^2."""

    def _measure(self, values: Tensor) -> Tensor:
        return values.square()


class Sparsity(_OnValues):
    """weight * sum (s + s (1 - s)) for values s in [0, 1]: few of them, and each near 0 or 1.

    Reference:
        Sherry et al., "Learning the sampling pattern for MRI", IEEE TMI 39(12), 2020.
    """

    def _measure(self, values: Tensor) -> Tensor:
        return values + values * (1 - values)


@dataclass(frozen=True)
class PenaltyTerms:
    """A penalty at one theta.

    Attributes:
        value: the number.
        gradient: (P,) in coordinates, or None where it was not asked for.
        hessian: (P, P) positive semidefinite part of the Hessian in coordinates, or None where it was not asked for.
    """

    value: float
    gradient: Tensor | None
    hessian: Tensor | None

    @classmethod
    def of(
        cls, penalty: Penalty | None, energy: Energy, y: Tensor, parameters: ParameterVector, order: Literal[0, 1, 2]
    ) -> PenaltyTerms:
        """Evaluate by autograd at the energy's current theta; zeros where there is no penalty.

        Args:
            penalty: the penalty or None.
            energy: the energy.
            y: (N, ...) data.
            parameters: the learnable parameters of ``energy``.
            order: of the derivatives: 0 for the value alone, 2 for the Hessian too (P backward passes).
        """
        zero = torch.zeros_like(parameters.lower) if order > 0 else None
        square = torch.diag_embed(torch.zeros_like(parameters.lower)) if order > 1 else None
        if penalty is None:
            return cls(0.0, zero, square)
        if order == 0:
            with torch.no_grad():
                return cls(float(penalty(energy, y)), None, None)
        with torch.enable_grad():
            value = penalty(energy, y)
            if not value.requires_grad:
                return cls(float(value), zero, square)
            slopes = torch.autograd.grad(value, parameters.parameters, create_graph=order > 1, materialize_grads=True)
            if order > 1:
                square = _positive_part(torch.cat([s.reshape(-1) for s in slopes]), parameters, square)
        return cls(float(value.detach()), parameters.flatten(slopes), square)


def _positive_part(slopes: Tensor, parameters: ParameterVector, zero: Tensor | None) -> Tensor | None:
    if not slopes.requires_grad:
        return zero
    rows = [torch.autograd.grad(s, parameters.parameters, retain_graph=True, materialize_grads=True) for s in slopes]
    full = torch.stack([parameters.flatten(row) for row in rows])
    if not bool(torch.isfinite(full).all()):
        return full
    values, vectors = torch.linalg.eigh((full + full.T) / 2)
    return (vectors * values.clamp(min=0.0)) @ vectors.T
