"""Parts of one kernel, spread over threads.

The threads wait for jobs between kernels. Of a job each takes a piece of the parts, and then
another, until none is left: so a thread that starts late, or whose core has other things to do,
delays nobody for long. (`concurrent.futures` does all this too, and takes twice as long for it.)

A kernel here is a compiled function that drops the GIL and ends with the parameters ``first,
last, slot``: it does the parts ``first`` to ``last - 1``, and may use the `slot`-th piece of a
scratch array. What the parts are depends on shapes alone, and no two parts write to the same
place, so that no bit of a result depends on the number of threads.

Owns the threads and how many there are. Knows nothing of what kernels compute.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from queue import SimpleQueue
from typing import Any

from fastopt.core.validate import Integer

__all__ = ["PRODUCTS", "get_num_threads", "run", "set_num_threads", "slots"]

# A kernel gets a thread for so much of its work, which is counted in elements that are read or
# written. A core does some 4 of them in a nanosecond, and to wake another thread and wait for it
# takes 50 us.
WORTH_A_THREAD = 500_000
# Into so many pieces for each thread the parts are cut: the first to be done takes what is left.
PIECES = 2
# Products in registers take as long together as one of these.
PRODUCTS = 32

_COUNT = Integer(low=1)


def _usable_cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


class _Job:
    """One call of a kernel, of which several threads do pieces.

    Parameters
    ----------
    kernel : callable
    args : tuple
    parts : int
    count : int
        How many threads may take part, the one that calls included.
    pieces : int
        Into how many pieces for each thread the parts are cut.
    """

    __slots__ = ("args", "at_work", "errors", "kernel", "pieces", "takers")

    def __init__(
        self, kernel: Callable[..., Any], args: tuple[Any, ...], parts: int, count: int, pieces: int
    ) -> None:
        self.kernel, self.args = kernel, args
        cuts = [parts * k // (pieces * count) for k in range(pieces * count + 1)]
        self.pieces = deque(pairwise(cuts))
        self.takers: dict[int, object] = {}  # of each slot, who was first
        self.at_work = [threading.Lock() for _ in range(1, count)]
        for lock in self.at_work:
            lock.acquire()
        self.errors: list[BaseException] = []

    def work(self, slot: int) -> None:
        """Do pieces until none is left."""
        while True:
            try:
                first, last = self.pieces.popleft()
            except IndexError:
                return
            if first < last:
                self.kernel(*self.args, first, last, slot)

    def help(self, slot: int) -> None:
        """Take part, unless whoever calls has done without."""
        if self.takers.setdefault(slot, _HELPER) is not _HELPER:
            return
        try:
            self.work(slot)
        except BaseException as error:
            self.errors.append(error)
        finally:
            self.at_work[slot - 1].release()

    def finish(self) -> None:
        """Wait for those who take part, however often this is interrupted: they write to arrays."""
        try:
            self.pieces.clear()
            for slot, lock in enumerate(self.at_work, 1):
                # Whatever of this an interrupt cuts off may be done again.
                if self.takers.setdefault(slot, _CALLER) is _HELPER:
                    with lock:
                        pass
        except BaseException:
            self.finish()
            raise
        self.args = ()  # whoever finds the job later has no use for them


_HELPER, _CALLER = object(), object()


class _Threads:
    """How many threads there are, and all of them but the caller's."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._jobs: SimpleQueue[tuple[_Job, int] | None] = SimpleQueue()
        self._started = threading.Lock()  # to be acquired once

    def slots(self, parts: int, work: int) -> int:
        return max(1, min(self.count, parts, work // WORTH_A_THREAD))

    def call(self, job: _Job, count: int) -> None:
        """Have `count` threads do a job, this one among them."""
        if self._started.acquire(blocking=False):
            for _ in range(1, self.count):
                threading.Thread(target=self._serve, name="fastopt-kernel", daemon=True).start()
        try:
            for slot in range(1, count):
                self._jobs.put((job, slot))
            job.work(0)
        finally:
            job.finish()
        if job.errors:
            raise job.errors[0]

    def _serve(self) -> None:
        while (taken := self._jobs.get()) is not None:
            job, slot = taken
            job.help(slot)
            del job, taken  # arrays are not to be kept until the next one comes

    def close(self) -> None:
        """Let the threads end when they have nothing left to do."""
        for _ in range(1, self.count):
            self._jobs.put(None)


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
    before, _threads = _threads, _Threads(_COUNT("count", count, 0))
    before.close()


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


def run(
    kernel: Callable[..., Any],
    parts: int,
    work: int,
    *args: Any,
    limit: int = 0,
    pieces: int = PIECES,
) -> None:
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
    pieces : int, optional
        Into how many pieces for each thread to cut the parts: 1 for a kernel that does something
        once for all parts that it is called for.
    """
    threads = _threads  # whatever `set_num_threads` does meanwhile
    count = threads.slots(parts, work)
    if limit:
        count = min(count, limit)
    if count == 1:
        kernel(*args, 0, parts, 0)
        return
    threads.call(_Job(kernel, args, parts, count, pieces), count)
