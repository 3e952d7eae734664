"""The arrays of a network that outlive an evaluation: parameters, gradient and buffers.

Owns how buffers move: all at once, or not at all. Knows nothing of layers and plans.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np

from fastopt.nn.graph import Graph
from fastopt.nn.memory import Block
from fastopt.nn.places import Place

__all__ = ["State"]

Array = Any  # of the place


class State:
    """Arrays that kernels of one place are bound to, in the model's dtype.

    Parameters
    ----------
    graph : Graph
    dtype : dtype
    place : Place

    Attributes
    ----------
    place : Place
    theta, grad : array of shape (n,)
    buffers : dict of array
        By name.
    moments : dict of array of shape (2, C), float64
        By the name of a batch normalization: means and variances of the last batch in training.
    """

    def __init__(self, graph: Graph, dtype: np.dtype[Any], place: Place) -> None:
        self.place = place
        self._graph, self._dtype = graph, dtype
        self._words, self.buffers = self._make_buffers()
        self._next_words, self._next = self._make_buffers()
        self.moments = {
            node.layer: place.empty((2, node.output.shape[0]), np.float64)
            for node in graph.nodes
            if node.op == "batchnorm"
        }

    def _make_buffers(self) -> tuple[Array, dict[str, Array]]:
        """Memory for all buffers, as int64, and its parts by name. Counts come first."""
        buffers, view = self._graph.buffers, self.place.view
        offsets, size = {}, 0
        for each in sorted(buffers, key=lambda each: not each.is_count):
            offsets[each.name] = size
            size += 8 * math.prod(each.shape)  # so that all are aligned
        arena = self.place.arena(size)
        parts = {}
        for each in buffers:
            kind = np.dtype(np.int64) if each.is_count else self._dtype
            block = Block(8 * math.prod(each.shape), 0, 0, offsets[each.name])
            parts[each.name] = view(arena, block, each.shape, kind)
        return view(arena, Block(size, 0, 0), (size // 8,), np.int64), parts

    # Vectors have no memory before the first evaluation: a network may be described, and its
    # parameters counted, that would not fit this machine.

    @cached_property
    def theta(self) -> Array:
        return self.place.empty((self._graph.n,), self._dtype)

    @cached_property
    def grad(self) -> Array:
        return self.place.empty((self._graph.n,), self._dtype)

    def parts(self, vector: Array) -> dict[str, Array]:
        """The parts of a vector, such as `theta`, by the names of parameters."""
        return {
            each.name: self.place.part(vector, each.start, each.shape)
            for each in self._graph.parameters
        }

    # --- buffers

    def moves(self, N: int) -> list[Callable[[], object]]:
        """What takes the moments of N samples into the running statistics, and counts on."""
        if not self.buffers:
            return []
        kernels = self.place.kernels
        averages = [
            partial(
                kernels.batchnorm.update_running,
                self.moments[node.layer],
                N * math.prod(node.output.shape[1:]),
                node.attributes["momentum"],
                *(self._next[each.name] for each in node.buffers),
            )
            for node in self._graph.nodes
            if node.op == "batchnorm"
        ]
        count = sum(each.is_count for each in self._graph.buffers)
        counters = self.place.part(self._next_words, 0, (count,))
        return [
            partial(kernels.copies.copy, self._words, self._next_words),
            *averages,
            partial(kernels.copies.increment, counters),
            # One copy, which nothing interrupts.
            partial(kernels.copies.copy, self._next_words, self._words),
        ]

    def reset(self) -> None:
        """Set all buffers to what they are at first. For the CPU."""
        self.load({each.name: each.initial for each in self._graph.buffers})

    def load(self, buffers: dict[str, Any]) -> None:
        """Set all buffers, from arrays by name. For the CPU."""
        with np.errstate(over="ignore"):
            for name, value in buffers.items():
                self._next[name][...] = value
        np.copyto(self._words, self._next_words)

    def read(self) -> bytes:
        """All buffers, as `write` takes them."""
        return self.place.read(self._words) if self.buffers else b""

    def write(self, data: bytes) -> None:
        """Set all buffers to those of another place."""
        if self.buffers:
            self.place.write(self._words, data)
