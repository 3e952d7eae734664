"""`minimize` for an x0 on a GPU: the CPU's solves, looked at now and then."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

import fastopt
from fastopt import schedules
from fastopt.device import driver
from fastopt.interface.device_loop import _REFUSED
from fastopt.interface.methods import METHODS

RULES = [name for name, row in METHODS.items() if row.rule is not None]
CURVATURE = np.array([1.0, 3.0, 0.5, 2.0, 1.5])
X0 = np.array([1.0, -2.0, 3.0, 0.5, -0.25])


def bowl(x):
    return 0.5 * CURVATURE.astype(x.dtype) @ (x * x), CURVATURE.astype(x.dtype) * x


class Function:
    """A function of the CPU as one of a device, which counts its calls."""

    def __init__(self, device, function=bowl, value="array"):
        self.device, self.function, self.value = device, function, value
        self.calls = 0

    def __call__(self, x):
        self.calls += 1
        value, grad = self.function(x.get())
        if self.value == "array":
            value = self.device.array(np.array(value, x.dtype))
        return value, self.device.array(grad)


class Reads:
    """A device that counts how often it is waited for."""

    def __init__(self, device):
        self._device = device
        self.count = 0

    def __getattr__(self, name):
        return getattr(self._device, name)

    def read(self, address, size):
        self.count += 1
        return self._device.read(address, size)


def assert_same_solve(device, function=bowl, x0=X0, ulps=256, **arguments):
    """A solve on a device is the CPU's."""
    here = fastopt.minimize(function, x0.astype(np.float64), jac=True, **arguments)
    there = fastopt.minimize(Function(device, function), device.array(x0), jac=True, **arguments)
    for name in ("nit", "status", "message", "success", "converged_to", "method", "library"):
        assert there[name] == here[name], name
    tolerance = ulps * np.finfo(x0.dtype).eps
    for name in ("x", "jac"):
        assert type(there[name]) is type(device.array(x0))
        assert there[name].dtype == x0.dtype
        found = there[name].get()
        np.testing.assert_allclose(
            found, here[name], tolerance, tolerance * np.abs(here[name]).max()
        )
    np.testing.assert_allclose(there.fun, here.fun, rtol=tolerance)
    assert isinstance(there.fun, float)
    return there


@pytest.mark.parametrize("method", RULES)
def test_every_rule_ends_where_the_cpu_does(method, device):
    result = assert_same_solve(device, method=method, options={"maxiter": 7})
    assert (result.nit, result.nfev, result.njev, result.nhev) == (7, 8, 8, 0)


@pytest.mark.parametrize("method", ["adam", "momentum"])
def test_float32_stays_float32(method, device):
    x0 = X0.astype(np.float32)
    assert_same_solve(device, x0=x0, method=method, options={"maxiter": 20})


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.3, "gtol": 0.2},
        {"lr": 0.3, "ftol": 0.02},
        {"lr": 0.3, "stopval": 0.2},
        {"lr": 0.3, "maxiter": 0},
        {"lr": 0.3, "maxiter": 5, "clip_norm": 1.0, "clip_value": 0.5, "weight_decay": 0.25},
        {"lr": 0.3, "maxiter": 12, "schedule": schedules.linear(10)},
        {"lr": 0.3, "maxiter": 4, "flavor": "keras", "weight_decay": 0.25},
        {"lr": 0.9, "maxiter": 9},
        {"gtol": 100.0},
    ],
)
def test_solves_end_by_the_tests_of_the_cpu(options, device):
    assert_same_solve(device, method="gd", options=options)


def test_lowest_point_is_returned_where_no_test_holds(device):
    result = assert_same_solve(device, method="gd", options={"lr": 0.7, "maxiter": 5})
    np.testing.assert_allclose(result.x.get(), X0 - 0.7 * CURVATURE * X0, rtol=1e-14)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, 3])
@pytest.mark.parametrize("where", ["value", "gradient"])
def test_what_is_not_finite_ends_a_solve_at_the_lowest_point(where, at, bad, device):
    def make():
        calls = []

        def function(x):
            value, grad = bowl(x)
            calls.append(None)
            if len(calls) > at:
                if where == "value":
                    value = bad
                else:
                    grad[1] = bad
            return value, grad

        return function

    options = {"lr": 0.1}
    here = fastopt.minimize(make(), X0, method="gd", jac=True, options=options)
    there = fastopt.minimize(
        Function(device, make()), device.array(X0), method="gd", jac=True, options=options
    )
    assert (there.status, there.message, there.nit) == (here.status, here.message, here.nit)
    np.testing.assert_allclose(there.x.get(), here.x, rtol=1e-14)
    np.testing.assert_allclose(there.fun, here.fun, rtol=1e-14)
    np.testing.assert_allclose(there.jac.get(), here.jac, rtol=1e-14)


def test_state_is_looked_at_now_and_then(device):
    reads = Reads(driver.current())
    function = Function(device, value="number")
    with driver.use(reads):
        fastopt.minimize(
            function, device.array(X0), method="adam", jac=True, options={"maxiter": 70}
        )
    assert function.calls == 71
    # After 1, 2, 4, ..., 32, 64 and 71 evaluations, and for the result.
    assert reads.count == 9


def test_evaluations_after_the_end_change_nothing_and_are_counted(device):
    function = Function(device)
    result = fastopt.minimize(
        function, device.array(X0), method="gd", jac=True, options={"lr": 0.3, "gtol": 0.5}
    )
    here = fastopt.minimize(bowl, X0, method="gd", jac=True, options={"lr": 0.3, "gtol": 0.5})
    assert result.nit == here.nit
    assert result.nfev == function.calls >= here.nfev
    np.testing.assert_allclose(result.x.get(), here.x, rtol=1e-14)


def test_x0_is_not_written_to_and_x_is_another_array(device):
    x0 = device.array(X0)
    seen = []

    def function(x):
        seen.append(x)
        return Function(device)(x)

    fastopt.minimize(function, x0, method="adam", jac=True, options={"maxiter": 3})
    assert (x0.get() == X0).all()
    assert all(x is seen[0] for x in seen)
    assert seen[0] is not x0


def test_gradient_may_be_a_function_of_its_own_with_arguments(device):
    result = fastopt.minimize(
        lambda x, factor: factor * bowl(x.get())[0],
        device.array(X0),
        args=(2.0,),
        method="gd",
        jac=lambda x, factor: device.array(factor * bowl(x.get())[1]),
        options={"lr": 0.1, "maxiter": 5},
    )
    here = fastopt.minimize(
        lambda x: tuple(2 * each for each in bowl(x)),
        X0,
        method="gd",
        jac=True,
        options={"lr": 0.1, "maxiter": 5},
    )
    np.testing.assert_allclose(result.x.get(), here.x, rtol=1e-14)


# --- callbacks and interruptions ------------------------------------------------------------------


def test_callback_sees_every_iteration_in_copies(device):
    here, there = [], []
    options = {"lr": 0.1, "maxiter": 4}

    def see(intermediate_result):
        here.append(intermediate_result)

    def see_there(intermediate_result):
        there.append(intermediate_result)

    fastopt.minimize(bowl, X0, method="gd", jac=True, callback=see, options=options)
    fastopt.minimize(
        Function(device),
        device.array(X0),
        method="gd",
        jac=True,
        callback=see_there,
        options=options,
    )
    assert len(there) == len(here) == 4
    for one, other in zip(there, here, strict=True):
        assert (one.nit, one.nfev, one.njev) == (other.nit, other.nfev, other.njev)
        np.testing.assert_allclose(one.x.get(), other.x, rtol=1e-14)
        np.testing.assert_allclose(one.jac.get(), other.jac, rtol=1e-14)
        np.testing.assert_allclose(one.fun, other.fun, rtol=1e-14)


def test_callback_ends_a_solve(device):
    points = []

    def stop(x):
        points.append(x.get())
        if len(points) == 2:
            raise StopIteration

    result = fastopt.minimize(
        Function(device), device.array(X0), method="gd", jac=True, callback=stop
    )
    assert (result.status, result.nit, result.nfev) == (99, 2, 3)
    assert (result.x.get() == points[1]).all()


def test_limits_on_evaluations_and_time(device):
    arguments = {"method": "gd", "jac": True}
    x0 = device.array(X0)
    result = fastopt.minimize(Function(device), x0, options={"maxfev": 3}, **arguments)
    assert (result.status, result.nfev, result.nit) == (1, 3, 2)
    assert "maxfev" in result.message
    result = fastopt.minimize(Function(device), x0, options={"maxtime": 0.0}, **arguments)
    assert (result.status, result.nfev, result.nit) == (6, 1, 0)


def test_what_the_function_raises_comes_out(device):
    def function(x):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fastopt.minimize(function, device.array(X0), method="adam", jac=True)


def test_interrupt_returns_the_lowest_point_if_that_is_asked_for(device):
    inner = Function(device)

    def function(x):
        if inner.calls == 3:
            raise KeyboardInterrupt
        return inner(x)

    def solve(how):
        inner.calls = 0
        return fastopt.minimize(
            function, device.array(X0), method="gd", jac=True, options={"on_interrupt": how}
        )

    result = solve("return")
    assert (result.status, result.nit, result.nfev) == (7, 2, 3)
    with pytest.raises(KeyboardInterrupt):
        solve("raise")


def test_summary_is_printed(device, capsys):
    fastopt.minimize(
        Function(device),
        device.array(X0),
        method="gd",
        jac=True,
        options={"disp": True, "maxiter": 1},
    )
    assert "Iterations:           1" in capsys.readouterr().out


# --- wrong arguments ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [None, "bfgs", "l-bfgs", "newton", "cg", "fista", "slsqp", max])
def test_other_methods_are_refused_with_those_that_can(method, device):
    with pytest.raises(TypeError, match=r"`method` must be one of 'gd', .*'adan' where `x0`"):
        fastopt.minimize(Function(device), device.array(X0), method=method, jac=True)


@pytest.mark.parametrize("jac", [None, False, "2-point", "inplace"])
def test_gradient_is_needed(jac, device):
    with pytest.raises(ValueError, match="`jac` must be True or callable where `x0` is on a GPU"):
        fastopt.minimize(Function(device), device.array(X0), method="adam", jac=jac)


@pytest.mark.parametrize(
    "argument",
    [
        {"hess": max},
        {"hessp": max},
        {"bounds": [(0, 1)] * 5},
        {"constraints": {"type": "eq", "fun": max}},
        {"data": object()},
    ],
    ids=lambda argument: next(iter(argument)),
)
def test_other_arguments_are_refused(argument, device):
    (name,) = argument
    with pytest.raises(ValueError, match=f"`{name}` must be None where `x0` is on a GPU"):
        fastopt.minimize(Function(device), device.array(X0), method="adam", jac=True, **argument)


@pytest.mark.parametrize(
    "option",
    [
        {"xtol": 0.1},
        {"norm": 2},
        {"trace": True},
        {"return_all": True},
        {"progress": True},
        {"finite_diff_rel_step": 0.1},
        {"workers": 2},
        {"compile": True},
    ],
    ids=lambda option: next(iter(option)),
)
def test_options_that_cannot_be_honoured_are_refused(option, device):
    (name,) = option
    with pytest.raises(ValueError, match=f"`{name}` must be .* where `x0` is on a GPU"):
        fastopt.minimize(
            Function(device), device.array(X0), method="adam", jac=True, options=option
        )
    defaults = {name: METHODS["adam"].options[name].default for name in _REFUSED}
    options = {**defaults, "maxiter": 0}
    fastopt.minimize(Function(device), device.array(X0), method="adam", jac=True, options=options)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda device: 1.0, r"`fun` must return the pair \(value, gradient\)"),
        (lambda device: (1.0, X0), r"the gradient must be .* got an object of type ndarray"),
        (lambda device: (1.0, device.array(X0[1:])), r"the gradient must be .* got .* \(4,\)"),
        (lambda device: (None, device.array(X0)), "the value of `fun` must be a number"),
        (lambda device: (device.array(X0), device.array(X0)), "must be one number"),
        (lambda device: (device.array(np.array([3])), device.array(X0)), "must be one number"),
    ],
)
def test_answers_that_are_none_are_refused(answer, message, device):
    with pytest.raises(TypeError, match=message):
        fastopt.minimize(lambda x: answer(device), device.array(X0), method="adam", jac=True)


@pytest.mark.parametrize(
    ("x0", "error", "message"),
    [
        (np.zeros(4, np.int64), TypeError, "`x0` must be an array of float32 or float64"),
        (np.zeros(4, np.float16), TypeError, "float32 or float64, got dtype float16"),
        (np.zeros((2, 2)), ValueError, "`x0` must be one-dimensional"),
    ],
)
def test_x0_that_cannot_be_stepped_is_refused(x0, error, message, device):
    with pytest.raises(error, match=message):
        fastopt.minimize(Function(device), device.array(x0), method="adam", jac=True)
