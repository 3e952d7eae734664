"""`check_grad`, `check_hess` and `check_hessp`: is the derivative code right?

Owns what users call, and the check of what they pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastopt.core.validate import Integer, Real, check_callable, real_vector
from fastopt.testing.calls import Code
from fastopt.testing.columns import Settings
from fastopt.testing.gradients import check_gradient
from fastopt.testing.hessians import check_hessian
from fastopt.testing.verdict import DerivativeCheck

__all__ = ["DerivativeCheck", "check_grad", "check_hess", "check_hessp"]


def check_grad(
    fun: Callable[..., Any],
    x: ArrayLike,
    args: Any = (),
    jac: Callable[..., Any] | str | bool = True,
    *,
    directions: int = 3,
    seed: int = 0,
    rtol: float = 1e-6,
) -> DerivativeCheck:
    """Compare a gradient with differences of its function, and say what looks wrong.

    The step of the differences is chosen for each component, and their error is estimated, so a
    component is called wrong only if it lies outside of what they can tell. A function that is
    noisy, or has a kink or a jump at `x`, is said to be so.

    Parameters
    ----------
    fun : callable
        The function, as in `minimize`: ``fun(x, *args) -> float``; with ``jac=True``, the default,
        ``-> (float, gradient)``; with ``jac="inplace"``, ``fun(x, grad, *args) -> float``. A C
        function may take its place.
    x : array_like of real numbers, shape (n,)
        Where to compare. A point at random, of the size of what `minimize` will meet, shows more
        than the origin or a minimum, where components may vanish.
    args : tuple, optional
        Further arguments of `fun` and `jac`. Anything but a tuple is the one further argument.
    jac : {callable, True, "inplace"}, default True
        The gradient: ``jac(x, *args) -> array_like, shape (n,)``, or where `fun` leaves it.
    directions : int, default 3
        How many random directions to compare slopes along.
    seed : int, default 0
        Seed of the directions. The same arguments give the same result.
    rtol : float, default 1e-6
        Relative errors up to this are no mistake, in a component, and in a slope relative to the
        Euclidean norm of its terms.

    Returns
    -------
    DerivativeCheck
        True if nothing is wrong; its ``message`` says what is.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, before anything is evaluated; or if `fun` or `jac` returns
        something that is not a value or a gradient. What they raise comes out unchanged.

    See Also
    --------
    check_hess : The same for a Hessian.
    check_hessp : The same for products with a Hessian.

    Notes
    -----
    **Costs.** Up to 100 variables, each is looked at: 6 to 12 evaluations of `fun` if it is right,
    some 40 to 60 if it is wrong or cannot be told. 30 to 50 more estimate the noise, compare slopes
    along the directions, and look for state that is kept between calls. Beyond 100 variables these
    are all, unless a slope disagrees: its direction is then halved until one component is left, in
    some ``8 log2(n)`` evaluations, and a few others are looked at beside it. A wrong component is
    found so if its error, times the size of its variable, is some ``rtol / 100`` of the Euclidean
    norm of all components times their variables. The gradient is evaluated twice, and once more
    if something is wrong.

    **Differences.** Central differences of steps that shrink by factors of four are extrapolated to
    zero [1]_. Of all entries of the extrapolation the one with the smallest error counts: the
    larger of its last two changes, plus what noise makes of it. Steps are relative to ``abs(x)``,
    from there up to 1e12 times as wide or narrow, so that each variable may have its own scale. The
    noise is the root mean square of second differences over the narrowest steps, as in
    [2]_, where they are of higher order. Where `fun` is not finite on one side, differences
    look to the other.

    Floating-point warnings of NumPy's at the trial points are silenced.

    References
    ----------
    .. [1] C. J. F. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Adv. Eng. Software 4
       (1982) 75-76.
    .. [2] J. J. Moré and S. M. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33
       (2011) 1292-1314.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import check_grad
    >>> def bowl(x, centre):
    ...     return ((x - centre) ** 4).sum()
    >>> def slope(x, centre):
    ...     gradient = 4 * (x - centre) ** 3
    ...     gradient[1] *= 0.5
    ...     return gradient
    >>> check = check_grad(bowl, [1.0, 2.0, 3.0], args=(np.zeros(3),), jac=slope)
    >>> bool(check), check.index, check.given, round(check.expected, 6)
    (False, 1, 16.0, 32.0)
    >>> print(check.message)  # doctest: +ELLIPSIS
    Component 1 looks wrong: given 16, differences say 32 +- ...: half of it.
    """
    code, point = _read(fun, x, args, jac, value_only=False)
    return check_gradient(code, point, _read_settings(directions, seed, rtol))


def check_hess(
    fun: Callable[..., Any] | None,
    x: ArrayLike,
    args: Any = (),
    jac: Callable[..., Any] | str | bool | None = None,
    hess: Callable[..., Any] | None = None,
    *,
    directions: int = 3,
    seed: int = 0,
    rtol: float = 1e-6,
) -> DerivativeCheck:
    """Compare a Hessian with differences of the gradient, and say what looks wrong.

    As `check_grad`, which should come first: a Hessian is compared with the gradient that is
    given. Without one it is compared with second differences of the function's values.

    Parameters
    ----------
    fun : callable or None
        The function, as in `minimize`. It may be None if `jac` is callable, as only gradients are
        evaluated then.
    x : array_like of real numbers, shape (n,)
        Where to compare.
    args : tuple, optional
        Further arguments of `fun`, `jac` and `hess`.
    jac : {callable, True, "inplace", None}, optional
        The gradient. None, the default, and False compare with values.
    hess : callable
        The Hessian, ``hess(x, *args)``: an array of shape (n, n), a sparse matrix or array of
        SciPy's, or a `scipy.sparse.linalg.LinearOperator`.
    directions, seed, rtol : optional
        As in `check_grad`.

    Returns
    -------
    DerivativeCheck
        True if nothing is wrong. Its ``index`` is a pair: row and column.

    Raises
    ------
    ValueError, TypeError
        As `check_grad`; and if `hess` returns something else than a Hessian.

    See Also
    --------
    check_grad : The same for a gradient.
    check_hessp : The same for products with a Hessian.

    Notes
    -----
    **Costs.** Up to 100 variables, 6 to 12 gradients each, some 40 to 80 if a column is wrong.
    Beyond, as many for each random direction, and some ``8 log2(n)`` to find the column. With
    values, 6 to 30 evaluations for each of the ``n (n + 1) / 2`` pairs up to 20 variables, some 50
    if it is wrong; beyond, for each pair of random directions, and twice ``16 log2(n)`` to find the
    entry. 12 evaluations more estimate the noise.

    Whether the Hessian is symmetric is tested as well.

    Differences are taken as in `check_grad`. The mixed second difference along u and v is
    ``(f(x + tu + tv) - f(x + tu - tv) - f(x - tu + tv) + f(x - tu - tv)) / (4 t**2)``, whose error
    has even powers of t alone.

    Examples
    --------
    >>> from scipy.optimize import rosen, rosen_der, rosen_hess
    >>> from fastopt import check_hess
    >>> bool(check_hess(rosen, [-1.2, 1.0, 0.7], jac=rosen_der, hess=rosen_hess))
    True
    >>> import numpy as np
    >>> check = check_hess(
    ...     rosen, [-1.2, 1.0, 0.7], jac=rosen_der, hess=lambda x: np.triu(rosen_hess(x))
    ... )
    >>> print(check.message)  # doctest: +ELLIPSIS
    Entry [1, 0] looks wrong: given 0, differences say 480 +- ...: only its upper ...
    """
    check_callable("hess", hess)
    code, point = _read(fun, x, args, jac, value_only=True)
    settings = _read_settings(directions, seed, rtol)
    return check_hessian("Hessian", code, point, hess, settings)


def check_hessp(
    fun: Callable[..., Any] | None,
    x: ArrayLike,
    args: Any = (),
    jac: Callable[..., Any] | str | bool | None = None,
    hessp: Callable[..., Any] | None = None,
    *,
    directions: int = 3,
    seed: int = 0,
    rtol: float = 1e-6,
) -> DerivativeCheck:
    """Compare products with a Hessian with differences of the gradient, and say what looks wrong.

    As `check_hess`. Also tested are that the product is linear, and that it is symmetric: that
    ``u @ hessp(x, v)`` is ``v @ hessp(x, u)``.

    Parameters
    ----------
    fun, x, args, jac : optional
        As in `check_hess`.
    hessp : callable
        The product, ``hessp(x, p, *args) -> array_like, shape (n,)``.
    directions, seed, rtol : optional
        As in `check_grad`.

    Returns
    -------
    DerivativeCheck
        True if nothing is wrong. Its ``index`` is a row and a column of the Hessian.

    Raises
    ------
    ValueError, TypeError
        As `check_hess`.

    See Also
    --------
    check_hess : The same for the Hessian itself.

    Notes
    -----
    The costs are those of `check_hess`, and one product for each variable up to 100, and for each
    direction that is tried.

    Examples
    --------
    >>> from scipy.optimize import rosen, rosen_der, rosen_hess_prod
    >>> from fastopt import check_hessp
    >>> bool(check_hessp(rosen, [-1.2, 1.0, 0.7], jac=rosen_der, hessp=rosen_hess_prod))
    True
    """
    check_callable("hessp", hessp)
    code, point = _read(fun, x, args, jac, value_only=True)
    settings = _read_settings(directions, seed, rtol)
    return check_hessian("Hessian product", code, point, hessp, settings)


def _read(
    fun: Any, x: ArrayLike, args: Any, jac: Any, value_only: bool
) -> tuple[Code, NDArray[np.float64]]:
    point = real_vector("x", x).copy()
    return Code(fun, args, jac, point.size, value_only), point


def _read_settings(directions: Any, seed: Any, rtol: Any) -> Settings:
    directions = Integer(low=1)("directions", directions, 0)
    seed = Integer(low=0)("seed", seed, 0)
    rtol = Real(low=0.0, high=1.0, open_low=True, open_high=True)("rtol", rtol, 0)
    return Settings(np.random.default_rng(seed), directions, rtol)
