"""Processes for finite differences, when `workers` is given as a number."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import os
import weakref
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["ProcessPool"]


class ProcessPool:
    """A `map` over processes, which start at the first call and end with `close`.

    It pickles without its processes, and starts new ones when it is called again.
    """

    def __init__(self, processes: int) -> None:
        self._processes = (os.cpu_count() or 1) if processes == -1 else processes
        self._finalizer: weakref.finalize[..., ProcessPool] | None = None

    def __call__(self, function: Callable[..., Any], items: Iterable[Any]) -> list[Any]:
        if self._finalizer is None:
            self._pool = multiprocessing.Pool(self._processes)
            self._finalizer = weakref.finalize(self, _shut_down, self._pool)
        return self._pool.map(function, items)

    def __reduce__(self) -> tuple[type[ProcessPool], tuple[int]]:
        return ProcessPool, (self._processes,)

    def close(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
            self._finalizer = None


def _shut_down(pool: multiprocessing.pool.Pool) -> None:
    pool.terminate()
    pool.join()
