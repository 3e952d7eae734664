"""Parts of a batch in other processes, through any `concurrent.futures.Executor`.

Owns what travels there and back, and what becomes of parts that are lost. A task is a function of
this module and bytes: no state is kept anywhere but a cache of what the last tasks needed.
"""

from __future__ import annotations

import hashlib
import os
import pickle
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from time import perf_counter, time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core.abi import Status
from fastopt.interface.batches import WAIT_SECONDS, Batch, Problems, Report

__all__ = ["run_in_executor"]

# So many tasks for each worker: few enough to cost little, enough for all to end together.
TASKS_PER_WORKER = 8
# For executors that do not tell how many workers they have.
PRESUMED_WORKERS = 16
# How many functions a worker keeps, compiled.
KEPT = 8
# What all parts share goes to Dask's workers once if it is longer than this, in bytes; otherwise
# with each part, since then nothing is lost with a worker.
LARGE = 1_000_000
# When the time is over all parts end by themselves; they have so long to come back.
GRACE_SECONDS = 2.0

# The arrays of a part's answers, in the order in which they travel.
ARRAYS = ("x", "fun", "jac", "nit", "nfev", "njev", "nhev", "modelless", "status")

_kept: OrderedDict[bytes, tuple[Problems, tuple[Any, ...], tuple[bool, ...]]] = OrderedDict()


def run_in_executor(batch: Batch, executor: Executor, report: Report) -> None:
    """Solve the problems of a batch in an executor's workers; `report` as in `Batch.run`."""
    if len(batch) == 0:
        return
    recipe: Any = _pack(batch)
    client = _dask_client(executor)
    if client is not None and len(recipe) > LARGE:
        recipe = client.scatter(recipe, broadcast=True)
    size = -(-len(batch) // (TASKS_PER_WORKER * workers_of(executor)))
    end = time() + (batch.deadline - perf_counter())
    tasks: dict[Future[Any], tuple[int, int]] = {}
    try:
        for first in range(0, len(batch), size):
            last = min(first + size, len(batch))
            rows = _rows_of(batch, first, last)
            try:
                task = executor.submit(
                    solve_part, recipe, batch.starts[first:last], rows, batch.compiling, end
                )
            except RuntimeError as error:  # its workers are gone, or it has been shut down
                if not tasks:
                    raise
                _note_lost(batch, error, first, len(batch))
                break
            tasks[task] = (first, last)
        pending = set(tasks)
        while pending and (left := batch.deadline - perf_counter()) > 0:
            done, pending = wait(pending, min(left, WAIT_SECONDS), FIRST_COMPLETED)
            _take(batch, tasks, done, report)
        if pending:
            batch.ended = Status.MAXTIME
            _take(batch, tasks, wait(pending, GRACE_SECONDS).done, report)
    except BaseException:
        _keep_finished(batch, tasks)
        raise
    finally:
        for task in tasks:
            task.cancel()


def workers_of(executor: Any) -> int:
    """How many workers an executor has: there is no common way to ask."""
    for name in ("num_workers", "_max_workers"):  # mpi4py's, and the standard library's
        count = getattr(executor, name, None)
        if isinstance(count, int) and count > 0:
            return count
    client = _dask_client(executor)
    if client is not None:
        return max(1, int(sum(client.nthreads().values())))
    return max(PRESUMED_WORKERS, os.cpu_count() or 1)


def _dask_client(executor: Any) -> Any:
    client = getattr(executor, "_client", None)
    return client if hasattr(client, "scatter") else None


def _pack(batch: Batch) -> bytes:
    """What all tasks of a batch share."""
    problems = batch.problems
    shared = tuple(
        None if each else arg for arg, each in zip(batch.args, batch.batched, strict=True)
    )
    dumps = _dumps()
    for name, value in (
        ("fun", problems.fun),
        ("jac", problems.jac),
        ("hess", problems.hess),
        ("hessp", problems.hessp),
        ("args", (shared, _rows_of(batch, 0, 1))),
    ):
        try:
            dumps(value)
        except Exception as error:  # an object's own __reduce__ may raise anything
            raise TypeError(
                f"`{name}` cannot be sent to an executor's workers: it does not pickle; define "
                "functions at module level, or pass a number of threads as `workers`"
            ) from error
    return bytes(dumps((problems, shared, batch.batched)))


def _dumps() -> Any:
    """cloudpickle's, which comes with Dask: it takes the functions of notebooks, too."""
    try:
        from cloudpickle import dumps
    except ImportError:
        return pickle.dumps
    return dumps


def _rows_of(batch: Batch, first: int, last: int) -> tuple[Any, ...]:
    """The batched arguments of a part."""
    pairs = zip(batch.args, batch.batched, strict=True)
    return tuple(arg[first:last] if each else None for arg, each in pairs)


def solve_part(
    recipe: bytes,
    starts: NDArray[np.float64],
    rows: tuple[Any, ...],
    compiling: bool | None,
    end: float,
) -> Any:
    """A worker's task: some problems of a batch, in one thread, until the time is `end`.

    Returns what `_take` takes; or an exception, if it is not one problem's but ends the batch.
    """
    problems, shared, batched = _unpack(recipe)
    pairs = zip(rows, shared, batched, strict=True)
    args = tuple(row if each else arg for row, arg, each in pairs)
    batch = Batch(problems, np.ascontiguousarray(starts), args, batched, compiling)
    try:
        if compiling is None:
            batch.compiles()  # who has more than one process has many problems
        batch.deadline = perf_counter() + (end - time())
        batch.run(1, lambda first, last: None)
    except Exception as error:
        return _sendable(error)
    arrays = tuple(getattr(batch.answers, name) for name in ARRAYS)
    errors = {i: _sendable(error) for i, error in batch.answers.errors.items()}
    return arrays, errors, batch.endings, batch.ended


def _unpack(recipe: bytes) -> Any:
    """The contents of a recipe. Kept, so that its functions are compiled once."""
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


def _take(
    batch: Batch,
    tasks: Mapping[Future[Any], tuple[int, int]],
    done: Iterable[Future[Any]],
    report: Report,
) -> None:
    """Note the results of parts, or that they were lost."""
    for task in sorted(done, key=tasks.__getitem__):
        first, last = tasks[task]
        try:
            found = task.result()
        except Exception as error:
            _note_lost(batch, error, first, last)
        else:
            if isinstance(found, Exception):
                raise found
            _note(batch, found, first, last)
        report(first, last)


def _keep_finished(batch: Batch, tasks: Mapping[Future[Any], tuple[int, int]]) -> None:
    """Whatever has ended a batch, what was solved by then is noted."""
    for task, (first, last) in tasks.items():
        if task.done() and not task.cancelled() and task.exception() is None:
            found = task.result()
            if not isinstance(found, Exception):
                _note(batch, found, first, last)


def _note(batch: Batch, found: tuple[Any, ...], first: int, last: int) -> None:
    answers = batch.answers
    arrays, errors, endings, ended = found
    for name, array in zip(ARRAYS, arrays, strict=True):
        getattr(answers, name)[first:last] = array
    answers.errors.update({first + i: error for i, error in errors.items()})
    batch.endings.update({first + i: ending for i, ending in endings.items()})
    batch.ended = batch.ended or ended


def _note_lost(batch: Batch, error: BaseException, first: int, last: int) -> None:
    lost = RuntimeError(f"problems {first} to {last - 1} were lost with their worker: {error!r}")
    lost.__cause__ = error
    batch.answers.status[first:last] = Status.LOST
    batch.answers.errors.update(dict.fromkeys(range(first, last), lost))
