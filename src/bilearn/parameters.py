"""Learnable numbers: a natural value, a coordinate in which it is optimized, and bounds.

A module attribute made by :func:`learnable` reads and writes its natural value (``module.alpha``,
``module.alpha = 0.07``); the ``nn.Parameter`` behind it holds the coordinate. :class:`ParameterVector` shows all of them,
and every plain ``nn.Parameter`` of the module, as one flat vector with its box.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from bilearn.coarse_map import CoarseMap


class Coordinate(nn.Module):
    """A monotone map from the optimized coordinate to the natural value, elementwise.

    Args:
        bounds: (lower, upper) of the natural value; infinite where there is none.

    Raises:
        ValueError: if the bounds are not ordered or lie outside the map's range.
    """

    def __init__(self, bounds: tuple[float, float]) -> None:
        super().__init__()
        lower, upper = float(bounds[0]), float(bounds[1])
        if not lower < upper:
            raise ValueError(f"bounds: found ({lower}, {upper}), expected lower < upper")
        self.bounds = (lower, upper)

    @property
    def label(self) -> str:
        """Its name in records."""
        return type(self).__name__.lower()

    def forward(self, coordinate: Tensor) -> Tensor:
        """Natural value of a coordinate."""
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def right_inverse(self, value: Tensor) -> Tensor:
        """Coordinate of a natural value."""
        raise NotImplementedError(f"{type(self).__name__} must define right_inverse")

    def box(self) -> tuple[float, float]:
        """Bounds of the coordinate."""
        low, high = (float(self.right_inverse(torch.tensor(b, dtype=torch.float64))) for b in self.bounds)
        return low, high

    def collect(self, entries: Tensor, shape: torch.Size) -> Tensor:
        """Sums (B, ...) of ``entries`` (B, ...) over the places that share a coordinate of a natural value of ``shape``."""
        aligned = (1,) * (entries.ndim - len(shape)) + shape
        shared = [axis for axis in range(1, entries.ndim) if aligned[axis] == 1]
        return entries.sum(shared, keepdim=True) if shared else entries


class Identity(Coordinate):
    """The number itself is optimized."""

    def __init__(self, bounds: tuple[float, float] = (-math.inf, math.inf)) -> None:
        super().__init__(bounds)

    def forward(self, coordinate: Tensor) -> Tensor:
        return coordinate

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


class Log10(Coordinate):
    """The decimal logarithm of a positive number is optimized."""

    def __init__(self, bounds: tuple[float, float] = (1e-7, 1e7)) -> None:
        if bounds[0] <= 0:
            raise ValueError(f"bounds of a Log10 coordinate: found lower {bounds[0]}, expected a positive number")
        super().__init__(bounds)

    def forward(self, coordinate: Tensor) -> Tensor:
        return torch.pow(10.0, coordinate)

    def right_inverse(self, value: Tensor) -> Tensor:
        if not bool((value > 0).all()):
            raise ValueError(f"found {value.min().item():.6g}, expected positive numbers for a Log10 coordinate")
        return torch.log10(value)


class Logit(Coordinate):
    """A number strictly between two ends, optimized as log((v - a) / (b - v)); ``bounds`` lie inside (a, b)."""

    def __init__(self, ends: tuple[float, float] = (0.0, 1.0), margin: float = 1e-6) -> None:
        a, b = ends
        super().__init__((a + margin * (b - a), b - margin * (b - a)))
        self.ends = (float(a), float(b))

    def forward(self, coordinate: Tensor) -> Tensor:
        a, b = self.ends
        return a + (b - a) * torch.sigmoid(coordinate)

    def right_inverse(self, value: Tensor) -> Tensor:
        a, b = self.ends
        if not bool(((value > a) & (value < b)).all()):
            raise ValueError(f"found a value outside ({a}, {b}), expected it strictly inside for a Logit coordinate")
        return torch.log((value - a) / (b - value))


class OnGrid(Coordinate):
    """A map whose coordinates are given by few numbers: natural = inner(U c) with the U of a :class:`CoarseMap`.

    Args:
        inner: coordinate of one pixel.
        grid: U.
    """

    def __init__(self, inner: Coordinate, grid: CoarseMap) -> None:
        super().__init__(inner.bounds)
        self.inner, self.grid = inner, grid

    @property
    def label(self) -> str:
        """That of the inner coordinate."""
        return self.inner.label

    def forward(self, coordinate: Tensor) -> Tensor:
        return self.inner.forward(self.grid(coordinate))

    def right_inverse(self, value: Tensor) -> Tensor:
        low, high = self.box()
        return self.grid.restrict(self.inner.right_inverse(value)).clamp(low, high)

    def box(self) -> tuple[float, float]:
        return self.inner.box()

    def collect(self, entries: Tensor, shape: torch.Size) -> Tensor:
        """Weighted by U: sum_i U_ij entries_i for coordinate j."""
        return self.grid.collect(super().collect(entries, shape))


class _Natural(nn.Module):
    """Adapts a :class:`Coordinate` to torch's parametrization protocol: keeps dtype, device and bounds."""

    def __init__(self, name: str, coordinate: Coordinate, reference: Tensor) -> None:
        super().__init__()
        self.name = name
        self.coordinate = coordinate
        self._reference = (reference.dtype, reference.device, reference.shape)

    def forward(self, original: Tensor) -> Tensor:
        return self.coordinate.forward(original)

    def right_inverse(self, value: Tensor | float) -> Tensor:
        dtype, device, shape = self._reference
        natural = torch.as_tensor(value, dtype=dtype, device=device)
        low, high = self.coordinate.bounds
        if natural.isnan().any():
            raise ValueError(f"{self.name}: found NaN, expected a number in [{low:g}, {high:g}]")
        slack = 1e-12 if dtype == torch.float64 else 1e-6
        if not bool(((natural >= low - slack * abs(low)) & (natural <= high + slack * abs(high))).all()):
            worst = natural.min() if bool((natural < low).any()) else natural.max()
            raise ValueError(
                f"{self.name}: found {worst.item():.6g}, expected a number in [{low:g}, {high:g}]; "
                "set another value or widen its bounds"
            )
        return self.coordinate.right_inverse(natural.clamp(low, high).expand(shape)).clone()

    def _apply(self, fn, recurse: bool = True):  # type: ignore[no-untyped-def]
        dtype, device, shape = self._reference
        moved = fn(torch.empty(0, dtype=dtype, device=device))
        self._reference = (moved.dtype, moved.device, shape)
        return super()._apply(fn, recurse)


def learnable(
    module: nn.Module,
    name: str,
    value: float | Tensor | CoarseMap,
    coordinate: Coordinate,
    learn: bool = True,
    dtype: torch.dtype = torch.float64,
) -> None:
    """Register ``module.name`` as a number with a coordinate and bounds.

    Args:
        module: owner of the attribute.
        name: attribute name; afterwards ``module.name`` reads and sets the natural value.
        value: natural value, a float or a tensor of any shape; a :class:`CoarseMap` makes a map of few coordinates.
        coordinate: the coordinate and its bounds.
        learn: whether upper-level methods may change it (``requires_grad`` of the coordinate).
        dtype: dtype of the stored coordinate; ``module.to(dtype)`` changes it later.

    Raises:
        ValueError: if the value is NaN or outside the bounds; the message names the parameter.
    """
    if isinstance(value, CoarseMap):
        corners = _Natural(f"{type(module).__name__.removeprefix('Parametrized')}.{name}", coordinate, value.values)
        coordinate = OnGrid(coordinate, value)
        value = coordinate(corners.right_inverse(value.values))
    natural = torch.as_tensor(value, dtype=dtype).detach().clone()
    owner = type(module).__name__.removeprefix("Parametrized")
    adapter = _Natural(f"{owner}.{name}", coordinate, natural)
    adapter.right_inverse(natural)
    module.register_parameter(name, nn.Parameter(natural))
    parametrize.register_parametrization(module, name, adapter)
    module.parametrizations[name].original.requires_grad_(learn)  # type: ignore[index, union-attr]
    _read_quickly(module, name)


def _read_quickly(module: nn.Module, name: str) -> None:
    """Let reads of one number outside of grad mode repeat the natural value made for the same coordinate.

    A read through torch's parametrization costs about as much as a gradient of a short signal, and solvers read often.
    The kept value is compared with the coordinate itself (no version counter), so no way of writing it can be missed.
    Where comparing would synchronize with an accelerator, or a transform has replaced the parameter, nothing is kept.
    """
    kind = type(module)
    slow = kind.__dict__[name]

    def read(owner: nn.Module) -> Tensor:
        original = owner._modules["parametrizations"]._modules[name]._parameters.get("original")  # type: ignore[index, union-attr]
        if torch.is_grad_enabled() or type(original) is not nn.Parameter or not _is_host_number(original):
            return slow.fget(owner)
        key = (original.item(), original.dtype)
        kept = owner.__dict__.get(f"_{name}_read")
        if kept is None or kept[0] != key:
            kept = (key, slow.fget(owner))
            owner.__dict__[f"_{name}_read"] = kept
        return kept[1]

    setattr(kind, name, property(read, slow.fset))


def _is_host_number(original: nn.Parameter) -> bool:
    return original.numel() == 1 and original.device.type == "cpu"


def is_learned(module: nn.Module, name: str) -> bool:
    """Whether the :func:`learnable` number ``module.name`` may be changed by upper-level methods."""
    return module.get_parameter(f"parametrizations.{name}.original").requires_grad


def coordinate_of(module: nn.Module, name: str) -> Coordinate:
    """The coordinate of the :func:`learnable` number ``module.name``."""
    found = module.get_submodule(f"parametrizations.{name}.0.coordinate")
    assert isinstance(found, Coordinate)
    return found


def collect(module: nn.Module, name: str, entries: Tensor) -> Tensor:
    """Sums (B, ...) of ``entries`` (B, ...) over the places that share a coordinate of ``module.name``.

    For nonnegative entries a and any v, |sum_i U_ij sqrt(a_i) v_i|_2 over j is at most the root of the largest of these
    sums times |v|, by Cauchy and Schwarz, since every place is shared out with total weight 1.
    """
    return coordinate_of(module, name).collect(entries, getattr(module, name).shape)


@dataclass(frozen=True)
class Slot:
    """One learnable tensor inside the flat vector."""

    name: str
    parameter: nn.Parameter
    coordinate: Coordinate
    start: int
    stop: int


class ParameterVector:
    """All learnable parameters of a module (those with ``requires_grad``) as one flat vector of coordinates.

    Attributes:
        slots: one :class:`Slot` per tensor, in the order of ``module.named_parameters()``.
        lower, upper: (P,) box of the coordinates.

    Raises:
        ValueError: if nothing is learnable.
    """

    def __init__(self, module: nn.Module) -> None:
        self.slots: list[Slot] = []
        coordinates = {
            id(sub.original): sub[0].coordinate
            for sub in module.modules()
            if isinstance(sub, parametrize.ParametrizationList) and isinstance(sub[0], _Natural)
        }
        start = 0
        for full, parameter in module.named_parameters():
            if parameter.requires_grad:
                name = full.replace("parametrizations.", "").removesuffix(".original")
                stop = start + parameter.numel()
                self.slots.append(
                    Slot(name, parameter, coordinates.get(id(parameter), Identity()), start, stop)  # type: ignore[arg-type]
                )
                start = stop
        if not self.slots:
            raise ValueError(f"{type(module).__name__}: no learnable parameter found; pass learn=True to at least one")
        first = self.slots[0].parameter
        self.dtype, self.device = first.dtype, first.device
        boxes = [s.coordinate.box() for s in self.slots]
        self.lower = self._fill([b[0] for b in boxes])
        self.upper = self._fill([b[1] for b in boxes])

    def _fill(self, numbers: Sequence[float]) -> Tensor:
        parts = [
            torch.full((s.stop - s.start,), v, dtype=torch.float64) for s, v in zip(self.slots, numbers, strict=True)
        ]
        return torch.cat(parts).to(device=self.device, dtype=self.dtype)

    def __len__(self) -> int:
        return self.slots[-1].stop

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The learnable tensors, in order."""
        return [s.parameter for s in self.slots]

    def get(self) -> Tensor:
        """(P,) current coordinates, a copy."""
        return torch.cat([s.parameter.detach().reshape(-1).to(self.device, self.dtype) for s in self.slots]).clone()

    def set(self, theta: Tensor) -> None:
        """Write coordinates ``theta`` (P,) into the module.

        Raises:
            ValueError: if the length is wrong or a number is not finite.
        """
        if theta.shape != (len(self),):
            raise ValueError(f"theta: found shape {tuple(theta.shape)}, expected ({len(self)},)")
        if not bool(torch.isfinite(theta).all()):
            raise ValueError(f"theta: found a non-finite coordinate in {self.describe(theta)}")
        with torch.no_grad():
            for s in self.slots:
                s.parameter.copy_(theta[s.start : s.stop].reshape(s.parameter.shape))

    def project(self, theta: Tensor) -> Tensor:
        """Nearest point of the box."""
        return torch.minimum(torch.maximum(theta, self.lower), self.upper)

    def flatten(self, tensors: Sequence[Tensor]) -> Tensor:
        """(P,) one tensor per slot, concatenated."""
        return torch.cat([t.detach().reshape(-1).to(self.device, self.dtype) for t in tensors])

    def natural(self, theta: Tensor | None = None) -> dict[str, Tensor]:
        """Natural value of each slot, at ``theta`` or at the current coordinates."""
        vector = self.get() if theta is None else theta
        with torch.no_grad():
            return {
                s.name: s.coordinate(vector[s.start : s.stop].reshape(s.parameter.shape)).clone() for s in self.slots
            }

    def names(self) -> list[str]:
        """One label per scalar coordinate: the slot's name, indexed where the slot has several entries."""
        return [
            s.name if s.stop - s.start == 1 else f"{s.name}[{i}]" for s in self.slots for i in range(s.stop - s.start)
        ]

    def active_bounds(self, theta: Tensor, slack: float = 1e-9) -> list[str]:
        """Labels of the coordinates that lie on a bound, as 'name at its lower bound'."""
        span = (self.upper - self.lower).abs().clamp(max=1.0)
        low = theta <= self.lower + slack * span
        high = theta >= self.upper - slack * span
        return [
            f"{name} at its {'lower' if low[i] else 'upper'} bound"
            for i, name in enumerate(self.names())
            if bool(low[i] | high[i])
        ]

    def describe(self, theta: Tensor | None = None) -> str:
        """Natural values in one line, for messages (tensors as their range)."""
        parts = []
        for name, value in self.natural(theta).items():
            parts.append(
                f"{name} = {value.item():.4g}"
                if value.numel() == 1
                else f"{name} in [{value.min().item():.3g}, {value.max().item():.3g}]"
            )
        return ", ".join(parts)
