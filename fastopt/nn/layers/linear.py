"""The linear layer."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from fastopt.nn.graph import Graph, Value, describe
from fastopt.nn.layers.arguments import (
    FLAG,
    INIT,
    POSITIVE,
)
from fastopt.nn.layers.layer import Layer

__all__ = ["Linear"]


@dataclass(frozen=True, repr=False)
class Linear(Layer):
    """All features times a matrix: ``x @ weight.T + bias``, for vectors.

    Parameters: ``weight`` (out_features, features) and ``bias`` (out_features,).

    Parameters
    ----------
    out_features : int
    bias : bool, default True
        Whether a number is added to each output.
    init : {"he", "glorot", "lecun"}, default "he"
        The distribution of weights that ``init`` of a model draws from.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or if more than one is given by position.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Model(nn.Linear(10), input_shape=(64,)).n
    650
    """

    out_features: int
    _: KW_ONLY
    bias: bool = True
    init: str = "he"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("out_features", POSITIVE("out_features", self.out_features, 0))
        self._set("bias", FLAG("bias", self.bias, 0))
        self._set("init", INIT("init", self.init, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        if len(x.shape) != 1:
            raise graph.error(
                f"takes vectors, got {describe(x.shape)}: put Flatten() or GlobalAvgPool2d() "
                "before it"
            )
        (features,) = x.shape
        weight = graph.parameter(
            "weight",
            (self.out_features, features),
            self.init,
            fan_in=features,
            fan_out=self.out_features,
        )
        bias = (graph.parameter("bias", (self.out_features,), 0.0),) if self.bias else ()
        return graph.add(
            "linear",
            x,
            shape=(self.out_features,),
            parameters=(weight, *bias),
            flops=2 * features * self.out_features,
        )
