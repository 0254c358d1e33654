"""Holds an interrupt by the user (Ctrl-C, SIGINT) back while values are replaced where they lie."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Let an interrupt wait until the end of the block. Python handles signals in the main thread alone."""
    handler = signal.getsignal(signal.SIGINT)
    waiting: list[int] = []
    held = callable(handler) and threading.current_thread() is threading.main_thread()
    if held:
        try:
            signal.signal(signal.SIGINT, lambda number, _frame: waiting.append(number))
        except ValueError:  # in another interpreter than the main one, which has no signals
            held = False
    try:
        yield
    finally:
        if held:
            signal.signal(signal.SIGINT, handler)
        if waiting:
            signal.raise_signal(signal.SIGINT)
