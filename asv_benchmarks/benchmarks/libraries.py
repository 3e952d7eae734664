"""`minimize` of every library behind one call, and the objectives that several benchmarks share.

Methods and their counterparts in SciPy come from METHODS; `minimizer` takes functions of the
interpreter, `jax_minimizer` those of JAX. What a library lacks raises NotImplementedError, which
asv takes as a reason to skip; `installed` does so for a library that is not there.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.optimize
from scipy.optimize import Bounds, OptimizeResult, rosen, rosen_der

import fastopt
from fastopt.interface.methods import METHODS

from . import installed

# For benchmarks in which SciPy has a counterpart, and nobody else.
LIBRARIES = ("fastopt", "scipy")
INTERPRETED = (*LIBRARIES, "nlopt", "torch")
JAX = ("jaxopt", "optimistix", "optax")

# First-order methods take a step length, which has no default that suits every problem.
QUASI_NEWTON = tuple(name for name, method in METHODS.items() if method.family == "quasi-newton")

# Small enough to descend on the Rosenbrock function from its standard start.
STEP_LENGTHS: dict[str, dict[str, float]] = {
    name: {"lr": 1e-3 if name in ("gd", "momentum", "nesterov", "radam") else 1e-2}
    for name, method in METHODS.items()
    if method.family == "first-order" and name != "adadelta"
}

# SLSQP is the one with a dense matrix.
NLOPT = {
    "bfgs": "LD_SLSQP",
    "l-bfgs": "LD_LBFGS",
    "l-bfgs-b": "LD_LBFGS",
    "newton-cg": "LD_TNEWTON_PRECOND_RESTART",
}

GTOL = 1e-5  # SciPy's default; fastopt's, too
PAIRS = 10

Solve = Callable[..., OptimizeResult]


def minimizer(library: str, method: str) -> Solve:
    """``minimize(fun, x0, jac=True, options=...)`` of `library`, with a step length if need be."""
    if library == "nlopt":
        if method not in NLOPT:
            raise NotImplementedError(f"NLopt has no {method}")
        installed.find("nlopt")
        return partial(nlopt_minimize, method=NLOPT[method])
    if library == "torch":
        if method != "l-bfgs":
            raise NotImplementedError(f"torch has no {method}")
        installed.torch()
        return torch_minimize
    if library == "scipy":
        name = METHODS[method].scipy
        if name is None:
            raise NotImplementedError(f"SciPy has no {method}")
        if METHODS[method].family == "trust-region":
            raise NotImplementedError(f"SciPy's {method} needs a Hessian: see `second_order`")
        return partial(scipy.optimize.minimize, method=name)

    def solve(*args: Any, options: dict[str, Any], **keywords: Any) -> OptimizeResult:
        options = STEP_LENGTHS.get(method, {}) | options
        return fastopt.minimize(*args, method=method, options=options, **keywords)

    return solve


def nlopt_minimize(
    fun: Callable[[np.ndarray], tuple[float, np.ndarray]],
    x0: np.ndarray,
    *,
    method: str,
    jac: bool = True,
    bounds: Bounds | None = None,
    options: dict[str, Any] | None = None,
) -> OptimizeResult:
    """NLopt has no test of the gradient: the evaluation that passes it ends the solve."""
    nlopt = installed.find("nlopt")
    given = {"gtol": GTOL} | (options or {})
    best, best_x, passed = np.inf, x0, False
    nfev = 0
    raised: BaseException | None = None

    def evaluate(x: np.ndarray, gradient: np.ndarray) -> float:
        nonlocal best, best_x, passed, nfev, raised
        nfev += 1
        try:
            value, slope = fun(x)
        except BaseException as error:
            raised = error
            raise
        if gradient.size:
            gradient[:] = slope
        passed = bool(np.abs(slope).max() <= given["gtol"])
        if value < best or passed:
            best, best_x = value, x.copy()
        if passed:
            solver.force_stop()
        return float(value)

    solver = nlopt.opt(getattr(nlopt, method), x0.size)
    solver.set_min_objective(evaluate)
    if "maxiter" in given:
        solver.set_maxeval(given["maxiter"])
    if bounds is not None:
        solver.set_lower_bounds(bounds.lb)
        solver.set_upper_bounds(bounds.ub)
    try:
        x = solver.optimize(x0)
    except Exception:  # a stop, by itself or by `evaluate`, which its L-BFGS takes for a failure
        if raised is not None:
            raise raised from None
        x = best_x
    code = solver.last_optimize_result()
    return OptimizeResult(
        x=x, nfev=nfev, nit=nfev, success=passed or code > 0, message=f"code {code}"
    )


def torch_minimize(
    fun: Callable[[np.ndarray], tuple[float, np.ndarray]],
    x0: np.ndarray,
    *,
    jac: bool = True,
    options: dict[str, Any] | None = None,
) -> OptimizeResult:
    """``torch.optim.LBFGS`` with its line search, around a function of NumPy's arrays."""
    torch = installed.torch()
    given = {"gtol": GTOL, "maxiter": 15_000} | (options or {})
    x = torch.tensor(x0, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [x],
        lr=1.0,
        max_iter=given["maxiter"],
        max_eval=10**6,
        tolerance_grad=given["gtol"],
        tolerance_change=0.0,
        history_size=PAIRS,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Any:
        value, gradient = fun(x.detach().numpy())
        x.grad = torch.from_numpy(gradient)
        return torch.tensor(value)

    optimizer.step(closure)
    state = optimizer.state[x]
    return OptimizeResult(x=x.detach().numpy(), nfev=state["func_evals"], nit=state["n_iter"])


# --- JAX -----------------------------------------------------------------------------------------


def jax_minimizer(
    library: str, method: str, fun: Callable[..., Any], *, gtol: float, maxiter: int
) -> Callable[..., Any]:
    """``solve(x0, *args) -> (x, evaluations or, where these are not told, iterations)``.

    To be compiled, or mapped over a batch, by the caller. Optimistix has no test of the gradient;
    its own, of steps and values, gets the square of `gtol` for values of order one.
    """
    jax = installed.jax()
    module = installed.find(library)
    if method not in ("bfgs", "l-bfgs") or (library, method) == ("optax", "bfgs"):
        raise NotImplementedError(f"{library} has no {method}")
    if library == "jaxopt":
        options = {"maxiter": maxiter, "tol": gtol}
        solver = (
            module.BFGS(fun, **options)
            if method == "bfgs"
            else module.LBFGS(fun, history_size=PAIRS, **options)
        )

        def solve(x0: Any, *args: Any) -> Any:
            x, state = solver.run(x0, *args)
            return x, state.iter_num

    elif library == "optimistix":
        kind = module.BFGS if method == "bfgs" else module.LBFGS
        search = kind(rtol=gtol**2, atol=gtol**2, norm=module.max_norm)

        def solve(x0: Any, *args: Any) -> Any:
            found = module.minimise(
                lambda x, args: fun(x, *args), search, x0, args, max_steps=maxiter, throw=False
            )
            return found.value, found.stats["num_steps"]

    else:
        solve = optax_loop(jax, module, fun, gtol, maxiter)
    return solve


def optax_loop(
    jax: Any, optax: Any, fun: Callable[..., Any], gtol: float, maxiter: int
) -> Callable[..., Any]:
    """Around a step of its L-BFGS, as optax has no loop of its own."""
    jnp = jax.numpy
    rule = optax.lbfgs(memory_size=PAIRS)

    def solve(x0: Any, *args: Any) -> Any:
        def value(x: Any) -> Any:
            return fun(x, *args)

        both = optax.value_and_grad_from_state(value)

        def goes_on(state: Any) -> Any:
            _, kept, k = state
            grad = optax.tree.get(kept, "grad")
            return (k == 0) | ((k < maxiter) & (jnp.abs(grad).max() > gtol))

        def step(state: Any) -> Any:
            x, kept, k = state
            found, grad = both(x, state=kept)
            updates, kept = rule.update(grad, kept, x, value=found, grad=grad, value_fn=value)
            return optax.apply_updates(x, updates), kept, k + 1

        x, _, k = jax.lax.while_loop(goes_on, step, (x0, rule.init(x0), 0))
        return x, k

    return solve


def jax_rosenbrock(x: Any) -> Any:
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


# --- The Rosenbrock function ---------------------------------------------------------------------


def rosenbrock_start(n: int) -> np.ndarray:
    return np.resize([-1.2, 1.0], n)


def rosenbrock(x: np.ndarray) -> tuple[float, np.ndarray]:
    """The chained Rosenbrock function and its gradient, for ``jac=True``."""
    return rosen(x), rosen_der(x)
