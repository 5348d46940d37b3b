"""What a solve says of itself: one sentence per sample, and the error that carries a failed solution."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bilearn.solution import Solution


class Status(IntEnum):
    """Why a sample's solve ended. ``str(status)`` is the sentence shown to the user."""

    CONVERGED = 0
    MAX_STEPS = 1
    FLOOR = 2
    STALLED = 3
    NON_FINITE = 4
    INDEFINITE = 5
    NOT_CERTIFIABLE = 6

    def __str__(self) -> str:
        return _SENTENCES[self]


_SENTENCES = {
    Status.CONVERGED: "converged to the requested tolerance",
    Status.MAX_STEPS: "stopped at the step limit before the requested tolerance was reached",
    Status.FLOOR: "the requested tolerance lies below what this dtype can certify; the best certified point is returned",
    Status.STALLED: "no further progress was possible before the requested tolerance was reached",
    Status.NON_FINITE: "a non-finite value (NaN or infinity) appeared; the last finite point is returned",
    Status.INDEFINITE: "the matrix is not positive definite (a direction of negative curvature was met)",
    Status.NOT_CERTIFIABLE: "a distance was requested but no strong convexity constant is known for this energy",
}


class SolveError(RuntimeError):
    """A solve did not reach its tolerance. ``solution`` holds what was found."""

    def __init__(self, message: str, solution: Solution) -> None:
        super().__init__(message)
        self.solution = solution
