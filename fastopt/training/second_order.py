"""L-BFGS and Newton-CG in training loops: optimizers that evaluate the function themselves.

Own the vector's contents while a step runs, and what becomes of a function that is another one in
the next step. Know nothing of iterations and searches, which are the solvers'.
"""

from __future__ import annotations

import math
import reprlib
import zlib
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from fastopt.core.result import ENDINGS, Ending
from fastopt.core.validate import (
    UNLIMITED,
    Check,
    Choice,
    Flag,
    Integer,
    Real,
    check_callable,
    parameter_vector,
    real_vector,
)
from fastopt.objectives.python import PythonObjective
from fastopt.solvers.state import SolverState, restore

__all__ = ["LBFGS", "OPTIONS", "NewtonCG"]

Closure = Callable[[], tuple[Any, Any]]
Product = Callable[[NDArray[Any]], Any]

_OPEN_UNIT = Real(0.0, 1.0, open_low=True, open_high=True)

# Those of `fastopt.minimize`, under the same names.
OPTIONS: dict[str, Check] = {
    "gtol": Real(low=0.0),
    "c1": _OPEN_UNIT,
    "c2": _OPEN_UNIT,
    "maxls": Integer(low=1),
    "line_search": Choice(("hager-zhang", "more-thuente")),
    "maxcor": Integer(low=1),
    "damping": Flag(),
    "threads": Integer(low=1),
}
# What ends a solve but is no business of an optimizer that is told how many iterations to do.
_ENDLESS = {
    "norm": math.inf,
    "ftol": 0.0,
    "xtol": 0.0,
    "stopval": -math.inf,
    "maxiter": UNLIMITED,
    "maxfev": UNLIMITED,
}
_SINGLE = np.dtype(np.float32)


class _ClosureOptimizer:
    """What `LBFGS` and `NewtonCG` share. The attributes are documented there."""

    _solver: ClassVar[str]

    def __init__(self, theta: NDArray[Any], options: dict[str, Any], deterministic: bool) -> None:
        self._theta = parameter_vector("theta", theta)
        self._options = _check_options(options, theta.size)
        self._deterministic = Flag()("deterministic", deterministic, theta.size)
        self._nfev = 0
        start = self._theta.astype(np.float64)
        self._state = SolverState(self._solver, start, {**_ENDLESS, **self._options})

    def _step(self, closure: Closure, iterations: int, hessp: Product | None) -> float:
        check_callable("closure", closure)
        if hessp is not None:
            check_callable("hessp", hessp)
        iterations = Integer(low=1)("iterations", iterations, 1)
        state = self._state
        moved = not np.array_equal(self._theta, self._rounded(state.last_x))
        # Of a float32 vector that nobody has touched, the point before it was rounded.
        start = real_vector("theta", self._theta) if moved else state.last_x
        objective = self._objective(closure, hessp)
        if moved or not (self._deterministic and state.started):
            # An exception from here leaves `theta` as the caller has it.
            state.revisit(objective, start)
        try:
            state.advance(objective, iterations)
            self._place(state.x)
        except BaseException:  # Ctrl-C may have come after the last evaluation, too
            self._place(state.x)
            raise
        return state.fun

    def _objective(self, closure: Closure, hessp: Product | None) -> PythonObjective:
        n = self._theta.size

        def evaluate(x: NDArray[np.float64]) -> tuple[float, NDArray[Any]]:
            self._place(x)
            self._nfev += 1
            return _read_answer(closure(), n)

        def multiply(x: NDArray[np.float64], p: NDArray[np.float64]) -> Any:
            assert hessp is not None
            self._place(x)
            return hessp(self._rounded(p))

        def difference(x: NDArray[np.float64], p: NDArray[np.float64]) -> Any:
            """What the solver does by itself, with steps that are seen in single precision.

            (Rosenbrock's function, n = 5: 19 iterations; with its own steps, not in 300.)
            """
            root = math.sqrt(np.finfo(_SINGLE).eps)
            step = 2 * root * (1 + float(np.linalg.norm(x))) / float(np.linalg.norm(p))
            return (evaluate(x + step * p)[1] - self._state.last_jac) / step

        product: Callable[..., Any] | None = None
        if hessp is not None:
            product = multiply
        elif self._theta.dtype == _SINGLE and self._solver == "newton-cg":
            product = difference
        return PythonObjective(evaluate, True, (), n, hessp=product)

    def _rounded(self, x: NDArray[np.float64]) -> NDArray[Any]:
        if self._theta.dtype != _SINGLE:
            return x
        with np.errstate(over="ignore"):  # a trial step may lead anywhere
            return x.astype(_SINGLE)

    def _place(self, x: NDArray[np.float64]) -> None:
        self._theta[...] = self._rounded(x)

    @property
    def theta(self) -> NDArray[Any]:
        """The vector that is stepped."""
        return self._theta

    @property
    def nit(self) -> int:
        """The number of iterations so far."""
        return self._state.nit

    @property
    def nfev(self) -> int:
        """The number of calls of closures so far."""
        return self._nfev

    @property
    def status(self) -> int:
        """Why the last step ended early, as the number in a result of `minimize`; -1 if it did
        not."""
        return self._ending().status

    @property
    def message(self) -> str:
        """The same in words."""
        return self._ending().message

    @property
    def converged(self) -> bool:
        """Whether the last step ended because there was nothing left to gain."""
        return self._ending().success

    def _ending(self) -> Ending:
        ending = ENDINGS.get(self._state.status)
        if ending is not None:
            return ending
        if not self._state.started:
            return Ending(-1, False, None, "Not started yet. Call step().")
        return Ending(-1, False, None, "There is more to do. Call step() to go on.")

    def state_dict(self) -> dict[str, Any]:
        """All that the next step depends on besides `theta`, as arrays, numbers and words.

        Returns
        -------
        dict
            Its values are what ``np.savez`` can hold. The options are among them; the rest is for
            `load_state_dict` of the same version of fastopt to read.
        """
        header, vectors, layout = self._state.save()
        return {
            "solver": self._solver,
            **self._options,
            "deterministic": self._deterministic,
            "nfev": self._nfev,
            "layout": layout,
            "header": np.frombuffer(header, np.uint8),
            "vectors": vectors,
            "checksum": _checksum(header, vectors),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where another optimizer was: with the same `theta`, to the same bits.

        Parameters
        ----------
        state : mapping
            What `state_dict` returned, or ``np.load`` of it. `theta` is not part of it, and is not
            touched.

        Raises
        ------
        ValueError
            If it is the state of another kind of optimizer, of another number of parameters or of
            another version of fastopt, or damaged. Nothing has been changed then.
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"`state` must be a mapping, got {type(state).__name__}")
        expected = {"solver", *self._options, "deterministic", "nfev", "layout", "header"}
        expected |= {"vectors", "checksum"}
        if set(state) != expected:
            differing = ", ".join(map(repr, sorted(expected ^ set(state), key=str)))
            raise ValueError(
                f"`state` must be what state_dict() of {type(self).__name__} returned, got one "
                f"that differs in {differing}"
            )
        given = {name: _plain(state[name]) for name in expected}
        if given["solver"] != self._solver:
            raise ValueError(f"`state` must be one of {self._solver!r}, got {given['solver']!r}")
        n = self._theta.size
        options = _check_options({name: given[name] for name in self._options}, n)
        deterministic = Flag()("deterministic", given["deterministic"], n)
        nfev = Integer(low=0)("state['nfev']", given["nfev"], n)
        layout = Integer()("state['layout']", given["layout"], n)
        for name, dtype in (("header", np.uint8), ("vectors", np.float64)):
            array = given[name]
            if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype != dtype:
                raise ValueError(
                    f"`state[{name!r}]` must be a one-dimensional array of {np.dtype(dtype)}, got "
                    f"{reprlib.repr(array)}"
                )
        header, vectors = given["header"].tobytes(), given["vectors"].copy()
        if _checksum(header, vectors) != given["checksum"]:
            raise ValueError("`state` is damaged: its checksum is wrong")
        settings = {**_ENDLESS, **options}
        try:
            found = restore(self._solver, np.zeros(n), settings, header, vectors, layout)
        except ValueError:
            raise ValueError(
                "`state` must be of the same version and build of fastopt, got that of another one"
            ) from None
        if found.n != n:
            raise ValueError(f"`state` must be one of {n} parameters, got one of {found.n}")
        self._options = options
        self._deterministic = deterministic
        self._nfev = nfev
        self._state = found

    def __copy__(self) -> Self:
        """Another one of the same `theta`, which has learnt the same and goes on by itself."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, _state=copy(self._state))
        return other

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__}: {self._theta.size} parameters, {self.nit} iterations, "
            f"loss={self._state.fun:.6g}, status={self.status}>"
        )


class LBFGS(_ClosureOptimizer):
    """L-BFGS for training loops: steps a flat vector in place, and calls a closure for the loss.

    It is the solver of ``fastopt.minimize(method="l-bfgs")``, line search included, for a function
    that may be another one in each step.

    Parameters
    ----------
    theta : ndarray of float32 or float64, shape (n,)
        The parameters, a contiguous vector that `step` changes in place; `flatten` makes one of
        nested arrays. The solver computes in double precision; what it writes to a float32 vector
        is rounded.
    maxcor : int, default 10
        How many pairs of steps and gradient changes to remember.
    gtol : float, default 1e-5
        A step ends early where no element of the gradient is larger than this.
    c1, c2 : float, default 1e-4 and 0.9
        Line search: the least decrease, as a part of what the slope promises, and the most of the
        slope that may remain.
    maxls : int, default 20
        Line search: the most trial steps in one iteration.
    line_search : {"hager-zhang", "more-thuente"}, default "hager-zhang"
        Which line search.
    damping : bool, default False
        Powell's damping of pairs with little curvature.
    threads : int, default 1
        How many threads share the solver's own work, from 100 000 parameters on.
    deterministic : bool, default False
        Whether all closures compute the same function. Then a step begins with the loss and the
        gradient that the last one ended with, and spares one call, unless `theta` has been changed
        from outside.

    Attributes
    ----------
    theta : ndarray, shape (n,)
        The vector that is stepped: the one that was given.
    nit, nfev : int
        Iterations, and calls of closures, so far.
    status, message : int, str
        Why the last step ended early, as in a result of `minimize`; -1 if it did not.
    converged : bool
        Whether the last step ended because there was nothing left to gain.

    Raises
    ------
    TypeError, ValueError
        If `theta` is not such a vector, or an option is wrong.

    See Also
    --------
    NewtonCG : With products of the Hessian.
    flatten : Nested arrays as one vector.
    minimize : Where one function is to be minimized to the end.

    Methods
    -------
    step(closure, iterations=1)
        Some iterations on the function that a closure evaluates.
    state_dict()
        All that the next step depends on besides `theta`, as arrays, numbers and words that
        ``np.savez`` can hold. A file is good for the version of fastopt that has written it.
    load_state_dict(state)
        Go on from there: with the same `theta`, to the same bits.

    Notes
    -----
    The function may change from step to step, as with mini-batches. Each step therefore evaluates
    it anew where it begins, as PyTorch's optimizer does. If the value or the gradient is another
    one, the curvature learnt so far is kept and a new direction found; if both are the same, the
    step goes on as if there had been no pause, to the last bit. Within one step, the function must
    not change: pairs of different functions would teach nothing. One batch for a step of several
    iterations is better than one iteration for each of many batches.

    The method is Nocedal & Wright, Numerical Optimization (2nd ed., 2006), algorithm 7.5, with the
    line search of Hager & Zhang (SIAM J. Optim. 16, 2005, 170-192).

    Examples
    --------
    Linear regression, a step of five iterations on each batch:

    >>> import numpy as np
    >>> import fastopt
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((400, 3))
    >>> y = X @ [1.0, -2.0, 3.0]
    >>> theta = np.zeros(3)
    >>> optimizer = fastopt.LBFGS(theta)
    >>> for rows in np.split(np.arange(400), 4):
    ...     def closure():
    ...         residual = X[rows] @ theta - y[rows]
    ...         return residual @ residual / 2, residual @ X[rows]
    ...     loss = optimizer.step(closure, iterations=5)
    >>> theta.round(4)
    array([ 1., -2.,  3.])

    What it has learnt can be put away and taken up again:

    >>> state = optimizer.state_dict()
    >>> fastopt.LBFGS(theta).load_state_dict(state)
    """

    _solver = "l-bfgs"

    def __init__(
        self,
        theta: NDArray[Any],
        *,
        maxcor: int = 10,
        gtol: float = 1e-5,
        c1: float = 1e-4,
        c2: float = 0.9,
        maxls: int = 20,
        line_search: str = "hager-zhang",
        damping: bool = False,
        threads: int = 1,
        deterministic: bool = False,
    ) -> None:
        options = {
            "maxcor": maxcor,
            "gtol": gtol,
            "c1": c1,
            "c2": c2,
            "maxls": maxls,
            "line_search": line_search,
            "damping": damping,
            "threads": threads,
        }
        super().__init__(theta, options, deterministic)

    def step(self, closure: Closure, iterations: int = 1) -> float:
        """Some iterations on the function that `closure` evaluates.

        Parameters
        ----------
        closure : callable
            ``closure() -> (loss, gradient)``: a number and an array of shape (n,), at what `theta`
            holds at the time. It is called several times, each with another point in `theta`.
        iterations : int, default 1
            The most iterations to run.

        Returns
        -------
        float
            The loss where `theta` is now. (PyTorch returns that where the step began.)

        Raises
        ------
        TypeError, ValueError
            If `closure` returns something else, or `theta` is not finite.
        RuntimeError
            If a step is running already: called from inside `closure`, or by another thread.

        Notes
        -----
        `theta` then is the last accepted iterate. What `closure` raises, KeyboardInterrupt
        included, comes out unchanged; `theta` is the last accepted iterate then, too, and the
        optimizer can go on.

        Examples
        --------
        >>> import numpy as np
        >>> import fastopt
        >>> theta = np.array([3.0, 4.0])
        >>> optimizer = fastopt.LBFGS(theta)
        >>> optimizer.step(lambda: (theta @ theta, 2 * theta), iterations=5) < 1e-10
        True
        >>> optimizer.converged
        True
        """
        return self._step(closure, iterations, None)


class NewtonCG(_ClosureOptimizer):
    """Newton-CG for training loops: steps a flat vector in place, and calls closures.

    It is the solver of ``fastopt.minimize(method="newton-cg")``, line search included, for a
    function that may be another one in each step.

    Parameters
    ----------
    theta : ndarray of float32 or float64, shape (n,)
        The parameters, a contiguous vector that `step` changes in place; `flatten` makes one of
        nested arrays. The solver computes in double precision; what it writes to a float32 vector
        is rounded.
    gtol : float, default 1e-5
        A step ends early where no element of the gradient is larger than this.
    c1, c2 : float, default 1e-4 and 0.9
        Line search: the least decrease, as a part of what the slope promises, and the most of the
        slope that may remain.
    maxls : int, default 20
        Line search: the most trial steps in one iteration.
    line_search : {"hager-zhang", "more-thuente"}, default "hager-zhang"
        Which line search.
    deterministic : bool, default False
        Whether all closures compute the same function. Then a step begins with the loss and the
        gradient that the last one ended with, and spares one call, unless `theta` has been changed
        from outside.

    Attributes
    ----------
    theta : ndarray, shape (n,)
        The vector that is stepped: the one that was given.
    nit, nfev : int
        Iterations, and calls of closures, so far.
    status, message : int, str
        Why the last step ended early, as in a result of `minimize`; -1 if it did not.
    converged : bool
        Whether the last step ended because there was nothing left to gain.

    Raises
    ------
    TypeError, ValueError
        If `theta` is not such a vector, or an option is wrong.

    See Also
    --------
    LBFGS : From gradients alone.
    flatten : Nested arrays as one vector.
    minimize : Where one function is to be minimized to the end.

    Methods
    -------
    step(closure, iterations=1, hessp=None)
        Some iterations on the function that a closure evaluates.
    state_dict()
        All that the next step depends on besides `theta`, as arrays, numbers and words that
        ``np.savez`` can hold. A file is good for the version of fastopt that has written it.
    load_state_dict(state)
        Go on from there: with the same `theta`, to the same bits.

    Notes
    -----
    The function may change from step to step, as with mini-batches. Each step therefore evaluates
    it anew where it begins. If the value or the gradient is another one, the step begins anew; if
    both are the same, it goes on as if there had been no pause, to the last bit.

    The method is Nocedal & Wright, Numerical Optimization (2nd ed., 2006), algorithm 7.1, with the
    line search of Hager & Zhang (SIAM J. Optim. 16, 2005, 170-192).

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> from scipy.optimize import rosen, rosen_der, rosen_hess_prod
    >>> theta = np.array([-1.2, 1.0])
    >>> optimizer = fastopt.NewtonCG(theta)
    >>> while not optimizer.converged:
    ...     loss = optimizer.step(
    ...         lambda: (rosen(theta), rosen_der(theta)), hessp=lambda p: rosen_hess_prod(theta, p)
    ...     )
    >>> theta.round(4)
    array([1., 1.])
    """

    _solver = "newton-cg"

    def __init__(
        self,
        theta: NDArray[Any],
        *,
        gtol: float = 1e-5,
        c1: float = 1e-4,
        c2: float = 0.9,
        maxls: int = 20,
        line_search: str = "hager-zhang",
        deterministic: bool = False,
    ) -> None:
        options = {"gtol": gtol, "c1": c1, "c2": c2, "maxls": maxls, "line_search": line_search}
        super().__init__(theta, options, deterministic)

    def step(
        self,
        closure: Closure,
        iterations: int = 1,
        hessp: Product | None = None,
    ) -> float:
        """Some iterations on the function that `closure` evaluates.

        Parameters
        ----------
        closure : callable
            ``closure() -> (loss, gradient)``: a number and an array of shape (n,), at what `theta`
            holds at the time. It is called several times, each with another point in `theta`.
        iterations : int, default 1
            The most iterations to run.
        hessp : callable, optional
            ``hessp(p) -> array``: the product of the Hessian, at what `theta` holds at the time,
            with a vector of the dtype of `theta`. By default, differences of gradients stand in.

        Returns
        -------
        float
            The loss where `theta` is now.

        Raises
        ------
        TypeError, ValueError
            If `closure` returns something else, or `theta` is not finite.
        RuntimeError
            If a step is running already: called from inside `closure`, or by another thread.

        Notes
        -----
        `theta` then is the last accepted iterate. What `closure` and `hessp` raise,
        KeyboardInterrupt included, comes out unchanged; `theta` is the last accepted iterate then,
        too, and the optimizer can go on.

        Examples
        --------
        >>> import numpy as np
        >>> import fastopt
        >>> theta = np.array([3.0, 4.0])
        >>> optimizer = fastopt.NewtonCG(theta)
        >>> optimizer.step(lambda: (theta @ theta, 2 * theta), hessp=lambda p: 2 * p) < 1e-10
        True
        """
        return self._step(closure, iterations, hessp)


def _check_options(options: Mapping[str, Any], n: int) -> dict[str, Any]:
    checked = {name: OPTIONS[name](name, value, n) for name, value in options.items()}
    if checked["c1"] >= checked["c2"]:
        raise ValueError(
            f"`c1` must be less than `c2`, got c1={checked['c1']} and c2={checked['c2']}"
        )
    return checked


def _read_answer(answer: Any, n: int) -> tuple[float, NDArray[Any]]:
    """What a closure returned, if it is a loss and a gradient."""
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise TypeError(
            "`closure` must return a pair (loss, gradient), got "
            f"{f'{len(answer)} items' if isinstance(answer, tuple) else type(answer).__name__}"
        )
    loss, gradient = answer
    if getattr(loss, "ndim", 0) != 0:
        raise ValueError(
            f"`closure` must return a scalar loss, got an array of shape {np.shape(loss)}"
        )
    kind = type(loss).__name__
    if isinstance(loss, str | bytes):
        raise TypeError(f"`closure` must return a real number as loss, got {kind}")
    try:
        value = float(loss)
    except OverflowError:  # an integer
        value = math.inf if loss > 0 else -math.inf
    except (TypeError, ValueError):
        raise TypeError(f"`closure` must return a real number as loss, got {kind}") from None
    try:
        slopes = np.asarray(gradient)
    except ValueError:
        raise ValueError(
            f"`closure` must return an array as gradient, got {reprlib.repr(gradient)}"
        ) from None
    if slopes.dtype.kind not in "fiu":
        raise TypeError(
            f"`closure` must return an array of real numbers as gradient, got dtype {slopes.dtype}"
        )
    if slopes.shape != (n,):
        raise ValueError(
            f"`closure` must return a gradient of shape ({n},), got one of shape {slopes.shape}"
        )
    return value, slopes


def _plain(value: Any) -> Any:
    """A number or word that ``np.load`` has made an array of."""
    return value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value


def _checksum(header: bytes, vectors: NDArray[np.float64]) -> int:
    return zlib.crc32(vectors.view(np.uint8).data, zlib.crc32(header))
