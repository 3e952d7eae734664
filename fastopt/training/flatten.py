"""Nested parameters as one flat vector, and back.

Owns the layout: which part of the vector is which array. Knows nothing of what is done with the
vector.
"""

from __future__ import annotations

import math
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Flat", "Layout", "flatten"]

_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
_EXPECTED = "an array of float32 or float64"
_NODE = "an array, a number, or a dict, list, tuple or NamedTuple of them"
_CONVERT = "; pass `dtype` to convert it"


@dataclass(frozen=True, slots=True)
class _Leaf:
    """An array's place. `path` is how Python reaches it from the root, `name` the same in short."""

    path: str
    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def place(self) -> slice:
        return slice(self.start, self.start + math.prod(self.shape))


@dataclass(frozen=True, slots=True)
class _Branch:
    """A container of the type `kind`. `keys` are a dict's own, a NamedTuple's fields or indices."""

    path: str
    kind: Any
    keys: tuple[Any, ...]
    children: tuple[_Branch | _Leaf, ...]


_Tree = _Branch | _Leaf


class Flat(tuple[NDArray[Any], Any]):
    """The pair ``(vector, views)`` that `flatten` returns, and their `layout`.

    Attributes
    ----------
    vector : ndarray, shape (n,)
        All parameters.
    views : dict, list, tuple or ndarray
        The parameters as they were given, each array being a part of `vector`.
    layout : Layout
        Which part of the vector is which array.
    """

    layout: Layout

    def __new__(cls, vector: NDArray[Any], layout: Layout) -> Flat:
        flat = super().__new__(cls, (vector, layout.unflatten(vector)))
        flat.layout = layout
        return flat

    @property
    def vector(self) -> NDArray[Any]:
        return self[0]

    @property
    def views(self) -> Any:
        return self[1]

    def __reduce__(self) -> tuple[Any, ...]:
        return Flat, (self.vector, self.layout)  # the copy's views are views of the copy


def flatten(params: Any, dtype: DTypeLike | None = None) -> Flat:
    """Put nested parameters into one vector, and get them back as views of it.

    Parameters
    ----------
    params : nested dict, list, tuple or NamedTuple of arrays and numbers
        The parameters, in the order in which they are to come: dicts in the order of insertion,
        arrays row by row. They are copied and never written to. Arrays are float32 or float64, all
        of them the same, and may have any shape, ``()`` and those of no elements included. Python's
        own numbers are of any dtype, and become arrays of shape ``()``.
    dtype : float32 or float64, optional
        What to convert all arrays to, integers included. By default nothing is converted.

    Returns
    -------
    Flat
        The pair ``(vector, views)``: a contiguous vector, shape (n,), and the structure of `params`
        with views of the vector in place of its arrays. What changes the vector in place changes
        the views, and the other way round. Its attribute ``layout`` is a `Layout`: it finds the
        views of other vectors, such as a gradient, and the slice that an array has of the vector.

    Raises
    ------
    TypeError
        If an array has another dtype than the rest, or if something is neither an array nor a
        container of arrays. The message names its place, as in ``params['layers'][0]['weight']``.
    ValueError
        If `dtype` is neither float32 nor float64.

    See Also
    --------
    Layout : What else the layout can do.

    Notes
    -----
    An array that `params` holds twice becomes two independent parts of the vector.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> theta, params = fastopt.flatten(
    ...     {"layers": [{"weight": np.ones((2, 3)), "bias": np.zeros(2)}], "scale": 5.0}
    ... )
    >>> theta
    array([1., 1., 1., 1., 1., 1., 0., 0., 5.])
    >>> theta *= 2                         # a step in place, and the views have taken it
    >>> params["layers"][0]["weight"]
    array([[2., 2., 2.],
           [2., 2., 2.]])
    >>> params["scale"]
    array(10.)
    """
    layout = Layout(params, dtype)
    vector = np.empty(layout.size, layout.dtype)
    for place, array in layout._pieces(params, "params"):
        vector[place] = array
    return Flat(vector, layout)


class Layout:
    """Which part of a flat vector is which array of nested parameters.

    ``fastopt.flatten(params).layout`` is one, too. Two layouts are equal if their vectors are
    divided in the same way, between containers of the same types and names, and if they have the
    same dtype. A layout pickles and can be a key of a dict.

    Parameters
    ----------
    params, dtype
        As in `flatten`. Nothing is copied.

    Raises
    ------
    TypeError, ValueError
        As in `flatten`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> flat = fastopt.flatten({"weight": np.ones((2, 3)), "bias": np.zeros(2)})
    >>> theta, params = flat
    >>> flat.layout
    <Layout: 8 numbers of float64 in 2 arrays>

    A gradient whose parts are written where they belong:

    >>> grad = np.zeros_like(theta)
    >>> grads = flat.layout.unflatten(grad)
    >>> grads["bias"][:] = 7.0
    >>> grad
    array([0., 0., 0., 0., 0., 0., 7., 7.])
    """

    def __init__(self, params: Any, dtype: DTypeLike | None = None) -> None:
        wanted = None if dtype is None else _float_dtype(dtype)
        arrays: list[NDArray[Any] | int | float] = []
        self._root, self._size = _lay_out(params, "params", "", 0, arrays)
        leaves = [*_leaves(self._root)]
        if wanted is None:
            wanted = _common_dtype(leaves, arrays)
        else:
            _check_real(leaves, arrays)
        self._dtype = wanted

    @property
    def size(self) -> int:
        """The number of elements of the vector."""
        return self._size

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the vector that `flatten` made."""
        return self._dtype

    @property
    def slices(self) -> dict[str, slice]:
        """The slice of the vector that is each array, by the array's name, in the vector's order.

        A name is made of the keys, fields and indices that lead to the array, with dots between
        them: ``"layers.0.weight"``. A ValueError says so if two arrays have the same one.
        """
        slices: dict[str, slice] = {}
        paths: dict[str, str] = {}
        for leaf in _leaves(self._root):
            if leaf.name in slices:
                raise ValueError(
                    f"`slices` needs a name for each array, got {leaf.name!r} for both "
                    f"{paths[leaf.name]} and {leaf.path}"
                )
            slices[leaf.name] = leaf.place
            paths[leaf.name] = leaf.path
        return slices

    def unflatten(self, vector: NDArray[Any]) -> Any:
        """The views of another vector of this layout, as nested as the parameters.

        Parameters
        ----------
        vector : ndarray, shape (n,)
            A contiguous vector, of any dtype.

        Returns
        -------
        dict, list, tuple or ndarray
            The structure of the parameters, with views of `vector` in place of their arrays.

        Raises
        ------
        TypeError, ValueError
            If `vector` is not such a vector.

        Examples
        --------
        >>> import numpy as np
        >>> import fastopt
        >>> layout = fastopt.flatten([np.zeros((2, 2)), 0.0]).layout
        >>> layout.unflatten(np.arange(5.0))
        [array([[0., 1.],
               [2., 3.]]), array(4.)]
        """
        self._check_vector("vector", vector)
        return _rebuild(self._root, lambda leaf: vector[leaf.place].reshape(leaf.shape))

    def flatten_into(self, tree: Any, out: NDArray[Any]) -> NDArray[Any]:
        """Copy arrays that are nested like the parameters into a vector, such as gradients.

        Parameters
        ----------
        tree : nested dict, list, tuple or NamedTuple of arrays and numbers
            Containers of the same types as the parameters', with the same keys (in any order),
            and arrays of the same shapes, of the dtype of `out`.
        out : ndarray of float32 or float64, shape (n,)
            A contiguous vector, which is overwritten.

        Returns
        -------
        ndarray
            `out`.

        Raises
        ------
        TypeError, ValueError
            If `tree` differs from the parameters; the message names the place, as in
            ``tree['layers'][0]['weight']``. Nothing has been written then.

        Examples
        --------
        >>> import numpy as np
        >>> import fastopt
        >>> layout = fastopt.flatten({"weight": np.ones((2, 2)), "bias": 0.0}).layout
        >>> grad = np.empty(layout.size)
        >>> layout.flatten_into({"weight": np.full((2, 2), 3.0), "bias": 1.0}, out=grad)
        array([3., 3., 3., 3., 1.])
        """
        self._check_vector("out", out)
        if out.dtype not in _DTYPES:
            raise TypeError(f"`out` must be {_EXPECTED}, got one of {out.dtype}")
        if not out.flags.writeable:
            raise ValueError("`out` must be writeable, got a read-only array")
        for place, array in self._pieces(tree, "tree", out.dtype):
            out[place] = array
        return out

    def _pieces(
        self, tree: Any, path: str, dtype: np.dtype[Any] | None = None
    ) -> list[tuple[slice, NDArray[Any]]]:
        """What of the tree goes where; an error if it is not like the parameters."""
        pieces: list[tuple[slice, NDArray[Any]]] = []
        _match(self._root, tree, path, dtype, pieces)
        return pieces

    def _check_vector(self, name: str, vector: Any) -> None:
        if not isinstance(vector, np.ndarray):
            raise TypeError(
                f"`{name}` must be an array of shape ({self._size},), got {_describe(vector)}"
            )
        if vector.shape != (self._size,):
            raise ValueError(
                f"`{name}` must be of shape ({self._size},), got an array of shape {vector.shape}"
            )
        if not vector.flags.c_contiguous:
            raise ValueError(
                f"`{name}` must be contiguous, got an array with strides {vector.strides}"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Layout):
            return NotImplemented
        return self._dtype == other._dtype and self._root == other._root

    def __hash__(self) -> int:
        return hash((self._dtype, self._root))

    def __repr__(self) -> str:
        arrays = sum(1 for _ in _leaves(self._root))
        return (
            f"<Layout: {self._size} number{'s' * (self._size != 1)} of {self._dtype} in {arrays} "
            f"array{'s' * (arrays != 1)}>"
        )


# --- trees -----------------------------------------------------------------------------------


def _open(tree: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
    """Keys and values of a container; None if it is not one."""
    kind = type(tree)
    if kind is dict or kind is OrderedDict:
        return tuple(tree), tuple(tree.values())
    if kind is list or kind is tuple:
        return tuple(range(len(tree))), tuple(tree)
    if isinstance(tree, tuple) and hasattr(kind, "_fields"):
        return kind._fields, tuple(tree)
    return None


def _step(path: str, kind: type, key: Any) -> str:
    """How Python goes on from `path` to an item of a container."""
    return f"{path}.{key}" if hasattr(kind, "_fields") else f"{path}[{key!r}]"


def _lay_out(
    tree: Any, path: str, name: str, start: int, arrays: list[NDArray[Any] | int | float]
) -> tuple[_Tree, int]:
    """The tree of places, from `start` on, and where they end; its arrays are appended."""
    opened = _open(tree)
    if opened is None:
        array = _as_leaf(path, tree, _NODE)
        arrays.append(array)
        shape = np.shape(array)
        return _Leaf(path, name, shape, start), start + math.prod(shape)
    children = []
    for key, value in zip(*opened, strict=True):
        longer = f"{name}.{key}" if name else str(key)
        child, start = _lay_out(value, _step(path, type(tree), key), longer, start, arrays)
        children.append(child)
    return _Branch(path, type(tree), opened[0], tuple(children)), start


def _leaves(tree: _Tree) -> Iterator[_Leaf]:
    if isinstance(tree, _Leaf):
        yield tree
    else:
        for child in tree.children:
            yield from _leaves(child)


def _rebuild(tree: _Tree, value_of: Callable[[_Leaf], Any]) -> Any:
    """Containers as they were, with the value of each place in its place."""
    if isinstance(tree, _Leaf):
        return value_of(tree)
    values = [_rebuild(child, value_of) for child in tree.children]
    if issubclass(tree.kind, dict):
        return tree.kind(zip(tree.keys, values, strict=True))
    if hasattr(tree.kind, "_make"):
        return tree.kind._make(values)
    return tree.kind(values)


def _match(
    place: _Tree,
    tree: Any,
    path: str,
    dtype: np.dtype[Any] | None,
    pieces: list[tuple[slice, NDArray[Any]]],
) -> None:
    """Append what is to go where, if `tree` is like the tree of places."""
    if isinstance(place, _Leaf):
        array = _as_leaf(path, tree, f"an array of shape {place.shape}")
        if dtype is not None and isinstance(array, np.ndarray) and array.dtype != dtype:
            raise TypeError(
                f"`{path}` must be an array of {dtype}, as `out` is, got one of {array.dtype}"
            )
        if np.shape(array) != place.shape:
            raise ValueError(
                f"`{path}` must be of shape {place.shape}, got an array of shape {np.shape(array)}"
            )
        pieces.append((place.place, np.ravel(array)))
        return
    kind: Any = type(tree)
    if kind is not place.kind:
        raise TypeError(f"`{path}` must be a {place.kind.__name__}, got {_describe(tree)}")
    if isinstance(tree, dict):
        if tree.keys() != set(place.keys):
            raise ValueError(
                f"`{path}` must have the keys {', '.join(map(repr, place.keys))}, got "
                f"{', '.join(map(repr, tree)) or 'none'}"
            )
        values = [tree[key] for key in place.keys]
    else:
        if len(tree) != len(place.keys):
            raise ValueError(f"`{path}` must have length {len(place.keys)}, got {len(tree)}")
        values = [*tree]
    for key, child, value in zip(place.keys, place.children, values, strict=True):
        _match(child, value, _step(path, place.kind, key), dtype, pieces)


# --- arrays ----------------------------------------------------------------------------------


def _as_leaf(path: str, value: Any, expected: str) -> NDArray[Any] | int | float:
    """An array, or one of Python's numbers, which has no dtype of its own."""
    if isinstance(value, np.ndarray | np.generic):
        if isinstance(value, np.ma.MaskedArray):
            raise TypeError(f"`{path}` must not be a masked array, whose mask would be lost")
        return np.asarray(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(value, int) and abs(value) > sys.float_info.max:
            _refuse(path, "a number that a float can hold", value)
        return value
    if not hasattr(value, "__array__"):
        _refuse(path, expected, value)
    try:
        return np.asarray(value)
    except (RuntimeError, TypeError, ValueError) as error:
        raise TypeError(
            f"`{path}` must be {_EXPECTED}, got an object of type {type(value).__name__} that "
            f"does not become one: {error}"
        ) from error


def _float_dtype(dtype: DTypeLike) -> np.dtype[Any]:
    try:
        found = np.dtype(dtype)
    except (TypeError, ValueError):
        raise ValueError(f"`dtype` must be float32 or float64, got {dtype!r}") from None
    if found not in _DTYPES:
        raise ValueError(f"`dtype` must be float32 or float64, got {found}")
    return found


def _check_real(leaves: list[_Leaf], arrays: list[NDArray[Any] | int | float]) -> None:
    for leaf, array in zip(leaves, arrays, strict=True):
        if isinstance(array, np.ndarray) and array.dtype.kind not in "fiu":
            _refuse(leaf.path, "an array of real numbers", array)


def _common_dtype(leaves: list[_Leaf], arrays: list[NDArray[Any] | int | float]) -> np.dtype[Any]:
    """That of all arrays; double precision if there are but numbers."""
    first: _Leaf | None = None
    found = np.dtype(np.float64)
    for leaf, array in zip(leaves, arrays, strict=True):
        if not isinstance(array, np.ndarray):
            continue
        if array.dtype not in _DTYPES:
            _refuse(leaf.path, _EXPECTED, array, _CONVERT if array.dtype.kind in "fiu" else "")
        if first is None:
            first, found = leaf, array.dtype
        elif array.dtype != found:
            _refuse(leaf.path, f"an array of {found}, as `{first.path}` is", array, _CONVERT)
    return found


def _refuse(path: str, expected: str, value: Any, hint: str = "") -> NoReturn:
    raise TypeError(f"`{path}` must be {expected}, got {_describe(value)}{hint}")


def _describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"one of {value.dtype}"
    return "None" if value is None else f"an object of type {type(value).__name__}"
