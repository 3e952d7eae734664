"""Parts of one kernel, spread over threads.

A kernel here is a compiled function that drops the GIL and ends with the parameters ``first,
last, slot``: it does the parts ``first`` to ``last - 1``, and may use the `slot`-th piece of a
scratch array. What the parts are depends on shapes alone, and no two parts write to the same
place, so that no bit of a result depends on the number of threads.

Owns the threads and how many there are. Knows nothing of what kernels compute.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from fastopt.core.validate import Integer

__all__ = ["PRODUCTS", "get_num_threads", "run", "set_num_threads", "slots"]

# A kernel gets a thread for so much of its work, which is counted in elements that are read or
# written. A core does some 4 of them in a nanosecond, and to wake another thread and wait for it
# takes 50 us.
WORTH_A_THREAD = 500_000
# Products in registers take as long together as one of these.
PRODUCTS = 32

_COUNT = Integer(low=1)


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


class _Threads:
    """How many threads there are, and the executor that has all of them but the caller's."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._executor: ThreadPoolExecutor | None = None

    def slots(self, parts: int, work: int) -> int:
        return max(1, min(self.count, parts, work // WORTH_A_THREAD))

    @property
    def executor(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.count - 1, "fastopt-kernel")
        return self._executor


_threads = _Threads(_usable_cores())


def _forget_threads() -> None:
    """In a forked child, where there are none of them."""
    global _threads
    _threads = _Threads(_threads.count)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def get_num_threads() -> int:
    """How many threads a kernel may use: by default, the cores that this process may.

    Returns
    -------
    int

    See Also
    --------
    set_num_threads

    Examples
    --------
    >>> from fastopt import kernels
    >>> kernels.get_num_threads() >= 1
    True
    """
    return _threads.count


def set_num_threads(count: int) -> None:
    """Set how many threads a kernel may use. No bit of a result depends on it.

    Kernels on small arrays use one, however many they may. Those that are running go on as they
    are.

    Parameters
    ----------
    count : int
        A positive number; 1 leaves all of the work to the thread that calls.

    Raises
    ------
    TypeError, ValueError
        If `count` is not a positive integer.

    See Also
    --------
    get_num_threads

    Examples
    --------
    >>> from fastopt import kernels
    >>> before = kernels.get_num_threads()
    >>> kernels.set_num_threads(1)
    >>> kernels.get_num_threads()
    1
    >>> kernels.set_num_threads(before)
    """
    global _threads
    _threads = _Threads(_COUNT("count", count, 0))


def slots(parts: int, work: int) -> int:
    """How many threads `run` may use for as much: pieces of scratch to have ready.

    Parameters
    ----------
    parts : int
        Into how many parts the kernel is cut.
    work : int
        Elements that it reads or writes, and its products, by `PRODUCTS`.

    Returns
    -------
    int
    """
    return _threads.slots(parts, work)


def run(kernel: Callable[..., Any], parts: int, work: int, *args: Any, limit: int = 0) -> None:
    """Call ``kernel(*args, first, last, slot)`` so that all parts are done when this returns.

    Parameters
    ----------
    kernel : callable
        A compiled function, see above.
    parts : int
        Into how many parts it is cut.
    work : int
        As in `slots`.
    *args : object
        Its other arguments.
    limit : int, optional
        The most threads, if scratch was made for fewer than there may be by now.
    """
    threads = _threads  # whatever `set_num_threads` does meanwhile
    count = threads.slots(parts, work)
    if limit:
        count = min(count, limit)
    if count == 1:
        kernel(*args, 0, parts, 0)
        return
    bounds = [parts * slot // count for slot in range(count + 1)]
    others: list[Future[Any]] = []
    try:
        for slot in range(1, count):
            piece = bounds[slot], bounds[slot + 1], slot
            others.append(threads.executor.submit(kernel, *args, *piece))
        kernel(*args, 0, bounds[1], 0)
    finally:
        _wait_for(others)
    for other in others:
        other.result()


def _wait_for(others: Sequence[Future[Any]]) -> None:
    """Until all are done, however often this thread is interrupted: they still write to arrays."""
    try:
        wait(others)
    except BaseException:
        _wait_for(others)
        raise
