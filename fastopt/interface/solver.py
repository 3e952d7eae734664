"""`Solver`: one solve that can be advanced, paused, pickled and resumed.

Owns what surrounds a `SolverState`: the checked arguments, the clock, the history, and the loop
that drives it to its end. Knows no method: what differs between methods is in METHODS.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, OptimizeResult

from fastopt.core.abi import Status
from fastopt.core.result import DATA_ENDINGS, ENDINGS, Ending, paused, remark
from fastopt.core.validate import UNLIMITED, check_callable, real_vector, warn_caller
from fastopt.interface.bounds import fit_method, read_bounds, refuse_bounds
from fastopt.interface.epochs import Epochs, check_data
from fastopt.interface.errand import Errand
from fastopt.interface.methods import METHODS, SCIPY_METHODS, Method, find_method, unknown_method
from fastopt.interface.options import Controls, read_options
from fastopt.interface.progress import History, ProgressBar, observer_of, print_summary
from fastopt.interface.tuples import Options
from fastopt.interface.workers import ProcessPool, check_sendable
from fastopt.objectives.minibatched import MinibatchObjective
from fastopt.objectives.minibatches import Minibatches
from fastopt.objectives.objective import BoundObjective
from fastopt.objectives.python import PythonObjective
from fastopt.objectives.source import ObjectiveSource, is_c_function
from fastopt.objectives.sparse import SPARSE_FROM
from fastopt.objectives.stateful import held_by, owner_of
from fastopt.solvers.state import SolverState

__all__ = ["DIFFERENCES", "Solver", "check_jac", "check_second"]

# Between two slices the interpreter runs signal handlers. An objective in Python runs them as it
# goes; with a compiled one, Ctrl-C waits for the end of the slice.
SLICE_SECONDS = 0.05
SLICE_GROWTH = 64
# A slice that is expected to take longer than this runs in a thread of its own, which Ctrl-C can
# stop at any evaluation; to start one takes 0.1 ms.
THREAD_SECONDS = 0.005
# So many times longer than expected may be chance: no reason yet for a thread.
SURPRISE = 4
# Below this the GIL is kept: to get it back beside a busy thread takes up to 5 ms.
RELEASE_SECONDS = 0.001

DIFFERENCES = ("2-point", "3-point", "cs")


class Solver:
    """One solve by one of fastopt's methods, which can be paused, pickled and resumed.

    `minimize` is a loop over a `Solver`. Use the class itself to look at a solve between two
    iterations, to spread it over several sessions, or to stop it by a test of your own.

    Parameters
    ----------
    fun : callable
        The function to minimize, ``fun(x, *args) -> float``, where ``x`` is a fresh array of
        shape (n,). With ``jac=True`` it returns the value and the gradient, with
        ``jac="inplace"`` it is ``fun(x, grad, *args) -> float`` and fills ``grad``.
    x0 : array_like of real numbers, shape (n,)
        Where to start. It is copied and never written to.
    args : tuple, optional
        Further arguments of `fun` and `jac`.
    method : str, optional
        A method of fastopt's, by default ``"bfgs"``, or ``"l-bfgs-b"`` if there are `bounds`. Not
        one of SciPy's: those cannot be paused.
    jac : {callable, True, "inplace", "2-point", "3-point", "cs"}, optional
        The gradient, as in `minimize`.
    hess, hessp : callable, optional
        The Hessian, or its product with a vector, as in `minimize`.
    bounds : sequence of (low, high) or `scipy.optimize.Bounds`, optional
        Bounds on the variables, as in `minimize`, for ``"l-bfgs-b"``.
    tol : float, optional
        Tolerance, as in `minimize`.
    options : dict or Options, optional
        The method's options, as in `minimize`. `advance` observes those that end a solve (such as
        ``maxtime``, counted while the solve runs) or record it (``trace``, ``return_all``);
        ``progress``, ``disp`` and ``on_interrupt`` concern `run` alone.
    data : fastopt.Minibatches, optional
        Data for the function's first arguments, a batch in each iteration, as in `minimize`.

    Raises
    ------
    ValueError, TypeError
        If an argument or an option is wrong; nothing has been evaluated then.

    Warns
    -----
    OptimizeWarning
        If `options` holds a name that the method does not have.

    See Also
    --------
    minimize : The whole solve in one call.

    Notes
    -----
    Cutting a solve into slices changes no bit of it. A solver pickles, at any time between two
    iterations, if `fun`, `jac` and `args` do; the copy goes on with the same bits. Functions that
    are defined at module level pickle, lambdas and functions inside functions do not.

    What `fun` or `jac` raises comes out of `advance` and `run` unchanged. The solver is then at
    its last accepted iterate, and can be advanced again.

    A method of an object that has two more, ``held()`` and ``commit()``, is taken for a function
    whose evaluations leave a trace there, as the running statistics of a network. It is evaluated
    in a ``with held():``, in which no evaluation is to leave one, and ``commit()`` is called after
    each iteration: the last evaluation is the one that counts.

    Examples
    --------
    >>> from fastopt import Solver
    >>> from scipy.optimize import rosen, rosen_der
    >>> solver = Solver(rosen, [-1.2, 1.0], method="bfgs", jac=rosen_der)
    >>> solver.advance(5)               # True: there is more to do
    True
    >>> solver.nit
    5
    >>> solver.result().message
    'Still running; paused after 5 iterations. Call advance() or run() to go on.'

    It can be put away and gone on with, here or in another process:

    >>> import pickle
    >>> copy = pickle.loads(pickle.dumps(solver))
    >>> while copy.advance(10):
    ...     pass
    >>> copy.result().success
    True
    >>> bool((solver.run().x == copy.x).all())
    True
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        x0: ArrayLike,
        args: Any = (),
        method: str | None = None,
        jac: Callable[..., Any] | str | bool | None = None,
        hess: Callable[..., Any] | str | None = None,
        hessp: Callable[..., Any] | None = None,
        bounds: Bounds | Sequence[tuple[float | None, float | None]] | None = None,
        tol: float | None = None,
        options: Mapping[str, Any] | Options | None = None,
        data: Minibatches | None = None,
    ) -> None:
        row = _find_row(method, bounds)
        if data is not None:
            data = check_data(row, data)
        if not is_c_function(fun):
            check_callable("fun", fun)
        jac = check_jac(jac)
        hess, hessp = check_second(row, hess, hessp)
        start = real_vector("x0", x0)
        if isinstance(bounds, Iterator):
            bounds = list(bounds)
        box = read_bounds(bounds, start.size)
        fit = fit_method(row, box)
        if fit is None:
            raise refuse_bounds(row)
        row = fit
        settings, controls = read_options(row, options, tol, start.size, data is not None)
        args = tuple(args) if isinstance(args, tuple) else (args,)

        self._row = row
        self._controls = controls
        self._maxiter: int = settings["maxiter"]
        self._pool: ProcessPool | None = None
        workers = controls.workers
        if isinstance(workers, int):
            if workers == 1 or not (jac is None or is_difference(jac)):
                workers = None
            else:
                check_sendable(fun, args)
                workers = self._pool = ProcessPool(workers)
        steps = difference_steps(row, jac, controls)
        jac = "2-point" if jac is None else jac
        self._source = ObjectiveSource(
            fun,
            jac,
            args,
            start.size,
            *steps,
            workers,
            controls.compile,
            hess,
            hessp,
            controls.preconditioner,
            None if box is None else box.ends,
            data,
        )
        self._epochs = None if data is None else Epochs(data, settings, controls)
        self._shaped_by = shaper(controls, hess, hessp)
        self._owner = owner_of(fun)  # says which evaluations count, where that matters
        if box is not None:
            settings["bounds"] = box.ends
        if hess is not None and row.solver == "newton" and start.size >= SPARSE_FROM:
            settings["may_be_sparse"] = True
        self._state = SolverState(row.solver, start, settings)
        self._history: History | None = None
        if data is None and (controls.trace or controls.return_all):
            self._history = History(trace=controls.trace, return_all=controls.return_all)
        self._elapsed = 0.0
        self._span_start: float | None = None
        self._running: dict[str, object] = {}

    def advance(self, k: int = 1) -> bool:
        """Run at most `k` more iterations.

        Parameters
        ----------
        k : int, default 1
            The most iterations to run. The first call evaluates the function at x0 as well; 0
            does no more than that.

        Returns
        -------
        bool
            Whether the solve can go on. False once it has ended, for the reason that `result`
            gives.

        Raises
        ------
        RuntimeError
            If the solver is running already: called from inside `fun`, or by another thread.

        Examples
        --------
        >>> from fastopt import Solver
        >>> solver = Solver(lambda x: (x[0] - 3.0) ** 2, 0.0)
        >>> solver.advance(), solver.advance(1000)
        (True, False)
        """
        try:
            k = operator.index(k)
        except TypeError:
            raise TypeError(f"`k` must be a nonnegative integer, got {type(k).__name__}") from None
        if k < 0:
            raise ValueError(f"`k` must be a nonnegative integer, got {k}")
        ticket = object()
        try:
            self._enter(ticket)
            with held_by(self._owner):
                if self._epochs is not None:
                    return self._advance_by_epochs(k, None, None)
                if self._history is None:
                    return self._advance_in_slices(k, None)
                return self._advance_by_steps(k, None, None)
        finally:
            self._leave(ticket)

    def run(self, callback: Callable[..., Any] | None = None) -> OptimizeResult:
        """Run to the end.

        Parameters
        ----------
        callback : callable, optional
            Called after each iteration, as in `minimize`.

        Returns
        -------
        OptimizeResult
            As `minimize` returns it.

        Raises
        ------
        RuntimeError
            If the solver is running already.
        KeyboardInterrupt
            On Ctrl-C, unless the option ``on_interrupt`` is ``"return"``. The solver can be run
            again and goes on from its last accepted iterate.

        Examples
        --------
        >>> from fastopt import Solver
        >>> result = Solver(lambda x: (x[0] - 3.0) ** 2, 0.0).run()
        >>> round(float(result.x[0]), 4), result.converged_to
        (3.0, 'gtol')
        """
        observe = None if callback is None else observer_of(callback, self._describe_epoch())
        controls = self._controls
        bar = None
        ticket = object()
        try:
            self._enter(ticket)
            if controls.progress:
                bar = ProgressBar(self._row.name, self._state.nit, self._maxiter)
            with held_by(self._owner):
                if self._epochs is not None:
                    self._advance_by_epochs(UNLIMITED, observe, bar)
                elif observe is None and self._history is None:
                    self._advance_in_slices(UNLIMITED, bar)
                else:
                    self._advance_by_steps(UNLIMITED, observe, bar)
        except KeyboardInterrupt:
            if controls.on_interrupt == "raise":
                raise
            self._state.finish(Status.INTERRUPTED)
        finally:
            if bar is not None:
                bar.close()
            if self._pool is not None:
                self._pool.close()
            self._leave(ticket)
        result = self.result()
        if controls.disp:
            print_summary(result)
        return result

    def result(self) -> OptimizeResult:
        """The state of the solve, whether it has ended or not.

        Returns
        -------
        OptimizeResult
            As `minimize` returns it. While the solve can go on, ``success`` is False, ``status``
            is -1, and ``message`` says so.

        Examples
        --------
        >>> from fastopt import Solver
        >>> solver = Solver(lambda x: (x[0] - 3.0) ** 2, 0.0)
        >>> solver.result().message
        'Not started yet. Call advance() or run().'
        """
        state = self._state
        ending = self._ending()
        result = OptimizeResult(
            x=state.x,
            fun=state.fun,
            jac=state.jac,
            nit=state.nit,
            nfev=state.nfev,
            njev=state.njev,
            nhev=state.nhev,
            status=ending.status,
            success=ending.success,
            message=ending.message + remark(state.modelless, self._shaped_by),
            converged_to=ending.converged_to,
            method=self._row.name,
            library="fastopt",
        )
        hess_inv = state.hess_inv()
        if hess_inv is not None:
            result["hess_inv"] = hess_inv
        if self._history is not None:
            self._history.add_to(result)
        if self._epochs is not None:
            with self._source.turn, held_by(self._owner):
                self._epochs.add_to(result, state, self._served)
        return result

    @property
    def x(self) -> NDArray[np.float64]:
        """The current point, a fresh array of shape (n,)."""
        return self._state.x if self._epochs is None else self._epochs.x(self._state)

    @property
    def fun(self) -> float:
        """The function's value at `x`, of minibatches the mean over the epoch so far; NaN before
        the first evaluation."""
        return self._state.fun if self._epochs is None else self._served.running_loss

    @property
    def jac(self) -> NDArray[np.float64]:
        """The gradient at `x`, of minibatches the last batch's; a fresh array of shape (n,)."""
        return self._state.jac if self._epochs is None else self._state.last_jac

    @property
    def nit(self) -> int:
        """The number of iterations so far."""
        return self._state.nit

    @property
    def nfev(self) -> int:
        """The number of evaluations of the function so far, those for differences included."""
        return self._state.nfev + self._of_all[0]

    @property
    def njev(self) -> int:
        """The number of evaluations of the gradient so far."""
        return self._state.njev + self._of_all[1]

    @property
    def nhev(self) -> int:
        """The number of evaluations of the Hessian, or of products with it, so far."""
        return self._state.nhev

    @property
    def status(self) -> int:
        """What ``result().status`` is: -1 as long as the solve can go on."""
        return self._ending().status

    def __repr__(self) -> str:
        return (
            f"<Solver: {self._row.name}, {self._state.n} variables, {self.nit} iterations, "
            f"fun={self.fun:.6g}, status={self.status}>"
        )

    def __copy__(self) -> Self:
        """A deep one: two solvers of one state would drag each other along."""
        return deepcopy(self)

    def __getstate__(self) -> dict[str, Any]:
        attributes = self.__dict__.copy()
        attributes["_running"] = {}
        # The copy may wake on another clock.
        attributes["_elapsed"] = self._time()
        attributes["_span_start"] = None
        attributes["_row"] = self._row.name
        return attributes

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        self._row = METHODS[attributes["_row"]]

    def _ending(self) -> Ending:
        state = self._state
        endings = ENDINGS if self._epochs is None else DATA_ENDINGS
        return endings.get(state.status) or paused(state.nit, state.started)

    def _enter(self, ticket: object) -> None:
        # A lock could be lost to a signal between its acquisition and a `try`; a ticket that was
        # made before is found again by `_leave`, whenever the signal comes.
        if self._running.setdefault("ticket", ticket) is not ticket:
            raise RuntimeError(
                "this solver is running already: it cannot be advanced from inside its own "
                "function or callback, nor by two threads at once"
            )
        self._span_start = perf_counter()

    def _leave(self, ticket: object) -> None:
        if self._running.get("ticket") is not ticket:
            return
        if self._history is not None:
            self._history.record(self._state, self._time())  # Ctrl-C may have come before it
        self._elapsed = self._time()
        self._span_start = None
        del self._running["ticket"]

    def _time(self) -> float:
        """Seconds that the solve has been running, pauses left out."""
        if self._span_start is None:
            return self._elapsed
        return self._elapsed + (perf_counter() - self._span_start)

    def _advance_in_slices(self, k: int, bar: ProgressBar | None) -> bool:
        """At most `k` iterations, in slices that take about `SLICE_SECONDS` each."""
        source = self._source
        at_once = k > 0 and self._controls.maxtime == math.inf and self._owner is None
        going = True if at_once else self._slice(0)
        size = max(1, int(THREAD_SECONDS / source.pace)) if source.pace > 0 else 1
        growth = SLICE_GROWTH if self._owner is None else 1  # who is told of each iteration
        while going and k > 0:
            size = min(size, k, max(1, self._maxiter - self._state.nit))
            start = perf_counter()
            going = self._slice(size)
            if bar is not None:
                bar.update(self._state)
            k -= size
            pace = SLICE_SECONDS / (perf_counter() - start + 1e-9)
            size = max(1, int(size * min(pace, growth)))
        return going

    def _advance_by_steps(
        self,
        k: int,
        observe: Callable[[SolverState], None] | None,
        bar: ProgressBar | None,
    ) -> bool:
        """At most `k` iterations one by one, each recorded, shown and reported."""
        state = self._state
        history = self._history
        going = self._slice(0)
        if history is not None:
            history.record(state, self._time())
        while going and k > 0:
            k -= 1
            nit = state.nit
            going = self._slice(1)
            if state.nit == nit:
                continue
            if history is not None:
                history.record(state, self._time())
            if bar is not None:
                bar.update(state)
            if observe is not None:
                try:
                    observe(state)
                except StopIteration:
                    state.finish(Status.CALLBACK)
                    going = False
        return going

    def _advance_by_epochs(
        self,
        k: int,
        observe: Callable[[SolverState], None] | None,
        bar: ProgressBar | None,
    ) -> bool:
        """At most `k` iterations, with a look at what each epoch has led to."""
        state, epochs = self._state, self._epochs
        assert epochs is not None
        going = self._slice(0)
        if going and self._controls.epochs == 0:
            state.finish(Status.EPOCHS)
            return False
        # First, since an exception may have come between an epoch's end and the look at it.
        going = self._look_at_epoch(going, observe)
        while going and k > 0:
            nit = state.nit
            try:
                going = self._advance_in_slices(min(k, epochs.left(nit, observe is not None)), bar)
            except BaseException:
                # A result may be asked for now, which says how many epochs there have been.
                if observe is None and not epochs.watched:
                    self._look_at_epoch(False, None)
                raise
            k -= state.nit - nit
            going = self._look_at_epoch(going, observe)
        return going

    def _look_at_epoch(self, going: bool, observe: Callable[[SolverState], None] | None) -> bool:
        """Close an epoch that has ended, and the solve if it ends with that."""
        state, epochs = self._state, self._epochs
        assert epochs is not None
        if not epochs.is_over(state.nit, self._served):
            return going
        with self._source.turn:
            status = epochs.close(state, self._served, self._time())
        if status is not None and (going or state.stopped):
            state.finish(status)
            going = False
        if observe is not None:
            try:
                observe(state)
            except StopIteration:
                state.finish(Status.CALLBACK)
                going = False
        return going

    @property
    def _served(self) -> MinibatchObjective:
        """The objective of a solve over minibatches."""
        objective = self._source.objective
        assert isinstance(objective, MinibatchObjective)
        return objective

    @property
    def _of_all(self) -> tuple[int, int]:
        """The evaluations for all of the data, which the state has not counted."""
        if self._epochs is None:
            return 0, 0
        return self._served.nfev, self._served.njev

    def _describe_epoch(self) -> Callable[[SolverState], OptimizeResult] | None:
        epochs = self._epochs
        return None if epochs is None else lambda state: epochs.describe(state, self._served)

    def _slice(self, k: int) -> bool:
        """At most `k` iterations, and none after `maxtime`; with 0, the evaluation at x0."""
        state = self._state
        maxtime = self._controls.maxtime
        going = True
        nfev = state.nfev
        with self._source.turn:
            if k == 0 or maxtime == math.inf:
                # At x0 without a deadline: however short the time, there is a point to return.
                going = self._run_slice(k, math.inf)
            elif (left := maxtime - self._time()) > 0:
                going = self._run_slice(k, left)
        if self._owner is not None and state.nfev > nfev:
            self._owner.commit()
        if going and maxtime < math.inf and self._time() >= maxtime:
            state.finish(Status.MAXTIME)
            return False
        if going and state.stopped:
            if self._epochs is not None and self._served.ended:
                state.land()
            else:
                state.finish(Status.ENDED_BY_OBJECTIVE)
            return False
        return going

    def _run_slice(self, k: int, seconds: float) -> bool:
        """At most `k` iterations, cut short after so many seconds."""
        state, source = self._state, self._source
        objective = source.objective
        inner = objective.inner if isinstance(objective, MinibatchObjective) else objective
        if isinstance(inner, PythonObjective):
            inner.deadline = perf_counter() + seconds
            nfev, njev, nhev = state.nfev, state.njev, state.nhev
            try:
                return state.advance(objective, k)
            finally:
                inner.deadline = math.inf
                source.note_calls(state.nfev - nfev, state.njev - njev, state.nhev - nhev)

        start, nit = perf_counter(), state.nit
        if not state.started and 0 < source.pace <= THREAD_SECONDS:
            # The arguments may be others than those that the pace is known of.
            if not state.advance(objective, 0, source.pace > RELEASE_SECONDS):
                return False
            taken = perf_counter() - start
            if taken > SURPRISE * source.pace:
                source.pace = taken
                few = int(THREAD_SECONDS / taken)
                if 0 < few < k:
                    # One call says little of many: a few will tell whether it takes a thread.
                    going = state.advance(objective, few, few * taken > RELEASE_SECONDS)
                    source.note_pace((perf_counter() - start) / max(1, state.nit - nit))
                    if not going or state.stopped:
                        return going
                    k -= few
        if k == 0 and state.started:
            return state.advance(objective, 0)
        if 0 < k * source.pace <= THREAD_SECONDS:
            going = state.advance(objective, k, k * source.pace > RELEASE_SECONDS)
        else:
            going = interruptible(state, objective, k, seconds)
        # An evaluation at x0 counts as an iteration.
        source.note_pace((perf_counter() - start) / max(1, state.nit - nit))
        return going


def interruptible(state: SolverState, objective: BoundObjective, k: int, seconds: float) -> bool:
    """`state.advance` in a thread of its own, stopped by any exception here and after `seconds`."""
    going = True
    error: BaseException | None = None

    def advance() -> None:
        nonlocal going, error
        try:
            going = state.advance(objective, k, release=True)
        except BaseException as raised:
            error = raised

    def end() -> None:
        objective.stop()
        errand.end()  # at the next evaluation

    errand = Errand(advance)
    deadline = perf_counter() + seconds
    try:
        try:
            errand.start()
            # In short waits, since on Windows a signal does not end one.
            while (left := deadline - perf_counter()) > 0 and not errand.wait(min(left, 0.1)):
                pass
        finally:
            end()
    finally:
        end()  # a second signal may have come just before the first one
        objective.stop(False)
    if error is not None:
        raise error
    return going


def difference_steps(row: Method, jac: Any, controls: Controls) -> tuple[Any, Any]:
    """Absolute and relative steps of differences; as in SciPy, relative if `jac` names a scheme."""
    if jac is None and row.has_absolute_step:
        return controls.eps, None
    return None, controls.finite_diff_rel_step


def is_difference(jac: Any) -> bool:
    """Whether `jac` names a scheme of differences."""
    return isinstance(jac, str) and jac in DIFFERENCES


def check_jac(jac: Any) -> Any:
    """`jac` in the form that objectives take; None where forward differences stand in."""
    if jac is None or callable(jac):
        return jac
    if isinstance(jac, bool | np.bool_):
        return True if jac else None
    if is_difference(jac) or (isinstance(jac, str) and jac == "inplace"):
        return jac
    expected = "`jac` must be callable, True, False, None, 'inplace', '2-point', '3-point' or 'cs'"
    if isinstance(jac, str):
        raise ValueError(f"{expected}, got {jac!r}")
    raise TypeError(f"{expected}, got an object of type {type(jac).__name__}")


def check_second(
    row: Method, hess: Any, hessp: Any
) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
    """`hess` and `hessp` as objectives take them; `hess` is None where gradients stand in."""
    if hessp is not None:
        check_callable("hessp", hessp)
    if not row.second_order:
        for name, value in (("hess", hess), ("hessp", hessp)):
            if value is not None:
                warn_caller(f"method {row.name} does not use `{name}`", RuntimeWarning)
        return None, None
    if hess is None or callable(hess):
        return hess, hessp
    expected = "`hess` must be callable, '2-point' or None"
    if not isinstance(hess, str):
        raise TypeError(f"{expected}, got an object of type {type(hess).__name__}")
    if hess != "2-point":
        raise ValueError(f"{expected}, got {hess!r}")
    return None, hessp


def shaper(controls: Controls, hess: object, hessp: object) -> str | None:
    """The argument that shapes a solve's steps, as `remark` takes it."""
    given = {"preconditioner": controls.preconditioner, "hess": hess, "hessp": hessp}
    return next((name for name, value in given.items() if value is not None), None)


def _find_row(method: Any, bounds: Any) -> Method:
    if method is None:
        return METHODS["bfgs" if bounds is None else "l-bfgs"]
    if not isinstance(method, str):
        raise TypeError(f"`method` must be a string or None, got {type(method).__name__}")
    row = find_method(method)
    if row is not None:
        return row
    if method.lower() in SCIPY_METHODS:
        raise ValueError(
            f"`method` must be one of {', '.join(map(repr, METHODS))}, got {method!r}, which is "
            "SciPy's and cannot be paused: use minimize"
        )
    raise unknown_method(method, METHODS)
