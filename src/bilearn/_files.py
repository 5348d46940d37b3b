"""Atomic replacement of files: a crash at any moment leaves either the old file or the new one."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import BinaryIO


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A binary file to write into: temporary file beside ``target``, flushed to disk, renamed when the block ends well.

    Ctrl-C inside the block takes effect after the file is in place.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    with delaying_interrupts():
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def delaying_interrupts() -> Iterator[None]:
    """Delay SIGINT to the end of the block, where the handler that was in force is called.

    Writers of other libraries do not survive an exception between two of their writes: ``torch.save`` turns it into a
    ``RuntimeError`` about positions in an archive. Signals reach the main thread only; in others nothing is done.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    caught: list[FrameType | None] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append(frame))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(signal.SIGINT, caught[0])
