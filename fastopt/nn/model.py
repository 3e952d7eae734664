"""A network as a function of one flat vector.

Owns the arguments of evaluations, the buffers and when they move. Knows nothing of layers' shapes
and of operations: :mod:`fastopt.nn.graph` has what is computed, :mod:`fastopt.nn.plan` where.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastopt.core.validate import Integer
from fastopt.nn.graph import Graph, Shape
from fastopt.nn.initialization import fill
from fastopt.nn.layers import Layer, Sequential, emit_in_order
from fastopt.nn.losses import Loss, as_loss

__all__ = ["Model"]

_NONNEGATIVE = Integer(low=0)
_POSITIVE = Integer(low=1)
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class Model:
    """Layers as a function of one flat vector of parameters."""

    def __init__(
        self,
        *layers: Layer,
        input_shape: Any,
        loss: Loss | str = "softmax_cross_entropy",
        dtype: DTypeLike = "float32",
        name: str | None = None,
    ) -> None:
        network = Sequential(*layers, name=name)
        self._graph = Graph(_as_shape(input_shape))
        emit_in_order(network, self._graph, self._graph.input)
        self._layers = network.layers
        self._name = network.name
        self._dtype = _as_dtype(dtype)
        self._loss = as_loss(loss)
        self._loss._check_output(self._graph.output.shape)

    @property
    def n(self) -> int:
        """The number of parameters: the length of theta."""
        return self._graph.n

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers that the model was made of."""
        return self._layers

    @property
    def input_shape(self) -> Shape:
        """The shape of one sample."""
        return self._graph.input.shape

    @property
    def output_shape(self) -> Shape:
        """The shape of what the network makes of one sample."""
        return self._graph.output.shape

    @property
    def loss(self) -> Loss:
        """The loss, as a description."""
        return self._loss

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of what is computed, of images and of what `init` returns."""
        return self._dtype

    def init(self, seed: int = 0) -> NDArray[Any]:
        theta = np.empty(self.n, self._dtype)
        fill(theta, self._graph.parameters, _NONNEGATIVE("seed", seed, 0))
        return theta

    def parameters(self, theta: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {each.name: theta[each.place].reshape(each.shape) for each in self._graph.parameters}


def _as_shape(value: Any) -> Shape:
    if isinstance(value, int):
        value = (value,)
    if not isinstance(value, tuple | list) or len(value) not in (1, 2, 3):
        raise ValueError(
            "`input_shape` must be the shape of one sample, (features,), (channels, length) or "
            f"(channels, height, width), got {value!r}"
        )
    return tuple(_POSITIVE("input_shape", length, 0) for length in value)


def _as_dtype(value: DTypeLike) -> np.dtype[Any]:
    try:
        dtype = np.dtype(value)
    except TypeError:
        raise TypeError(f"`dtype` must be float32 or float64, got {value!r}") from None
    if dtype not in _DTYPES:
        raise ValueError(f"`dtype` must be float32 or float64, got {dtype}")
    return dtype
