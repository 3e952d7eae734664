"""The arrays of a network that outlive an evaluation: parameters, gradient and buffers.

Owns how buffers move: all at once, or not at all. Knows nothing of layers and plans.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.kernels.cpu import batchnorm
from fastopt.nn.graph import Graph

__all__ = ["State"]

Array = NDArray[Any]


class State:
    """Arrays that kernels are bound to, in the model's dtype.

    Parameters
    ----------
    graph : Graph
    dtype : dtype

    Attributes
    ----------
    theta, grad : ndarray, shape (n,)
    parameters, grads : dict of ndarray
        Their parts by name.
    buffers : dict of ndarray
        By name.
    moments : dict of ndarray, shape (2, C), float64
        By the name of a batch normalization: means and variances of the last batch in training.
    """

    def __init__(self, graph: Graph, dtype: np.dtype[Any]) -> None:
        self._graph, self._dtype = graph, dtype
        self._bytes, self.buffers = _buffers(graph, dtype)
        self._next_bytes, self._next = _buffers(graph, dtype)
        for buffer in graph.buffers:
            self.buffers[buffer.name][...] = buffer.initial
        self.moments = {
            node.layer: np.zeros((2, node.output.shape[0]))
            for node in graph.nodes
            if node.op == "batchnorm"
        }
        # Moments, elements of a channel in a sample, momentum, and the running mean and variance.
        self._averages = [
            (
                self.moments[node.layer],
                math.prod(node.output.shape[1:]),
                node.attributes["momentum"],
                *(self._next[each.name] for each in node.buffers),
            )
            for node in graph.nodes
            if node.op == "batchnorm"
        ]
        self._counters = [self._next[each.name] for each in graph.buffers if each.is_count]

    # Vectors have no memory before the first evaluation: a network may be described, and its
    # parameters counted, that would not fit this machine.

    @cached_property
    def theta(self) -> Array:
        return np.empty(self._graph.n, self._dtype)

    @cached_property
    def grad(self) -> Array:
        return np.empty(self._graph.n, self._dtype)

    @cached_property
    def parameters(self) -> dict[str, Array]:
        return self._parts(self.theta)

    @cached_property
    def grads(self) -> dict[str, Array]:
        return self._parts(self.grad)

    def _parts(self, vector: Array) -> dict[str, Array]:
        return {
            each.name: vector[each.place].reshape(each.shape) for each in self._graph.parameters
        }

    def move(self, N: int) -> None:
        """Take the moments of N samples into the running statistics, and count the evaluation."""
        np.copyto(self._next_bytes, self._bytes)
        for moments, length, momentum, mean, var in self._averages:
            batchnorm.update_running(moments, N * length, momentum, mean, var)
        for counter in self._counters:
            counter += 1
        # One copy, which nothing interrupts.
        np.copyto(self._bytes, self._next_bytes)

    def load(self, buffers: dict[str, Array]) -> None:
        """Set all buffers."""
        with np.errstate(over="ignore"):
            for name, value in buffers.items():
                self._next[name][...] = value
        np.copyto(self._bytes, self._next_bytes)


def _buffers(graph: Graph, dtype: np.dtype[Any]) -> tuple[Array, dict[str, Array]]:
    """Memory for all buffers, and its parts by name."""
    sizes = [math.prod(each.shape) * 8 for each in graph.buffers]  # so that all are aligned
    memory = np.zeros(sum(sizes) // 8, np.int64).view(np.uint8)
    views = {}
    start = 0
    for buffer, size in zip(graph.buffers, sizes, strict=True):
        kind = np.dtype(np.int64) if buffer.is_count else dtype
        piece = memory[start : start + math.prod(buffer.shape) * kind.itemsize]
        views[buffer.name] = piece.view(kind).reshape(buffer.shape)
        start += size
    return memory, views
