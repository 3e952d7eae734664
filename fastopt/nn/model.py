"""A network as a function of one flat vector.

Owns the arguments of evaluations, and when buffers move. Knows nothing of layers and of
operations: :mod:`fastopt.nn.graph` has what is computed, :mod:`fastopt.nn.plan` how and where.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastopt.core.validate import Integer
from fastopt.device.arrays import DeviceArray
from fastopt.kernels.arguments import check_apart, empty
from fastopt.kernels.dispatch import anywhere
from fastopt.nn.graph import Graph, Shape
from fastopt.nn.initialization import fill
from fastopt.nn.layers import Layer, Sequential
from fastopt.nn.layers.composites import emit_in_order
from fastopt.nn.losses import Loss, as_array, as_loss
from fastopt.nn.places import CPU, GPU
from fastopt.nn.plan import Mode, Program, Programs, Recorded
from fastopt.nn.state import State
from fastopt.nn.summary import table

__all__ = ["Model"]

Array = NDArray[Any]

_NONNEGATIVE = Integer(low=0)
_POSITIVE = Integer(low=1)
_DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
# What is too large is infinite or NaN, and it is the solver's to find out. NumPy's functions among
# the kernels would warn, as the others do not.
_quiet = partial(np.errstate, all="ignore")
# Samples that `predict` takes at once unless told otherwise: enough to keep kernels busy.
_BATCH = 256


class Model:
    """Layers as a function of one flat vector of parameters, with a loss and its gradient.

    A model holds no parameters. `init` makes a vector of them, ``theta``, and what is computed from
    it is an objective: ``minimize(model.value_and_grad, theta, jac=True, args=(x, y))``, or with
    ``data=Minibatches(x, y, batch_size=64)``. Parameters come in ``theta`` as PyTorch's
    ``parameters()`` has them: in the order of layers, weight before bias; those of a
    :class:`Residual`'s main branch before those of its shortcut.

    What does come with a model are buffers: running statistics of batch normalization and counters
    of dropout. `value_and_grad` evaluates in training mode and then moves them; `value` and
    `predict` evaluate in inference mode and leave them alone. See `held` for evaluations that
    are but trials.

    Parameters
    ----------
    *layers : Layer
        One after the other.
    input_shape : tuple of int or int
        The shape of one sample: (features,), (channels, length) or (channels, height, width).
        Shapes of everything else are inferred from it.
    loss : Loss or str, default "softmax_cross_entropy"
        Or "mse", "l1", "smooth_l1", "binary_cross_entropy" or "multilabel", for a loss with its
        default arguments.
    dtype : {"float32", "float64"}, default "float32"
        What everything is computed in.
    name : str, optional
        What `summary` is headed by.

    Attributes
    ----------
    n : int
    layers : tuple of Layer
    input_shape, output_shape : tuple of int
        The shape of one sample, and of what the network makes of it.
    loss : Loss
    dtype : dtype
    buffers : dict of ndarray

    Raises
    ------
    TypeError, ValueError
        If layers do not fit on each other, with the name of the first one that does not; if the
        loss does not fit on the last; or if an argument is not as above.

    Notes
    -----
    ``theta`` is float32 or float64, and the gradient comes back in its dtype, whatever the model's:
    the only conversion that is made. So a solver, whose vectors are float64, trains a float32
    network. Images and real targets are of the model's dtype, labels of any integer dtype.

    Where each array lies is planned when a batch of a new size comes; later evaluations allocate
    nothing but the gradient that they return, and not even that with `grad`. Memory for the largest
    batch stays with the model.

    Threads may call one model at once; it serves them one after the other. A copy or a pickle has
    the buffers and none of the memory.

    **On a GPU** a model computes if the arrays are there: those of PyTorch, CuPy and Numba, all of
    them, C-contiguous, and kernels by the extra ``fastopt[cuda]``. Nothing is copied but what has
    to be converted (``theta`` and the gradient, if they are not of the model's dtype, and targets
    that are not, or for labels not int32 or int64), and nothing waits for the GPU: a loss comes
    back as an array of no dimensions, to be read when it is wanted. Targets are not checked there:
    where one is out of range, the loss is NaN. What `init` and `load_state_dict` return is on the
    CPU, to be copied. Buffers go along with the evaluations; to read `buffers` waits for the GPU. A
    model has one memory there, so that evaluations on different streams must be made to wait for
    each other.

    From the second evaluation of batches of a size on, one makes the same launches and allocates
    nothing but the arrays that it returns. It can be captured as a CUDA graph, then, with an
    optimizer's step behind it::

        value, grad = model.value_and_grad(theta, x, y)  # plans and compiles
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            value, grad = model.value_and_grad(theta, x, y)
        x.copy_(...), y.copy_(...)
        graph.replay()  # the buffers move, too

    Keep all of these arrays, and `model`; a graph is of no use any more when the model has seen a
    larger batch, batches of more than a dozen other sizes, or training on the CPU.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> from fastopt import nn
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(200, 2)).astype("float32")
    >>> y = (x[:, 0] * x[:, 1] > 0).astype(int)
    >>> model = nn.Model(nn.Linear(16), nn.Tanh(), nn.Linear(2), input_shape=(2,))
    >>> theta = model.init(seed=0)
    >>> loss, grad = model.value_and_grad(theta, x, y)
    >>> grad.shape == theta.shape == (model.n,)
    True
    >>> loss_of = model.value_and_grad
    >>> res = fastopt.minimize(loss_of, theta, args=(x, y), jac=True, method="l-bfgs")
    >>> float((model.predict(res.x, x).argmax(axis=1) == y).mean()) > 0.95
    True
    """

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
        self._layers, self._name = network.layers, network.name
        self._dtype = _as_dtype(dtype)
        self._loss = as_loss(loss)
        self._loss._check_output(self.output_shape)

        self._state = State(self._graph, self._dtype, CPU())
        self._state.reset()
        self._programs = Programs(self._graph, self._loss, self._dtype, self._state)
        self._on_gpu: Programs | None = None  # from the first array of one on
        self._gpu_has_buffers = False  # those of the CPU are older
        self._lock = threading.Lock()
        self._holds = 0  # how many `held` are open
        self._pending: Program | Recorded | None = None  # whose buffers have not moved

    @property
    def n(self) -> int:
        """The number of parameters: the length of ``theta``."""
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

    @property
    def buffers(self) -> dict[str, Array]:
        """The buffers by name, as they are now: copies, which later evaluations leave alone.

        After evaluations on a GPU they are read from there, which waits for it; nothing else does.
        """
        with self._lock:
            self._fetch_buffers()
            return {name: value.copy() for name, value in self._state.buffers.items()}

    # --- parameters

    def init(self, seed: int = 0) -> Array:
        """Draw parameters to start from.

        Weights are drawn from the distribution that their layer names: ``"he"``, normal with
        variance 2 / fan_in [1]_; ``"glorot"``, uniform with variance 2 / (fan_in + fan_out) [2]_;
        ``"lecun"``, normal with variance 1 / fan_in [3]_. fan_in is how many numbers make one
        output, and fan_out in how many outputs an input has a part, borders left aside. Biases are
        0; the weights of batch normalization are 1. What a layer gets depends on the seed and its
        name alone. Buffers are not touched.

        Parameters
        ----------
        seed : int, default 0
            Not negative.

        Returns
        -------
        ndarray, shape (n,)
            Of the model's dtype, on the CPU.

        References
        ----------
        .. [1] K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV
           2015, eq. 10.
        .. [2] X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward
           neural networks", AISTATS 2010, eq. 16.
        .. [3] Y. LeCun, L. Bottou, G. B. Orr and K.-R. Müller, "Efficient BackProp",
           1998, eq. 16.

        Examples
        --------
        >>> from fastopt import nn
        >>> model = nn.Model(nn.Linear(2), input_shape=(3,))
        >>> theta = model.init(seed=1)
        >>> theta.shape, theta.dtype, theta[-2:]       # biases come last
        ((8,), dtype('float32'), array([0., 0.], dtype=float32))
        """
        theta = np.empty(self.n, self._dtype)
        fill(theta, self._graph.parameters, _NONNEGATIVE("seed", seed, 0))
        return theta

    def parameters(self, theta: Array) -> dict[str, Array]:
        """The parts of a vector, such as ``theta`` or a gradient, by name.

        Parameters
        ----------
        theta : ndarray, shape (n,)
            Contiguous, of any dtype.

        Returns
        -------
        dict of ndarray
            Views: to write to one is to write to `theta`.

        Raises
        ------
        TypeError, ValueError
            If `theta` is not such a vector.

        Examples
        --------
        >>> from fastopt import nn
        >>> model = nn.Model(nn.Linear(2, name="last"), input_shape=(3,))
        >>> theta = model.init(0)
        >>> parameters = model.parameters(theta)
        >>> {name: value.shape for name, value in parameters.items()}
        {'last.weight': (2, 3), 'last.bias': (2,)}
        >>> parameters["last.bias"][:] = 5.0
        >>> theta[-2:]
        array([5., 5.], dtype=float32)
        """
        if not isinstance(theta, np.ndarray):
            raise TypeError(f"`theta` must be a NumPy array, got an object of type {_type(theta)}")
        self._check_length(theta)
        if not theta.flags.c_contiguous:
            raise ValueError(
                f"`theta` must be contiguous, got an array with strides {theta.strides}"
            )
        return {each.name: theta[each.place].reshape(each.shape) for each in self._graph.parameters}

    # --- evaluations

    @anywhere
    def value_and_grad(
        self, theta: Array, x: Array, y: Array, grad: Array | None = None, *, stream: Any = None
    ) -> tuple[float, Array]:
        """The mean loss of a batch in training mode, and its gradient.

        Buffers move afterwards, unless evaluations are `held`. If something is raised, Ctrl-C
        included, they are as before.

        Parameters
        ----------
        theta : ndarray of float32 or float64, shape (n,)
            The parameters.
        x : ndarray of the model's dtype, shape (N, ...)
            The samples, at least one, each of `input_shape`.
        y : ndarray
            Their targets, as the loss takes them.
        grad : ndarray, shape (n,), optional
            Of the dtype of `theta`; where to put the gradient. By default a new array.
        stream : stream or int, optional
            Of a GPU; by default the one on which the arrays are made.

        Returns
        -------
        value : float
            For arrays of a GPU, one of no dimensions, of float64: ``float(value)`` waits for it.
        grad : ndarray, shape (n,)
            Of the dtype of `theta`.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as above.

        Examples
        --------
        >>> import numpy as np
        >>> from fastopt import nn
        >>> model = nn.Model(nn.Linear(2), input_shape=(2,), dtype="float64")
        >>> x, y = np.array([[1.0, 2.0]]), np.array([0])
        >>> value, grad = model.value_and_grad(np.zeros(model.n), x, y)
        >>> round(value, 6), grad
        (0.693147, array([-0.5, -1. ,  0.5,  1. , -0.5,  0.5]))
        """
        _check_place(theta=theta, x=x, y=y, grad=grad)
        theta = self._check_theta(theta)
        x = self._check_samples(x)
        y = self._check_targets(y, x.shape[0])
        if grad is None:
            grad = empty(theta.shape, theta)
        else:
            self._check_grad(grad, theta)
            if isinstance(grad, DeviceArray):
                check_apart("grad", grad, [("theta", theta), ("x", x), ("y", y)])
        with self._lock, _quiet():
            self._pending = None
            program = self._program("train", theta, x, y, grad)
            value = program.run(theta, x, y, grad)
            if self._holds:
                self._pending = program
            else:
                self._move(program)
        return value, grad

    @anywhere
    def value(self, theta: Array, x: Array, y: Array, *, stream: Any = None) -> float:
        """The mean loss in inference mode: with running statistics, and without dropout.

        Parameters
        ----------
        theta, x, y, stream
            As in `value_and_grad`. All samples are evaluated at once.

        Returns
        -------
        float
            As in `value_and_grad`.

        Raises
        ------
        TypeError, ValueError
            As in `value_and_grad`.

        Examples
        --------
        >>> import numpy as np
        >>> from fastopt import nn
        >>> model = nn.Model(nn.Linear(2), input_shape=(2,), dtype="float64")
        >>> round(model.value(np.zeros(model.n), np.ones((3, 2)), np.array([0, 1, 1])), 6)
        0.693147
        """
        _check_place(theta=theta, x=x, y=y)
        theta = self._check_theta(theta)
        x = self._check_samples(x)
        y = self._check_targets(y, x.shape[0])
        with self._lock, _quiet():
            value: float = self._program("value", theta, x, y).run(theta, x, y)
        return value

    @anywhere
    def predict(
        self, theta: Array, x: Array, batch_size: int | None = None, *, stream: Any = None
    ) -> Array:
        """What the network makes of samples, in inference mode.

        With a loss on probabilities these are logits: their ``argmax(axis=1)`` is the likeliest
        class.

        Parameters
        ----------
        theta, x
            As in `value_and_grad`.
        batch_size : int, optional
            How many samples to take at once; memory grows with it. By default at most 256.
        stream
            As in `value_and_grad`.

        Returns
        -------
        ndarray, shape (N, ...)
            Of the model's dtype, and of `output_shape` for each sample.

        Raises
        ------
        TypeError, ValueError
            If an argument is not as above.

        Examples
        --------
        >>> import numpy as np
        >>> from fastopt import nn
        >>> model = nn.Model(nn.Linear(2), input_shape=(2,), dtype="float64")
        >>> model.predict(np.arange(6.0), np.ones((1, 2)))
        array([[ 5., 10.]])
        """
        _check_place(theta=theta, x=x)
        theta = self._check_theta(theta)
        x = self._check_samples(x)
        size = _BATCH if batch_size is None else _POSITIVE("batch_size", batch_size, 0)
        N = x.shape[0]
        out = empty((N, *self.output_shape), x)
        with self._lock, _quiet():
            for first in range(0, N, size):
                count = min(size, N - first)
                some, result = _samples(x, first, count), _samples(out, first, count)
                self._program("predict", theta, some, None, result).run(theta, some, None, result)
        return out

    def _program(
        self, mode: Mode, theta: Array, x: Array, y: Array | None = None, out: Array | None = None
    ) -> Program | Recorded:
        """What evaluates these arrays where they are, with the buffers there."""
        N = x.shape[0]
        if not isinstance(theta, DeviceArray):
            self._fetch_buffers()
            return self._programs.get(mode, N)
        if self._on_gpu is None:
            state = State(self._graph, self._dtype, GPU(theta))
            self._on_gpu = Programs(self._graph, self._loss, self._dtype, state)
        program = self._on_gpu.get(mode, N, (theta, x, y, out))
        if not self._gpu_has_buffers:
            self._on_gpu.state.write(self._state.read())
            self._gpu_has_buffers = True
        return program

    # --- buffers

    # After evaluations on a GPU its buffers count, even if the CPU has read them since: what was
    # captured as a graph moves them unseen. They come back to the CPU when it moves them itself.

    def _fetch_buffers(self) -> None:
        """Let the CPU's buffers be as they are on the GPU, if that has later ones."""
        if self._on_gpu is not None and self._gpu_has_buffers:
            self._state.write(self._on_gpu.state.read())

    def _move(self, program: Program | Recorded) -> None:
        program.move()
        self._gpu_has_buffers = isinstance(program, Recorded)

    @contextmanager
    def held(self) -> Iterator[None]:
        """A context in which evaluations leave no trace, unless `commit` says so.

        For methods that evaluate at points which they do not go to, such as trials of a line
        search: while a model is held, `value_and_grad` evaluates in training mode and moves no
        buffer. May be nested.

        Examples
        --------
        >>> import numpy as np
        >>> from fastopt import nn
        >>> model = nn.Model(nn.BatchNorm1d(name="norm"), input_shape=(1,), loss="mse")
        >>> x = np.array([[1.0], [3.0]], dtype="float32")
        >>> with model.held():
        ...     _ = model.value_and_grad(model.init(0), x, x)
        >>> model.buffers["norm.running_mean"]
        array([0.], dtype=float32)
        >>> with model.held():
        ...     _ = model.value_and_grad(model.init(0), x, x)
        ...     model.commit()
        >>> model.buffers["norm.running_mean"]
        array([0.2], dtype=float32)
        """
        with self._lock:
            self._holds += 1
        try:
            yield
        finally:
            with self._lock:
                self._holds -= 1
                if not self._holds:
                    self._pending = None

    def commit(self) -> None:
        """Move the buffers as the last evaluation would have, had it not been `held`.

        Does nothing if there is no such evaluation: none in the context, none since the last
        `commit`, or one that has failed.

        Examples
        --------
        >>> import numpy as np
        >>> from fastopt import nn
        >>> model = nn.Model(nn.Dropout(name="drop"), input_shape=(1,), loss="mse")
        >>> x = np.ones((2, 1), dtype="float32")
        >>> with model.held():
        ...     for _ in range(3):
        ...         _ = model.value_and_grad(model.init(0), x, x)
        ...     model.commit()
        >>> model.buffers
        {'drop.counter': array(1)}
        """
        with self._lock:
            if self._pending is not None:
                self._move(self._pending)
                self._pending = None

    def state_dict(self, theta: Array | None = None) -> dict[str, Array]:
        """Copies of the buffers, and of the parameters if they are given, by name.

        Parameters
        ----------
        theta : ndarray, shape (n,), optional
            The parameters.

        Returns
        -------
        dict of ndarray
            For ``np.savez(file, **state)``.

        Raises
        ------
        TypeError, ValueError
            If `theta` is not as above.

        See Also
        --------
        load_state_dict

        Examples
        --------
        >>> from fastopt import nn
        >>> model = nn.Model(nn.Linear(2, name="fc"), nn.BatchNorm1d(name="bn"), input_shape=(3,))
        >>> [*model.state_dict()]
        ['bn.running_mean', 'bn.running_var']
        >>> [*model.state_dict(model.init(0))]
        ['fc.weight', 'fc.bias', 'bn.weight', 'bn.bias', 'bn.running_mean', 'bn.running_var']
        """
        parameters = {} if theta is None else self.parameters(theta)
        return {name: value.copy() for name, value in parameters.items()} | self.buffers

    def load_state_dict(self, state: Mapping[str, Any]) -> Array | None:
        """Set the buffers, and make ``theta`` of the parameters if there are any.

        Parameters
        ----------
        state : mapping of str to ndarray
            All buffers, and either all parameters or none: what `state_dict` returned, or
            ``np.load`` of it.

        Returns
        -------
        ndarray, shape (n,), or None
            The parameters, in the model's dtype, on the CPU.

        Raises
        ------
        TypeError, ValueError
            If a name is missing or unknown, or an array of the wrong shape or kind. Nothing has
            been changed then.

        Examples
        --------
        >>> import numpy as np
        >>> from fastopt import nn
        >>> model = nn.Model(nn.Linear(2), nn.BatchNorm1d(), input_shape=(3,))
        >>> theta = model.init(0)
        >>> np.savez("model.npz", **model.state_dict(theta))
        >>> with np.load("model.npz") as state:
        ...     np.array_equal(model.load_state_dict(state), theta)
        True
        """
        if not isinstance(state, Mapping):
            raise TypeError(f"`state` must be a mapping of names to arrays, got a {_type(state)}")
        shapes = {each.name: each.shape for each in self._graph.parameters}
        buffers = {each.name: each.shape for each in self._graph.buffers}
        wanted = {**shapes, **buffers} if any(name in state for name in shapes) else buffers
        for found, expected, problem in (
            (state, {**shapes, **buffers}, "has {!r}, which the model does not"),
            (wanted, state, "must have {!r}, which the model has"),
        ):
            for name in found:
                if name not in expected:
                    raise ValueError(f"`state` {problem.format(name)}")
        counts = {each.name for each in self._graph.buffers if each.is_count}
        arrays = {
            name: _as_numbers(name, state[name], shape, "iu" if name in counts else "iuf")
            for name, shape in wanted.items()
        }
        with self._lock:
            self._load_buffers({name: arrays[name] for name in buffers})
        if not wanted.keys() >= shapes.keys() or not shapes:
            return None
        theta = np.empty(self.n, self._dtype)
        with _quiet():
            for name, value in self.parameters(theta).items():
                value[...] = arrays[name]
        return theta

    def _load_buffers(self, buffers: dict[str, Array]) -> None:
        self._state.load(buffers)
        if self._on_gpu is not None and self._gpu_has_buffers:
            self._on_gpu.state.write(self._state.read())

    # --- what it is

    def summary(self) -> str:
        """A table of layers: what each makes, its parameters, and the work for one sample.

        Work is counted in floating-point operations of the forward pass: a multiplication with an
        addition is two.

        Returns
        -------
        str

        Examples
        --------
        >>> from fastopt import nn
        >>> model = nn.Model(
        ...     nn.Conv2d(6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        ...     nn.Linear(10), input_shape=(1, 28, 28), name="small",
        ... )
        >>> print(model.summary())
        small
        layer                           output       parameters    FLOPs
        ----------------------------------------------------------------
        0      Conv2d(6, 5, padding=2)  (6, 28, 28)         156  235,200
        1      ReLU()                   (6, 28, 28)           0    4,704
        2      MaxPool2d(2)             (6, 14, 14)           0    4,704
        3      Flatten()                (1176,)               0        0
        4      Linear(10)               (10,)            11,770   23,520
        ----------------------------------------------------------------
        total                           (10,)            11,926  268,128
        """
        return table(self._name, self._graph)

    def __repr__(self) -> str:
        name = "" if self._name is None else f" {self._name!r}"
        return (
            f"<Model{name}: {self.n} parameter{'s' * (self.n != 1)}, {self.input_shape} -> "
            f"{self.output_shape}, {self._dtype}>"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {
            "layers": self._layers,
            "options": {
                "input_shape": self.input_shape,
                "loss": self._loss,
                "dtype": self._dtype,
                "name": self._name,
            },
            "buffers": self.buffers,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(*state["layers"], **state["options"])  # type: ignore[misc]
        self._state.load(state["buffers"])

    # --- arguments

    def _check_theta(self, theta: Any) -> Array:
        vector: Array = as_array("theta", theta)
        if vector.dtype not in _DTYPES:
            raise TypeError(f"`theta` must be of float32 or float64, got {vector.dtype}")
        self._check_length(vector)
        return vector

    def _check_length(self, theta: Array) -> None:
        if theta.shape != (self.n,):
            raise ValueError(
                f"`theta` must be of shape ({self.n},), the model's parameters, got an array of "
                f"shape {theta.shape}"
            )

    def _check_samples(self, x: Any) -> Array:
        samples: Array = as_array("x", x)
        shape = self.input_shape
        if samples.dtype != self._dtype:
            raise TypeError(
                f"`x` must be of {self._dtype}, as the model is, got {samples.dtype}: convert it "
                "once, before training"
            )
        if samples.ndim != 1 + len(shape) or samples.shape[1:] != shape:
            wanted = ", ".join(map(str, shape))
            raise ValueError(
                f"`x` must be of shape (N, {wanted}), as `input_shape` says, got an array of shape "
                f"{samples.shape}"
            )
        if not samples.shape[0]:
            raise ValueError(
                f"`x` must have at least one sample, got an array of shape {samples.shape}"
            )
        return samples

    def _check_targets(self, y: Any, N: int) -> Array:
        target: Array = self._loss._check_target(y, N, self.output_shape, self._dtype)
        return target

    def _check_grad(self, grad: Any, theta: Array) -> None:
        is_array = isinstance(grad, np.ndarray | DeviceArray)
        if not is_array or grad.dtype != theta.dtype:
            got = grad.dtype if is_array else f"a {_type(grad)}"
            raise TypeError(f"`grad` must be an array of {theta.dtype}, as `theta` is, got {got}")
        if grad.shape != theta.shape:
            raise ValueError(
                f"`grad` must be of shape {theta.shape}, as `theta` is, got an array of shape "
                f"{grad.shape}"
            )
        if not (grad.writeable if isinstance(grad, DeviceArray) else grad.flags.writeable):
            raise ValueError("`grad` must be writeable, got a read-only array")


def _check_place(**arrays: Any) -> None:
    """Whether all arrays are on the CPU, or all on a GPU, and there such as kernels take them."""
    if not any(isinstance(each, DeviceArray) for each in arrays.values()):
        return
    for name, value in arrays.items():
        if value is None:
            continue
        if not isinstance(value, DeviceArray):
            raise TypeError(
                f"`{name}` must be on the GPU, as other arrays are, got a {_type(value)}"
            )
        if value.strides is not None or value.address % value.dtype.itemsize:
            raise ValueError(
                f"`{name}` must be C-contiguous on a GPU, where it is not copied, got strides "
                f"{value.strides} at shape {value.shape}"
            )


def _samples(array: Any, first: int, count: int) -> Any:
    """So many rows of an array, from one on, in its memory."""
    if isinstance(array, DeviceArray):
        sample = array.shape[1:]
        return array.part(first * math.prod(sample), (count, *sample))
    return array[first : first + count]


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
        dtype = None
    if value is None or dtype is None:  # of None NumPy makes float64
        raise TypeError(f"`dtype` must be float32 or float64, got {value!r}")
    if dtype not in _DTYPES:
        raise ValueError(f"`dtype` must be float32 or float64, got {dtype}")
    return dtype


def _as_numbers(name: str, value: Any, shape: Shape, kinds: str) -> Array:
    array = np.asarray(value)
    if array.dtype.kind not in kinds:
        expected = "numbers" if "f" in kinds else "integers"
        raise TypeError(f"`state` must have {expected} for {name!r}, got dtype {array.dtype}")
    if array.shape != shape:
        raise ValueError(
            f"`state` must have an array of shape {shape} for {name!r}, got one of shape "
            f"{array.shape}"
        )
    return array


def _type(value: object) -> str:
    return type(value).__name__
