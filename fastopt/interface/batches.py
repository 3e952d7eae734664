"""A batch of problems, run in this process: through the interpreter or without, in several threads.

Owns the sharing of work among threads and what ends a batch before its time. What a caller may
pass, and what he gets back, is `minimize_many`'s affair; other processes are that of `executors`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastopt.core.abi import Status
from fastopt.interface.methods import Method
from fastopt.interface.minimize import minimize
from fastopt.interface.options import Controls, Settings
from fastopt.interface.solver import Solver, difference_steps
from fastopt.objectives.source import (
    PAYS_AFTER,
    calls_of,
    calls_so_far,
    compiled_objective,
    first_of,
    is_known,
    is_parallel,
    turn_of,
)
from fastopt.solvers.batch import Answers, BatchSolver

__all__ = ["Batch", "Problems", "Report"]

# A thread takes problems for about so long at a time: seldom enough to cost nothing, often enough
# for all to end together.
CHUNK_SECONDS = 0.005
CHUNK_GROWTH = 64
# The calling thread looks at the clock this often; a finished chunk or a signal wakes it at once.
WAIT_SECONDS = 0.05

# Called in the calling thread with problems that have been solved, as a half-open range. What it
# raises ends the batch.
Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Problems:
    """What the problems of a batch have in common.

    `method` is a row of METHODS, or None where SciPy solves each problem, by the method `name`.
    `options` are those of one problem.
    """

    fun: Any
    jac: Any
    name: str
    method: Method | None
    bounds: Any
    tol: float | None
    options: Mapping[str, Any]
    settings: Settings
    controls: Controls


@dataclass
class Batch:
    """Problems that differ in where they start and in the arguments that `batched` marks.

    `compiling` says whether they are solved without the interpreter; None leaves that to what the
    first of them take. `endings` has the status, success and message of what SciPy solved; `ended`
    is set if not all problems were solved.
    """

    problems: Problems
    starts: NDArray[np.float64]
    args: tuple[Any, ...]
    batched: tuple[bool, ...]
    compiling: bool | None
    answers: Answers = field(init=False)
    endings: dict[int, tuple[int, bool, str]] = field(init=False, default_factory=dict)
    ended: Status | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.answers = Answers(self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    def run(self, threads: int, report: Report, deadline: float = math.inf) -> None:
        """Solve the problems, in so many threads."""
        fun, jac = self.problems.fun, self.problems.jac
        todo = 0
        if self.compiling is None:
            todo = self._solve_until_compiling_pays(report, deadline)
        if todo == len(self) or self.ended is not None:
            return
        if is_parallel(fun) or is_parallel(jac):
            threads = 1
        with turn_of(fun, jac):
            if self.compiling or threads > 1:
                _work_in_threads(self, todo, min(threads, len(self) - todo), report, deadline)
            else:
                self._solve_here(todo, len(self), report, deadline)

    def args_of(self, i: int) -> tuple[Any, ...]:
        pairs = zip(self.args, self.batched, strict=True)
        return tuple(arg[i] if each else arg for arg, each in pairs)

    def _solve_here(self, first: int, last: int, report: Report, deadline: float) -> None:
        worker = _Interpreted(self)
        for i in range(first, last):
            seconds = deadline - perf_counter()
            if seconds <= 0:
                self.ended = Status.MAXTIME
                return
            worker.solve_one(i, seconds)
            report(i, i + 1)

    def _solve_until_compiling_pays(self, report: Report, deadline: float) -> int:
        """Solve problems through the interpreter, up to where the rest had better be compiled.

        Returns the number of problems done.
        """
        fun, jac, answers = self.problems.fun, self.problems.jac, self.answers
        self.compiling = is_known(fun, jac, first_of(self.args, self.batched))
        done = 0
        while done < len(self) and not self.compiling and self.ended is None:
            self._solve_here(done, done + 1, report, deadline)
            done += 1
            if done == 1 and 0 in answers.errors and _is_of_numba(answers.errors[0]):
                raise answers.errors[0]  # it would be the same for all
            calls = calls_of(jac, int(answers.nfev[:done].sum()), int(answers.njev[:done].sum()))
            expected = calls / done * (len(self) - done)
            if calls_so_far(fun) + expected >= PAYS_AFTER:
                try:
                    self.objective()
                    self.compiling = True
                except Exception as error:
                    if not (_is_of_numba(error) or isinstance(error, TypeError)):
                        raise
                    self._solve_here(done, len(self), report, deadline)
                    done = len(self)
        return done

    def objective(self) -> Any:
        """A compiled objective for these problems, with memory of its own."""
        shared = self.problems
        row = shared.method
        assert row is not None
        steps = difference_steps(row, shared.jac, shared.controls)
        jac = "2-point" if shared.jac is None else shared.jac
        n = self.starts.shape[1]
        return compiled_objective(shared.fun, jac, self.args, n, *steps, self.batched)


def _is_of_numba(error: Exception) -> bool:
    return type(error).__module__.startswith("numba.") or isinstance(error, NotImplementedError)


class _Worker(Protocol):
    """Solves problems in one thread; `stop` may come from another."""

    def solve(self, first: int, last: int) -> int:
        """Solve a range of problems; the first that was not solved, `last` unless stopped."""

    def stop(self) -> None: ...


class _Compiled:
    """Problems without the interpreter."""

    def __init__(self, batch: Batch) -> None:
        row = batch.problems.method
        assert row is not None
        self._batch = batch
        self._objective = batch.objective()
        n = batch.starts.shape[1]
        self._solver = BatchSolver(row.solver, n, batch.problems.settings)

    def solve(self, first: int, last: int) -> int:
        batch = self._batch
        return self._solver.solve(self._objective, batch.starts, batch.answers, first, last)

    def stop(self) -> None:
        self._objective.stop()


class _Interpreted:
    """Problems one by one, as `minimize` solves them."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._solver: Solver | None = None
        self._stopping = False

    def solve(self, first: int, last: int) -> int:
        for i in range(first, last):
            if self._stopping:
                return i
            self.solve_one(i)
        return last

    def stop(self) -> None:
        self._stopping = True
        solver = self._solver
        if solver is not None:
            solver._source.objective.stop()

    def solve_one(self, i: int, seconds: float = math.inf) -> None:
        batch = self._batch
        shared, answers = batch.problems, batch.answers
        try:
            if shared.method is None or shared.bounds is not None:
                self._hand_over(i)
                return
            options = {**shared.options, "maxtime": seconds}
            self._solver = solver = Solver(
                shared.fun,
                batch.starts[i],
                batch.args_of(i),
                shared.name,
                shared.jac,
                shared.tol,
                options,
            )
            try:
                solver.run()
            finally:
                found = solver.result()
                for name in ("x", "fun", "jac", "nit", "nfev", "njev"):
                    getattr(answers, name)[i] = found[name]
            answers.status[i] = Status.RUNNING if self._stopping else solver._state.status
        except Exception as error:
            answers.errors[i] = error
            answers.status[i] = Status.RAISED

    def _hand_over(self, i: int) -> None:
        batch = self._batch
        shared, answers = batch.problems, batch.answers
        found = minimize(
            shared.fun,
            batch.starts[i],
            batch.args_of(i),
            shared.name,
            shared.jac,
            bounds=shared.bounds,
            tol=shared.tol,
            options=shared.options,
        )
        answers.x[i] = found.x
        answers.fun[i] = found.fun
        if "jac" in found:
            answers.jac[i] = found.jac
        for name in ("nit", "nfev", "njev"):
            getattr(answers, name)[i] = found.get(name, 0)
        batch.endings[i] = (int(found.status), bool(found.success), str(found.message))


def _work_in_threads(
    batch: Batch, first: int, threads: int, report: Report, deadline: float
) -> None:
    """Solve the problems from `first` on, in threads that take them in chunks."""
    make = _Compiled if batch.compiling else _Interpreted
    workers: list[_Worker] = [make(batch) for _ in range(threads)]
    chunks = _Chunks(first, len(batch))
    finished: SimpleQueue[tuple[int, int] | BaseException | None] = SimpleQueue()

    def work(worker: _Worker) -> None:
        size = 1
        try:
            while chunk := chunks.take(size):
                start = perf_counter()
                done = worker.solve(*chunk)
                finished.put((chunk[0], done))
                pace = CHUNK_SECONDS / (perf_counter() - start + 1e-9)
                size = max(1, int(size * min(pace, CHUNK_GROWTH)))
        except BaseException as error:
            finished.put(error)
        finally:
            finished.put(None)

    crew = [
        threading.Thread(target=work, args=(worker,), name="fastopt", daemon=True)
        for worker in workers
    ]
    working = threads
    try:
        for thread in crew:
            thread.start()
        while working:
            left = deadline - perf_counter()
            if left <= 0:
                batch.ended = Status.MAXTIME
                break
            try:
                news = finished.get(timeout=min(left, WAIT_SECONDS))
            except Empty:
                continue
            if news is None:
                working -= 1
            elif isinstance(news, BaseException):
                raise news
            elif news[0] < news[1]:
                report(*news)
    finally:
        chunks.close()
        for worker in workers:
            worker.stop()
        for thread in crew:
            _join(thread)


class _Chunks:
    """Hands out the problems in ranges, to whoever asks."""

    def __init__(self, first: int, last: int) -> None:
        self._next = first
        self._last = last
        self._lock = threading.Lock()

    def take(self, size: int) -> tuple[int, int] | None:
        with self._lock:
            first = self._next
            self._next = min(first + size, self._last)
            return (first, self._next) if first < self._next else None

    def close(self) -> None:
        with self._lock:
            self._last = self._next


def _join(thread: threading.Thread) -> None:
    """Wait for a thread that has been told to stop, whatever comes from the keyboard meanwhile."""
    while thread.is_alive():
        try:
            thread.join()
        except KeyboardInterrupt:
            continue
