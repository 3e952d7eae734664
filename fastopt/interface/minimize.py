"""`minimize`: SciPy's call, solved by fastopt where it can and by SciPy where it cannot.

Owns the choice between the two, and the checks that this choice needs. How fastopt solves is
`Solver`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import (
    Bounds,
    HessianUpdateStrategy,
    LinearConstraint,
    NonlinearConstraint,
    OptimizeResult,
)

from fastopt.core.validate import check_callable, real_vector
from fastopt.device.arrays import is_device_array
from fastopt.interface.bounds import fit_method, read_bounds
from fastopt.interface.methods import METHODS, SCIPY_METHODS, Method, find_method, unknown_method
from fastopt.interface.options import as_mapping, check_tol, scipy_options
from fastopt.interface.solver import DIFFERENCES, Solver, check_jac
from fastopt.interface.tuples import Options
from fastopt.objectives.minibatches import Minibatches
from fastopt.objectives.source import is_c_function

__all__ = [
    "check_known_to_scipy",
    "goes_to_scipy",
    "minimize",
]

Vector = NDArray[np.float64]


def minimize(
    fun: Callable[..., Any],
    x0: ArrayLike,
    args: Any = (),
    method: str | Callable[..., Any] | None = None,
    jac: Callable[..., Any] | str | bool | None = None,
    hess: Callable[..., Any] | str | HessianUpdateStrategy | None = None,
    hessp: Callable[..., Any] | None = None,
    bounds: Bounds | Sequence[tuple[float | None, float | None]] | None = None,
    constraints: Any = (),
    tol: float | None = None,
    callback: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | Options | None = None,
    data: Minibatches | None = None,
) -> OptimizeResult:
    """Minimize a function of one or more variables, as `scipy.optimize.minimize` does.

    The arguments, their forms and their defaults are SciPy's. The methods of the table below run
    in fastopt, and so do problems with bounds, by ``"l-bfgs-b"``. Every other method of SciPy's,
    every problem with constraints, and one with bounds and another method, is handed to SciPy;
    ``result.library`` says which of the two solved it. (Methods that SciPy does not have refuse
    bounds and constraints.)

    Parameters
    ----------
    fun : callable
        The function to minimize, ``fun(x, *args) -> float``. ``x`` is a fresh array of shape (n,)
        and dtype float64, which is yours to keep and to write to. The value may be a real number
        or an array that holds one. A C function may take its place, see the notes.
    x0 : array_like of real numbers, shape (n,)
        Where to start: a scalar or a one-dimensional sequence. It is never written to. It may be
        an array on a GPU, see the notes.
    args : tuple, optional
        Further arguments of `fun`, `jac`, `hess` and `hessp`. Anything but a tuple is passed as
        the one further argument.
    method : str or callable, optional
        The method, its name in any case:

        - ``"bfgs"``: dense BFGS, for up to a few thousand variables;
        - ``"l-bfgs"``: limited-memory BFGS, for many variables;
        - ``"l-bfgs-b"``: the same within bounds; which of the two runs is decided by `bounds`,
          whichever name is given, and ``result.method`` says it;
        - ``"dfp"`` and ``"sr1"``: other quasi-Newton updates, the latter in a trust region;
        - ``"cg"``: nonlinear conjugate gradients, for very many variables;
        - ``"newton"``: Newton's method with a line search, on the Hessian;
        - ``"newton-cg"``: the same on products with the Hessian, for many variables;
        - ``"trust-exact"``, ``"dogleg"``: Newton's method in a trust region, on the Hessian;
        - ``"trust-ncg"``: the same on products, for many variables;
        - ``"barzilai-borwein"``: gradient descent with steps that know the curvature;
        - ``"nesterov-restart"``: accelerated gradients, for convex functions;
        - ``"fista"``: the same for the function plus an l1 term, the option ``l1``;
        - ``"gd"`` or ``"sgd"``, ``"momentum"``, ``"nesterov"``: gradient descent, and with
          momentum;
        - ``"adagrad"``, ``"adadelta"``, ``"rmsprop"``, ``"rmsprop-momentum"``,
          ``"rmsprop-centered"``, ``"adam"``, ``"nadam"``, ``"adamw"``, ``"amsgrad"``,
          ``"adamax"``, ``"radam"``, ``"lion"``, ``"adan"``: gradient descent with a step length for
          each variable;
        - any other method of `scipy.optimize.minimize`, which then solves the problem.

        By default BFGS, or ``"l-bfgs-b"`` if `bounds` are given, or SciPy's SLSQP if `constraints`
        are given: as SciPy chooses. A callable is called as SciPy would call it, and what it
        returns is returned unchanged.
    jac : {callable, True, False, None, "inplace", "2-point", "3-point", "cs"}, optional
        The gradient. A callable, ``jac(x, *args) -> array_like, shape (n,)``; or True if `fun`
        returns the pair ``(value, gradient)``; or ``"inplace"`` if it is
        ``fun(x, grad, *args) -> float`` and writes the gradient to ``grad``, an array of shape
        (n,), or of shape (0,) where the value alone is wanted; or the scheme of finite differences
        to take it from, with a relative step. None, the default, and False are forward
        differences, with the absolute step ``eps`` if that is given.
    hess : {callable, "2-point", "3-point", "cs", HessianUpdateStrategy}, optional
        The Hessian, for ``"newton"``, ``"newton-cg"``, ``"trust-exact"``, ``"trust-ncg"`` and
        ``"dogleg"``: ``hess(x, *args) -> array_like, shape (n, n)``, of which the lower triangle is
        read; or a sparse matrix of SciPy's; or, for the methods that take products, a
        LinearOperator. Products are taken with these as they are. ``"newton"`` factors a sparse
        matrix if n is at least 300 and the first one was sparse; ``"trust-exact"`` and ``"dogleg"``
        make it dense, 800 MB for n = 10 000. ``"2-point"`` are differences of gradients. The other
        forms go to SciPy, with those methods that take them there. Methods that do not use it warn.
    hessp : callable, optional
        The product of the Hessian with a vector, ``hessp(x, p, *args) -> array_like, shape (n,)``.
        The methods that take products prefer it to `hess`; the others multiply it by n unit
        vectors if there is no `hess`. Without either, differences of gradients stand in: two for
        a product, n + 1 for a Hessian.
    bounds : sequence of (low, high) or `scipy.optimize.Bounds`, optional
        Bounds on the variables; None or an infinite number is no bound. If no bound is finite
        there are none. In fastopt `fun` is never evaluated outside, not by an ulp, nor for
        differences (``Bounds.keep_feasible`` is always true): x0 is moved to the nearest point
        within, and differences turn inward where they have to. A variable whose bounds are equal
        is fixed; no difference is taken for it, and its derivative is given as 0.
    constraints : dict, LinearConstraint, NonlinearConstraint or a list of these, optional
        Constraints, as SciPy takes them.
    tol : float, optional
        Sets the tolerances that SciPy's equal method sets: ``gtol``, and for ``"l-bfgs"`` and
        ``"l-bfgs-b"`` ``ftol`` as well. An option given by name has precedence.
    callback : callable, optional
        Called after each iteration, with `data` after each epoch. If its only parameter is named
        ``intermediate_result``, it is called as ``callback(intermediate_result=result)`` with an
        OptimizeResult that holds ``x, fun, jac, nit, nfev, njev`` and ``step``, the length of the
        last step; otherwise as ``callback(x)``. Either way the arrays are fresh copies. Raising
        StopIteration ends the solve with status 99; any other exception comes out unchanged.
    options : dict or Options, optional
        Options of the method, described below. None leaves an option at its default.
    data : fastopt.Minibatches, optional
        Data of which `fun` gets a batch as its first arguments, another one in each iteration:
        ``fun(x, X_batch, y_batch, *args)`` for ``data=Minibatches(X, y)``. It is taken to be a mean
        over the rows of its batch. With first-order methods alone.

    Returns
    -------
    OptimizeResult
        A `scipy.optimize.OptimizeResult` with

        - ``x``: the best point found, an array of shape (n,);
        - ``fun``, ``jac``: the value and the gradient there; with ``"fista"`` the value includes
          the l1 term, and the gradient is that of `fun` alone;
        - ``hess_inv``: with ``"bfgs"`` and ``"dfp"`` the approximate inverse Hessian, an array of
          shape (n, n); with ``"l-bfgs"`` and ``"l-bfgs-b"`` a LinearOperator;
        - ``nit``, ``nfev``, ``njev``, ``nhev``: how many iterations were run, and how often the
          function (for finite differences too), its gradient and its Hessian, or a product with
          that, were evaluated;
        - ``success``, ``status``, ``message``: whether the solve ended at a minimum or where it
          was asked to, SciPy's number for the way it ended, and a sentence on what to try;
        - ``converged_to``: the test that holds at ``x``: ``"gtol"``, ``"ftol"``, ``"xtol"``,
          ``"stopval"``, ``"roundoff"``; None if none does, or if SciPy solved it;
        - ``method``, ``library``: what solved the problem, the latter ``"fastopt"`` or
          ``"scipy"``;
        - ``trace``, ``allvecs``: if the options of these names asked for them;
        - with `data`: ``epochs``, how many were completed, ``loss``, the mean of the batches'
          values in the last one, each at its own x, and ``validation``, the lowest, if that option
          is given. ``fun`` and ``jac`` are those of all the data at ``x`` (where the data come from
          an iterator, ``loss`` and the last batch's gradient).

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong: before anything is evaluated, with the argument's name, what was
        expected and what came. Also if `fun` or `jac` returns something that is not a value or a
        gradient; if SciPy is to solve the problem and an option is one that only fastopt has; and
        if ``jac="cs"`` and the gradient at x0 is not that of `fun`. (A function that takes
        magnitudes, real parts or conjugates, or that calls `norm`, loses the complex step. Two
        evaluations more than the gradient takes, rarely up to 14, tell; ``nfev`` counts them.)
    KeyboardInterrupt
        On Ctrl-C, unless the option ``on_interrupt`` is ``"return"``.

    Warns
    -----
    OptimizeWarning
        If `options` holds a name that the method does not have.
    RuntimeWarning
        If `hess` or `hessp` is given to a method that does not use it.

    See Also
    --------
    Solver : The same solve, one slice at a time.
    Options : The options in a form that ``@njit`` code can hold.
    plot_convergence : A picture of the history that the option ``trace`` keeps.

    Notes
    -----
    **In** ``@njit`` **code** this function can be called, too: the guide :doc:`/guides/njit` tells
    what it takes and returns there.

    **On a GPU**, with the methods from ``"gd"`` to ``"adan"``, `x0` may be an array on a GPU, of
    Numba's, CuPy's or PyTorch's: one-dimensional, contiguous, float32 or float64. `fun` gets x
    there, in the dtype of `x0`: always the same array, which it must neither write to nor keep. The
    gradient that it returns (``jac=True``, or `jac` is callable) is there as well, and the value
    may be: an array of one number. Nothing waits for the GPU but a look at the state of the solve,
    at first often, then after 32 iterations, and for a callback after each; `fun` may therefore be
    evaluated again at the last point, which ``nfev`` counts. ``result.x`` and ``result.jac`` are
    there, too, and a callback gets copies there. The options ``xtol``, ``norm``, ``trace``,
    ``return_all`` and ``progress`` are refused.

    **A C function** may be `fun`, with ``jac=True``: a Numba cfunc or a `scipy.LowLevelCallable` of
    the type ``int (double *x, double *value, double *grad, Py_ssize_t n, void *user_data)``, which
    fills ``value`` and ``grad`` and returns 0, or 2 to end the solve; anything else is an error.
    :doc:`/how_it_works` has an example.

    **A method of an object** that has two more, ``held()`` and ``commit()``, may be `fun`: its
    evaluations leave a trace, as those of a network with running statistics do. :class:`Solver`
    tells which evaluations count.

    **Numerical trouble is never an exception.** It ends the solve with a status and a message, and
    the best finite point seen is returned. Status 0 is success, 1 a limit on iterations or
    evaluations, 2 a gradient that does not fit its function or differences too inaccurate to go
    on with, 3 a function that is not finite where it has to be, 4 a function unbounded below, 5
    the edge of the region where it is finite, 6 ``maxtime``, 7 an interrupt, 8 the wish of a C
    function, 99 the callback.

    **Options of every method in fastopt**

    gtol : float, default 1e-5; 1e-4 for methods in a trust region
        Converged when the norm of the gradient is at most this; within bounds, of the projected
        gradient, P(x - g) - x with P the nearest point within; with an l1 term, of the smallest
        subgradient, g + l1 sign(x) where x is not 0, and max(abs(g) - l1, 0) where it is.
        ``result.jac`` is g itself.
    norm : float, default inf
        Order of that norm: inf is the largest element, -inf the smallest.
    ftol : float, default 0; 2.22e-9 for ``"l-bfgs"`` and ``"l-bfgs-b"``
        Converged when an iteration lowers f by at most this times max(abs(f), abs(f before), 1).
        0 is off.
    xtol : float, default 0
        Converged when the Euclidean norm of a step is at most this times (this + that of x). 0 is
        off. Also called ``xrtol`` with ``"bfgs"``.
    stopval : float, default -inf
        Stop, successfully, when f is at most this.
    maxiter : int or inf, default 200 n
        (15000 for ``"l-bfgs"`` and ``"l-bfgs-b"``, 10000 for ``"barzilai-borwein"``,
        ``"nesterov-restart"``, ``"fista"`` and the rules from ``"gd"`` to ``"adan"``, no limit for
        the latter with `data`.) Stop after so many iterations.
    maxfev : int or inf, default inf; 15000 for ``"l-bfgs"`` and ``"l-bfgs-b"``
        Stop after so many evaluations of the function, those for differences included. (A gradient
        of differences is completed, by which ``nfev`` may exceed it.) Also called ``maxfun``.
    maxtime : float, default inf
        Stop after so many seconds.
    finite_diff_rel_step : float or array of shape (n,), optional
        Step of the differences, relative to abs(x), if `jac` names a scheme; with first-order
        methods also if `jac` is None. The default suits the scheme.
    workers : map-like callable or int, optional
        Evaluates the points of a difference, as ``workers(function, points)``; a number is that of
        processes to start, -1 one a core. To reach them, `fun` and `args` have to pickle.
    compile : {"auto", True, False}, default "auto"
        Whether an ``@njit`` function is evaluated without the interpreter, which takes some tenths
        of a second to prepare: at once, never, or as soon as its calls have cost as much. The
        result is the same to the bit. With True, what cannot be compiled is a TypeError or an
        error of Numba's.
    disp : bool, default False
        Print a summary at the end.
    return_all : bool, default False
        Keep x at the start and after each iteration, in ``result.allvecs``; with `data`, after each
        epoch.
    trace : bool, default False
        Keep a history in ``result.trace``: a dict of arrays of equal length, ``"nit"``,
        ``"nfev"``, ``"njev"``, ``"time"`` (seconds since the start), ``"fun"``, ``"gnorm"``
        (infinity norm of the gradient, projected within bounds, or of the smallest subgradient)
        and ``"step"``, at the start and after each iteration. With `data`, a row after each epoch:
        ``"epoch"``, ``"nit"``, ``"nfev"``, ``"njev"``, ``"time"``, ``"loss"``, ``"lr"`` and, as far
        as they were evaluated, otherwise NaN, ``"fun"``, ``"gnorm"`` and ``"validation"``.
    progress : bool, default False
        Show a progress bar. This needs tqdm.
    on_interrupt : {"raise", "return"}, default "raise"
        What Ctrl-C does: raise KeyboardInterrupt, or return the best point so far with status 7.

    **Options of methods with a line search** (``"bfgs"``, ``"l-bfgs"``, ``"l-bfgs-b"``, ``"dfp"``,
    ``"cg"``, ``"newton"`` and ``"newton-cg"``)

    c1, c2 : float, default 1e-4 and 0.9; c2 is 0.4 for ``"cg"``, 0.1 for ``"dfp"``
        Constants of the Wolfe conditions, 0 < c1 < c2 < 1: the least decrease, as a part of what
        the slope promises, and the most of the slope that may remain.
    maxls : int, default 20
        The most trial steps of one line search.
    line_search : {"hager-zhang", "more-thuente"}, default "hager-zhang"
        The line search.
    eps : float or array of shape (n,), optional; of all methods but the rules from ``"gd"`` on
        Absolute step of the forward differences if `jac` is None. The default, 1.49e-8
        max(1, abs(x)), suits the size of each variable; SciPy's is the same up to abs(x) = 1, and
        stays at that beyond.
    hess_inv0 : array of shape (n, n) or LbfgsInvHessProduct, optional
        What is known of the inverse Hessian: for ``"bfgs"`` and ``"dfp"`` a symmetric positive
        definite matrix, for ``"l-bfgs"`` and ``"l-bfgs-b"`` the pairs of an earlier result.
        ``result.hess_inv`` of a similar problem is either. By default a multiple of the identity,
        chosen after the first step and, in a matrix, in the first n updates. SciPy's is the
        identity.
    damping : bool, default False; ``"bfgs"``, ``"dfp"``, ``"l-bfgs"`` and ``"l-bfgs-b"``
        Powell's damping: a pair of step and gradient change that has less than a fifth of the
        expected curvature is moved towards that, and not taken as it is.
    beta : {"hz", "pr+", "fr", "dy", "hs"}, default "hz"; ``"cg"`` only
        How directions are conjugated: Hager & Zhang, Polak & Ribière, Fletcher & Reeves, Dai &
        Yuan, Hestenes & Stiefel.
    preconditioner : array, callable, LinearOperator or matrix, optional; ``"cg"`` only
        An approximate inverse Hessian: its diagonal, n positive numbers, or its product with a
        vector.
    maxcor : int, default 10; ``"l-bfgs"`` and ``"l-bfgs-b"``
        How many pairs of steps and gradient changes to remember.
    threads : int, default 1; ``"l-bfgs"`` and ``"l-bfgs-b"``
        How many threads share the solver's own work, from 100 000 variables on and without bounds.
        No bit of the result depends on it.
    iprint : int; ``"l-bfgs"`` and ``"l-bfgs-b"``
        Accepted, as SciPy accepts it, and without effect.

    **Options of methods in a trust region** (``"sr1"``, ``"trust-exact"``, ``"trust-ncg"``,
    ``"dogleg"``)

    initial_trust_radius : float, optional
        The longest first step, by default max(1, norm(x0)).
    max_trust_radius : float, default inf
        The longest step of all.
    eta : float, default 1e-4
        A step is taken if it lowers the function by more than this part of what was predicted; at
        least 0, below 0.25.

    **Options of "fista"**

    l1 : float or array of shape (n,), default 0
        The weight of the l1 term: minimized is ``fun(x) + sum(l1 * abs(x))``, and elements of x are
        zero exactly where that is best. `fun` must be smooth by itself.

    **Options of the rules from** ``"gd"`` **to** ``"adan"``

    lr : float, default 0.01
        (0.001 for ``"rmsprop"`` and its kin and for ``"adam"`` and its kin, but 0.002 for
        ``"adamax"`` and 0.0001 for ``"lion"``; ``"adadelta"`` has none.) Step length.
    momentum : float, default 0.9; 0 for ``"rmsprop-centered"``
        The part of the velocity that is kept.
    decay : float, default 0.9; ``"adadelta"``, ``"rmsprop"`` and its kin
        Decay rate of the mean square of the gradient.
    beta1, beta2, beta3 : float, default 0.9 and 0.999; ``"adam"`` and its kin
        Decay rates of the means of the gradient and of its square (0.9 and 0.99 for ``"lion"``);
        for ``"adan"`` 0.98, 0.92 and 0.99, of the means of the gradient, of its change and of a
        square.
    eps : float, default 1e-8; 1e-6 for ``"adadelta"``
        Added to a mean square or its root, before that divides. (The step of differences is
        ``finite_diff_rel_step``.)
    weight_decay : float, default 0; 0.01 for ``"adamw"``
        Times x, it is added to the gradient after clipping; with ``flavor="keras"`` x loses lr
        times as much of itself before the step. ``"adamw"``, ``"lion"`` and ``"adan"`` have a decay
        of their own beside the step.
    clip_norm, clip_value : float, default inf
        A gradient longer than the one is shortened to it; then its entries are clipped to the
        magnitude of the other.
    schedule : Schedule, optional
        What multiplies the step length at each step: one of `fastopt.schedules`.
    flavor : {"textbook", "torch", "optax", "keras"}, default "textbook"
        Whose form of the rule, and whose defaults. Some hyperparameters are found with others than
        the textbook's form alone: ``dampening`` (momentum, torch), ``lr_decay`` (AdaGrad, torch),
        ``initial_accumulator`` (AdaGrad), ``eps_root`` (Adam and its kin, optax),
        ``momentum_decay`` (Nadam, torch), ``threshold`` (RAdam, optax).

    **Options of first-order methods with** `data`

    epochs : int or inf, default 10
        How many epochs to run. That the last one has been run is a success, with
        ``converged_to="epochs"``.
    full_every : int, default 0
        After each so many epochs the function is evaluated for all of the data, and ``gtol``,
        ``ftol`` and ``stopval`` are tested there, which are not tested otherwise, and ``xtol`` not
        at all. 0 is never. ``maxfev`` is for the batches of iterations alone.
    validation : callable, optional
        A function of x, the less the better, called after each epoch; the x of its lowest value is
        returned. Where it is not at its lowest, ``gtol``, ``ftol`` and ``stopval`` do not end the
        solve.
    patience : int or inf, default inf
        Stop when so many epochs have not improved the validation.
    averaging : {"polyak", "ema"}, optional
        Return a mean of the iterates, of all of them or one that forgets.
    average_decay : float, default 0.999
        What the mean that forgets keeps of itself in each iteration, once it is older than that.
    average_from : int, default 0
        The epochs whose iterates are left out of the mean.

    References
    ----------
    .. [1] J. Nocedal and S. J. Wright, *Numerical Optimization*, 2nd ed., Springer, 2006,
       algorithms 6.1, 6.2, 7.1 and 7.5, sections 3.4, 4.1 and 4.3.
    .. [2] W. W. Hager and H. Zhang, "A new conjugate gradient method with guaranteed descent and
       an efficient line search", SIAM J. Optim. 16 (2005) 170-192.
    .. [3] J. J. Moré and D. J. Thuente, "Line search algorithms with guaranteed sufficient
       decrease", ACM Trans. Math. Softw. 20 (1994) 286-307.
    .. [4] J. J. Moré and D. C. Sorensen, "Computing a trust region step", SIAM J. Sci. Stat.
       Comput. 4 (1983) 553-572.
    .. [5] C.-J. Lin and J. J. Moré, "Newton's method for large bound-constrained optimization
       problems", SIAM J. Optim. 9 (1999) 1100-1127.
    .. [6] D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization",
       ICLR 2015.
    .. [7] R. H. Byrd, P. Lu, J. Nocedal and C. Zhu, "A limited memory algorithm for bound
       constrained optimization", SIAM J. Sci. Comput. 16 (1995) 1190-1208.
    .. [8] J. L. Morales and J. Nocedal, "Remark on Algorithm 778", ACM Trans. Math. Softw. 38
       (2011) 7:1-7:4.
    .. [9] M. Raydan, "The Barzilai and Borwein gradient method for the large scale unconstrained
       minimization problem", SIAM J. Optim. 7 (1997) 26-33.
    .. [10] A. Beck and M. Teboulle, "A fast iterative shrinkage-thresholding algorithm for linear
       inverse problems", SIAM J. Imaging Sci. 2 (2009) 183-202.
    .. [11] B. O'Donoghue and E. Candès, "Adaptive restart for accelerated gradient schemes", Found.
       Comput. Math. 15 (2015) 715-732.

    Examples
    --------
    Rosenbrock's function from its usual start:

    >>> import fastopt
    >>> from scipy.optimize import rosen, rosen_der
    >>> result = fastopt.minimize(rosen, [-1.2, 1.0], method="bfgs", jac=rosen_der)
    >>> result.x.round(4)
    array([1., 1.])
    >>> result.success, result.converged_to, result.library
    (True, 'gtol', 'fastopt')

    Value and gradient from one function, with data passed along and a limit on time:

    >>> import numpy as np
    >>> def squares(x, matrix, target):
    ...     residual = matrix @ x - target
    ...     return 0.5 * residual @ residual, matrix.T @ residual
    >>> matrix, target = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([3.0, 4.0])
    >>> result = fastopt.minimize(
    ...     squares, [0, 0], args=(matrix, target), method="l-bfgs", jac=True,
    ...     options={"maxtime": 60.0},
    ... )
    >>> result.x.round(4)
    array([1., 1.])

    With a Hessian, Newton's method needs fewer iterations:

    >>> from scipy.optimize import rosen_hess
    >>> result = fastopt.minimize(
    ...     rosen, [-1.2, 1.0], method="trust-exact", jac=rosen_der, hess=rosen_hess
    ... )
    >>> result.x.round(4), result.nit < 40
    (array([1., 1.]), True)

    With an l1 term, which makes variables exactly zero:

    >>> result = fastopt.minimize(
    ...     squares, [0, 0], args=(matrix, target), method="fista", jac=True, options={"l1": 12.0}
    ... )
    >>> result.x.round(4)
    array([0. , 0.3])

    Within bounds:

    >>> result = fastopt.minimize(rosen, [0.3, 0.3], jac=rosen_der, bounds=[(0, 0.5), (0, 1)])
    >>> result.x.round(4), result.library, result.method
    (array([0.5 , 0.25]), 'fastopt', 'l-bfgs-b')
    """
    if is_device_array(x0):
        on_gpu = import_module("fastopt.interface.device_loop")
        others = {"hess": hess, "hessp": hessp, "bounds": bounds, "data": data}
        others["constraints"] = constraints or None
        result: OptimizeResult = on_gpu.minimize_on_gpu(
            fun, x0, args, method, jac, others, tol, callback, options
        )
        return result
    if callable(method):
        if data is not None:
            raise ValueError("`data` must be None where `method` is a callable")
        fun, jac = _scipy_form(fun, jac)
        named = dict(as_mapping(options))
        return scipy.optimize.minimize(
            fun, x0, args, method, jac, hess, hessp, bounds, constraints, tol, callback, named
        )
    constrained = _is_constrained(constraints)
    if bounds is not None and isinstance(bounds, Iterator):
        bounds = list(bounds)  # it is read more than once
    if method is None:
        name = "SLSQP" if constrained else "bfgs" if bounds is None else "l-bfgs"
    elif isinstance(method, str):
        name = method
    else:
        raise TypeError(
            f"`method` must be a string, a callable or None, got {type(method).__name__}"
        )
    row = find_method(name)
    box = None if bounds is None else read_bounds(bounds, real_vector("x0", x0).size)
    if (
        row is not None
        and not constrained
        and not goes_to_scipy(row, hess)
        and fit_method(row, box) is not None
    ):
        if hess is not None and not row.second_order:
            _check_hessian(hess, hessp)
        solver = Solver(fun, x0, args, name, jac, hess, hessp, box, tol, options, data)
        return solver.run(callback)

    if row is None:
        check_known_to_scipy(name)
    if data is not None:
        cause = "`constraints`" if constrained else repr(name) if box is None else "`bounds`"
        raise ValueError(
            f"`data` must be None with {cause}, which is for SciPy to solve, got an object of type "
            f"{type(data).__name__}"
        )
    if is_c_function(fun):
        raise TypeError(
            "`fun` must be callable from Python where SciPy solves the problem, got a C function"
        )
    check_callable("fun", fun)
    real_vector("x0", x0)
    _check_hessian(hess, hessp)
    if callback is not None:
        check_callable("callback", callback)
    jac = check_jac(jac)
    tol = check_tol(tol)
    if row is not None:
        if row.scipy is None:
            raise ValueError(
                f"`method` must be one that takes bounds or constraints, got {row.name!r}; "
                "leave `method` out, or transform the variables"
            )
        name = row.scipy
    fun, jac = _scipy_form(fun, jac)
    result = scipy.optimize.minimize(
        fun,
        x0,
        args=args,
        method=name,
        jac=jac,
        hess=hess,
        hessp=hessp,
        bounds=bounds,
        constraints=constraints,
        tol=tol,
        callback=callback,
        options=scipy_options(row, options),
    )
    result["converged_to"] = None
    result["method"] = name.lower()
    result["library"] = "scipy"
    return result


def _scipy_form(fun: Any, jac: Any) -> tuple[Any, Any]:
    """`fun` and `jac` for SciPy, which knows no gradient that is filled in."""
    if not isinstance(jac, str) or jac != "inplace":
        return fun, jac

    def value_and_gradient(x: Vector, *args: Any) -> tuple[Any, Vector]:
        gradient = np.full(x.size, np.nan)
        return fun(x, gradient, *args), gradient

    return value_and_gradient, True


def _is_constrained(constraints: Any) -> bool:
    """Whether there are constraints; checks that they are something SciPy takes."""
    if constraints is None or (isinstance(constraints, tuple | list | dict) and not constraints):
        return False
    kinds = (dict, LinearConstraint, NonlinearConstraint)
    each = [constraints] if isinstance(constraints, kinds) else constraints
    if not isinstance(each, tuple | list) or not all(isinstance(one, kinds) for one in each):
        raise TypeError(
            "`constraints` must be a dict, a LinearConstraint, a NonlinearConstraint or a list of "
            f"these, got an object of type {type(constraints).__name__}"
        )
    return True


def _check_hessian(hess: Any, hessp: Any) -> None:
    if hessp is not None:
        check_callable("hessp", hessp)
    if hess is None or callable(hess) or isinstance(hess, HessianUpdateStrategy):
        return
    expected = "`hess` must be callable, '2-point', '3-point', 'cs' or a HessianUpdateStrategy"
    if not isinstance(hess, str):
        raise TypeError(f"{expected}, got an object of type {type(hess).__name__}")
    if hess not in DIFFERENCES:
        raise ValueError(f"{expected}, got {hess!r}")


def goes_to_scipy(row: Method, hess: Any) -> bool:
    """Whether `hess` is a form of Hessian that SciPy alone makes, and its equal method takes."""
    made_by_scipy = isinstance(hess, HessianUpdateStrategy) or (
        isinstance(hess, str) and hess in ("3-point", "cs")
    )
    return made_by_scipy and row.scipy in ("Newton-CG", "trust-ncg")


def check_known_to_scipy(method: str) -> None:
    """Refuse a name that neither library knows, with the closest that one of them does."""
    try:
        scipy.optimize.show_options("minimize", method.lower(), disp=False)
    except ValueError:
        raise unknown_method(method, (*METHODS, *SCIPY_METHODS)) from None
