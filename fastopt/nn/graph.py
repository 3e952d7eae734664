"""A network as a list of operations on values: what layers are turned into, and plans made from.

Shapes are those of one sample, without N. Owns the names of parameters and buffers, their places
in the flat vector, and the wording of what is wrong with a network. Knows nothing of arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Buffer", "Graph", "Node", "Parameter", "Row", "Shape", "Value", "describe"]

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Value:
    """What one operation computes and others read; number 0 is the network's input."""

    index: int
    shape: Shape

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Parameter:
    """A part of the flat vector.

    `init` is the name of a distribution or a number, and the fans are those of the formulas.
    """

    name: str
    shape: Shape
    start: int
    init: str | float
    fan_in: int = 0
    fan_out: int = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def place(self) -> slice:
        return slice(self.start, self.start + self.size)


@dataclass(frozen=True)
class Buffer:
    """State that no gradient is taken of: running statistics in the model's dtype, or a count."""

    name: str
    shape: Shape
    initial: int
    is_count: bool = False


@dataclass(frozen=True)
class Node:
    """One operation. `layer` is the name of the layer that asked for it."""

    op: str
    inputs: tuple[Value, ...]
    output: Value
    layer: str = ""
    parameters: tuple[Parameter, ...] = ()
    buffers: tuple[Buffer, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)
    flops: int = 0


@dataclass(frozen=True)
class Row:
    """A layer that computes something, for the summary; `label` is how it is written."""

    layer: str
    label: str
    shape: Shape
    n: int
    flops: int


class Graph:
    """Operations in the order in which they are computed, and what they need.

    Parameters
    ----------
    input_shape : tuple of int
        That of one sample.
    """

    def __init__(self, input_shape: Shape) -> None:
        self.input = Value(0, input_shape)
        self.nodes: list[Node] = []
        self.parameters: list[Parameter] = []
        self.buffers: list[Buffer] = []
        self.rows: list[Row] = []
        self.n = 0  # elements of all parameters
        self._path: list[str] = []
        self._label = ""

    @property
    def layer(self) -> str:
        """The name of the layer that is being added."""
        return ".".join(self._path)

    @property
    def output(self) -> Value:
        return self.nodes[-1].output if self.nodes else self.input

    @contextmanager
    def within(self, name: str, label: str) -> Iterator[None]:
        """What is added meanwhile belongs to the layer `name`; `label` says what kind it is."""
        outer, first = self._label, len(self.nodes)
        self._path.append(name)
        self._label = label
        yield
        own = [node for node in self.nodes[first:] if node.layer == self.layer]
        for node in own:
            n = sum(each.size for each in node.parameters)
            self.rows.append(Row(self.layer, label, node.output.shape, n, node.flops))
        self._path.pop()
        self._label = outer

    def add(
        self,
        op: str,
        *inputs: Value,
        shape: Shape,
        parameters: tuple[Parameter, ...] = (),
        buffers: tuple[Buffer, ...] = (),
        flops: int = 0,
        **attributes: Any,
    ) -> Value:
        """Append an operation, and return the value that it computes."""
        output = Value(len(self.nodes) + 1, shape)
        node = Node(op, inputs, output, self.layer, parameters, buffers, attributes, flops)
        self.nodes.append(node)
        return output

    def parameter(
        self, name: str, shape: Shape, init: str | float, fan_in: int = 0, fan_out: int = 0
    ) -> Parameter:
        """Append a parameter of the current layer to the flat vector."""
        found = Parameter(f"{self.layer}.{name}", shape, self.n, init, fan_in, fan_out)
        self.parameters.append(found)
        self.n += found.size
        return found

    def buffer(self, name: str, shape: Shape, initial: int, is_count: bool = False) -> Buffer:
        """Append a buffer of the current layer."""
        found = Buffer(f"{self.layer}.{name}", shape, initial, is_count)
        self.buffers.append(found)
        return found

    def error(self, sentence: str) -> ValueError:
        """What the current layer cannot do, as an error to raise."""
        return ValueError(f"layer {self.layer!r}, {self._label}: {sentence}")


def describe(shape: Shape) -> str:
    """A sample's shape in the words of error messages."""
    if len(shape) == 1:
        return f"a vector of {shape[0]}"
    if len(shape) == 3:
        channels, height, width = shape
        return f"an image of {channels} channel{'s' * (channels != 1)}, {height} x {width}"
    return f"an array of shape {shape}"
