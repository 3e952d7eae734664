"""Layers that work element by element: activations, dropout, and the one that does nothing."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from fastopt.core.validate import Real
from fastopt.nn.graph import Graph, Value
from fastopt.nn.layers.arguments import (
    NONNEGATIVE,
)
from fastopt.nn.layers.layer import Layer

__all__ = ["Dropout", "Identity", "LeakyReLU", "ReLU", "Sigmoid", "Tanh"]

_RATE = Real(low=0.0, high=1.0, open_high=True)
_SLOPE = Real(low=0.0, open_high=True)


@dataclass(frozen=True, repr=False)
class ReLU(Layer):
    """The larger of x and 0.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Sequential(nn.Linear(8), nn.ReLU())
    Sequential(Linear(8), ReLU())
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return graph.add("relu", x, shape=x.shape, flops=x.size)


@dataclass(frozen=True, repr=False)
class LeakyReLU(Layer):
    """x where it is positive, `slope` times x elsewhere.

    Parameters
    ----------
    slope : float, default 0.01
        Finite and not negative.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If `slope` is not as above.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.LeakyReLU(0.2)
    LeakyReLU(0.2)
    """

    slope: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("slope", _SLOPE("slope", self.slope, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        return graph.add("leaky_relu", x, shape=x.shape, flops=x.size, slope=self.slope)


@dataclass(frozen=True, repr=False)
class Sigmoid(Layer):
    """1 / (1 + exp(-x)), between 0 and 1.

    The losses on probabilities take logits: no Sigmoid stands before them.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Sigmoid()
    Sigmoid()
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return graph.add("sigmoid", x, shape=x.shape, flops=x.size)


@dataclass(frozen=True, repr=False)
class Tanh(Layer):
    """The hyperbolic tangent, between -1 and 1.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Tanh()
    Tanh()
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return graph.add("tanh", x, shape=x.shape, flops=x.size)


@dataclass(frozen=True, repr=False)
class Identity(Layer):
    """x as it is: the branch that does nothing.

    Parameters
    ----------
    name : str, optional
        See :class:`Layer`.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Concat(nn.Identity(), nn.Conv2d(12, 3, padding=1))     # as in DenseNet
    Concat(Identity(), Conv2d(12, 3, padding=1))
    """

    def _emit(self, graph: Graph, x: Value) -> Value:
        return x


@dataclass(frozen=True, repr=False)
class Dropout(Layer):
    """In training, each element is 0 with probability `p`, and otherwise divided by 1 - p.

    In inference dropout [1]_ does nothing. What is dropped depends on `seed`, the layer's name and
    a counter alone; the counter is a buffer of the model, and moves on with each training
    evaluation, as running statistics do.

    Parameters
    ----------
    p : float, default 0.5
        From 0 to below 1.
    seed : int, default 0
        Not negative.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    References
    ----------
    .. [1] N. Srivastava et al., "Dropout: a simple way to prevent neural networks from
       overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> from fastopt import nn
    >>> model = nn.Model(nn.Dropout(0.2, name="drop"), nn.Linear(10), input_shape=(64,))
    >>> model.buffers
    {'drop.counter': array(0)}
    """

    p: float = 0.5
    _: KW_ONLY
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("p", _RATE("p", self.p, 0))
        self._set("seed", NONNEGATIVE("seed", self.seed, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        counter = graph.buffer("counter", (), 0, is_count=True)
        return graph.add(
            "dropout", x, shape=x.shape, buffers=(counter,), flops=x.size, p=self.p, seed=self.seed
        )
