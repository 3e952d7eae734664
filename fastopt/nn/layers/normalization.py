"""Batch normalization of vectors, sequences and images."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from fastopt.core.validate import Real
from fastopt.nn.graph import Graph, Value, describe
from fastopt.nn.layers.layer import Layer

__all__ = ["BatchNorm1d", "BatchNorm2d"]

_EPS = Real(low=0.0, open_low=True, open_high=True)
_SHARE = Real(low=0.0, high=1.0)


@dataclass(frozen=True, repr=False)
class _BatchNorm(Layer):
    _: KW_ONLY
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self._set("eps", _EPS("eps", self.eps, 0))
        self._set("momentum", _SHARE("momentum", self.momentum, 0))

    def _emit(self, graph: Graph, x: Value) -> Value:
        self._check(graph, x)
        channels = (x.shape[0],)
        return graph.add(
            "batchnorm",
            x,
            shape=x.shape,
            parameters=(
                graph.parameter("weight", channels, 1.0),
                graph.parameter("bias", channels, 0.0),
            ),
            buffers=(
                graph.buffer("running_mean", channels, 0),
                graph.buffer("running_var", channels, 1),
            ),
            flops=2 * x.size,
            eps=self.eps,
            momentum=self.momentum,
            relu=False,
        )

    def _check(self, graph: Graph, x: Value) -> None:
        raise NotImplementedError


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images: each channel to mean 0, variance 1, then scaled, shifted.

    As published [1]_: in training with the mean and variance of the batch; in inference with
    running averages of them. Parameters: ``weight``, ``bias``; buffers: ``running_mean``,
    ``running_var``, all of shape (channels,).

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance.
    momentum : float, default 0.1
        How far the running averages move towards those of a batch, as PyTorch has it; the variance
        that they take is the unbiased one.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or given by position: the number of channels is inferred.

    References
    ----------
    .. [1] S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by
       reducing internal covariate shift", ICML 2015.

    Examples
    --------
    >>> from fastopt import nn
    >>> model = nn.Model(
    ...     nn.BatchNorm2d(name="norm"), nn.GlobalAvgPool2d(), input_shape=(3, 8, 8)
    ... )
    >>> model.n
    6
    >>> sorted(model.buffers)
    ['norm.running_mean', 'norm.running_var']
    """

    def _check(self, graph: Graph, x: Value) -> None:
        if len(x.shape) != 3:
            raise graph.error(f"takes images, got {describe(x.shape)}: BatchNorm1d is for vectors")


class BatchNorm1d(_BatchNorm):
    """Batch normalization of vectors, each feature by itself, or of sequences (channels, length).

    As :class:`BatchNorm2d`, whose arguments, parameters and buffers it has.

    Parameters
    ----------
    eps : float, default 1e-5
        Added to the variance.
    momentum : float, default 0.1
        How far the running averages move towards those of a batch.
    name : str, optional
        See :class:`Layer`.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or given by position.

    Examples
    --------
    >>> from fastopt import nn
    >>> nn.Model(nn.Linear(16, bias=False), nn.BatchNorm1d(), input_shape=(4,)).n
    96
    """

    def _check(self, graph: Graph, x: Value) -> None:
        if len(x.shape) > 2:
            raise graph.error(
                f"takes vectors or sequences, got {describe(x.shape)}: BatchNorm2d is for images"
            )
