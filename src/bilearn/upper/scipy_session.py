"""SciPy's L-BFGS-B turned inside out: a thread runs SciPy, the caller answers its questions one by one."""

from __future__ import annotations

import threading
import weakref
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Query:
    """SciPy asks for value and gradient at ``point`` (P,)."""

    point: Vector


@dataclass(frozen=True)
class Accepted:
    """SciPy has accepted ``point`` (P,) as its next iterate."""

    point: Vector


@dataclass(frozen=True)
class Ended:
    """SciPy has ended by itself (or failed with ``error``)."""

    message: str
    error: Exception | None = None


Event = Query | Accepted | Ended


class _Closed(Exception):
    """Raised inside SciPy to end its thread."""


class SciPySession:
    """One run of L-BFGS-B whose evaluations happen in the calling thread.

    The thread runs SciPy and nothing else: no oracle, no torch. It refers to two queues only, so that dropping the
    session ends it.

    Args:
        start: (P,) start inside the bounds.
        lower, upper: (P,) bounds, infinite where there is none.
        memory: number of stored pairs.
        line_search_steps: most evaluations in one line search.
    """

    def __init__(self, start: Vector, lower: Vector, upper: Vector, memory: int, line_search_steps: int) -> None:
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._answers: SimpleQueue[tuple[float, Vector] | None] = SimpleQueue()
        options = {
            "maxcor": memory,
            "maxls": line_search_steps,
            "ftol": 0.0,
            "gtol": 0.0,
            "maxiter": 2**31 - 1,
            "maxfun": 2**31 - 1,
        }
        bounds = np.stack([lower, upper], axis=1)
        self._thread = threading.Thread(
            target=_work,
            args=(start.copy(), bounds, options, self._events, self._answers),
            name="bilearn-l-bfgs-b",
            daemon=True,
        )
        self._finalizer = weakref.finalize(self, self._answers.put, None)
        self._thread.start()

    def next(self) -> Event:
        """Wait for SciPy's next event.

        Raises:
            Exception: what SciPy raised, if it failed.
        """
        event = self._events.get()
        if isinstance(event, Ended) and event.error is not None:
            raise event.error
        return event

    def answer(self, value: float, gradient: Vector) -> None:
        """Answer the last query."""
        self._answers.put((value, gradient))

    def close(self) -> None:
        """End the thread and wait for it."""
        self._finalizer()
        self._thread.join()


def _work(
    start: Vector,
    bounds: Vector,
    options: dict[str, Any],
    events: SimpleQueue[Event],
    answers: SimpleQueue[tuple[float, Vector] | None],
) -> None:
    from scipy.optimize import minimize  # half a second to import, needed here only

    def evaluate(point: Vector) -> tuple[float, Vector]:
        events.put(Query(point.copy()))
        reply = answers.get()
        if reply is None:
            raise _Closed
        return reply

    def accept(point: Vector) -> None:
        events.put(Accepted(point.copy()))

    try:
        result = minimize(evaluate, start, jac=True, method="L-BFGS-B", bounds=bounds, callback=accept, options=options)
        events.put(Ended(str(result.message)))
    except _Closed:
        return
    except Exception as error:
        events.put(Ended(str(error), error))
