"""Data, a few rows at a time: shuffled epochs over arrays, and streams of batches.

Owns which rows make up which batch, in what forms data come, and the wording of what is wrong with
them. Knows nothing of what is done with a batch: `minibatched.pyx` has the objective.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from fastopt.core.validate import Flag, Integer, is_valid_csr
from fastopt.device.arrays import is_device_array
from fastopt.objectives.shuffling import permutation

__all__ = [
    "CSRBatch",
    "Minibatches",
    "Stream",
    "as_compiled",
    "buffers",
    "take_rows",
]

_FLAG = Flag()
_POSITIVE = Integer(low=1)
_NONNEGATIVE = Integer(low=0)
# A seed has 64 bits, and a row's number 32 where rows are shuffled.
_SEEDS = 2**64
_MOST_ROWS = 2**32 - 1


class CSRBatch(NamedTuple):
    """Rows of a sparse matrix in the form that ``@njit`` functions get: CSR, as a named tuple.

    Where `Minibatches` holds a `scipy.sparse` matrix, a plain Python function gets its batches as
    sparse matrices; an ``@njit`` function, which can have none, gets this. The functions of
    `fastopt.losses` take it for ``X``.

    Parameters
    ----------
    data : ndarray of shape (nnz,)
        The elements, row after row.
    indices : ndarray of shape (nnz,)
        The column of each.
    indptr : ndarray of shape (n_rows + 1,)
        Row i has the elements ``indptr[i]`` to ``indptr[i + 1] - 1``.
    n_columns : int
        The number of columns.

    Examples
    --------
    >>> import numpy as np
    >>> from numba import njit
    >>> import fastopt
    >>> @njit
    ... def row_sums(X):
    ...     sums = np.zeros(X.indptr.size - 1)
    ...     for i in range(sums.size):
    ...         for k in range(X.indptr[i], X.indptr[i + 1]):
    ...             sums[i] += X.data[k]
    ...     return sums
    >>> X = fastopt.CSRBatch(np.array([1.0, 2.0]), np.array([0, 3]), np.array([0, 0, 2]), 4)
    >>> row_sums(X)
    array([0., 3.])
    """

    data: NDArray[Any]
    indices: NDArray[Any]
    indptr: NDArray[Any]
    n_columns: int


class Minibatches:
    """Data, served in batches: some rows of each array at a time, in an order new in each epoch.

    ``for X_batch, y_batch in data:`` goes through one epoch, which has every row once. How the rows
    of an epoch are ordered depends on the seed and the epoch's number alone: the same on all
    machines, and a place in the data is two numbers, `epoch` and `batch`.

    Parameters
    ----------
    *arrays : array_like or sparse matrix, or one iterable
        Arrays of numbers of any kind, with one or more dimensions, and the same length: row i of
        each belongs to sample i. They need not be contiguous, and may be memory-mapped. Matrices of
        `scipy.sparse` are used as CSR. Nothing is copied as a whole, unless it has another form;
        what you write to the arrays later shows in the batches.

        Or one iterable of batches, a stream, each batch an array or a tuple of arrays. It is gone
        through once an epoch; if it is an iterator (a generator, say), there is one epoch, and the
        data end with it. A list alone is such an iterable; one of numbers has to be made an array.
    batch_size : int, optional
        The rows of a batch. By default all of them are one batch. 1 is what is called stochastic.
    shuffle : bool, default True
        Whether each epoch has an order of its own; otherwise rows come as they are in the arrays,
        as they do if one batch has them all.
    seed : int, default 0
        What the orders depend on, from 0 to 2**64 - 1.
    drop_last : bool, default False
        Whether to leave out the last batch of an epoch if it is shorter than the others. Other rows
        are left out in each epoch.

    Attributes
    ----------
    epoch, batch : int
        Which batch is served next; both count from 0. An epoch that was left in the middle (by
        ``break``) is gone on with there.
    n_samples : int or None
        The length of the arrays; None for a stream.
    arrays : tuple
        The arrays and CSR matrices; empty for a stream.
    batch_size : int or None
        The rows of a batch; None for a stream.

    Raises
    ------
    TypeError
        If an array is not of numbers, or an argument of the wrong type.
    ValueError
        If lengths differ, or there are no rows; if sparse matrices are not valid; if a number is
        out of range; if ``drop_last`` leaves nothing; or if a stream is to be cut into batches.

    See Also
    --------
    CSRBatch : What ``@njit`` functions get as batches of a sparse matrix.

    Notes
    -----
    A batch in Python is your own: its arrays are C-contiguous, and either new or, where rows come
    in order and lie so in memory, views of the arrays given here. They are never overwritten later.
    For `minimize` with an ``@njit`` function, rows are brought together by compiled code, in
    buffers that are used again: what such a function gets is valid during the call.

    Copies and pickles keep the place. `minimize` starts at it, and leaves it where it is.

    Orders are made by the Fisher-Yates shuffle with Lemire's bounded integers [1]_ from SplitMix64
    [2]_; each order of n rows takes 4 n bytes.

    References
    ----------
    .. [1] D. Lemire, "Fast random integer generation in an interval", ACM Transactions on Modeling
       and Computer Simulation 29 (1), 2019.
    .. [2] G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators",
       OOPSLA 2014.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> X, y = np.arange(10.0).reshape(5, 2), np.arange(5)
    >>> data = fastopt.Minibatches(X, y, batch_size=2, shuffle=False)
    >>> len(data)
    3
    >>> for X_batch, y_batch in data:
    ...     print(X_batch.shape, y_batch)
    (2, 2) [0 1]
    (2, 2) [2 3]
    (1, 2) [4]

    Stochastic gradient descent by hand, for a line through five points:

    >>> data = fastopt.Minibatches(np.arange(5.0), 2 * np.arange(5.0) - 1, batch_size=2, seed=1)
    >>> slope = offset = 0.0
    >>> for _ in range(200):
    ...     for x, y in data:
    ...         error = slope * x + offset - y
    ...         slope -= 0.1 * (error * x).mean()
    ...         offset -= 0.1 * error.mean()
    >>> print(f"{slope:.3f}, {offset:.3f}")
    2.000, -1.000
    """

    def __init__(
        self,
        *arrays: Any,
        batch_size: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if not arrays:
            raise TypeError("`arrays` must be one array or more, or one iterable of batches")
        self.shuffle = _FLAG("shuffle", shuffle, 0)
        self.drop_last = _FLAG("drop_last", drop_last, 0)
        self.seed = _seed(seed)
        self.epoch = self.batch = 0
        self.n_samples: int | None = None
        self.batch_size: int | None = None
        self._size = self._length = 0  # of a batch, and of an epoch in batches
        self.arrays: tuple[Any, ...] = ()
        self.stream: Stream | None = None
        if len(arrays) == 1 and _is_stream(arrays[0]):
            for name, given in (("batch_size", batch_size is not None), ("drop_last", drop_last)):
                if given:
                    raise ValueError(
                        f"`{name}` must be left out for a stream, whose batches are "
                        "used as they come"
                    )
            self.stream = Stream(arrays[0])
            return
        names = [f"`arrays[{k}]`" for k in range(len(arrays))]
        self.arrays = tuple(map(_table, names, arrays))
        n = self.n_samples = _common_length(names, self.arrays)
        if n == 0:
            raise ValueError("`arrays` must have at least one row, got arrays of length 0")
        if self.shuffle and n > _MOST_ROWS:
            raise ValueError(
                f"`arrays` must have at most {_MOST_ROWS} rows to be shuffled, got {n}"
            )
        size = n if batch_size is None else _POSITIVE("batch_size", batch_size, 0)
        if self.drop_last and size > n:
            raise ValueError(
                f"`batch_size` must be at most the number of rows, {n}, with drop_last=True, got "
                f"{size}"
            )
        self.batch_size = self._size = min(size, n)
        self.shuffle = self.shuffle and size < n
        self._length = n // self._size if self.drop_last else -(-n // self._size)

    def __repr__(self) -> str:
        if self.stream is not None:
            return f"<Minibatches: a stream, epoch {self.epoch}, batch {self.batch}>"
        order = f"shuffled, seed {self.seed}" if self.shuffle else "in order"
        return (
            f"<Minibatches: {self.n_samples} samples, {len(self)} batches of {self.batch_size}, "
            f"{order}, epoch {self.epoch}, batch {self.batch}>"
        )

    def __len__(self) -> int:
        """Batches in an epoch; TypeError for a stream that has no length."""
        if self.stream is not None:
            return len(self.stream)
        return self._length

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        """What is left of the epoch, as tuples of arrays."""
        if self.stream is not None:
            return self._stream_epoch(self.stream)
        return self._epoch()

    def _epoch(self) -> Iterator[tuple[Any, ...]]:
        epoch, last = self.epoch, self._length - 1
        order = None
        if self.shuffle:
            order = permutation(self.arrays[0].shape[0], self.seed, epoch)
        for batch in range(self.batch, last + 1):
            # Before it is served: who saves the place while at work on a batch has had it.
            self.epoch, self.batch = (epoch, batch + 1) if batch < last else (epoch + 1, 0)
            yield take_rows(self.arrays, batch * self._size, self._size, order)

    def _stream_epoch(self, stream: Stream) -> Iterator[tuple[Any, ...]]:
        for served in stream.begin(self.batch):
            self.batch += 1
            yield served
        self.epoch, self.batch = self.epoch + 1, 0

    def seek(self, epoch: int, batch: int = 0) -> None:
        """Go to a place: what is served next.

        Parameters
        ----------
        epoch : int
            The epoch, from 0 on.
        batch : int, default 0
            The batch in it. In a stream that can be gone through again, the batches before it are
            passed over; an iterator goes on where it is, whatever its place is called.

        Raises
        ------
        TypeError, ValueError
            If these are not nonnegative integers, or the epoch has no such batch.

        Examples
        --------
        >>> import numpy as np
        >>> import fastopt
        >>> data = fastopt.Minibatches(np.arange(6), batch_size=2, shuffle=False)
        >>> data.seek(0, 1)
        >>> list(data)
        [(array([2, 3]),), (array([4, 5]),)]
        """
        epoch = _NONNEGATIVE("epoch", epoch, 0)
        batch = _NONNEGATIVE("batch", batch, 0)
        if self.stream is None and batch >= len(self):
            raise ValueError(
                f"`batch` must be less than {len(self)}, the number of batches in an "
                f"epoch, got {batch}"
            )
        self.epoch, self.batch = epoch, batch

    def state_dict(self) -> dict[str, int]:
        """The place, and what else the order depends on, as integers by name.

        Returns
        -------
        dict
            ``epoch``, ``batch``, ``seed``, ``shuffle``, ``n_samples``, ``batch_size`` and
            ``drop_last``; of a stream, the first two.

        Examples
        --------
        >>> import numpy as np
        >>> import fastopt
        >>> data = fastopt.Minibatches(np.arange(6), batch_size=2)
        >>> first = next(iter(data))
        >>> data.state_dict()["batch"]
        1
        """
        state = {"epoch": self.epoch, "batch": self.batch}
        if self.n_samples is None:
            return state
        return state | {
            "seed": self.seed,
            "shuffle": int(self.shuffle),
            "n_samples": self.n_samples,
            "batch_size": self._size,
            "drop_last": int(self.drop_last),
        }

    def load_state_dict(self, state: Any) -> None:
        """Go to where a `state_dict` was taken, with its seed.

        Parameters
        ----------
        state : dict
            What `state_dict` returned; its numbers may have become arrays, as `numpy.savez` makes
            them.

        Raises
        ------
        TypeError, ValueError
            If it is none, or the state of data of another form: their length, size of batches,
            shuffling or ``drop_last``. Nothing is changed then.

        Examples
        --------
        >>> import numpy as np
        >>> import fastopt
        >>> data = fastopt.Minibatches(np.arange(6), batch_size=2)
        >>> served = next(iter(data))
        >>> state = data.state_dict()
        >>> again = fastopt.Minibatches(np.arange(6), batch_size=2)
        >>> again.load_state_dict(state)
        >>> [list(batch) for batch, in again] == [list(batch) for batch, in data]
        True
        """
        own = self.state_dict()
        if not isinstance(state, Mapping):
            raise TypeError(f"`state` must be a mapping, got {type(state).__name__}")
        if set(state) != set(own):
            raise ValueError(
                f"`state` must have the keys {sorted(own)}, got {sorted(state, key=str)}"
            )
        given = {
            name: value if name == "seed" else _NONNEGATIVE(f"state[{name!r}]", value, 0)
            for name, value in state.items()
        }
        for name in own:
            if name not in ("epoch", "batch", "seed") and given[name] != own[name]:
                raise ValueError(
                    f"`state` must be of data with {name} = {own[name]}, got {given[name]}"
                )
        seed = given.get("seed", self.seed)
        if isinstance(seed, np.ndarray) and seed.size == 1:  # a number that was in a file
            seed = seed.item()
        seed = _seed(seed)
        self.seek(given["epoch"], given["batch"])
        self.seed = seed


def take_rows(
    arrays: tuple[Any, ...], first: int, count: int, order: NDArray[np.uint32] | None = None
) -> tuple[Any, ...]:
    """Rows of each array: those that `order` has from its place `first` on, or those from row
    `first` on; fewer than `count` where there are no more."""
    if order is None:
        rows = slice(first, first + count)
        return tuple(
            np.ascontiguousarray(each[rows]) if isinstance(each, np.ndarray) else each[rows]
            for each in arrays
        )
    chosen = order[first : first + count].astype(np.intp)
    return tuple(
        each.take(chosen, axis=0) if isinstance(each, np.ndarray) else each[chosen]
        for each in arrays
    )


def as_compiled(batch: tuple[Any, ...]) -> tuple[Any, ...]:
    """A batch as an @njit function takes it, of the same types every time."""
    return tuple(_own(each) if isinstance(each, np.ndarray) else _as_tuple(each) for each in batch)


def _own(array: NDArray[Any]) -> NDArray[Any]:
    """An array that is contiguous, aligned and can be written to: a copy if this is not."""
    return np.require(array, requirements=("C", "A", "W"))


def _as_tuple(matrix: Any) -> CSRBatch:
    values, indices, indptr = map(_own, _parts(matrix))
    return CSRBatch(values, indices, indptr, int(matrix.shape[1]))


def buffers(data: Minibatches) -> tuple[Any, ...]:
    """Arrays that `as_compiled` batches can be copied to; the first batch itself of a stream."""
    if data.stream is not None:
        return as_compiled(data.stream.peek())
    assert data.batch_size is not None
    return tuple(_buffer(each, data.batch_size) for each in data.arrays)


def _buffer(table: Any, rows: int) -> Any:
    if isinstance(table, np.ndarray):
        return np.empty((rows, *table.shape[1:]), table.dtype)
    lengths = np.diff(table.indptr)
    longest = lengths if rows >= lengths.size else np.partition(lengths, -rows)[-rows:]
    elements = int(longest.sum(dtype=np.int64))
    return CSRBatch(
        np.empty(elements, table.dtype),
        np.empty(elements, table.indices.dtype),
        np.empty(rows + 1, table.indptr.dtype),
        int(table.shape[1]),
    )


# --- streams ---------------------------------------------------------------------------------


class Stream:
    """An iterable of batches, each checked as it comes.

    Attributes
    ----------
    once : bool
        Whether it can be gone through only once.
    """

    def __init__(self, source: Iterable[Any]) -> None:
        self._source = source
        self._begun: Iterator[Any] | None = None
        self._forms: tuple[Any, ...] | None = None
        self.once = isinstance(source, Iterator)

    def __len__(self) -> int:
        if not isinstance(self._source, Sized):
            raise TypeError(
                "a stream must have a length to tell how many batches an epoch has, got one of "
                f"type {type(self._source).__name__}"
            )
        return len(self._source)

    def peek(self) -> tuple[Any, ...]:
        """The first batch, which is served all the same."""
        begun = self._begin()
        for first in begun:
            rest = chain([first], begun)
            if self.once:
                self._source = rest
            else:
                self._begun = rest
            return self._checked(first, 0)
        raise ValueError("a stream must have at least one batch, got one without any")

    def begin(self, skipped: int = 0) -> Iterator[tuple[Any, ...]]:
        """An epoch, but for the batches that are skipped where the stream can be gone through
        again."""
        begun = self._begin()
        for k, batch in enumerate(begun):
            if self.once or k >= skipped:
                yield self._checked(batch, k)

    def _begin(self) -> Iterator[Any]:
        begun, self._begun = self._begun, None
        return iter(self._source) if begun is None else begun

    def _checked(self, batch: Any, k: int) -> tuple[Any, ...]:
        name = f"batch {k} of the stream"
        given = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
        names = [f"array {i} of {name}" for i in range(len(given))]
        tables = tuple(map(_table, names, given))
        if not tables or _common_length(names, tables) == 0:
            raise ValueError(f"{name} must have at least one row, got none")
        forms = tuple(map(_form, tables))
        if self._forms is None:
            self._forms = forms
        if forms != self._forms:
            raise ValueError(
                f"{name} must have the form of the first one, {_described(self._forms)}, got "
                f"{_described(forms)}"
            )
        return tuple(
            np.ascontiguousarray(each) if isinstance(each, np.ndarray) else each for each in tables
        )


def _form(table: Any) -> tuple[Any, ...]:
    """What compiled code has to know of an array: all but its length."""
    return (
        type(table),
        table.dtype,
        *table.shape[1:],
        *(() if isinstance(table, np.ndarray) else (table.indices.dtype, table.indptr.dtype)),
    )


def _described(forms: tuple[Any, ...]) -> str:
    each = [f"{form[0].__name__} of {form[1]} x {form[2:]}" for form in forms]
    return "(" + ", ".join(each) + ")"


# --- checks ----------------------------------------------------------------------------------


def _is_stream(given: Any) -> bool:
    return (
        isinstance(given, Iterable)
        and not isinstance(given, np.ndarray | str | bytes)
        and not scipy.sparse.issparse(given)
        and not is_device_array(given)
        and not hasattr(given, "__array__")
    )


def _seed(seed: Any) -> int:
    number = seed
    if isinstance(seed, bool | np.bool_) or not isinstance(seed, int | np.integer):
        raise TypeError(f"`seed` must be an integer from 0 to 2**64 - 1, got {seed!r}")
    if not 0 <= number < _SEEDS:
        raise ValueError(f"`seed` must be an integer from 0 to 2**64 - 1, got {seed!r}")
    return int(number)


def _table(name: str, given: Any) -> Any:
    """An argument as a plain array, or as a valid CSR matrix."""
    if scipy.sparse.issparse(given):
        return _csr(name, given)
    if is_device_array(given):
        raise TypeError(
            f"{name} must be on the CPU, got an array of a GPU, of which no batches are made: take "
            "rows of it by its own library, in a loop with an optimizer such as fastopt.Adam"
        )
    expected = "an array of numbers with at least one dimension"
    if isinstance(given, np.ma.MaskedArray):
        raise TypeError(f"{name} must be {expected}, got a masked array, whose mask would be lost")
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{name} must be {expected}, got an object of type {type(given).__name__}"
        ) from error
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} must be {expected}, got dtype {array.dtype}")
    if array.ndim == 0:
        raise ValueError(f"{name} must be {expected}, got one number")
    return array


def _csr(name: str, given: Any) -> Any:
    if given.ndim != 2:
        raise ValueError(f"{name} must be two-dimensional if it is sparse, got {given.shape}")
    if given.dtype.kind not in "biufc":
        raise TypeError(f"{name} must be a matrix of numbers, got dtype {given.dtype}")
    matrix = given.tocsr()
    if not is_valid_csr(matrix):  # compiled code trusts it
        raise ValueError(f"{name} must be a valid sparse matrix, got one with indices out of range")
    parts = tuple(map(np.ascontiguousarray, _parts(matrix)))
    if all(part is own for part, own in zip(parts, _parts(matrix), strict=True)):
        return matrix
    return type(matrix)(parts, shape=matrix.shape)


def _parts(matrix: Any) -> tuple[Any, ...]:
    return matrix.data, matrix.indices, matrix.indptr


def _common_length(names: list[str], tables: tuple[Any, ...]) -> int:
    length = int(tables[0].shape[0])
    for name, table in zip(names, tables, strict=True):
        if table.shape[0] != length:
            raise ValueError(
                f"{name} must have the length of {names[0]}, {length}, got shape {table.shape}"
            )
    return length
