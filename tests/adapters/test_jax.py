"""JAX's functions as functions of flat vectors. (What needs no JAX is in test_missing.py.)"""

import numpy as np
import pytest

import fastopt
from fastopt.adapters import from_jax

jax = pytest.importorskip("jax", reason="needs JAX")
jnp = jax.numpy


@pytest.fixture(autouse=True)
def double_precision():
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", False)


def squares(params, X, y):
    hidden = jnp.tanh(X @ params["inner"]["weight"] + params["inner"]["bias"])
    return jnp.mean((hidden @ params["outer"][0] + params["outer"][1] - y) ** 2)


def network(dtype=np.float64):
    rng = np.random.default_rng(0)
    return {
        "outer": (rng.standard_normal(8).astype(dtype), np.zeros((), dtype)),
        "inner": {"weight": rng.standard_normal((2, 8)).astype(dtype), "bias": np.zeros(8, dtype)},
    }


def data(dtype=np.float64):
    X = np.random.default_rng(1).uniform(-1, 1, (200, 2)).astype(dtype)
    return X, X[:, 0] * X[:, 1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_value_and_gradient_are_those_of_jax(dtype):
    params, (X, y) = network(dtype), data(dtype)
    fun = from_jax(squares, params)
    value, gradient = fun(fun.x0, X, y)
    expected, slopes = jax.jit(jax.value_and_grad(squares))(params, X, y)
    eps = float(np.finfo(dtype).eps)
    assert type(value) is float
    assert value == pytest.approx(float(expected), rel=10 * eps)
    flat, _ = jax.flatten_util.ravel_pytree(slopes)
    np.testing.assert_allclose(gradient, np.asarray(flat), rtol=100 * eps, atol=10 * eps)
    assert gradient.dtype == fun.x0.dtype == dtype
    assert gradient.flags.writeable


def test_gradient_matches_differences():
    fun = from_jax(squares, network())
    X, y = data()
    assert fastopt.check_grad(fun, fun.x0, args=(X, y), jac=True)


def test_a_vector_comes_back_as_nested_parameters():
    params = network()
    fun = from_jax(squares, params)
    found = fun.unflatten(fun.x0)
    assert jax.tree.structure(found) == jax.tree.structure(params)
    jax.tree.map(np.testing.assert_array_equal, found, params)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_minimize_trains_a_network(dtype):
    fun, (X, y) = from_jax(squares, network(dtype)), data(dtype)
    start = fun(fun.x0, X, y)[0]
    result = fastopt.minimize(
        fun, fun.x0, args=(X, y), jac=True, method="l-bfgs", options={"maxiter": 300}
    )
    assert result.fun < 0.01 * start
    eps = float(np.finfo(dtype).eps)
    found = squares(fun.unflatten(result.x), X, y)
    assert float(found) == pytest.approx(result.fun, rel=1000 * eps)


def test_training_loop_steps_the_vector():
    fun, (X, y) = from_jax(squares, network()), data()
    theta = fun.x0.copy()
    optimizer = fastopt.LBFGS(theta)
    for rows in np.split(np.arange(200), 4) * 5:
        optimizer.step(lambda rows=rows: fun(theta, X[rows], y[rows]), iterations=5)
    assert fun(theta, X, y)[0] < 0.1 * fun(fun.x0, X, y)[0]


def test_a_function_of_a_vector_needs_no_parameters():
    fun = from_jax(lambda x, scale: scale * jnp.sum((x - 3) ** 2))
    assert fun.x0 is None
    result = fastopt.minimize(fun, np.zeros(4), args=(2.0,), jac=True)
    np.testing.assert_allclose(fun.unflatten(result.x), 3, rtol=1e-8)
    assert result.converged_to == "gtol"


def test_single_precision_is_what_jax_makes_of_double_by_itself():
    expected = float(squares(network(), *data()))
    jax.config.update("jax_enable_x64", False)
    fun = from_jax(squares, network())
    value, gradient = fun(fun.x0.astype(np.float64), *data())
    assert fun.x0.dtype == gradient.dtype == np.float32
    assert value == pytest.approx(expected, rel=1e-5)


NAMED = {
    "no array": ({"a": [1.0, "x"]}, TypeError, r"`params\['a'\]\[1\]` must be an array, got str"),
    "integers": (
        [np.arange(3)],
        TypeError,
        r"`params\[0\]` must be an array of float32 or float64, got one of int64",
    ),
    "a mixture": (
        {"a": np.zeros(1), "b": np.zeros(1, np.float32)},
        TypeError,
        r"`params\['b'\]` must be an array of float64, as `params\['a'\]` is, got one of float32",
    ),
    "nothing": ([], ValueError, "`params` must hold arrays, got none"),
}


@pytest.mark.parametrize(("params", "error", "message"), NAMED.values(), ids=NAMED)
def test_what_is_no_parameter_is_named_by_its_place(params, error, message):
    with pytest.raises(error, match=message):
        from_jax(squares, params)


def test_wrong_arguments_are_named():
    with pytest.raises(TypeError, match="`fun` must be callable"):
        from_jax(3)
    fun = from_jax(squares, network())
    for call in (fun.unflatten, lambda x: fun(x, *data())):
        with pytest.raises(ValueError, match=r"`x` must be of shape \(33,\), got an array of sha"):
            call(np.zeros(3))


def test_function_says_what_it_is():
    assert repr(from_jax(squares, network())) == "<JaxObjective: 33 parameters>"
    assert repr(from_jax(jnp.sum)) == "<JaxObjective: parameters>"
