"""Parts of a batch in other processes, through any `concurrent.futures.Executor`.

Owns what travels there and back, and what becomes of parts that are lost. A task is a function of
this module and bytes: no state is kept anywhere but a cache of what the last tasks needed.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections import OrderedDict
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core.abi import Status
from fastopt.interface.batches import WAIT_SECONDS, Batch, Problems, Report
from fastopt.interface.workers import check_sendable

__all__ = ["run_in_executor"]

# So many tasks for each worker: few enough to cost little, enough for all to end together.
TASKS_PER_WORKER = 8
# How many functions a worker keeps, compiled.
KEPT = 8

_kept: OrderedDict[bytes, tuple[Problems, tuple[Any, ...], tuple[bool, ...]]] = OrderedDict()


def run_in_executor(batch: Batch, executor: Executor, report: Report, deadline: float) -> None:
    """Solve the problems of a batch in an executor's workers; `report` as in `Batch.run`."""
    if len(batch) == 0:
        return
    problems = batch.problems
    shared = tuple(
        None if each else arg for arg, each in zip(batch.args, batch.batched, strict=True)
    )
    recipe: Any = (problems, shared, batch.batched)
    if not isinstance(executor, ThreadPoolExecutor):
        check_sendable(problems.fun, batch.args)
        recipe = pickle.dumps(recipe)
    # Who sends problems to other processes has many: compiling pays.
    compiling = batch.compiling is not False
    workers = getattr(executor, "_max_workers", None) or os.cpu_count() or 1
    size = -(-len(batch) // (TASKS_PER_WORKER * workers))
    tasks: dict[Future[Any], tuple[int, int]] = {}
    try:
        for first in range(0, len(batch), size):
            last = min(first + size, len(batch))
            rows = tuple(
                arg[first:last] if each else None
                for arg, each in zip(batch.args, batch.batched, strict=True)
            )
            part = (batch.starts[first:last], rows, compiling, deadline - perf_counter())
            tasks[executor.submit(solve_part, recipe, *part)] = (first, last)
        pending = set(tasks)
        while pending:
            done, pending = wait(pending, timeout=WAIT_SECONDS, return_when=FIRST_COMPLETED)
            for task in sorted(done, key=tasks.__getitem__):
                _take(batch, task, *tasks[task])
                report(*tasks[task])
            if perf_counter() > deadline:
                batch.ended = Status.MAXTIME
                break
    finally:
        for task in tasks:
            task.cancel()


def solve_part(
    recipe: Any,
    starts: NDArray[np.float64],
    rows: tuple[Any, ...],
    compiling: bool,
    seconds: float,
) -> tuple[Any, ...]:
    """A worker's task: some problems of a batch, in one thread."""
    problems, shared, batched = _unpack(recipe) if isinstance(recipe, bytes) else recipe
    pairs = zip(rows, shared, batched, strict=True)
    args = tuple(row if each else arg for row, arg, each in pairs)
    batch = Batch(problems, np.ascontiguousarray(starts), args, batched, compiling)
    batch.run(1, lambda first, last: None, perf_counter() + seconds)
    answers = batch.answers
    arrays = tuple(getattr(answers, name) for name in ARRAYS)
    errors = {i: _sendable(error) for i, error in answers.errors.items()}
    return arrays, errors, batch.endings, batch.ended


ARRAYS = ("x", "fun", "jac", "nit", "nfev", "njev", "status")


def _unpack(recipe: bytes) -> Any:
    """What all tasks of a batch share. Kept, so that its functions are compiled once."""
    digest = hashlib.sha256(recipe).digest()
    found = _kept.get(digest)
    if found is None:
        found = _kept.setdefault(digest, pickle.loads(recipe))
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found


def _sendable(error: Exception) -> Exception:
    """An exception that survives the way back."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def _take(batch: Batch, task: Future[Any], first: int, last: int) -> None:
    """Note the results of a part, or that it was lost."""
    answers = batch.answers
    error = task.exception()
    if error is not None:
        if not isinstance(error, Exception):
            raise error
        error.add_note(f"problems {first} to {last - 1} were lost with their worker")
        answers.status[first:last] = Status.LOST
        answers.errors.update(dict.fromkeys(range(first, last), error))
        return
    arrays, errors, endings, ended = task.result()
    for name, array in zip(ARRAYS, arrays, strict=True):
        getattr(answers, name)[first:last] = array
    answers.errors.update({first + i: raised for i, raised in errors.items()})
    batch.endings.update({first + i: ending for i, ending in endings.items()})
    batch.ended = batch.ended or ended
