"""The losses of linear models: a function that makes each from data, and what they return.

Owns what a caller sees. The data are checked in `_data`; what is computed, and how, is in
`_compiled` and what that imports.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from fastopt.core.validate import Flag, Real, real_array, real_vector
from fastopt.losses import _compiled, _data

__all__ = [
    "LinearLoss",
    "absolute",
    "huber",
    "logistic",
    "multilabel",
    "poisson",
    "softmax",
    "squared",
]

Vector = NDArray[np.float64]

_NONNEGATIVE = Real(low=0.0, open_high=True)
_POSITIVE = Real(low=0.0, open_low=True, open_high=True)


@dataclass(frozen=True, eq=False, repr=False)
class LinearLoss:
    """A loss of a linear model over data, ready to be minimized.

    Made by the functions of `fastopt.losses`. With K outputs (classes or labels) and p features the
    parameters ``theta`` are a vector of K rows of p coefficients, each followed by its intercept if
    there are intercepts; for one output they are the p coefficients and the intercept.

    It cannot be changed, and refers to the data that it was made from: see `args`.

    Parameters
    ----------
    name : str
        The function that made it.
    fun : Numba dispatcher
        ``fun(theta, grad, *args) -> float``: the value; the gradient is written to ``grad``, unless
        that has no entries. One function for all data, callable from ``@njit`` code.
    hessp : Numba dispatcher
        ``hessp(theta, p, *args)``: the product of the Hessian with ``p``, an array of shape (n,).
    hess : Numba dispatcher
        ``hess(theta, *args)``: the Hessian, an array of shape (n, n).
    hess_diag : Numba dispatcher
        ``hess_diag(theta, *args)``: its diagonal, an array of shape (n,); where that is positive,
        ``1 / hess_diag(x0, *args)`` is a ``preconditioner`` for ``method="cg"``.
    args : tuple
        ``(X, y, sample_weight, l2)``, and ``delta`` or ``n_classes`` where the loss has that. ``X``
        is an array of shape (n_samples, p), or the tuple ``(data, indices, indptr, p)`` of a CSR
        matrix. ``sample_weight`` is empty if all weights are 1. What was given in the form that is
        needed is referred to, not copied; if you change it, the loss changes.
    n_features : int
        p.
    n_outputs : int or None
        K, or None for a loss of one output.
    has_intercept : bool
        Whether there are intercepts.

    Attributes
    ----------
    jac : str
        ``"inplace"``, which is what `fastopt.minimize` calls the form of ``fun``.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> X, y = np.array([[1.0], [2.0], [3.0], [4.0]]), np.array([0, 1, 0, 1])
    >>> loss = fastopt.losses.logistic(X, y, l2=0.1, intercept=True)
    >>> loss
    <LinearLoss logistic: 4 samples, 1 feature, intercept, n = 2>
    >>> fit = fastopt.minimize(loss.fun, loss.x0, loss.args, jac=loss.jac, method="l-bfgs")
    >>> loss.coef(fit.x).round(2), round(loss.intercept(fit.x), 2)
    (array([0.64]), -1.59)
    """

    name: str
    fun: Any
    hessp: Any
    hess: Any
    hess_diag: Any
    args: tuple[Any, ...]
    n_features: int
    n_outputs: int | None
    has_intercept: bool

    jac: ClassVar[str] = "inplace"

    @property
    def n(self) -> int:
        """The number of parameters."""
        return (self.n_outputs or 1) * (self.n_features + self.has_intercept)

    @property
    def x0(self) -> Vector:
        """Where to start: zeros, an array of its own each time."""
        return np.zeros(self.n)

    def coef(self, theta: ArrayLike) -> Vector:
        """The coefficients among the parameters.

        Parameters
        ----------
        theta : array_like, shape (n,)
            Parameters.

        Returns
        -------
        ndarray of shape (p,), or (K, p) with K outputs
            A view of `theta`, if that is an array of doubles.

        Examples
        --------
        >>> from fastopt.losses import multilabel
        >>> loss = multilabel([[1.0, 2.0]], [[0, 1]], intercept=True)
        >>> loss.coef([1.0, 2.0, 0.5, 3.0, 4.0, 0.25])
        array([[1., 2.],
               [3., 4.]])
        """
        rows = self._rows(theta)[:, : self.n_features]
        return rows if self.n_outputs else rows[0]

    def intercept(self, theta: ArrayLike) -> Any:
        """The intercepts among the parameters; zero where there are none.

        Parameters
        ----------
        theta : array_like, shape (n,)
            Parameters.

        Returns
        -------
        float, or ndarray of shape (K,) with K outputs

        Examples
        --------
        >>> from fastopt.losses import squared
        >>> squared([[1.0, 2.0]], [1.0], intercept=True).intercept([1.0, 2.0, 0.5])
        0.5
        """
        rows = self._rows(theta)
        found = rows[:, self.n_features] if self.has_intercept else np.zeros(len(rows))
        return found if self.n_outputs else float(found[0])

    def decision(self, theta: ArrayLike, X: Any) -> Vector:
        """The scores of samples: ``X @ coef + intercept``.

        They are predictions themselves for a loss of errors, logits for `logistic`, `multilabel`
        and `softmax`, and logarithms of rates for `poisson`.

        Parameters
        ----------
        theta : array_like, shape (n,)
            Parameters.
        X : array_like or sparse matrix, shape (m, p)
            Samples.

        Returns
        -------
        ndarray of shape (m,), or (m, K) with K outputs

        Examples
        --------
        >>> from fastopt.losses import squared
        >>> loss = squared([[1.0, 2.0]], [1.0], intercept=True)
        >>> loss.decision([1.0, 2.0, 0.5], [[1.0, 1.0], [0.0, 2.0]])
        array([3.5, 4.5])
        """
        expected = f"an array of real numbers of shape (m, {self.n_features})"
        samples = X if scipy.sparse.issparse(X) else real_array("X", expected, X)
        if len(samples.shape) != 2 or samples.shape[1] != self.n_features:
            raise ValueError(
                f"`X` must be of shape (m, {self.n_features}), got shape {samples.shape}"
            )
        scores = samples @ self.coef(theta).T + self.intercept(theta)
        return np.asarray(scores)

    def _rows(self, theta: ArrayLike) -> Vector:
        vector = real_vector("theta", theta)
        if vector.size != self.n:
            raise ValueError(f"`theta` must have {self.n} elements, got {vector.size}")
        return vector.reshape(self.n_outputs or 1, -1)

    def __repr__(self) -> str:
        X = self.args[0]
        samples = X[2].size - 1 if isinstance(X, tuple) else len(X)
        parts = [_count(samples, "sample"), _count(self.n_features, "feature")]
        if self.n_outputs:
            parts.append(f"{self.n_outputs} outputs")
        if self.has_intercept:
            parts.append("intercept")
        return f"<LinearLoss {self.name}: {', '.join(parts)}, n = {self.n}>"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def squared(
    X: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    intercept: bool = False,
) -> LinearLoss:
    r"""Half the squared error: least squares, and with `l2` ridge regression.

    The objective is

    .. math:: \frac{1}{\sum_i s_i} \sum_i s_i \, \tfrac12 (z_i - y_i)^2 + \frac{\lambda}{2} |w|^2,
       \qquad z_i = x_i \cdot w + b,

    with the weights :math:`s_i` and the penalty's strength :math:`\lambda`, `l2`.

    Parameters
    ----------
    X : array_like or sparse matrix of real numbers, shape (n_samples, p)
        The features, finite. A C-contiguous array of float64 is referred to, and so are the parts
        of a CSR matrix of float64; from anything else one of the two is made. Nothing is written
        to.
    y : array_like of real numbers, shape (n_samples,)
        The targets, finite. An array of float64 is referred to.
    sample_weight : array_like of real numbers, shape (n_samples,), optional
        Weights, finite, not negative and not all zero; 1 by default. A sample of weight 2 counts as
        two, one of weight 0 not at all. An array of float64 is referred to.
    l2 : float, default 0
        Strength of the penalty on the squares of the coefficients. The intercept is not penalised.
    intercept : bool, default False
        Whether the model has an intercept, the last parameter.

    Returns
    -------
    LinearLoss
        With ``fun``, ``x0``, ``args``, ``jac``, ``hess`` and ``hessp`` for `fastopt.minimize`.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, with its name, what was expected and what came.

    Notes
    -----
    scikit-learn's ``Ridge(alpha)`` has ``alpha = l2 * sum(sample_weight)``. PyTorch's ``MSELoss``
    is twice this loss.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> X, y = np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0])
    >>> loss = fastopt.losses.squared(X, y, intercept=True)
    >>> fit = fastopt.minimize(loss.fun, loss.x0, loss.args, jac=loss.jac)
    >>> loss.coef(fit.x).round(4), round(loss.intercept(fit.x), 4)
    (array([2.]), 1.0)
    """
    return _of_one_output("squared", X, y, sample_weight, l2, intercept)


def absolute(
    X: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    intercept: bool = False,
) -> LinearLoss:
    r"""The absolute error :math:`|z - y|`: regression to the median.

    It has a kink wherever a sample is met exactly, as its minima do, and no curvature elsewhere. A
    smooth solver comes near a minimum and stops there with a message; `huber` with a small
    ``delta`` is the smooth neighbour.

    Parameters
    ----------
    X, sample_weight, l2, intercept
        As in `squared`.
    y : array_like of real numbers, shape (n_samples,)
        The targets, finite.

    Returns
    -------
    LinearLoss
        As from `squared`. At a kink the derivative is 0; the Hessian is that of the penalty.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, with its name, what was expected and what came.

    Examples
    --------
    An outlier does not move the median:

    >>> import numpy as np
    >>> import fastopt
    >>> loss = fastopt.losses.absolute(np.ones((5, 1)), [1.0, 2.0, 3.0, 4.0, 1000.0])
    >>> [round(loss.fun(np.array([m]), np.empty(0), *loss.args), 2) for m in (2.9, 3.0, 3.1)]
    [200.22, 200.2, 200.22]
    """
    return _of_one_output("absolute", X, y, sample_weight, l2, intercept)


def huber(
    X: Any,
    y: ArrayLike,
    delta: float = 1.0,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    intercept: bool = False,
) -> LinearLoss:
    r"""Huber's loss, also called smooth L1: squared for small errors, absolute for large ones.

    .. math:: \phi(z, y) = \begin{cases} \tfrac12 (z - y)^2 & |z - y| \le \delta \\
       \delta \left(|z - y| - \tfrac12 \delta\right) & |z - y| > \delta \end{cases}

    Parameters
    ----------
    X, sample_weight, l2, intercept
        As in `squared`.
    y : array_like of real numbers, shape (n_samples,)
        The targets, finite.
    delta : float, default 1
        The error at which the loss turns linear, positive, in the unit of `y`.

    Returns
    -------
    LinearLoss
        As from `squared`. ``delta`` is the last of its ``args``.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, with its name, what was expected and what came.

    Notes
    -----
    PyTorch's ``HuberLoss(delta)`` is this one; its ``SmoothL1Loss(beta)`` is this one, with
    ``delta`` for ``beta``, divided by it. scikit-learn's ``HuberRegressor`` estimates a scale
    besides.

    References
    ----------
    .. [1] P. J. Huber, "Robust estimation of a location parameter", Ann. Math. Statist. 35 (1964)
       73-101.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> X, y = np.arange(6.0)[:, None], np.array([0.0, 1.0, 2.0, 3.0, 4.0, 500.0])
    >>> loss = fastopt.losses.huber(X, y, delta=0.1, intercept=True)
    >>> fit = fastopt.minimize(loss.fun, loss.x0, loss.args, jac=loss.jac)
    >>> loss.coef(fit.x).round(1)
    array([1.])
    """
    width = _POSITIVE("delta", delta, 1)
    return _of_one_output("huber", X, y, sample_weight, l2, intercept, constants=(width,))


def logistic(
    X: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    intercept: bool = False,
) -> LinearLoss:
    r"""Logistic regression: the cross-entropy of two classes, from the logit of the second.

    .. math:: \phi(z, y) = \log\left(1 + e^z\right) - y z

    is minus the logarithm of the probability that the model gives to the label y, where
    :math:`\sigma(z) = 1/(1 + e^{-z})` is that of the label 1 [1]_.

    Parameters
    ----------
    X, sample_weight, l2, intercept
        As in `squared`.
    y : array_like of real numbers or bool, shape (n_samples,)
        The labels, 0 or 1, or probabilities of 1 in between. Labels -1 and 1 are ``(y + 1) / 2``.

    Returns
    -------
    LinearLoss
        As from `squared`.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, with its name, what was expected and what came.

    Notes
    -----
    scikit-learn's ``LogisticRegression(C)`` has ``C = 1 / (l2 * sum(sample_weight))``, PyTorch's
    ``BCEWithLogitsLoss`` is this loss without penalty.

    Where a hyperplane separates the labels and `l2` is 0 there is no minimum: the coefficients grow
    until the gradient is small enough.

    References
    ----------
    .. [1] C. M. Bishop, *Pattern Recognition and Machine Learning*, Springer, 2006, eq. 4.90, with
       the gradient 4.91 and the Hessian 4.97.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((1000, 3))
    >>> y = X @ [1.0, -2.0, 0.0] + rng.logistic(size=1000) > 0
    >>> loss = fastopt.losses.logistic(X, y, l2=1e-3)
    >>> fit = fastopt.minimize(loss.fun, loss.x0, loss.args, jac=loss.jac, method="l-bfgs")
    >>> fit.x.round(1)
    array([ 0.9, -2. ,  0.1])
    """
    return _of_one_output("logistic", X, y, sample_weight, l2, intercept, 0.0, 1.0)


def softmax(
    X: Any,
    y: ArrayLike,
    n_classes: int | None = None,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    intercept: bool = False,
) -> LinearLoss:
    r"""Multinomial regression: the cross-entropy of K classes, from a logit for each.

    .. math:: \phi(z, y) = \log \sum_k e^{z_k} - z_y, \qquad z_k = x \cdot w_k + b_k,

    is minus the logarithm of the probability that the model gives to the class y [1]_.

    Parameters
    ----------
    X, sample_weight, l2, intercept
        As in `squared`. There is an intercept for each class.
    y : array_like of int, shape (n_samples,)
        The classes, from 0 to K - 1. An array of int64 is referred to.
    n_classes : int, optional
        K, at least 2; by default one more than the largest of `y`.

    Returns
    -------
    LinearLoss
        As from `squared`, with K outputs. K is the last of its ``args``.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, with its name, what was expected and what came.

    Notes
    -----
    The same vector added to the coefficients of all classes changes no probability. So the Hessian
    is singular without `l2`, and the minimum not unique; from zeros, solvers find the one whose
    coefficients sum to zero over the classes.

    scikit-learn's ``LogisticRegression(C)`` has ``C = 1 / (l2 * sum(sample_weight))``, PyTorch's
    ``CrossEntropyLoss`` is this loss without penalty.

    References
    ----------
    .. [1] C. M. Bishop, *Pattern Recognition and Machine Learning*, Springer, 2006, eq. 4.108, with
       the gradient 4.109 and the Hessian 4.110.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0], [4.0], [5.0]]), [0, 0, 1, 1, 2, 2]
    >>> loss = fastopt.losses.softmax(X, y, l2=1e-4, intercept=True)
    >>> fit = fastopt.minimize(loss.fun, loss.x0, loss.args, jac=loss.jac)
    >>> loss.decision(fit.x, X).argmax(axis=1)
    array([0, 0, 1, 1, 2, 2])
    """
    data, n, p = _data.matrix(X)
    classes, count = _data.class_numbers(y, n, n_classes)
    return _made("softmax", data, n, p, count, classes, sample_weight, l2, intercept, (count,))


def multilabel(
    X: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    intercept: bool = False,
) -> LinearLoss:
    r"""K labels that each sample has or has not: the mean of their logistic losses.

    .. math:: \phi(z, y) = \frac1K \sum_k \log\left(1 + e^{z_k}\right) - y_k z_k,
       \qquad z_k = x \cdot w_k + b_k

    Parameters
    ----------
    X, sample_weight, l2, intercept
        As in `squared`. There is an intercept for each label.
    y : array_like of real numbers or bool, shape (n_samples, K)
        For each label 0 or 1, or the probability of 1 in between.

    Returns
    -------
    LinearLoss
        As from `squared`, with K outputs.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, with its name, what was expected and what came.

    Notes
    -----
    PyTorch's ``MultiLabelSoftMarginLoss`` and ``BCEWithLogitsLoss`` are this loss without penalty.

    Examples
    --------
    >>> import fastopt
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [[0, 1], [1, 1], [1, 0], [1, 0]]
    >>> loss = fastopt.losses.multilabel(X, y, l2=1e-4, intercept=True)
    >>> fit = fastopt.minimize(loss.fun, loss.x0, loss.args, jac=loss.jac)
    >>> (loss.decision(fit.x, X) > 0).astype(int)
    array([[0, 1],
           [1, 1],
           [1, 0],
           [1, 0]])
    """
    data, n, p = _data.matrix(X)
    labels = _data.observations(y, (n, None), 0.0, 1.0)
    return _made("multilabel", data, n, p, labels.shape[1], labels, sample_weight, l2, intercept)


def poisson(
    X: Any,
    y: ArrayLike,
    sample_weight: ArrayLike | None = None,
    l2: float = 0.0,
    intercept: bool = False,
) -> LinearLoss:
    r"""Poisson regression: counts whose rate is the exponential of the score.

    .. math:: \phi(z, y) = e^z - y z

    is minus the logarithm of the probability of the count y under the rate :math:`e^z`, without the
    constant :math:`\log y!` [1]_.

    Parameters
    ----------
    X, sample_weight, l2, intercept
        As in `squared`.
    y : array_like of real numbers, shape (n_samples,)
        The counts, not negative. They need not be integers: rates by exposure are, with the
        exposures as weights, as good.

    Returns
    -------
    LinearLoss
        As from `squared`. Where a score exceeds 709 the loss is infinite, as it is in double
        precision; solvers then take a shorter step.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, with its name, what was expected and what came.

    Notes
    -----
    scikit-learn's ``PoissonRegressor(alpha)`` has ``alpha = l2``. PyTorch's ``PoissonNLLLoss`` is
    this loss without penalty.

    References
    ----------
    .. [1] P. McCullagh and J. A. Nelder, *Generalized Linear Models*, 2nd ed., Chapman & Hall,
       1989, chapter 6.

    Examples
    --------
    >>> import numpy as np
    >>> import fastopt
    >>> X = np.linspace(0.0, 2.0, 2000)[:, None]
    >>> y = np.random.default_rng(0).poisson(np.exp(1.0 + 0.5 * X[:, 0]))
    >>> loss = fastopt.losses.poisson(X, y, intercept=True)
    >>> fit = fastopt.minimize(loss.fun, loss.x0, loss.args, jac=loss.jac)
    >>> loss.coef(fit.x).round(1), round(loss.intercept(fit.x), 1)
    (array([0.5]), 1.0)
    """
    return _of_one_output("poisson", X, y, sample_weight, l2, intercept, 0.0)


def _of_one_output(
    name: str,
    X: Any,
    y: Any,
    sample_weight: Any,
    l2: Any,
    intercept: Any,
    low: float = -math.inf,
    high: float = math.inf,
    constants: tuple[float, ...] = (),
) -> LinearLoss:
    """A loss of a score and a number from `low` to `high` for each sample."""
    data, n, p = _data.matrix(X)
    observed = _data.observations(y, (n,), low, high)
    return _made(name, data, n, p, None, observed, sample_weight, l2, intercept, constants)


def _made(
    name: str,
    data: Any,
    n: int,
    p: int,
    n_outputs: int | None,
    observed: Any,
    sample_weight: Any,
    l2: Any,
    intercept: Any,
    constants: tuple[float, ...] = (),
) -> LinearLoss:
    """What all of them have in common."""
    weights = _data.weights(sample_weight, n)
    penalty = _NONNEGATIVE("l2", l2, p)
    has_intercept = Flag()("intercept", intercept, p)
    return LinearLoss(
        name,
        getattr(_compiled, f"{name}_fun"),
        getattr(_compiled, f"{name}_hessp"),
        getattr(_compiled, f"{name}_hess"),
        getattr(_compiled, f"{name}_hess_diag"),
        (data, observed, weights, penalty, *constants),
        p,
        n_outputs,
        has_intercept,
    )
