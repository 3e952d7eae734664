"""What all layers are, and how one is appended to a graph.

Knows no layer.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, fields
from typing import Any, ClassVar, Self

from fastopt.nn.graph import Graph, Value
from fastopt.nn.layers.arguments import kept, shortest

__all__ = ["Layer", "emit"]


@dataclass(frozen=True, repr=False)
class _Counted:
    """Counts arguments by position before `__init__` does, to say more about one too many.

    (Apart from `Layer`: a class that has both has the signature of `__new__`.)
    """

    # Whether it is made of layers: they are given by position, as many as there are.
    _has_layers: ClassVar[bool] = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        wanted = [each.name for each in fields(cls) if each.init and not each.kw_only]
        if not cls._has_layers and len(args) > len(wanted):
            takes = f"({', '.join(wanted)}) by position" if wanted else "nothing by position"
            raise TypeError(
                f"{cls.__name__} takes {takes}, got {len(args)}: sizes of inputs are "
                "inferred, and options are given by name"
            )
        return super().__new__(cls)


@dataclass(frozen=True, repr=False)
class Layer(_Counted):
    """What all layers are: immutable, equal if they say the same, and with a `name`.

    Parameters
    ----------
    name : str, optional
        What the layer is called in the names of its parameters and in error messages, in place of
        its number among its neighbours.

    Examples
    --------
    >>> from fastopt import nn
    >>> isinstance(nn.ReLU(), nn.Layer)
    True
    >>> nn.Conv2d(16, 3) == nn.Conv2d(16, (3, 3))
    True
    """

    _: KW_ONLY
    name: str | None = None

    def __post_init__(self) -> None:
        if self.name is None:
            return
        if not isinstance(self.name, str):
            raise TypeError(f"`name` must be a string or None, got {self.name!r}")
        if not self.name or "." in self.name:
            raise ValueError(f"`name` must have letters, and no dots, got {self.name!r}")

    def __repr__(self) -> str:
        words = [shortest(getattr(self, each.name)) for each in fields(self) if not each.kw_only]
        options = {each.name: each.default for each in fields(self) if each.kw_only}
        options["name"] = options.pop("name")  # last
        words += [
            f"{name}={shortest(getattr(self, name))}"
            for name, default in options.items()
            if not self._is_default(name, default)
        ]
        return f"{type(self).__name__}({', '.join(words)})"

    def _is_default(self, name: str, default: Any) -> bool:
        return getattr(self, name) in (default, kept(default))

    def _set(self, name: str, value: Any) -> None:
        """Keep an argument in the one form that is compared and read."""
        object.__setattr__(self, name, value)

    def _emit(self, graph: Graph, x: Value) -> Value:
        """Append this layer's operations and parameters, and return what it makes of `x`."""
        raise NotImplementedError


def emit(layer: Layer, graph: Graph, key: str, x: Value) -> Value:
    """Append a layer under its name, or else under `key`.

    Parameters
    ----------
    layer : Layer
    graph : Graph
    key : str
    x : Value

    Returns
    -------
    Value
    """
    label = type(layer).__name__ if layer._has_layers else repr(layer)
    with graph.within(layer.name or key, label):
        return layer._emit(graph, x)
