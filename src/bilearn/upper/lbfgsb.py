"""SciPy's L-BFGS-B behind ``init`` and ``step``, with values accurate enough for its line search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bilearn.evaluation import Evaluation
from bilearn.upper.accuracy import compare, finite, gradient_of, proved, scale_of, slope, stationary, tighten
from bilearn.upper.blocking_session import Accepted, BlockingSession, Ended, SessionSlot, Vector
from bilearn.upper.optimizer import Oracle, UpperOptimizer, UpperState, UpperStatus
from bilearn.upper.warp import coordinate_rates

LogEntry = tuple[Tensor, float, Tensor]
"""A point (P,), and the value and gradient (P,) that SciPy was given there; float64 on the CPU."""

LINE_SEARCH_FRACTION = 1e-3
"""Part of the hoped-for decrease that SciPy's line search requires (``ftol`` of its ``dcsrch``)."""


@dataclass(frozen=True)
class LBFGSBState(UpperState):
    """Adds to :class:`UpperState` what SciPy was told, from which its inner state is rebuilt.

    Attributes:
        log: every answer given to SciPy, in order.
        shift: what is added to a computed value before SciPy sees it.
        initial_value: F at the start.
        leniency: how much larger than wanted the proved bound of a gradient may be.
        origin: iteration at which SciPy was started; it is started again when ``leniency`` falls to 1.
    """

    log: tuple[LogEntry, ...] = ()
    shift: float = 0.0
    initial_value: float = math.nan
    leniency: float = 1.0
    origin: int = 0


@dataclass(frozen=True)
class LBFGSB(UpperOptimizer[LBFGSBState]):
    """Limited-memory BFGS with bounds, as implemented by ``scipy.optimize.minimize(method="L-BFGS-B")``.

    SciPy runs in a thread that does nothing else; it hands every point to the calling thread, where the oracle is asked.
    One step lasts until SciPy accepts an iterate:

    1. Stop if the projected gradient of the current iterate is small.
    2. For each point theta' that SciPy's line search asks for: the gradient, with a certified error of at most
       ``leniency * gradient_accuracy`` times its projected norm; then, with p = |g'(theta' - theta)| the decrease the line
       search hopes for, values at theta' and at the current iterate theta whose intervals decide the line search's question
       F(theta') <= F(theta) - 0.001 p: where they do not, both are asked for again to ``value_accuracy * p``, and tighter.
       What stays open at the oracle's floor ends the run with SMALL_DECREASE.
       Having had to ask again also divides the leniency by ten: the decreases have become smaller than what it leaves.
    3. A value at theta that changes by asking again cannot be taken back from SciPy. Its method depends on differences of
       values only, so from then on all values are shifted by the change: the differences it sees are the accurate ones.
    4. A non-finite point is reported as a rise of p with the opposite slope, which makes the line search shrink the step;
       so is, without asking the oracle, a point that moves a logarithmic or logit coordinate by more than ``max_step``: far
       from the start F is flat in such a coordinate, and a long step would be accepted there and never come back.

    5. Where SciPy gives up or a test says that the run is over, but the error of the current gradient is not proved to be
       small, the leniency falls to 1: the gradient is asked for again and SciPy starts anew there. Until then
       only decreases are proved, not directions (:func:`bilearn.upper.accuracy.believed_error`); a run never ends for a
       reason that an inexact gradient could have caused.

    The inner state of SciPy is not accessible; the state keeps the log of the answers instead (2 P numbers for each
    evaluation). A resumed run replays the log, without asking the oracle, and continues bit for bit. Between two steps the
    thread waits; ``release`` ends it, and so does the garbage collection of the optimizer, an error or an interrupt.

    Conditions: F bounded below and continuously differentiable with Lipschitz gradient on the box; true bounds that the
    oracle can bring below any positive number. Then every accepted step is a proved decrease. No convergence theorem is
    known for this method where F is not convex; it ends with NO_PROGRESS where its line search finds no decrease.

    References: Byrd, Lu, Nocedal, Zhu, A limited memory algorithm for bound constrained optimization, SIAM J. Sci. Comput.
    16 (1995), 1190-1208; Moré, Thuente, Line search algorithms with guaranteed sufficient decrease, ACM TOMS 20 (1994).

    Args:
        memory: number of stored pairs.
        line_search_steps: most evaluations in one line search.
        max_step: longest move of a logarithmic or logit coordinate in one step.
        gradient_accuracy: largest error of a gradient relative to its projected norm, below 1.
        leniency: how many times larger the proved bound of that error may be until progress stops; 1 wants proofs always.
        value_accuracy: value accuracy relative to the decrease the line search hopes for, in a comparison the intervals
            leave open.
        gradient_tolerance: STATIONARY when the projected gradient and its error bound are below this times |F| per unit
            of coordinate.
        decrease_tolerance: SMALL_DECREASE when an accepted step lowers F by less than this times |F|.
        step_tolerance: SMALL_STEP when an accepted step is below this.

    Raises:
        ValueError: if a hyperparameter is out of range.
    """

    memory: int = 10
    line_search_steps: int = 20
    max_step: float = 2.0
    gradient_accuracy: float = 0.1
    leniency: float = 1e3
    value_accuracy: float = 0.1
    gradient_tolerance: float = 1e-7
    decrease_tolerance: float = 1e-9
    step_tolerance: float = 1e-9
    _slot: SessionSlot[tuple[LogEntry, ...]] = field(default_factory=SessionSlot, init=False, repr=False, compare=False)

    state_type = LBFGSBState

    def __post_init__(self) -> None:
        if self.memory < 1 or self.line_search_steps < 1:
            raise ValueError(
                f"LBFGSB: found memory={self.memory}, line_search_steps={self.line_search_steps}, expected at least 1"
            )
        if not (0.0 < self.gradient_accuracy < 1.0 and 0.0 < self.value_accuracy < 1.0):
            raise ValueError(
                f"LBFGSB: found gradient_accuracy={self.gradient_accuracy}, value_accuracy={self.value_accuracy}, "
                "expected numbers in (0, 1)"
            )
        if not self.leniency >= 1.0:
            raise ValueError(f"LBFGSB.leniency: found {self.leniency}, expected at least 1")

    def init(self, objective: Oracle, theta: Tensor) -> LBFGSBState:
        self.release()
        start, requests = tighten(
            objective.hypergradient,
            objective.parameters,
            objective.hypergradient(theta, None),
            self.gradient_accuracy,
            0.0,
            self.leniency,
        )
        return LBFGSBState(
            best=start,
            current=start,
            evaluations=1 + requests,
            status=UpperStatus.RUNNING if finite(start) else UpperStatus.NON_FINITE,
            log=((_double(start.theta), start.value, _double(gradient_of(start))),),
            initial_value=start.value,
            leniency=self.leniency,
        )

    def step(self, objective: Oracle, state: LBFGSBState) -> LBFGSBState:
        scale = scale_of(state.initial_value, state.current.value)
        reason = stationary(objective.parameters, state.current, self.gradient_tolerance * scale)
        proved = state.leniency == 1.0 or self._proved(objective, state.current, scale)
        if reason is not None and proved:
            return replace(state, status=reason)
        if slope(objective.parameters, state.current) <= self.gradient_tolerance * scale and not proved:
            return self._prove(objective, state, scale)
        try:
            following = self._advance(objective, state, self._session(objective, state), scale)
        except BaseException:
            self.release()
            raise
        self._slot.log = following.log
        over = following.status not in (UpperStatus.RUNNING, UpperStatus.NON_FINITE)
        if over and state.leniency > 1.0 and not self._proved(objective, following.current, scale):
            return self._prove(objective, following, scale)
        return following

    def release(self) -> None:
        self._slot.clear()

    def _proved(self, objective: Oracle, current: Evaluation, scale: float) -> bool:
        """Whether the gradient is as accurate as the method wants it with leniency 1."""
        floor = 0.5 * self.gradient_tolerance * scale
        return proved(objective.parameters, current, self.gradient_accuracy, floor)

    def _prove(self, objective: Oracle, state: LBFGSBState, scale: float) -> LBFGSBState:
        """Step 5: the current iterate with a gradient whose error is proved to be small, and SciPy at its beginning."""
        self.release()
        floor = 0.5 * self.gradient_tolerance * scale
        ask, parameters = objective.hypergradient, objective.parameters
        current, requests = tighten(ask, parameters, state.current, self.gradient_accuracy, floor)
        return replace(
            state,
            best=current,
            current=current,
            evaluations=state.evaluations + requests,
            status=UpperStatus.RUNNING,
            log=((_double(current.theta), current.value, _double(gradient_of(current))),),
            shift=0.0,
            leniency=1.0,
            origin=state.iteration,
        )

    def _advance(self, objective: Oracle, state: LBFGSBState, session: BlockingSession, scale: float) -> LBFGSBState:
        """Answer SciPy until it accepts an iterate or ends."""
        trial = state.current
        curved = coordinate_rates(objective.parameters, trial.theta) != 0
        reach = torch.where(curved, self.max_step, torch.inf).to(trial.theta)
        while True:
            event = session.next()
            if isinstance(event, Accepted):
                point = objective.parameters.project(torch.from_numpy(event.point).to(state.current.theta))
                return self._accept(state, trial if torch.equal(point, trial.theta) else None, scale)
            if isinstance(event, Ended):
                return replace(state, status=UpperStatus.NO_PROGRESS)
            theta = objective.parameters.project(torch.from_numpy(event.point).to(state.current.theta))
            if bool(((theta - state.current.theta).abs() > reach).any()):
                value, gradient = _rise(state, theta)
            else:
                trial, state, decided = self._evaluate(objective, state, theta, scale)
                if not decided:
                    return replace(state, status=UpperStatus.SMALL_DECREASE)
                known = finite(trial)
                value, gradient = (trial.value + state.shift, gradient_of(trial)) if known else _rise(state, theta)
            entry = (torch.from_numpy(event.point), value, _double(gradient))
            state = replace(state, log=(*state.log, entry))
            session.answer((value, entry[2].numpy()))

    def _evaluate(
        self, objective: Oracle, state: LBFGSBState, theta: Tensor, scale: float
    ) -> tuple[Evaluation, LBFGSBState, bool]:
        """The oracle's answer at theta, the state with the counts and values it changed, and whether it is decisive."""
        norm = slope(objective.parameters, state.current)
        trial = objective.hypergradient(theta, 0.1 * state.leniency * self.gradient_accuracy * norm)
        trial, requests = tighten(
            objective.hypergradient,
            objective.parameters,
            trial,
            self.gradient_accuracy,
            0.5 * self.gradient_tolerance * scale,
            state.leniency,
        )
        hoped = _hoped(state.current, theta)
        negligible = self.decrease_tolerance * scale
        verdict = compare(objective, state.current, trial, hoped, LINE_SEARCH_FRACTION, self.value_accuracy, negligible)
        state = replace(
            state,
            current=verdict.current,
            best=verdict.current,
            evaluations=state.evaluations + 1 + requests + verdict.requests,
            shift=state.shift + state.current.value - verdict.current.value,
            leniency=max(1.0, 0.1 * state.leniency) if verdict.requests else state.leniency,
        )
        return verdict.trial, state, verdict.decided

    def _accept(self, state: LBFGSBState, trial: Evaluation | None, scale: float) -> LBFGSBState:
        """The state at the accepted point; SciPy's line search may give up on a point that is no better or was cut off."""
        if trial is None or not trial.value <= state.current.value:
            return replace(state, status=UpperStatus.NO_PROGRESS)
        status = UpperStatus.RUNNING
        if float((trial.theta - state.current.theta).abs().max()) <= self.step_tolerance:
            status = UpperStatus.SMALL_STEP
        elif state.current.value - trial.value <= self.decrease_tolerance * scale:
            status = UpperStatus.SMALL_DECREASE
        return replace(state, best=trial, current=trial, iteration=state.iteration + 1, status=status)

    def _session(self, objective: Oracle, state: LBFGSBState) -> BlockingSession:
        """The waiting session that produced ``state``, or a new one that has replayed its log."""
        waiting = self._slot.waiting_for(state.log)
        if waiting is not None:
            return waiting
        self.release()
        lower, upper = (_double(t).numpy() for t in (objective.parameters.lower, objective.parameters.upper))
        work = scipy_lbfgsb(state.log[0][0].numpy(), lower, upper, self.memory, self.line_search_steps)
        self._slot.session = session = BlockingSession(work, "l-bfgs-b")
        log = ((point.numpy(), (value, gradient.numpy())) for point, value, gradient in state.log)
        session.replay(log, state.iteration - state.origin, self.name, "SciPy")
        return session


def scipy_lbfgsb(
    start: Vector, lower: Vector, upper: Vector, memory: int, line_search_steps: int
) -> Callable[[Callable[[Vector], Any], Callable[[Vector], None]], str]:
    """SciPy's L-BFGS-B as the work of a :class:`BlockingSession` that is asked for (value, gradient (P,)).

    Args:
        start: (P,) start inside the bounds.
        lower, upper: (P,) bounds, infinite where there is none.
        memory: number of stored pairs.
        line_search_steps: most evaluations in one line search.
    """
    options = {
        "maxcor": memory,
        "maxls": line_search_steps,
        "ftol": 0.0,
        "gtol": 0.0,
        "maxiter": 2**31 - 1,
        "maxfun": 2**31 - 1,
    }
    return partial(_minimize, start.copy(), np.stack([lower, upper], axis=1), options)


def _minimize(
    start: Vector,
    bounds: Vector,
    options: dict[str, Any],
    evaluate: Callable[[Vector], tuple[float, Vector]],
    accept: Callable[[Vector], None],
) -> str:
    from scipy.optimize import minimize  # half a second to import, needed here only

    result = minimize(evaluate, start, jac=True, method="L-BFGS-B", bounds=bounds, callback=accept, options=options)
    return str(result.message)


def _double(t: Tensor) -> Tensor:
    return t.detach().to("cpu", torch.float64)


def _rise(state: LBFGSBState, theta: Tensor) -> tuple[float, Tensor]:
    """Value and gradient that make the line search turn back from theta."""
    return state.current.value + state.shift + _hoped(state.current, theta), -gradient_of(state.current)


def _hoped(current: Evaluation, theta: Tensor) -> float:
    """Decrease from the current point to theta to first order; positive."""
    linear = abs(float(_double(gradient_of(current)) @ (_double(theta) - _double(current.theta))))
    return max(linear, torch.finfo(torch.float64).tiny)
