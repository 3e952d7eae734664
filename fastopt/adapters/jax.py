"""A JAX function of nested parameters as a function of one flat NumPy vector.

Owns the way of numbers between the two. Knows nothing of what minimizes the function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastopt.core.validate import check_callable

__all__ = ["JaxObjective", "from_jax"]

_PRECISIONS = ("float32", "float64")


def from_jax(fun: Callable[..., Any], params: Any = None) -> JaxObjective:
    """A JAX function's value and gradient as a function of one flat NumPy vector.

    Parameters
    ----------
    fun : callable
        ``fun(params, *batch)``, a scalar that JAX can differentiate and compile.
    params : pytree of arrays, optional
        Where to start: nested dicts, lists, tuples and whatever else JAX knows, with arrays that
        are all float32 or all float64. By default `fun` is a function of a vector, shape (n,).

    Returns
    -------
    JaxObjective
        A function ``fun(x, *batch) -> (value, gradient)``, which `minimize` takes with ``jac=True``
        and ``args=batch``; it is compiled once for each shape of what is in `batch`. The gradient
        is a NumPy array of the precision in which JAX computes. The attributes and methods of the
        function are

        * ``x0``: `params` as a NumPy vector, shape (n,); None if they were not given;
        * ``unflatten(x)``: a vector as nested as `params`, of JAX's arrays.

    Raises
    ------
    ImportError
        If JAX is not installed.
    TypeError
        If `fun` is not callable, or an array has another dtype.
    ValueError
        If `params` holds no array.

    See Also
    --------
    from_torch : The same for PyTorch.
    fastopt.minimize : What takes the function.
    fastopt.LBFGS : What steps a vector in a training loop.

    Notes
    -----
    JAX computes in single precision unless ``jax.config.update("jax_enable_x64", True)`` comes
    first, and makes float32 of double precision without a word. `minimize` computes in double
    precision, whatever `fun` does; a solution is then as exact as single precision allows, some
    five digits.

    Examples
    --------
    >>> import jax
    >>> import jax.numpy as jnp
    >>> import numpy as np
    >>> import fastopt
    >>> X = np.linspace(-1, 1, 50)
    >>> y = 3 * X - 2
    >>> fun = fastopt.adapters.from_jax(
    ...     lambda params, X, y: jnp.mean((params["slope"] * X + params["offset"] - y) ** 2),
    ...     {"slope": jnp.array(0.0), "offset": jnp.array(0.0)},
    ... )
    >>> result = fastopt.minimize(fun, fun.x0, args=(X, y), jac=True, method="l-bfgs")
    >>> params = fun.unflatten(result.x)
    >>> round(float(params["slope"]), 2), round(float(params["offset"]), 2)
    (3.0, -2.0)
    """
    try:
        import jax  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "from_jax needs JAX, which is not installed: pip install 'fastopt[jax]'"
        ) from error
    check_callable("fun", fun)
    return JaxObjective(fun, params)


class JaxObjective:
    """What `from_jax` returns, and describes."""

    x0: NDArray[Any] | None

    def __init__(self, fun: Callable[..., Any], params: Any) -> None:
        import jax
        from jax.flatten_util import ravel_pytree

        self.x0 = None
        self._unravel: Callable[[Any], Any] = _unchanged
        if params is not None:
            _check_leaves(params)
            start, self._unravel = ravel_pytree(params)
            self.x0 = np.array(start)
        unravel = self._unravel

        def of_vector(x: Any, *batch: Any) -> Any:
            return fun(unravel(x), *batch)

        self._value_and_grad = jax.jit(jax.value_and_grad(of_vector))

    def __call__(self, x: ArrayLike, *batch: Any) -> tuple[float, NDArray[Any]]:
        value, gradient = self._value_and_grad(self._as_jax(x), *batch)
        return float(value), np.array(gradient)  # a copy: JAX's own memory is read-only

    def unflatten(self, x: ArrayLike) -> Any:
        """A vector, shape (n,), as nested as the parameters."""
        return self._unravel(self._as_jax(x))

    def _as_jax(self, x: ArrayLike) -> Any:
        import jax.numpy as jnp

        if self.x0 is None:
            return jnp.asarray(x)
        if np.shape(x) != self.x0.shape:
            raise ValueError(
                f"`x` must be of shape {self.x0.shape}, got an array of shape {np.shape(x)}"
            )
        return jnp.asarray(x, dtype=self.x0.dtype)

    def __repr__(self) -> str:
        return f"<JaxObjective: {'' if self.x0 is None else f'{self.x0.size} '}parameters>"


def _unchanged(x: Any) -> Any:
    return x


def _check_leaves(params: Any) -> None:
    import jax
    import jax.numpy as jnp

    leaves, _ = jax.tree_util.tree_flatten_with_path(params)
    if not leaves:
        raise ValueError("`params` must hold arrays, got none")
    first: tuple[str, Any] | None = None
    for keys, leaf in leaves:
        path = f"params{jax.tree_util.keystr(keys)}"
        try:
            dtype = jnp.asarray(leaf).dtype
        except (TypeError, ValueError):
            raise TypeError(f"`{path}` must be an array, got {type(leaf).__name__}") from None
        if dtype.name not in _PRECISIONS:
            raise TypeError(f"`{path}` must be an array of float32 or float64, got one of {dtype}")
        if first is None:
            first = path, dtype
        elif dtype != first[1]:
            raise TypeError(
                f"`{path}` must be an array of {first[1]}, as `{first[0]}` is, got one of {dtype}"
            )
