"""Processes for finite differences, when `workers` is given as a number."""

from __future__ import annotations

import os
import signal
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.pool import Pool

__all__ = ["ProcessPool", "check_sendable"]


def check_sendable(fun: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Refuse what does not pickle: processes cannot have it."""
    from multiprocessing.reduction import ForkingPickler  # takes a while to load

    thread_pool = "pass a thread pool's map as `workers`"
    for name, value, remedy in (
        ("fun", fun, f"define it at module level, or {thread_pool}"),
        ("args", args, thread_pool),
    ):
        try:
            ForkingPickler.dumps(value)
        except Exception as error:  # an object's own __reduce__ may raise anything
            raise TypeError(
                f"`{name}` cannot be sent to worker processes: it does not pickle; {remedy}"
            ) from error


class ProcessPool:
    """A `map` over processes, which start at the first call and end with `close`.

    It pickles without its processes, and starts new ones when it is called again.
    """

    def __init__(self, processes: int) -> None:
        self._processes = (os.cpu_count() or 1) if processes == -1 else processes
        self._finalizer: weakref.finalize[..., ProcessPool] | None = None

    def __call__(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        if self._finalizer is None:
            import multiprocessing  # takes a while to load

            # Ctrl-C goes to every process of a terminal; the solve ends them when it has its own.
            self._pool = multiprocessing.Pool(
                self._processes, signal.signal, (signal.SIGINT, signal.SIG_IGN)
            )
            self._finalizer = weakref.finalize(self, _shut_down, self._pool)
        return self._pool.map(function, items)

    def __reduce__(self) -> tuple[type[ProcessPool], tuple[int]]:
        return ProcessPool, (self._processes,)

    def close(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
            self._finalizer = None


def _shut_down(pool: Pool) -> None:
    pool.terminate()
    pool.join()
