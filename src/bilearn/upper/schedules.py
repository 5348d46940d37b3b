"""Numbers that a method takes from a plan: accuracies and step lengths, one for each iteration."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass


class Schedule(ABC):
    """A positive number for each iteration k = 0, 1, ...; an author must write ``__call__``."""

    @abstractmethod
    def __call__(self, iteration: int, slope: float | None = None) -> float | None:
        """The number for an iteration.

        Args:
            iteration: k.
            slope: 2-norm of the latest projected gradient, None before the first one.

        Returns:
            The number; None leaves an accuracy to the oracle's default.
        """


@dataclass(frozen=True)
class Fixed(Schedule):
    """The same ``value`` always.

    Raises:
        ValueError: if it is not positive.
    """

    value: float

    def __post_init__(self) -> None:
        _positive(self, value=self.value)

    def __call__(self, iteration: int, slope: float | None = None) -> float:
        return self.value


@dataclass(frozen=True)
class Polynomial(Schedule):
    """``initial`` / (k + 1)^power: summable for a power above 1, square summable above 1/2.

    Raises:
        ValueError: if ``initial`` is not positive or ``power`` is negative.
    """

    initial: float
    power: float

    def __post_init__(self) -> None:
        _positive(self, initial=self.initial)
        if not self.power >= 0:
            raise ValueError(f"Polynomial.power: found {self.power}, expected a number that is not negative")

    def __call__(self, iteration: int, slope: float | None = None) -> float:
        return self.initial * (iteration + 1) ** -self.power


@dataclass(frozen=True)
class Geometric(Schedule):
    """max(``initial`` * factor^k, ``floor``), summable up to the floor.

    Raises:
        ValueError: if ``initial`` or ``floor`` is not positive, or ``factor`` is not in (0, 1).
    """

    initial: float
    factor: float = 0.9
    floor: float = 1e-12

    def __post_init__(self) -> None:
        _positive(self, initial=self.initial, floor=self.floor)
        if not 0.0 < self.factor < 1.0:
            raise ValueError(f"Geometric.factor: found {self.factor}, expected a number in (0, 1)")

    def __call__(self, iteration: int, slope: float | None = None) -> float:
        return max(self.initial * self.factor**iteration, self.floor)


@dataclass(frozen=True)
class Adaptive(Schedule):
    """``relative`` times the norm of the latest projected gradient, and ``initial`` before the first.

    A gradient whose error stays below a fixed part of its norm is a descent direction; no rate has to be guessed.

    Raises:
        ValueError: if ``relative`` is not in (0, 1), or ``initial`` or ``floor`` is not positive.
    """

    relative: float = 0.1
    initial: float | None = None
    floor: float = 1e-12

    def __post_init__(self) -> None:
        if not 0.0 < self.relative < 1.0:
            raise ValueError(f"Adaptive.relative: found {self.relative}, expected a number in (0, 1)")
        _positive(self, floor=self.floor, initial=1.0 if self.initial is None else self.initial)

    def __call__(self, iteration: int, slope: float | None = None) -> float | None:
        return self.initial if slope is None else max(self.relative * slope, self.floor)


def _positive(schedule: Schedule, **values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{type(schedule).__name__}.{name}: found {value}, expected a positive number")
