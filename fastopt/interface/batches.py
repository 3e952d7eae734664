"""A batch of problems, run in this process: through the interpreter or without, in several threads.

Owns the sharing of work among threads and what ends a batch before its time. What a caller may
pass, and what he gets back, is `minimize_many`'s affair; other processes are that of `executors`.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from time import perf_counter
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastopt.core.abi import Status
from fastopt.core.result import Ending
from fastopt.core.validate import UNLIMITED
from fastopt.interface.errand import Errand
from fastopt.interface.methods import Method
from fastopt.interface.minimize import minimize
from fastopt.interface.options import Controls, Settings
from fastopt.interface.solver import Solver, difference_steps
from fastopt.objectives.compiled import CompiledObjective
from fastopt.objectives.source import (
    PAYS_AFTER,
    are_parallel,
    calls_of,
    calls_so_far,
    compiled_objective,
    first_of,
    is_dispatcher,
    is_known,
    is_wrappable,
    size_of,
    turn_of,
)
from fastopt.solvers.batch import Answers, BatchSolver

__all__ = ["Batch", "Problems", "Report", "is_of_numba"]

# A thread takes problems for about so long at a time: seldom enough to cost nothing, often enough
# for all to end together.
CHUNK_SECONDS = 0.005
CHUNK_GROWTH = 64
# What is expected to take no longer than this is solved at once: to start threads takes 0.1 ms.
AT_ONCE_SECONDS = 0.0003
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
    hess: Any
    hessp: Any
    name: str
    method: Method | None
    bounds: Any
    tol: float | None
    options: Mapping[str, Any]
    settings: Settings
    controls: Controls

    @property
    def functions(self) -> tuple[Any, ...]:
        return (self.fun, self.jac, self.hess, self.hessp)


@dataclass
class Batch:
    """Problems that differ in where they start and in the arguments that `batched` marks.

    `compiling` says whether they are solved without the interpreter; None leaves that to what the
    first of them take. No problem goes on after `deadline`, which is put off while functions are
    compiled. `endings` has how each problem ended that SciPy solved; `ended` is set if not all
    problems were solved.
    """

    problems: Problems
    starts: NDArray[np.float64]
    args: tuple[Any, ...]
    batched: tuple[bool, ...]
    compiling: bool | None
    deadline: float = math.inf
    answers: Answers = field(init=False)
    endings: dict[int, Ending] = field(init=False, default_factory=dict)
    ended: Status | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.answers = Answers(self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    def run(self, threads: int, report: Report) -> None:
        """Solve the problems, in so many threads."""
        functions = self.problems.functions
        todo = 0
        if self.compiling is None:
            todo = self._solve_until_compiling_pays(report)
            if todo == len(self) or self.ended is not None:
                return
        # What they are compiled to shows whether threads may share them.
        if self.compiling:
            self.objective()
        elif threads > 1 and todo == 0 and is_dispatcher(self.problems.fun):
            self._solve_here(0, 1, report)
            todo = 1
            if self.ended is not None:
                return
        released = bool(self.compiling)
        if are_parallel(*functions, released=released):
            threads = 1
        threads = min(threads, len(self) - todo)
        with turn_of(*functions, released=released):
            if self.compiling:
                workers = [_Compiled(self) for _ in range(threads)]
                done = workers[0].solve_at_once(todo) if perf_counter() < self.deadline else todo
                if done > todo:
                    report(todo, done)
                if done < len(self):
                    _work_in_threads(self, workers, done, report)
            elif threads > 1:
                crew = [_Interpreted(self) for _ in range(threads)]
                _work_in_threads(self, crew, todo, report)
            else:
                self._solve_here(todo, len(self), report)

    def args_of(self, i: int) -> tuple[Any, ...]:
        pairs = zip(self.args, self.batched, strict=True)
        return tuple(arg[i] if each else arg for arg, each in pairs)

    def _solve_here(self, first: int, last: int, report: Report) -> None:
        worker = _Interpreted(self)
        for i in range(first, last):
            seconds = self.deadline - perf_counter()
            if seconds <= 0:
                self.ended = Status.MAXTIME
                return
            worker.solve_one(i, seconds)
            report(i, i + 1)

    def _solve_until_compiling_pays(self, report: Report) -> int:
        """Solve problems through the interpreter, up to where the rest had better be compiled.

        Returns the number of problems done: all of them, if compiling does not pay or is not
        possible.
        """
        shared, answers = self.problems, self.answers
        fun, jac = shared.fun, shared.jac
        first = first_of(self.args, self.batched)
        if is_known(fun, jac, first, shared.hess, shared.hessp) and self.compiles():
            return 0
        calls = done = 0
        while done < len(self) and self.ended is None:
            self._solve_here(done, done + 1, report)
            calls += calls_of(jac, int(answers.nfev[done]), int(answers.njev[done]))
            calls += int(answers.nhev[done])
            done += 1
            expected = calls / done * (len(self) - done)
            if done < len(self) and calls_so_far(fun) + expected >= PAYS_AFTER:
                if self.compiles():
                    return done
                self._solve_here(done, len(self), report)
                return len(self)
        return done

    def compiles(self) -> bool:
        """Compile, if that is possible; otherwise the interpreter goes on as it does."""
        shared = self.problems
        begun = perf_counter()
        jac = "2-point" if shared.jac is None else shared.jac
        self.compiling = self._unfit_rows() is None and is_wrappable(
            shared.fun, jac, first_of(self.args, self.batched), shared.hess, shared.hessp
        )
        self.deadline += perf_counter() - begun
        return self.compiling

    def objective(self) -> Any:
        """A compiled objective for these problems, with memory of its own."""
        shared = self.problems
        row = shared.method
        assert row is not None
        unfit = self._unfit_rows()
        if unfit is not None:
            raise TypeError(
                f"`args[{unfit}]` must be an array of numbers or records for compiled code to take "
                f"it row by row, got {_kind_of(self.args[unfit])}; leave the option `compile` out, "
                "or pass False"
            )
        steps = difference_steps(row, shared.jac, shared.controls)
        jac = "2-point" if shared.jac is None else shared.jac
        n = self.starts.shape[1]
        begun = perf_counter()
        try:
            return compiled_objective(
                shared.fun,
                jac,
                self.args,
                n,
                *steps,
                self.batched,
                shared.hess,
                shared.hessp,
                shared.controls.preconditioner,
                shared.settings.get("bounds"),
            )
        finally:
            self.deadline += perf_counter() - begun

    def _unfit_rows(self) -> int | None:
        """The first batched argument that compiled code cannot take row by row, if there is one:
        it goes from row to row by itself, and takes what is there for numbers."""
        for k, (arg, each) in enumerate(zip(self.args, self.batched, strict=True)):
            fit = isinstance(arg, np.ndarray) and arg.dtype.kind in "biufcmMV"
            if each and (not fit or isinstance(arg, np.ma.MaskedArray)):
                return k
        return None

    def note_error(self, i: int, error: Exception) -> None:
        """Keep what the function raised, only the first with its traceback: that keeps alive all
        that its frames refer to."""
        errors = self.answers.errors
        errors[i] = error.with_traceback(None) if errors else error
        self.answers.status[i] = Status.RAISED


def is_of_numba(error: Exception) -> bool:
    """Whether it says that a function does not compile, or not for such arguments."""
    if type(error).__module__.startswith("numba."):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and str(trace.tb_frame.f_globals.get("__name__")).startswith("numba.")


def _kind_of(arg: Any) -> str:
    if type(arg) is np.ndarray:
        return f"an array of dtype {arg.dtype}"
    return f"an object of type {type(arg).__name__}"


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
        self._size = size_of(first_of(batch.args, batch.batched)) if len(batch) else 1
        self._solver = BatchSolver(row.solver, n, batch.problems.settings)

    def solve(self, first: int, last: int, most: int = UNLIMITED) -> int:
        batch, solver = self._batch, self._solver
        begun, before = perf_counter(), solver.iterations
        done = solver.solve(self._objective, batch.starts, batch.answers, first, last, most)
        if isinstance(self._objective, CompiledObjective):
            seconds = (perf_counter() - begun) / max(1, solver.iterations - before)
            self._objective.wrapper.pace.note(seconds, batch.starts.shape[1], self._size)
        return done

    def solve_at_once(self, first: int) -> int:
        """Solve the problems from `first` on if they are known to take next to no time."""
        batch, objective = self._batch, self._objective
        problems, n = batch.starts.shape
        if not isinstance(objective, CompiledObjective):
            return first
        pace = objective.wrapper.pace.expected(n, self._size)
        most = int(AT_ONCE_SECONDS / pace) if pace else 0
        if most < problems - first:
            return first
        begun = perf_counter()
        self._solver.solve(objective, batch.starts, batch.answers, first, problems, 1)
        if perf_counter() - begun > AT_ONCE_SECONDS:
            return first  # the arguments are others than they were
        return self._solver.solve(objective, batch.starts, batch.answers, first, problems, most)

    def stop(self) -> None:
        self._objective.stop()


class _Interpreted:
    """Problems one by one, as `minimize` solves them."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch
        self._solver: Solver | None = None
        self._stopping = False
        self._begun = False  # the function is called: else what is raised is not its own

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
        self._begun = False
        try:
            if self._batch.problems.method is None:
                self._hand_over(i, perf_counter() + seconds)
            else:
                self._run(i, seconds)
        except Exception as error:
            if is_of_numba(error) or not self._begun:
                raise  # it would be the same for all
            self._batch.note_error(i, error)

    def _run(self, i: int, seconds: float) -> None:
        batch = self._batch
        shared, answers = batch.problems, batch.answers
        self._solver = solver = Solver(
            shared.fun,
            batch.starts[i],
            batch.args_of(i),
            shared.name,
            shared.jac,
            shared.hess,
            shared.hessp,
            shared.bounds,
            shared.tol,
            {**shared.options, "maxtime": seconds},
        )
        self._begun = True
        if self._stopping:  # the solver that was told so may have been the one before
            return
        state = solver._state
        try:
            solver.run()
        except BaseException:
            state.finish(Status.ENDED_BY_OBJECTIVE)  # the best point is the answer
            raise
        finally:
            answers.note(i, state)
            if state.status == Status.ENDED_BY_OBJECTIVE:
                answers.status[i] = Status.RUNNING  # it can go on

    def _hand_over(self, i: int, end: float) -> None:
        """Have SciPy solve a problem; `x` stays where it was if that takes too long."""
        batch = self._batch
        shared, answers = batch.problems, batch.answers

        def fun(x: NDArray[np.float64], *args: Any) -> Any:
            self._begun = True
            if self._stopping or perf_counter() > end:
                raise _Ended
            return shared.fun(x, *args)

        try:
            found = minimize(
                fun,
                batch.starts[i],
                batch.args_of(i),
                shared.name,
                shared.jac,
                shared.hess,
                shared.hessp,
                bounds=shared.bounds,
                tol=shared.tol,
                options=shared.options,
            )
        except _Ended:
            return
        self._begun = False
        answers.x[i] = found.x
        answers.fun[i] = found.fun
        slopes = found.get("grad", found.get("jac"))  # the former where `jac` is of constraints
        if slopes is not None:
            answers.jac[i] = slopes
        for name in ("nit", "nfev", "njev", "nhev"):
            getattr(answers, name)[i] = found.get(name, 0)
        batch.endings[i] = Ending(int(found.status), bool(found.success), None, str(found.message))


class _Ended(Exception):
    """A batch is over while SciPy solves one of its problems."""


def _work_in_threads(batch: Batch, workers: Sequence[_Worker], first: int, report: Report) -> None:
    """Solve the problems from `first` on, in a thread for each worker."""
    chunks = _Chunks(first, len(batch), 2 * len(workers))
    finished: SimpleQueue[tuple[int, int] | BaseException | None] = SimpleQueue()

    def work(worker: _Worker) -> None:
        size = 1
        try:
            while chunk := chunks.take(size):
                start = perf_counter()
                done = worker.solve(*chunk)
                finished.put((chunk[0], done))
                pace = CHUNK_SECONDS / (perf_counter() - start + 1e-9)
                # By what it got, which may be less than it asked for.
                size = max(1, int((chunk[1] - chunk[0]) * min(pace, CHUNK_GROWTH)))
        except BaseException as error:
            finished.put(error)
        finally:
            finished.put(None)

    crew = [Errand(partial(work, worker)) for worker in workers]

    def end() -> None:
        chunks.close()
        for worker in workers:
            worker.stop()
        for errand in crew:
            errand.end()

    working = len(crew)
    try:
        try:
            if perf_counter() < batch.deadline:
                for errand in crew:
                    errand.start()
            while working:
                left = batch.deadline - perf_counter()
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
            end()
    finally:
        end()  # a second signal may have come just before the first one


class _Chunks:
    """Hands out the problems in ranges, to whoever asks.

    None of them is more than one part in `parts` of what is left: so all end together, however
    hard the last problems are.
    """

    def __init__(self, first: int, last: int, parts: int) -> None:
        self._next = first
        self._last = last
        self._parts = parts
        self._lock = threading.Lock()

    def take(self, size: int) -> tuple[int, int] | None:
        with self._lock:
            first = self._next
            size = min(size, -((first - self._last) // self._parts))
            self._next = first + size
            return (first, self._next) if size > 0 else None

    def close(self) -> None:
        with self._lock:
            self._last = self._next
