"""Threads that are never lost sight of, whenever Ctrl-C comes."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["Errand"]


class Errand:
    """A call in a thread of its own.

    `threading.Thread` cannot be relied on to tell whether it still runs: an interrupted `start` has
    perhaps started it, and an interrupted `join` takes it for ended (CPython issue 89437). Here the
    call itself says that it has begun and that it has ended.

    Parameters
    ----------
    call : callable
        What to do; it takes no arguments, and sees to its own exceptions.
    """

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._begun = False
        self._cancelled = False
        self._ended = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="fastopt", daemon=True).start()

    def _run(self) -> None:
        self._begun = True  # before it looks whether it may, as `end` does it the other way round
        try:
            if not self._cancelled:
                self._call()
        finally:
            self._ended.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the end for so long; whether it has come."""
        return self._ended.wait(seconds)

    def end(self) -> None:
        """Wait for the end, whatever comes from the keyboard; what has not begun never will."""
        while True:
            try:
                self._cancelled = True
                if self._begun:
                    self._ended.wait()
                return
            except KeyboardInterrupt:
                continue
