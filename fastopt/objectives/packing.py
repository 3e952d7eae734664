"""How a tuple of arguments lies in memory, as the machine code of a wrapper reads it.

Numbers, arrays of numbers, records and tuples of these are laid out here, each leaf at its offset:
that takes a microsecond, needs no machine code, and the arrays carry no reference count, so that
threads which share them do not wait for each other. Anything else (typed lists and dicts, strings,
instances of jitted classes) is stored by Numba itself, with its reference counts. Importing this
module imports Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numba
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from numba.np.numpy_support import as_dtype

__all__ = ["Layout", "Leaf", "layout_of"]

# Kinds of leaves.
ARRAY, SCALAR, POINTER, NOTHING = range(4)


class Leaf(NamedTuple):
    """A value without parts: where it lies, and for a scalar its NumPy dtype."""

    kind: int
    offset: int
    dtype: Any = None


class Layout(NamedTuple):
    """Where the arguments lie.

    ``leaves`` mirrors the nesting of the tuple: a `Leaf` for each value that is one, None for those
    that hold references. ``tree`` is the same, but None if the arguments are counted: then
    ``store(address, args)`` stores them, and ``release``, a cfunc of the address, gives them back.
    """

    size: int
    leaves: tuple[Any, ...]
    tree: tuple[Any, ...] | None
    store: Callable[..., None] | None = None
    release: Any = None


def layout_of(arguments: Any, counted: bool = False) -> Layout:
    """The layout of arguments of a Numba tuple type; with `counted`, that of values with owners.

    Examples
    --------
    >>> import numba
    >>> layout_of(numba.typeof((1.0, (True, 2j)))).size
    32
    """
    size = _size(arguments)
    places = zip(arguments, _places(arguments), strict=True)
    leaves = tuple(_tree(type_, place) for type_, place in places)
    if not counted and _is_complete(leaves):
        return Layout(size, leaves, leaves)
    return Layout(size, leaves, None, *_counted(arguments))


def _is_complete(tree: Any) -> bool:
    """Whether every value has a leaf."""
    if isinstance(tree, Leaf):
        return True
    return tree is not None and all(map(_is_complete, tree))


def _size(type_: Any) -> int:
    context = cpu_target.target_context
    return int(context.get_abi_sizeof(context.get_value_type(type_)))


def _tree(type_: Any, offset: int) -> Any:
    """The leaves of a type, each at its offset; None where a value holds references."""
    if isinstance(type_, types.BaseTuple):
        return tuple(
            _tree(element, offset + place)
            for element, place in zip(type_, _places(type_), strict=True)
        )
    if isinstance(type_, types.Array) and _is_plain(type_.dtype):
        return Leaf(ARRAY, offset)
    if isinstance(type_, types.Record):
        return Leaf(POINTER, offset)
    if isinstance(type_, types.NoneType | types.Dispatcher):
        return Leaf(NOTHING, offset)
    if _is_plain(type_):
        return Leaf(SCALAR, offset, as_dtype(type_))
    return None


def _is_plain(type_: Any) -> bool:
    return isinstance(
        type_, types.Number | types.Boolean | types.NPDatetime | types.NPTimedelta | types.Record
    )


def _places(type_: Any) -> list[int]:
    """The offsets of a tuple's elements."""
    context = cpu_target.target_context
    if isinstance(type_, types.UniTuple | types.NamedUniTuple):
        step = _size(type_.dtype)
        return [step * i for i in range(len(type_))]
    struct = context.get_value_type(type_)
    return [struct.get_element_offset(context.target_data, i) for i in range(len(type_))]


@intrinsic
def _put(typing: Any, address: Any, args: Any) -> Any:
    """Store arguments at an address, counted as held there."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        context.nrt.incref(builder, args, values[1])
        builder.store(values[1], _place(context, builder, values[0], args))
        return context.get_dummy_value()

    return types.void(types.intp, args), generate


@intrinsic
def _drop(typing: Any, address: Any, kind: Any) -> Any:
    """Give up the arguments, of a Numba type, at an address."""
    type_ = kind.instance_type

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        value = builder.load(_place(context, builder, values[0], type_))
        context.nrt.decref(builder, type_, value)
        # Numba before 0.66 takes counting out of functions whose own arguments need none,
        # unless the module says, as their calling convention has it, that somebody's do.
        mark = builder.module.add_named_metadata("numba_args_may_always_need_nrt")
        mark.add(builder.module.add_metadata([builder.function]))
        return context.get_dummy_value()

    return types.void(types.intp, kind), generate


def _counted(arguments: Any) -> tuple[Callable[..., None], Any]:
    """Functions that store arguments with a reference count, and that give it back.

    Compiled here and now: the second one is called where objects die, at the interpreter's end
    too, which is no place to compile. And made for these arguments alone, whose types may hold the
    user's functions: what Numba keeps for good takes types as arguments.
    """

    def store(address, args):
        _put(address, args)

    def release(address):
        _drop(address, arguments)

    return (
        numba.njit(types.void(types.intp, arguments))(store),
        numba.cfunc(types.void(types.intp))(release),
    )


def _place(context: Any, builder: Any, address: Any, type_: Any) -> Any:
    return builder.inttoptr(address, context.get_value_type(type_).as_pointer())
