"""Layers made of layers: one after the other, around a shortcut, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import ClassVar

from fastopt.nn.graph import Graph, Value, describe
from fastopt.nn.layers.layer import Layer, emit

__all__ = ["Composite", "Concat", "Residual", "Sequential", "emit_in_order"]


@dataclass(frozen=True, repr=False, init=False)
class Composite(Layer):
    """A layer made of layers."""

    _has_layers: ClassVar[bool] = True

    layers: tuple[Layer, ...]

    def __init__(self, *layers: Layer, name: str | None = None) -> None:
        self._set("layers", layers)
        self._set("name", name)
        self.__post_init__()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_layers(self.layers)

    def __repr__(self) -> str:
        words = [*map(repr, self.layers)]
        words += [
            f"{each.name}={getattr(self, each.name)!r}"
            for each in fields(self)
            if each.kw_only and getattr(self, each.name) is not None
        ]
        return f"{type(self).__name__}({', '.join(words)})"

    def _named(self) -> Iterator[tuple[str, Layer]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))


def emit_in_order(parent: Composite, graph: Graph, x: Value) -> Value:
    """Append layers one after the other, and return what the last makes of `x`."""
    for key, layer in parent._named():
        x = emit(layer, graph, key, x)
    return x


class Sequential(Composite):
    """Layers one after the other.

    Parameters
    ----------
    *layers : Layer
        At least one.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If there are no layers, if something else is among them, or if two have one name.

    Examples
    --------
    >>> from fastopt import nn
    >>> block = nn.Sequential(nn.Conv2d(8, 3, bias=False), nn.BatchNorm2d(), nn.ReLU())
    >>> model = nn.Model(block, nn.GlobalAvgPool2d(), input_shape=(1, 8, 8))
    >>> [*model.parameters(model.init(0))]
    ['0.0.weight', '0.1.weight', '0.1.bias']
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return emit_in_order(self, graph, x)


@dataclass(frozen=True, repr=False, init=False)
class Residual(Composite):
    """Layers one after the other, plus a shortcut around them: ``f(x) + shortcut(x)``.

    Residual networks [1]_ are made of these.

    Parameters
    ----------
    *layers : Layer
        The main branch, f.
    shortcut : Layer, optional
        Where f changes the shape, what gives x the same one, such as a convolution of 1 x 1. By
        default x itself is added.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        As in :class:`Sequential`; a model is refused whose branches differ in shape.

    References
    ----------
    .. [1] K. He, X. Zhang, S. Ren and J. Sun, "Deep residual learning for image recognition",
       CVPR 2016.

    Examples
    --------
    >>> from fastopt import nn
    >>> block = nn.Residual(
    ...     nn.Conv2d(8, 3, stride=2, padding=1), shortcut=nn.Conv2d(8, 1, stride=2)
    ... )
    >>> model = nn.Model(block, nn.ReLU(), nn.GlobalAvgPool2d(), input_shape=(3, 8, 8))
    >>> [*model.parameters(model.init(0))]
    ['0.0.weight', '0.0.bias', '0.shortcut.weight', '0.shortcut.bias']
    """

    _: KW_ONLY
    shortcut: Layer | None = None

    def __init__(
        self, *layers: Layer, shortcut: Layer | None = None, name: str | None = None
    ) -> None:
        self._set("shortcut", shortcut)
        super().__init__(*layers, name=name)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shortcut is None:
            return
        if not isinstance(self.shortcut, Layer):
            raise TypeError(f"`shortcut` must be a layer or None, got {self.shortcut!r}")
        _check_layers((*self.layers, self.shortcut), last="shortcut")

    def _emit(self, graph: Graph, x: Value) -> Value:
        main = emit_in_order(self, graph, x)
        short = x if self.shortcut is None else emit(self.shortcut, graph, "shortcut", x)
        if main.shape != short.shape:
            raise graph.error(
                f"the branches must have one shape, but the layers make {describe(main.shape)}, "
                f"and the shortcut {describe(short.shape)}"
            )
        return graph.add("add", main, short, shape=main.shape, flops=main.size)


class Concat(Composite):
    """Branches side by side on the same input, what they make put together along the channels.

    Parameters
    ----------
    *layers : Layer
        The branches; those of several layers are :class:`Sequential`.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        As in :class:`Sequential`; a model is refused whose branches make images of several sizes.

    Examples
    --------
    >>> from fastopt import nn
    >>> block = nn.Concat(nn.Conv2d(8, 1), nn.Conv2d(4, 3, padding="same"), nn.Identity())
    >>> print(nn.Model(block, input_shape=(3, 8, 8), loss="mse").output_shape)
    (15, 8, 8)
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        parts = [emit(branch, graph, key, x) for key, branch in self._named()]
        first = parts[0].shape
        for i, part in enumerate(parts):
            if part.shape[1:] != first[1:] or len(part.shape) != len(first):
                raise graph.error(
                    "the branches must differ in their channels alone, but branch 0 makes "
                    f"{describe(first)}, and branch {i} {describe(part.shape)}"
                )
        if len(parts) == 1:
            return parts[0]
        channels = sum(part.shape[0] for part in parts)
        return graph.add("concat", *parts, shape=(channels, *first[1:]))


def _check_layers(layers: Sequence[Layer], last: str | None = None) -> None:
    """Whether these are layers that can stand side by side; the last may have a key of its own."""
    if not layers:
        raise ValueError("there must be at least one layer")
    keys: set[str] = set()
    for i, layer in enumerate(layers):
        if not isinstance(layer, Layer):
            hint = f", write {layer.__name__}(...)" if isinstance(layer, type) else ""
            raise TypeError(f"layer {i} must be a layer of fastopt.nn, got {layer!r}{hint}")
        key = layer.name or (last if last and i == len(layers) - 1 else str(i))
        if key in keys:
            raise ValueError(f"layers side by side must differ in `name`, got {key!r} twice")
        keys.add(key)
