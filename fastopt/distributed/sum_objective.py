"""A function that is a sum over parts of the data, each evaluated by the Dask worker that has it.

Owns what travels: x to the workers, and partial sums from worker to worker, along a tree that
depends on the number of parts alone, so that the order of additions does, too. What is computed
where, and again after a worker is lost, is the scheduler's; what is minimised how, the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SumObjective"]

Vector = NDArray[np.float64]

# How many partial sums a worker adds up at a time.
_FAN_IN = 8
# In bytes. A short x is in every task's arguments, which saves a trip between workers; a long one
# is copied to all workers at once, since it is too much for the scheduler, who keeps any other.
_SHORT = 10_000
_LONG = 1_000_000


class SumObjective:
    """``sum(fun(x, *part) for part in partitions)``, over data on the workers of a Dask cluster.

    It is a function for :func:`fastopt.minimize` and :class:`fastopt.Solver`, with ``jac=True``. An
    evaluation sends x to the workers that have the parts and adds up what they find, in the same
    order each time: the same bits whatever the number of workers. Parts that are lost with a worker
    are computed again from the graph that made them, in the middle of an evaluation as well.

    Parameters
    ----------
    fun : callable
        ``fun(x, *part) -> (value, gradient)``: what a part adds. A jitted one is compiled once by
        each worker.
    partitions : Dask array, tuple of Dask arrays, Dask bag or dataframe, or sequence
        The parts. Of an array they are its chunks along the first axis; of a tuple of arrays each
        part has a chunk of every array, and ``fun`` takes them as separate arguments. A sequence
        has a part for each `dask.delayed` or `distributed.Future`; one that is a tuple is taken as
        separate arguments, too.
    client : distributed.Client, optional
        By default the current one.
    hess : callable, optional
        ``hess(x, *part) -> (n, n) ndarray``, for the method `hess`.
    hessp : callable, optional
        ``hessp(x, p, *part) -> (n,) ndarray``, for the method `hessp`.

    Attributes
    ----------
    client : distributed.Client

    Raises
    ------
    ImportError
        If Dask's ``distributed`` is not installed: ``pip install 'fastopt[dask]'``.
    TypeError
        If ``partitions`` is none of these, or a function is not callable.
    ValueError
        If there are no parts, or no client; if arrays are chunked along other axes than the first,
        or not alike.

    Notes
    -----
    An evaluation costs the scheduler about a millisecond for each part and ten in all, so parts
    should be worth tens of milliseconds: two or three for each of the workers' threads. They stay
    in the workers' memory until `close`, or until the objective is forgotten.

    What ``fun`` raises on a worker is raised here.

    Examples
    --------
    >>> import dask.array as da
    >>> import numpy as np
    >>> from distributed import Client
    >>> import fastopt
    >>> from fastopt.distributed import SumObjective
    >>> def misfit(x, A, b):
    ...     residual = A @ x - b
    ...     return residual @ residual, 2 * A.T @ residual
    >>> with Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"):
    ...     A = da.random.default_rng(0).normal(size=(1000, 3), chunks=(100, 3))
    ...     b = A @ np.array([1.0, 2.0, 3.0])
    ...     with SumObjective(misfit, (A, b)) as objective:
    ...         parts = len(objective)
    ...         result = fastopt.minimize(objective, np.zeros(3), jac=True)
    >>> parts, result.x.round(6)
    (10, array([1., 2., 3.]))
    """

    def __init__(
        self,
        fun: Callable[..., tuple[float, Any]],
        partitions: Any,
        client: Any = None,
        *,
        hess: Callable[..., Any] | None = None,
        hessp: Callable[..., Any] | None = None,
    ) -> None:
        functions = {"fun": fun, "hess": hess, "hessp": hessp}
        for name, function in functions.items():
            if not callable(function) and (function is not None or name == "fun"):
                raise TypeError(f"`{name}` must be callable, got {type(function).__name__}")
        self.client = _client(client)
        parts = _parts_of(partitions)
        if not parts:
            raise ValueError("`partitions` must have at least one part, got none")
        self._parts: list[Any] = self.client.compute(parts)
        # On the workers as well, where each is unpacked, and compiled, once.
        self._functions = {
            name: self.client.submit(_itself, function, pure=False)
            for name, function in functions.items()
            if function is not None
        }

    def __len__(self) -> int:
        return len(self._parts)

    def __call__(self, x: Vector) -> tuple[float, Vector]:
        """The value and the gradient at x."""
        value, grad = self._sum("fun", _value_and_grad, x)
        return value, grad

    def hess(self, x: Vector) -> Vector:
        """The Hessian at a point.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.

        Returns
        -------
        ndarray, shape (n, n)
            The sum of what ``hess`` finds for each part.

        Raises
        ------
        TypeError
            If no ``hess`` was given.

        Examples
        --------
        >>> import numpy as np
        >>> from dask import delayed
        >>> from distributed import Client
        >>> from fastopt.distributed import SumObjective
        >>> def bowl(x, scale):
        ...     return 0.5 * scale * x @ x, scale * x
        >>> def bowl_hess(x, scale):
        ...     return scale * np.eye(x.size)
        >>> with Client(n_workers=1, processes=False, dashboard_address=":0"):
        ...     objective = SumObjective(bowl, [delayed(1.0), delayed(2.0)], hess=bowl_hess)
        ...     hessian = objective.hess(np.ones(2))
        >>> hessian
        array([[3., 0.],
               [0., 3.]])
        """
        (total,) = self._sum("hess", _matrix, x)
        return total  # type: ignore[no-any-return]

    def hessp(self, x: Vector, p: Vector) -> Vector:
        """The Hessian at a point, times a vector.

        Parameters
        ----------
        x : ndarray, shape (n,)
            The point.
        p : ndarray, shape (n,)
            The vector.

        Returns
        -------
        ndarray, shape (n,)
            The sum of what ``hessp`` finds for each part.

        Raises
        ------
        TypeError
            If no ``hessp`` was given.

        Examples
        --------
        >>> import numpy as np
        >>> from dask import delayed
        >>> from distributed import Client
        >>> from fastopt.distributed import SumObjective
        >>> def bowl(x, scale):
        ...     return 0.5 * scale * x @ x, scale * x
        >>> def bowl_hessp(x, p, scale):
        ...     return scale * p
        >>> with Client(n_workers=1, processes=False, dashboard_address=":0"):
        ...     objective = SumObjective(bowl, [delayed(1.0), delayed(2.0)], hessp=bowl_hessp)
        ...     product = objective.hessp(np.ones(2), np.array([1.0, -1.0]))
        >>> product
        array([ 3., -3.])
        """
        (total,) = self._sum("hessp", _product, x, p)
        return total  # type: ignore[no-any-return]

    def close(self) -> None:
        """Let go of the parts; the objective cannot be evaluated any more.

        ``with SumObjective(...) as objective:`` does it at its end.

        Examples
        --------
        >>> from dask import delayed
        >>> from distributed import Client
        >>> from fastopt.distributed import SumObjective
        >>> def bowl(x, scale):
        ...     return 0.5 * scale * x @ x, scale * x
        >>> with Client(n_workers=1, processes=False, dashboard_address=":0"):
        ...     objective = SumObjective(bowl, [delayed(1.0), delayed(2.0)])
        ...     objective.close()
        ...     left = len(objective)
        >>> left
        0
        """
        self._parts, self._functions = [], {}

    def __enter__(self) -> SumObjective:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _sum(self, name: str, evaluate: Callable[..., Any], *vectors: Vector) -> tuple[Any, ...]:
        """The sum over all parts of what a function of this module finds."""
        if not self._parts:
            raise RuntimeError("this SumObjective has been closed")
        if name not in self._functions:
            raise TypeError(f"`{name}` has not been given to this SumObjective")
        client = self.client
        given = self._sent(vectors)
        sums = client.map(
            evaluate, self._parts, function=self._functions[name], vectors=given, pure=False
        )
        while len(sums) > 1:
            groups = [sums[first : first + _FAN_IN] for first in range(0, len(sums), _FAN_IN)]
            sums = client.map(_added, groups, pure=False)
        total: tuple[Any, ...] = sums[0].result()
        return total

    def _sent(self, vectors: tuple[Vector, ...]) -> Any:
        """Vectors as an argument of tasks: themselves, or a future of them."""
        copies = tuple(np.array(vector) for vector in vectors)
        size = sum(each.nbytes for each in copies)
        if size <= _SHORT:
            return copies
        if size > _LONG:
            return self.client.scatter(copies, broadcast=True, hash=False)
        return self.client.submit(_itself, copies, pure=False)


def _client(client: Any) -> Any:
    try:
        import distributed
    except ImportError:
        raise ImportError(
            "SumObjective needs Dask's distributed, which is not installed: "
            "pip install 'fastopt[dask]'"
        ) from None
    if client is None:
        try:
            return distributed.default_client()
        except ValueError:
            raise ValueError(
                "`client` must be a distributed.Client where there is no current one, got None"
            ) from None
    if not isinstance(client, distributed.Client):
        raise TypeError(f"`client` must be a distributed.Client, got {type(client).__name__}")
    return client


# --- parts ----------------------------------------------------------------------------------------


def _parts_of(partitions: Any) -> list[Any]:
    """A delayed value or a future for each part."""
    if isinstance(partitions, tuple) and any(_is_array(each) for each in partitions):
        return _parts_of_arrays(partitions)
    if _is_array(partitions):
        return _parts_of_arrays((partitions,))
    if hasattr(partitions, "to_delayed"):
        return list(partitions.to_delayed())
    if isinstance(partitions, Sequence) and not isinstance(partitions, str | bytes):
        for k, part in enumerate(partitions):
            if not _is_lazy(part):
                raise TypeError(
                    f"`partitions[{k}]` must be a dask.delayed or a distributed.Future, got "
                    f"{type(part).__name__}; dask.delayed(part) makes one of it"
                )
        return list(partitions)
    raise TypeError(
        "`partitions` must be a Dask array, bag or dataframe, a tuple of Dask arrays or a sequence "
        f"of dask.delayed or distributed.Future, got {type(partitions).__name__}"
    )


def _is_array(value: Any) -> bool:
    return hasattr(value, "to_delayed") and hasattr(value, "chunks")


def _is_lazy(value: Any) -> bool:
    from dask import is_dask_collection
    from distributed import Future

    return isinstance(value, Future) or is_dask_collection(value)


def _parts_of_arrays(arrays: tuple[Any, ...]) -> list[Any]:
    from dask import delayed

    for k, array in enumerate(arrays):
        name = f"`partitions[{k}]`" if len(arrays) > 1 else "`partitions`"
        if not _is_array(array):
            raise TypeError(f"{name} must be a Dask array, got {type(array).__name__}")
        if array.ndim == 0 or any(len(chunks) > 1 for chunks in array.chunks[1:]):
            raise ValueError(
                f"{name} must be chunked along its first axis alone, got chunks {array.chunks}; "
                "array.rechunk({0: 'auto', 1: -1}) changes that"
            )
        if len(array.chunks[0]) != len(arrays[0].chunks[0]) or not np.array_equal(
            array.chunks[0], arrays[0].chunks[0], equal_nan=True
        ):
            raise ValueError(
                f"{name} must be chunked along its first axis as `partitions[0]` is, got "
                f"{array.chunks[0]} and {arrays[0].chunks[0]}"
            )
    blocks = [array.to_delayed().ravel() for array in arrays]
    if len(blocks) == 1:
        return list(blocks[0])
    together = delayed(_together, pure=True)
    return [together(*part) for part in zip(*blocks, strict=True)]


# --- what workers run -----------------------------------------------------------------------------


def _itself(value: Any) -> Any:
    return value


def _together(*values: Any) -> tuple[Any, ...]:
    return values


def _arguments(part: Any) -> tuple[Any, ...]:
    return part if isinstance(part, tuple) else (part,)


def _value_and_grad(part: Any, function: Any, vectors: tuple[Vector, ...]) -> tuple[Any, ...]:
    (x,) = vectors
    found = function(x.copy(), *_arguments(part))
    try:
        value, grad = found
    except (TypeError, ValueError):
        raise TypeError(
            f"`fun` must return a value and a gradient, got {type(found).__name__}"
        ) from None
    number = np.asarray(value, dtype=np.float64)
    if number.size != 1:
        raise ValueError(f"the value of `fun` must be a scalar, got shape {number.shape}")
    return number.item(), _checked("the gradient of `fun`", grad, x.shape)


def _matrix(part: Any, function: Any, vectors: tuple[Vector, ...]) -> tuple[Any, ...]:
    (x,) = vectors
    return (_checked("`hess`", function(x.copy(), *_arguments(part)), (x.size, x.size)),)


def _product(part: Any, function: Any, vectors: tuple[Vector, ...]) -> tuple[Any, ...]:
    x, p = vectors
    return (_checked("`hessp`", function(x.copy(), p.copy(), *_arguments(part)), x.shape),)


def _checked(name: str, values: Any, shape: tuple[int, ...]) -> Vector:
    """An array of these numbers, which nobody else has."""
    array = np.array(values, dtype=np.float64)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


def _added(terms: list[tuple[Any, ...]]) -> tuple[Any, ...]:
    """The sum of tuples, from the first to the last."""
    first, *others = terms
    totals = [np.array(each) for each in first]
    for term in others:
        for total, each in zip(totals, term, strict=True):
            total += each
    return tuple(float(each) if each.ndim == 0 else each for each in totals)
