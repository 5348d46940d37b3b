"""The plain bilevel iteration: solve the lower level to a scheduled precision, take a gradient step."""

from __future__ import annotations

from dataclasses import dataclass, field

from bilearn.upper.scheduled_descent import ScheduledDescent
from bilearn.upper.schedules import Adaptive, Schedule


@dataclass(frozen=True)
class ScheduledGradient(ScheduledDescent):
    """Gradient descent on F with gradients to the precisions of a schedule.

    1. Solve the lower level, from the reconstructions of the last iteration, as accurately as a gradient z_t with error
       ``accuracy(t)`` needs. With ``NesterovGradient()`` as the objective's solver this is the inner loop of the proposal.
    2. theta_{t+1} = P(theta_t - eta_t z_t), eta_t = ``step_length(t)``.

    Conditions: the gradient of F Lipschitz with constant L on the box. With eta_t = eta <= 1/L the smallest |grad F| of T
    iterations is O(T^-1/2) if the squared errors are summable (:class:`Geometric`, :class:`Polynomial` with power above
    1/2, or :class:`Adaptive` with a part below 1); a :class:`Fixed` error e leaves |grad F| of the order e.

    Reference: Calatroni, Vaiter, Bilevel hyperparameter estimation for inverse problems (research proposal), algorithm 1.

    Args:
        step_length: eta_t.
        accuracy: error of the gradient in each iteration.
        gradient_tolerance: STATIONARY when the projected gradient and its error bound are below this times |F| per unit
            of coordinate; SMALL_DECREASE when the error exceeds the gradient and the schedule asks for no less.
        step_tolerance: SMALL_STEP when a step is below this and the gradient's error could not change that.
    """

    step_length: Schedule
    accuracy: Schedule = field(default_factory=Adaptive)
    gradient_tolerance: float = 1e-6
    step_tolerance: float = 1e-9

    def length(self, iteration: int, norm: float) -> float:
        """``step_length(iteration)``."""
        return planned(self.step_length, iteration, norm, "ScheduledGradient.step_length")

    def accuracy_at(self, iteration: int, norm: float | None) -> float | None:
        """``accuracy(iteration)``."""
        return self.accuracy(iteration, norm)


def planned(schedule: Schedule, iteration: int, norm: float, name: str) -> float:
    """A number that a schedule must give.

    Raises:
        ValueError: if it gives None.
    """
    value = schedule(iteration, norm)
    if value is None:
        raise ValueError(f"{name}: found no number for iteration {iteration}, expected a schedule of positive numbers")
    return value
