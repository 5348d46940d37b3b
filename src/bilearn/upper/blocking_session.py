"""A blocking optimizer turned inside out: a thread runs it, the caller answers its questions one by one."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]
Answer = Any
"""What the foreign optimizer wants to know at a point: a value, a vector of residuals, a value and a gradient."""

Work = Callable[[Callable[[Vector], Answer], Callable[[Vector], None]], Any]
"""``work(evaluate, accept)`` runs the foreign optimizer and returns how it ended; ``accept`` reports an iterate."""


@dataclass(frozen=True)
class Query:
    """The optimizer asks about ``point`` (P,)."""

    point: Vector


@dataclass(frozen=True)
class Accepted:
    """The optimizer has accepted ``point`` (P,) as its next iterate."""

    point: Vector


@dataclass(frozen=True)
class Ended:
    """The optimizer has ended by itself with ``outcome``, what ``work`` returned, or failed with ``error``."""

    outcome: Any
    error: Exception | None = None


Event = Query | Accepted | Ended


class _Closed(BaseException):
    """Raised inside the foreign optimizer to end its thread; not an Exception, so that it does not swallow it."""


class BlockingSession:
    """One run of a foreign optimizer whose evaluations happen in the calling thread.

    The thread runs the optimizer and nothing else: no oracle, no torch. It refers to two queues only, so that dropping
    the session ends it; ``work`` must not refer to whatever holds the session.

    Args:
        work: runs the optimizer.
        name: of the thread.
    """

    def __init__(self, work: Work, name: str) -> None:
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._answers: SimpleQueue[Answer | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=_run, args=(work, self._events, self._answers), name=f"bilearn-{name}", daemon=True
        )
        self._finalizer = weakref.finalize(self, self._answers.put, None)
        self._thread.start()

    def next(self) -> Event:
        """Wait for the next event.

        Raises:
            Exception: what the optimizer raised, if it failed.
        """
        event = self._events.get()
        if isinstance(event, Ended) and event.error is not None:
            raise event.error
        return event

    def answer(self, answer: Answer) -> None:
        """Answer the last query."""
        self._answers.put(answer)

    def replay(self, log: Iterable[tuple[Vector, Answer]], accepted: int, method: str, package: str) -> None:
        """Give the answers of a stored run again, up to its accepted iterate number ``accepted``.

        Raises:
            RuntimeError: if the optimizer asks at other points than it did then.
        """
        seen = 0
        for point, answer in log:
            event = self.next()
            while isinstance(event, Accepted):
                seen += 1
                event = self.next()
            if not (isinstance(event, Query) and np.array_equal(event.point, point)):
                raise RuntimeError(
                    f"{method}: the stored run cannot be continued: {package} departs from it after {seen} of "
                    f"{accepted} steps, so it was written by another version of {package} or with other options or "
                    "bounds; start a new run at state.best.theta"
                )
            self.answer(answer)
        while seen < accepted:
            seen += isinstance(self.next(), Accepted)

    def close(self) -> None:
        """End the thread and wait for it."""
        self._finalizer()
        self._thread.join()


L = TypeVar("L")


class SessionSlot(Generic[L]):
    """Holds the session that waits between two steps, and the log it has seen; copies and pickles are empty."""

    def __init__(self) -> None:
        self.session: BlockingSession | None = None
        self.log: L | None = None

    def waiting_for(self, log: L) -> BlockingSession | None:
        """The waiting session, if ``log`` is what it has seen."""
        return self.session if self.log is log else None

    def clear(self) -> None:
        """End the session."""
        session, self.session, self.log = self.session, None, None
        if session is not None:
            session.close()

    def __reduce__(self) -> tuple[type[SessionSlot[L]], tuple[()]]:
        return SessionSlot, ()


def _run(work: Work, events: SimpleQueue[Event], answers: SimpleQueue[Answer | None]) -> None:
    def evaluate(point: Vector) -> Answer:
        events.put(Query(np.array(point, dtype=np.float64)))
        reply = answers.get()
        if reply is None:
            raise _Closed
        return reply

    def accept(point: Vector) -> None:
        events.put(Accepted(np.array(point, dtype=np.float64)))

    try:
        events.put(Ended(work(evaluate, accept)))
    except _Closed:
        return
    except Exception as error:
        events.put(Ended(str(error), error))
