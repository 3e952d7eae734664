"""`minimize_many`: thousands of small problems in one call.

Owns the checks of what a caller passes and the result he gets. How a batch is run is the affair of
`batches`, and of `executors` for other processes.
"""

from __future__ import annotations

import numbers
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, OptimizeResult

from fastopt.core.abi import Status
from fastopt.core.result import BATCH_ENDINGS, Ending, remark
from fastopt.core.validate import check_callable, real_array
from fastopt.interface.batches import Batch, Problems, is_of_numba
from fastopt.interface.bounds import fit_method, read_bounds, refuse_bounds
from fastopt.interface.executors import run_in_executor
from fastopt.interface.methods import METHODS, find_method
from fastopt.interface.minimize import check_known_to_scipy, goes_to_scipy
from fastopt.interface.options import Controls, as_mapping, read_options, scipy_options
from fastopt.interface.progress import CountingBar
from fastopt.interface.solver import check_jac, check_second, shaper
from fastopt.objectives.source import is_c_function, must_compile

__all__ = ["BatchResult", "minimize_many"]

# Whether a problem with this status, as a number, has ended well.
_SUCCESSFUL = np.isin(
    np.arange(max(Status) + 1), [code for code, end in BATCH_ENDINGS.items() if end.success]
)
# Options that concern a batch as a whole, and those that only a single solve has.
_OF_BATCH = ("maxtime", "progress", "on_interrupt", "disp")
_OF_SINGLE = ("trace", "return_all", "workers")


class BatchResult(OptimizeResult):  # type: ignore[misc]  # SciPy has no annotations
    """The results of `minimize_many`: arrays with a row for each problem.

    Its printed form is a summary: how many problems ended in which way, and the lowest value.

    Attributes
    ----------
    x : ndarray of shape (B, n)
        The best point found for each problem.
    fun, jac : ndarray of shape (B,) and (B, n)
        The value and the gradient there.
    nit, nfev, njev, nhev : ndarray of int, shape (B,)
        Counts of iterations and evaluations.
    status : ndarray of int, shape (B,)
        How each problem ended; see `minimize_many`.
    success : ndarray of bool, shape (B,)
        Whether it ended at a minimum or where it was asked to.
    message : ndarray of str, shape (B,)
        What that means and what to try.
    converged_to : ndarray of str or None, shape (B,)
        The test that holds at ``x``, as in `minimize`; None if none does, or where SciPy solved.
    best : int or None
        The problem with the lowest value; None if no problem has one.
    errors : dict of int to Exception
        What the function raised, by problem.
    method, library : str
        What solved the problems, the latter ``"fastopt"`` or ``"scipy"``.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import minimize_many
    >>> result = minimize_many(lambda x: (x @ x, 2 * x), np.eye(3), jac=True)
    >>> result.x.shape, int(result.best)
    ((3, 3), 0)
    >>> print(result)       # doctest: +ELLIPSIS
    3 problems of 3 variables by bfgs (fastopt): 3 succeeded
      3 x status 0: Converged: the norm of the gradient is at most gtol. ...
      lowest value 0 (problem 0); ... evaluations in all
    """

    x: NDArray[np.float64]
    fun: NDArray[np.float64]
    jac: NDArray[np.float64]
    nit: NDArray[np.int64]
    nfev: NDArray[np.int64]
    njev: NDArray[np.int64]
    nhev: NDArray[np.int64]
    status: NDArray[np.int64]
    success: NDArray[np.bool_]
    message: NDArray[np.object_]
    converged_to: NDArray[np.object_]
    best: int | None
    errors: dict[int, Exception]
    method: str
    library: str

    def __repr__(self) -> str:
        problems, n = self.x.shape
        lines = [
            f"{problems} problems of {n} variables by {self.method} ({self.library}): "
            f"{int(self.success.sum())} succeeded"
        ]
        endings = Counter(zip(self.status.tolist(), self.message.tolist(), strict=True))
        for (status, message), count in sorted(endings.items()):
            lines.append(f"  {count} x status {status}: {message}")
        if self.best is not None:
            lines.append(
                f"  lowest value {self.fun[self.best]:.6g} (problem {self.best}); "
                f"{int(self.nfev.sum())} evaluations in all"
            )
        return "\n".join(lines)

    __str__ = __repr__


def minimize_many(
    fun: Callable[..., Any],
    X0: ArrayLike,
    args: Any = (),
    batched: bool | Sequence[bool] = False,
    method: str | None = None,
    jac: Callable[..., Any] | str | bool | None = None,
    hess: Callable[..., Any] | str | None = None,
    hessp: Callable[..., Any] | None = None,
    bounds: Bounds | Sequence[tuple[float | None, float | None]] | None = None,
    tol: float | None = None,
    callback: Callable[[OptimizeResult], Any] | None = None,
    options: Mapping[str, Any] | None = None,
    workers: int | Executor | None = None,
    errors: str = "record",
) -> BatchResult:
    """Minimize one function from many starts, or with many data sets: independent problems.

    Each problem is solved as `minimize` solves it, to the bit. If `fun` (and `jac`, `hess`,
    `hessp`) are ``@njit`` functions or C functions, no interpreter runs between the problems, the
    GIL is free, and several threads share them.

    Parameters
    ----------
    fun : callable
        The function to minimize, ``fun(x, *args) -> float``, as in `minimize`.
    X0 : array_like of real numbers, shape (B, n)
        Where each of the B problems starts.
    args : tuple, optional
        Further arguments of `fun`, `jac`, `hess` and `hessp`. Anything but a tuple is the one
        further argument.
    batched : bool or sequence of bool, optional
        Which of `args` are arrays with a row for each problem: ``fun`` gets ``arg[i]`` in problem
        ``i``, without a copy; of pandas the row in that place, as an array. One bool stands for
        all. By default none are, and all problems share what they get.
    method : str, optional
        As in `minimize`: by default ``"bfgs"``, or ``"l-bfgs-b"`` if `bounds` are given. A method
        that only SciPy has solves the problems one by one.
    jac : {callable, True, False, None, "inplace", "2-point", "3-point", "cs"}, optional
        The gradient, as in `minimize`.
    hess, hessp : callable, optional
        The Hessian, or its product with a vector, as in `minimize`.
    bounds : sequence of (low, high) or `scipy.optimize.Bounds`, optional
        Bounds on the variables, the same for all problems.
    tol : float, optional
        Tolerance, as in `minimize`.
    callback : callable, optional
        ``callback(intermediate_result)``, called when some more problems have been solved, with an
        OptimizeResult that holds ``done`` and ``total``, the numbers of problems, ``problems``, a
        slice of those just solved, and ``x``, ``fun`` and ``success`` of these. Raising
        StopIteration ends the batch; any other exception comes out unchanged.
    options : dict, optional
        Options of the method, as in `minimize`. Of these, ``maxtime``, ``progress``, ``disp`` and
        ``on_interrupt`` concern the batch as a whole; ``trace``, ``return_all`` and ``workers`` are
        refused. With ``compile="auto"`` the first problems are solved through the interpreter,
        until it shows that the rest will pay for compiling.
    workers : int or concurrent.futures.Executor, optional
        The number of threads, or what runs parts of the batch elsewhere: a process pool, Dask's
        ``client.get_executor()``, mpi4py's ``MPIPoolExecutor()``. A thread pool stands for the
        number of its threads. By default one thread for each core that this process may use, and
        one alone for problems that need the interpreter.
    errors : {"record", "raise"}, default "record"
        What becomes of an exception in `fun`: it is kept in ``result.errors`` and the other
        problems go on, or it ends the batch.

    Returns
    -------
    BatchResult
        Arrays with a row for each problem; printed, a summary. ``status`` is that of `minimize`,
        and besides 9 if the function raised, 10 if a worker was lost with the problem, and 6, 7, 99
        or -1 where the batch ended before it.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong: before anything is evaluated, with the argument's name, what was
        expected and what came.
    KeyboardInterrupt
        On Ctrl-C, unless the option ``on_interrupt`` is ``"return"``.

    See Also
    --------
    minimize : One problem.
    multistart : The lowest of many minima.

    Notes
    -----
    The result does not depend on `workers`, to the last bit, unless `fun` itself calls BLAS or is
    compiled with ``fastmath``. An ``@njit(parallel=True)`` function runs in one thread at a time.

    Examples
    --------
    A straight line through each row of `y`, all rows measured at the same `t`:

    >>> import numpy as np
    >>> from numba import njit
    >>> from fastopt import minimize_many
    >>> @njit
    ... def squares(line, t, y):
    ...     residual = line[0] + line[1] * t - y
    ...     return (residual**2).sum(), 2 * np.array([residual.sum(), (residual * t).sum()])
    >>> t = np.linspace(0.0, 1.0, 20)
    >>> y = np.outer([1.0, 2.0, 3.0], t) + 0.5
    >>> fits = minimize_many(squares, np.zeros((3, 2)), (t, y), batched=(False, True), jac=True)
    >>> fits.x.round(3)
    array([[0.5, 1. ],
           [0.5, 2. ],
           [0.5, 3. ]])
    """
    begun = perf_counter()
    if not is_c_function(fun):
        check_callable("fun", fun)
    jac = check_jac(jac)
    starts = _check_starts(X0)
    args, batched = _check_args(args, batched, len(starts))
    if not isinstance(errors, str) or errors not in ("record", "raise"):
        raise ValueError(f"`errors` must be 'record' or 'raise', got {errors!r}")
    if callback is not None:
        check_callable("callback", callback)
    problems, of_batch = _check_problems(
        fun, jac, hess, hessp, starts, method, bounds, tol, options
    )
    compiling = _choose(problems, args)
    threads = _check_workers(workers, compiling)

    batch = Batch(problems, starts, args, batched, compiling, begun + of_batch.maxtime)
    progress = _Progress(batch, callback, errors, of_batch)
    try:
        if isinstance(workers, Executor) and not isinstance(workers, ThreadPoolExecutor):
            run_in_executor(batch, workers, progress.report)
        elif len(starts):
            batch.run(threads, progress.report)
    except StopIteration:
        batch.ended = Status.CALLBACK
    except Exception as error:
        _hint_at_batched(error, batch)
        raise
    except KeyboardInterrupt:
        if of_batch.on_interrupt == "raise":
            raise
        batch.ended = Status.INTERRUPTED
    finally:
        progress.close()
    if errors == "raise" and batch.answers.errors:
        raise _first_error(batch)
    result = _result(batch)
    if of_batch.disp:
        print(result)
    return result


# --- checks ----------------------------------------------------------------------------------


def _check_starts(X0: Any) -> NDArray[np.float64]:
    """X0 as a C-contiguous array of its own, of shape (B, n)."""
    starts = real_array("X0", "a two-dimensional array of real numbers", X0)
    if starts.ndim != 2 or starts.shape[1] == 0:
        raise ValueError(
            "`X0` must be two-dimensional, a row for each problem, got an array of shape "
            f"{starts.shape}"
        )
    finite = np.isfinite(starts)
    if not finite.all():
        row, column = (int(k) for k in np.argwhere(~finite)[0])
        value = float(starts[row, column])
        raise ValueError(f"`X0` must be finite, got {value!r} in problem {row}, at index {column}")
    return np.array(starts, order="C")


def _check_args(args: Any, batched: Any, problems: int) -> tuple[tuple[Any, ...], tuple[bool, ...]]:
    """The arguments as a tuple, the batched ones as arrays, and a flag for each."""
    args = tuple(args) if isinstance(args, tuple) else (args,)
    if isinstance(batched, bool | np.bool_):
        batched = (bool(batched),) * len(args)
    expected = f"`batched` must be a bool or a sequence of {len(args)}, one for each of `args`"
    if not isinstance(batched, Sequence) or isinstance(batched, str):
        raise TypeError(f"{expected}, got an object of type {type(batched).__name__}")
    if len(batched) != len(args):
        raise ValueError(f"{expected}, got {len(batched)}")
    if not all(isinstance(each, bool | np.bool_) for each in batched):
        raise TypeError(f"{expected}, got {batched!r}")
    pairs = zip(args, batched, strict=True)
    rows = tuple(_rows(k, arg, problems) if each else arg for k, (arg, each) in enumerate(pairs))
    return rows, tuple(bool(each) for each in batched)


def _rows(k: int, arg: Any, problems: int) -> Any:
    """A batched argument, checked to have a row for each problem."""
    if isinstance(arg, list | tuple):
        arg = _stacked(arg)
    elif hasattr(arg, "iloc"):  # pandas, which looks for the label i where arg[i] is asked for
        arg = np.asarray(arg)
    elif isinstance(arg, np.ndarray) and not arg.dtype.isnative:
        arg = arg.astype(arg.dtype.newbyteorder("="))  # compiled code reads rows as they are
    try:
        rows = len(arg)
    except TypeError:
        raise TypeError(
            f"`args[{k}]` must have a row for each problem, as `batched` says, got an object of "
            f"type {type(arg).__name__}"
        ) from None
    if rows != problems:
        raise ValueError(
            f"`args[{k}]` must have a row for each of the {problems} problems, as `batched` says, "
            f"got {rows}"
        )
    return arg


def _stacked(rows: Sequence[Any]) -> Any:
    """Rows that are numbers, or arrays of one shape and type, as one array; others as they are."""
    if rows and isinstance(rows[0], numbers.Number):
        array = np.asarray(rows)
        return array if array.dtype.kind in "biufc" else rows
    kinds = {(row.shape, row.dtype) if type(row) is np.ndarray else None for row in rows}
    return np.stack(rows) if len(kinds) == 1 and None not in kinds else rows


def _check_problems(
    fun: Any,
    jac: Any,
    hess: Any,
    hessp: Any,
    starts: NDArray[np.float64],
    method: Any,
    bounds: Any,
    tol: Any,
    options: Any,
) -> tuple[Problems, Controls]:
    """What the problems share, and the options of the batch as a whole."""
    n = starts.shape[1]
    if method is not None and not isinstance(method, str):
        raise TypeError(f"`method` must be a string or None, got {type(method).__name__}")
    if isinstance(bounds, Iterator):
        bounds = list(bounds)  # it is read more than once
    box = read_bounds(bounds, n)
    if box is None:
        bounds = None
    name = ("bfgs" if bounds is None else "l-bfgs-b") if method is None else method
    options = {key: value for key, value in as_mapping(options).items() if value is not None}
    for key in _OF_SINGLE:
        if options.get(key):
            raise ValueError(f"`{key}` must not be among the options: it is one of single solves")
    row = find_method(name)
    fit = None if row is None else fit_method(row, box)
    own = fit is not None and not goes_to_scipy(fit, hess)
    of_one = {key: value for key, value in options.items() if key not in _OF_BATCH}
    if own:
        row = fit
        assert row is not None
        bounds = box
        hess, hessp = check_second(row, hess, hessp)
        settings, of_batch = read_options(row, options, tol, n)
        if box is not None:
            settings["bounds"] = box.ends
        of_one = {
            key: value
            for key, value in of_one.items()
            if row.option_aliases.get(key, key) in row.options  # others have been warned of
        }
    else:
        if is_c_function(fun):
            raise TypeError(
                "`fun` must be callable from Python where SciPy solves the problems, got a C "
                "function"
            )
        if row is None:
            check_known_to_scipy(name)
        elif row.scipy is None:
            raise refuse_bounds(row)
        scipy_options(row, of_one)
        whole = {key: options[key] for key in _OF_BATCH if key in options}
        settings, of_batch = read_options(METHODS["bfgs"], whole, tol, n)
    problems = Problems(
        fun, jac, hess, hessp, name, row if own else None, bounds, tol, of_one, settings, of_batch
    )
    return problems, of_batch


def _choose(problems: Problems, args: tuple[Any, ...]) -> bool | None:
    """Whether the problems are solved without the interpreter; None if that is to be seen."""
    if problems.method is None:
        return False
    jac = "2-point" if problems.jac is None else problems.jac
    return must_compile(
        problems.fun, jac, None, problems.controls.compile, problems.hess, problems.hessp
    )


def _check_workers(workers: Any, compiling: bool | None) -> int:
    """The number of threads."""
    if isinstance(workers, ThreadPoolExecutor):
        return int(workers._max_workers)
    if workers is None:
        return usable_cores() if compiling is not False else 1
    if isinstance(workers, Executor):
        return 1
    expected = "`workers` must be a positive integer or a concurrent.futures.Executor"
    if isinstance(workers, bool) or not isinstance(workers, numbers.Integral):
        raise TypeError(f"{expected}, got an object of type {type(workers).__name__}")
    if workers < 1:
        raise ValueError(f"{expected}, got {workers}")
    return int(workers)


def usable_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# --- while it runs, and after ----------------------------------------------------------------


class _Progress:
    """Tells the caller which problems have been solved."""

    def __init__(self, batch: Batch, callback: Any, errors: str, controls: Controls) -> None:
        self._batch = batch
        self._callback = callback
        self._raises = errors == "raise"
        self._done = 0
        self._bar = None
        if controls.progress:
            self._bar = CountingBar(batch.problems.name, len(batch), "problems")

    def report(self, first: int, last: int) -> None:
        batch = self._batch
        self._done += last - first
        if self._bar is not None:
            self._bar.update(last - first)
        if self._raises and batch.answers.errors:
            raise StopIteration
        if self._callback is not None:
            chunk = slice(first, last)
            found = {name: getattr(batch.answers, name)[chunk].copy() for name in ("x", "fun")}
            success = _SUCCESSFUL[batch.answers.status[chunk]]
            for i in batch.endings.keys() & range(first, last):
                success[i - first] = batch.endings[i].success
            self._callback(
                OptimizeResult(
                    done=self._done,
                    total=len(batch),
                    problems=chunk,
                    success=success,
                    **found,
                )
            )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


def _hint_at_batched(error: Exception, batch: Batch) -> None:
    """To what Numba says of arguments that do not fit, add what may be the reason."""
    rows = len(batch)
    if not is_of_numba(error) or rows < 2:
        return
    suspects = [
        f"args[{k}]"
        for k, (arg, each) in enumerate(zip(batch.args, batch.batched, strict=True))
        if not each and isinstance(arg, np.ndarray) and arg.ndim and len(arg) == rows
    ]
    if suspects:
        error.add_note(
            f"Is there a row for each of the {rows} problems in {' and '.join(suspects)}? Then "
            "`batched` has to say so: as it is, each problem gets the whole array."
        )


def _first_error(batch: Batch) -> Exception:
    problem = min(batch.answers.errors)
    error = batch.answers.errors[problem]
    if batch.answers.status[problem] == Status.RAISED:  # a lost part says so itself
        error.add_note(f"raised in problem {problem} of {len(batch)}")
    return error


def _result(batch: Batch) -> BatchResult:
    answers = batch.answers
    problems = len(batch)
    status = np.zeros(problems, dtype=np.int64)
    success = np.zeros(problems, dtype=bool)
    message = np.empty(problems, dtype=object)
    converged_to = np.empty(problems, dtype=object)
    for members, ending in _endings(batch):
        status[members] = ending.status
        success[members] = ending.success
        message[members] = ending.message
        converged_to[members] = ending.converged_to
    shared = batch.problems
    message[answers.modelless > 0] += remark(
        None, shaper(shared.controls, shared.hess, shared.hessp)
    )
    valued = np.flatnonzero(answers.fun < np.inf)
    row = batch.problems.method
    return BatchResult(
        x=answers.x,
        fun=answers.fun,
        jac=answers.jac,
        nit=answers.nit,
        nfev=answers.nfev,
        njev=answers.njev,
        nhev=answers.nhev,
        status=status,
        success=success,
        message=message,
        converged_to=converged_to,
        best=int(valued[answers.fun[valued].argmin()]) if len(valued) else None,
        errors=dict(sorted(answers.errors.items())),
        method=batch.problems.name.lower() if row is None else row.name,
        library="scipy" if row is None else "fastopt",
    )


def _endings(batch: Batch) -> Iterator[tuple[Any, Ending]]:
    """Problems that ended in the same way, by their numbers, and how; later ones override."""
    codes = batch.answers.status
    for code in np.flatnonzero(np.bincount(codes)):
        ended = batch.ended if code == Status.RUNNING else None
        yield codes == code, BATCH_ENDINGS[Status(int(code)) if ended is None else ended]
    yield from batch.endings.items()
