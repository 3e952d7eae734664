"""Checks of layers' arguments and of the shapes that they are put to, and the wording of errors."""

from __future__ import annotations

from typing import Any

from fastopt.core.validate import Choice, Flag, Integer
from fastopt.kernels.geometry import ConvGeometry, PoolGeometry, same_padding
from fastopt.nn.graph import Graph, Value, describe

__all__ = [
    "FLAG",
    "INIT",
    "NONNEGATIVE",
    "POSITIVE",
    "Pair",
    "as_image",
    "as_padding",
    "as_pair",
    "check_fit",
    "kept",
    "shortest",
]

Pair = tuple[int, int]

FLAG = Flag()
NONNEGATIVE = Integer(low=0)
POSITIVE = Integer(low=1)
INIT = Choice(("he", "glorot", "lecun"))


def as_pair(name: str, value: Any) -> Pair:
    """An integer, or one for each axis, as (height, width)."""
    if isinstance(value, tuple | list):
        if len(value) != 2:
            raise ValueError(f"`{name}` must be one integer or two, got {value!r}")
        return POSITIVE(name, value[0], 0), POSITIVE(name, value[1], 0)
    both = POSITIVE(name, value, 0)
    return both, both


def as_padding(layer: Any) -> tuple[Pair, Pair]:
    """The padding of a layer with a window as ((top, bottom), (left, right))."""
    value = layer.padding
    if isinstance(value, str):
        if value == "valid":
            return (0, 0), (0, 0)
        if value != "same":
            raise ValueError(f"`padding` must be 'same', 'valid' or integers, got {value!r}")
        if layer.stride != (1, 1):
            raise ValueError(f"`padding` 'same' is for stride 1, got stride {layer.stride}")
        rows, columns = layer.kernel_size
        dilation = getattr(layer, "dilation", (1, 1))
        return same_padding(rows, dilation[0]), same_padding(columns, dilation[1])
    sides = value if isinstance(value, tuple | list) else (value, value)
    if len(sides) != 2:
        raise ValueError(f"`padding` must be one integer, two, or two pairs, got {value!r}")
    return _as_sides(sides[0], value), _as_sides(sides[1], value)


def _as_sides(sides: Any, padding: Any) -> Pair:
    if not isinstance(sides, tuple | list):
        sides = (sides, sides)
    if len(sides) != 2:
        raise ValueError(f"`padding` must be one integer, two, or two pairs, got {padding!r}")
    return NONNEGATIVE("padding", sides[0], 0), NONNEGATIVE("padding", sides[1], 0)


def as_image(graph: Graph, x: Value) -> tuple[int, int, int]:
    """Channels, height and width of an image; nothing else will do."""
    if len(x.shape) != 3:
        raise graph.error(f"takes images (channels, height, width), got {describe(x.shape)}")
    channels, height, width = x.shape
    return channels, height, width


def check_fit(
    graph: Graph,
    x: Value,
    geometry: ConvGeometry | PoolGeometry,
    window: Pair,
    dilation: Pair = (1, 1),
) -> None:
    if geometry.OH >= 1 and geometry.OW >= 1:
        return
    rows, columns = (d * (w - 1) + 1 for w, d in zip(window, dilation, strict=True))
    (top, bottom), (left, right) = geometry.padding
    raise graph.error(
        f"a window of {rows} x {columns} does not fit on {describe(x.shape)}, which padding makes "
        f"{geometry.H + top + bottom} x {geometry.W + left + right}"
    )


def kept(value: Any) -> Any:
    """The form that a default has once it is kept."""
    if type(value) is not int:
        return value
    return ((0, 0), (0, 0)) if value == 0 else (value, value)


def shortest(value: Any) -> str:
    """As one would write it: 3 for (3, 3) and for ((3, 3), (3, 3))."""
    if isinstance(value, tuple) and all(isinstance(each, tuple) for each in value):
        if any(before != after for before, after in value):
            return repr(value)
        value = tuple(before for before, _ in value)
    if isinstance(value, tuple) and value[0] == value[1]:
        value = value[0]
    return repr(value)
