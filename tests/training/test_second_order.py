"""Steps by closures: the solvers of `minimize`, on a vector in place, for functions that change."""

import copy
import inspect
import io
import pickle
import signal
import threading

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der, rosen_hess_prod

import fastopt
from fastopt.interface.methods import METHODS
from fastopt.training.second_order import OPTIONS

START = np.array([-1.2, 1.0, 0.7, -0.4, 2.0])
KINDS = {"l-bfgs": fastopt.LBFGS, "newton-cg": fastopt.NewtonCG}


@pytest.fixture(params=KINDS)
def method(request):
    return request.param


@pytest.fixture
def make(method):
    return KINDS[method]


class Rosenbrock:
    """A closure over `theta`, which keeps the points that it was asked for."""

    def __init__(self, theta, scale=1.0):
        self.theta = theta
        self.scale = scale
        self.points = []

    def __call__(self):
        self.points.append(self.theta.copy())
        x = self.theta.astype(float)
        return self.scale * rosen(x), self.scale * rosen_der(x)


def raising(error, closure, at):
    """The same closure, but call number `at` raises."""
    calls = 0

    def call():
        nonlocal calls
        calls += 1
        if calls == at:
            if error is KeyboardInterrupt:
                signal.raise_signal(signal.SIGINT)
            raise error("no")
        return closure()

    return call


def reference(method, nit, **arguments):
    """`minimize` after so many iterations, of which nothing but `gtol` ends it."""
    options = {"maxiter": nit, **({"ftol": 0.0} if method == "l-bfgs" else {})}
    return fastopt.minimize(
        rosen, START, method=method, jac=rosen_der, options=options, **arguments
    )


def run_to_the_end(optimizer, closure, **arguments):
    while optimizer.status == -1:
        assert optimizer.nit < 1000
        optimizer.step(closure, **arguments)


# --- the same solver -------------------------------------------------------------------------


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("iterations", [1, 3, 1000])
def test_iterates_are_those_of_minimize(make, method, iterations, deterministic):
    theta = START.copy()
    closure = Rosenbrock(theta)
    optimizer = make(theta, deterministic=deterministic)
    while optimizer.status == -1:
        loss = optimizer.step(closure, iterations)
        expected = reference(method, optimizer.nit)
        assert theta.tobytes() == expected.x.tobytes()
        assert loss == expected.fun
    whole = reference(method, 1000)
    assert (optimizer.nit, optimizer.status) == (whole.nit, whole.status)
    assert optimizer.converged
    assert optimizer.message == whole.message


def test_products_with_the_hessian_are_used():
    theta = START.copy()
    optimizer = fastopt.NewtonCG(theta)

    def hessp(p):
        return rosen_hess_prod(theta, p)

    run_to_the_end(optimizer, Rosenbrock(theta), hessp=hessp)
    expected = reference("newton-cg", 1000, hessp=rosen_hess_prod)
    assert theta.tobytes() == expected.x.tobytes()
    assert optimizer.nit == expected.nit


def test_deterministic_closures_are_called_as_often_as_minimize_calls_its_function(make, method):
    theta = START.copy()
    closure = Rosenbrock(theta)
    optimizer = make(theta, deterministic=True)
    run_to_the_end(optimizer, closure)
    whole = reference(method, 1000)
    expected = whole.nfev if method == "l-bfgs" else whole.njev
    assert optimizer.nfev == len(closure.points) == expected


def test_other_closures_are_called_once_more_in_each_step(make):
    theta = START.copy()
    optimizer = make(theta)
    optimizer.step(Rosenbrock(theta))
    before = theta.copy()
    closure = Rosenbrock(theta)
    nfev = optimizer.nfev
    optimizer.step(closure)
    assert closure.points[0].tobytes() == before.tobytes()
    assert optimizer.nfev == nfev + len(closure.points)


def test_options_are_those_of_minimize(make, method):
    parameters = inspect.signature(make).parameters
    row = METHODS[method].options
    names = set(parameters) - {"theta", "deterministic"}
    assert names == {name for name in OPTIONS if name in row}
    for name in names:
        assert parameters[name].default == row[name].default
        assert OPTIONS[name] == row[name].check


def test_options_reach_the_solver(make, method):
    given = {"c1": 0.01, "c2": 0.3, "maxls": 7, "line_search": "more-thuente", "gtol": 1e-2}
    if method == "l-bfgs":
        given |= {"maxcor": 2, "damping": True}
    theta = START.copy()
    optimizer = make(theta, **given)
    run_to_the_end(optimizer, Rosenbrock(theta))
    options = {**given, **({"ftol": 0.0} if method == "l-bfgs" else {})}
    expected = fastopt.minimize(rosen, START, method=method, jac=rosen_der, options=options)
    assert theta.tobytes() == expected.x.tobytes()


@pytest.mark.parametrize("line_search", ["strong_wolfe"])
def test_pytorch_agrees(line_search):
    torch = pytest.importorskip("torch", reason="needs PyTorch, an independent L-BFGS")
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((200, 8)), np.sign(rng.standard_normal(200))

    theta = np.zeros(8)
    optimizer = fastopt.LBFGS(theta, gtol=1e-9)
    optimizer.step(lambda: logistic(theta, X, y), iterations=200)

    peer = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    tensors = torch.from_numpy(X), torch.from_numpy(y)
    steps = torch.optim.LBFGS(
        [peer], max_iter=200, tolerance_grad=1e-9, tolerance_change=0, line_search_fn=line_search
    )

    def closure():
        steps.zero_grad()
        margins = tensors[1] * (tensors[0] @ peer)
        loss = torch.nn.functional.softplus(-margins).mean() + 0.005 * (peer @ peer)
        loss.backward()
        return loss

    steps.step(closure)
    assert optimizer.converged
    np.testing.assert_allclose(theta, peer.detach().numpy(), rtol=1e-6)


# --- functions that change -------------------------------------------------------------------


def logistic(w, X, y):
    margins = y * (X @ w)
    pull = -y / (1 + np.exp(margins))
    return np.logaddexp(0, -margins).mean() + 0.005 * (w @ w), pull @ X / len(y) + 0.01 * w


def test_steps_on_mini_batches_lower_the_loss_of_the_whole(make):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 10))
    y = np.where(X @ rng.standard_normal(10) + rng.logistic(size=3000) > 0, 1.0, -1.0)
    theta = np.zeros(10)
    optimizer = make(theta)
    for _ in range(4):
        for rows in np.split(rng.permutation(3000), 6):
            loss = optimizer.step(lambda rows=rows: logistic(theta, X[rows], y[rows]), 2)
            assert loss == logistic(theta, X[rows], y[rows])[0]
    least = fastopt.minimize(logistic, np.zeros(10), args=(X, y), jac=True).fun
    whole = logistic(theta, X, y)[0]
    assert least <= whole < least + 0.02 * (np.log(2) - least)


def test_curvature_that_was_learnt_is_kept_where_the_function_changes():
    rng = np.random.default_rng(1)
    scales = 10.0 ** np.arange(6)

    def quadratic(theta, centre):
        return lambda: (
            (theta - centre) @ (scales * (theta - centre)) / 2,
            scales * (theta - centre),
        )

    def iterations_to_the_second_centre(optimizer):
        before = optimizer.nit
        optimizer.step(quadratic(optimizer.theta, second), iterations=1000)
        assert optimizer.converged
        return optimizer.nit - before

    first, second = rng.standard_normal((2, 6))
    learnt = fastopt.LBFGS(np.zeros(6), gtol=1e-8)
    learnt.step(quadratic(learnt.theta, first), iterations=1000)
    fresh = fastopt.LBFGS(first.copy(), gtol=1e-8)
    assert iterations_to_the_second_centre(learnt) < iterations_to_the_second_centre(fresh) / 2


def test_an_optimizer_that_has_converged_goes_on_where_the_function_changes(make):
    theta = np.array([3.0, -2.0])
    optimizer = make(theta)
    for centre in (1.0, 5.0, 1.0):
        optimizer.step(lambda c=centre: ((theta - c) @ (theta - c), 2 * (theta - c)), 20)
        assert optimizer.converged
        np.testing.assert_allclose(theta, centre, atol=1e-5)


@pytest.mark.parametrize("deterministic", [False, True])
def test_a_vector_that_was_changed_from_outside_is_where_the_next_step_begins(make, deterministic):
    theta = START.copy()
    closure = Rosenbrock(theta)
    optimizer = make(theta, deterministic=deterministic)
    optimizer.step(closure, 3)
    theta[:] = 0.5
    closure.points.clear()
    loss = optimizer.step(closure)
    assert closure.points[0].tolist() == [0.5] * 5
    assert loss == rosen(theta) < rosen(np.full(5, 0.5))


def test_a_loss_that_is_not_finite_ends_the_step_and_the_next_one_can_go_on(make):
    theta = START.copy()
    optimizer = make(theta)
    assert np.isnan(optimizer.step(lambda: (np.nan, np.zeros(5))))
    assert (optimizer.status, optimizer.converged, optimizer.nit) == (3, False, 0)
    assert theta.tobytes() == START.tobytes()
    assert optimizer.step(Rosenbrock(theta)) < rosen(START)
    assert (optimizer.status, optimizer.nit) == (-1, 1)


# --- exceptions ------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("at", [1, 2, 3, 5, 9])
def test_what_a_closure_raises_leaves_the_last_accepted_iterate(make, method, error, at):
    theta = START.copy()
    closure = Rosenbrock(theta)
    optimizer = make(theta, deterministic=True)
    with pytest.raises(error):
        optimizer.step(raising(error, closure, at), 1000)
    assert theta.tobytes() == reference(method, optimizer.nit).x.tobytes()
    run_to_the_end(optimizer, closure)
    assert theta.tobytes() == reference(method, 1000).x.tobytes()


@pytest.mark.parametrize("deterministic", [False, True])
def test_an_interrupted_optimizer_goes_on_with_the_same_bits(make, method, deterministic):
    theta = START.copy()
    optimizer = make(theta, deterministic=deterministic)
    closure = Rosenbrock(theta)
    optimizer.step(closure, 4)
    with pytest.raises(ZeroDivisionError):
        optimizer.step(raising(ZeroDivisionError, closure, 1), 4)
    optimizer.step(closure, 4)
    assert optimizer.nit == 8
    assert theta.tobytes() == reference(method, 8).x.tobytes()


def test_exceptions_of_products_come_out_too():
    theta = START.copy()
    optimizer = fastopt.NewtonCG(theta)
    with pytest.raises(ZeroDivisionError):
        optimizer.step(Rosenbrock(theta), hessp=lambda p: 1 / 0)
    assert theta.tobytes() == START.tobytes()


def test_a_step_inside_a_closure_is_refused(make):
    theta = START.copy()
    optimizer = make(theta)
    with pytest.raises(RuntimeError, match="running already"):
        optimizer.step(lambda: optimizer.step(Rosenbrock(theta)))


ANSWERS = {
    "no pair": (1.0, TypeError, r"`closure` must return a pair \(loss, gradient\), got float"),
    "three items": ((1.0, 2.0, 3.0), TypeError, "`closure` must return a pair .* got 3 items"),
    "an array of losses": (
        (np.zeros(5), np.zeros(5)),
        ValueError,
        r"`closure` must return a scalar loss, got an array of shape \(5,\)",
    ),
    "no number": (("a", np.zeros(5)), TypeError, "must return a real number as loss, got str"),
    "another shape": (
        (1.0, np.zeros((5, 1))),
        ValueError,
        r"`closure` must return a gradient of shape \(5,\), got one of shape \(5, 1\)",
    ),
    "a number in words": (("1.0", np.zeros(5)), TypeError, "as loss, got str"),
    "ragged losses": (([[1.0], []], np.zeros(5)), TypeError, "as loss, got list"),
    "ragged slopes": (
        (1.0, [[1.0], []]),
        ValueError,
        r"`closure` must return an array as gradient, got \[\[1.0\], \[\]\]",
    ),
    "complex slopes": (
        (1.0, np.zeros(5, complex)),
        TypeError,
        "`closure` must return an array of real numbers as gradient, got dtype complex128",
    ),
}


@pytest.mark.parametrize(("answer", "error", "message"), ANSWERS.values(), ids=ANSWERS)
def test_answers_that_are_no_loss_and_gradient_are_named(make, answer, error, message):
    theta = START.copy()
    with pytest.raises(error, match=message):
        make(theta).step(lambda: answer)
    assert theta.tobytes() == START.tobytes()


# --- precision -------------------------------------------------------------------------------


def test_a_float32_vector_is_stepped_in_double_precision_and_rounded(make, method):
    """A closure that computes in double precision, of a vector that is written to it rounded."""
    theta = START.astype(np.float32)
    optimizer = make(theta, gtol=1e-3)
    closure = Rosenbrock(theta)
    run_to_the_end(optimizer, closure)
    assert optimizer.converged
    assert theta.dtype == np.float32
    expected = reference(method, 1000)
    assert optimizer.nit <= expected.nit + 3
    np.testing.assert_allclose(theta, expected.x, atol=2e-3)


def test_losses_of_single_precision_are_minimized_as_far_as_that_goes(make):
    rng = np.random.default_rng(4)
    X = rng.standard_normal((500, 6)).astype(np.float32)
    y = np.where(X[:, 0] + rng.logistic(size=500) > 0, 1, -1).astype(np.float32)
    theta = np.zeros(6, np.float32)

    def closure():
        loss, gradient = logistic(theta, X, y)
        return loss, gradient.astype(np.float32)

    optimizer = make(theta, gtol=1e-4)
    optimizer.step(closure, 50)
    least = fastopt.minimize(logistic, np.zeros(6), args=(X.astype(float), y), jac=True)
    assert optimizer.converged
    np.testing.assert_allclose(theta, least.x, atol=1e-2)


def test_pauses_do_not_round_what_the_solver_knows_of_a_float32_vector(make):
    whole, paused = START.astype(np.float32), START.astype(np.float32)
    make(whole).step(Rosenbrock(whole), 8)
    optimizer, closure = make(paused), Rosenbrock(paused)
    for _ in range(8):
        optimizer.step(closure)
    assert whole.tobytes() == paused.tobytes()


def test_products_of_a_float32_vector_are_given_float32():
    theta = START.astype(np.float32)
    seen = set()

    def hessp(p):
        seen.add(p.dtype)
        return rosen_hess_prod(theta.astype(float), p)

    optimizer = fastopt.NewtonCG(theta, gtol=1e-2)
    run_to_the_end(optimizer, Rosenbrock(theta), hessp=hessp)
    assert seen == {np.dtype(np.float32)}
    assert optimizer.converged


# --- state -----------------------------------------------------------------------------------


def saved(optimizer):
    file = io.BytesIO()
    np.savez(file, **optimizer.state_dict())
    file.seek(0)
    return np.load(file, allow_pickle=False)


def test_a_loaded_state_goes_on_with_the_same_bits(make):
    whole = START.copy()
    closure = Rosenbrock(whole)
    optimizer = make(whole)
    optimizer.step(closure, 5)
    theta = whole.copy()
    other = make(theta, gtol=1.0)
    other.load_state_dict(saved(optimizer))
    assert (other.nit, other.nfev) == (optimizer.nit, optimizer.nfev)
    assert theta.tobytes() == whole.tobytes()
    for _ in range(4):
        assert other.step(Rosenbrock(theta)) == optimizer.step(closure)
        assert theta.tobytes() == whole.tobytes()


def test_options_are_part_of_the_state():
    theta = START.copy()
    given = {"maxcor": 3, "c2": 0.5, "line_search": "more-thuente", "deterministic": True}
    state = saved(fastopt.LBFGS(theta, **given))
    other = fastopt.LBFGS(theta)
    other.load_state_dict(state)
    found = other.state_dict()
    assert {name: found[name] for name in given} == given


def test_a_state_is_copied(make):
    theta = START.copy()
    optimizer = make(theta)
    optimizer.step(Rosenbrock(theta), 3)
    state = optimizer.state_dict()
    before = {name: np.array(value) for name, value in state.items()}
    optimizer.step(Rosenbrock(theta), 3)
    for name, value in state.items():
        np.testing.assert_array_equal(value, before[name])


def test_states_of_others_are_refused(make, method):
    theta = START.copy()
    optimizer = make(theta)
    optimizer.step(Rosenbrock(theta), 3)
    good = optimizer.state_dict()
    damaged = good["vectors"].copy()
    damaged[0] += 1
    peer = KINDS[next(name for name in KINDS if name != method)](START.copy())
    for bad, message in (
        ({}, "one that differs in"),
        ({**good, "more": 1}, "one that differs in 'more'"),
        ({**good, "vectors": damaged}, "damaged"),
        ({**good, "c1": 0.95}, "`c1` must be less than `c2`"),
        ({**good, "layout": -1}, "`state` must be of the same version and build"),
        ({**good, "nfev": -1}, r"`state\['nfev'\]` must be a nonnegative integer, got -1"),
        ({**good, "header": -1}, r"`state\['header'\]` must be .* array of uint8, got -1"),
        ({**good, "vectors": -1}, r"`state\['vectors'\]` must be .* array of float64, got -1"),
        ({**good, "solver": "bfgs"}, f"must be one of '{method}', got 'bfgs'"),
        (make(np.zeros(4)).state_dict(), "must be one of 5 parameters, got one of 4"),
        (peer.state_dict(), "differs in 'damping', 'maxcor', 'threads'"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(bad)
    with pytest.raises(TypeError, match="`state` must be a mapping, got list"):
        optimizer.load_state_dict([])
    assert optimizer.state_dict()["checksum"] == good["checksum"]


def test_an_optimizer_pickles_with_its_vector(make):
    theta = START.copy()
    optimizer = make(theta)
    optimizer.step(Rosenbrock(theta), 3)
    other = pickle.loads(pickle.dumps(optimizer))
    assert other.theta is not theta
    assert other.step(Rosenbrock(other.theta)) == optimizer.step(Rosenbrock(theta))


def test_a_shallow_copy_shares_the_vector_and_goes_on_by_itself(make):
    theta = START.copy()
    optimizer = make(theta)
    optimizer.step(Rosenbrock(theta), 3)
    before = optimizer.state_dict()
    other = copy.copy(optimizer)
    assert other.theta is theta
    other.step(Rosenbrock(theta), 3)
    assert (optimizer.nit, other.nit) == (3, 6)
    assert optimizer.state_dict()["checksum"] == before["checksum"]


def test_a_loss_that_is_an_integer_beyond_all_numbers_is_infinite(make):
    theta = START.copy()
    optimizer = make(theta)
    optimizer.step(lambda: (10**400, np.ones(5)))
    assert optimizer.status == 3


# --- arguments -------------------------------------------------------------------------------


def read_only(n):
    array = np.zeros(n)
    array.flags.writeable = False
    return array


VECTORS = {
    "a list": ([1.0], TypeError, "`theta` must be an array of float32 or float64, got an object"),
    "integers": (np.zeros(2, int), TypeError, r"float32 or float64, got an array .* dtype int64"),
    "half precision": (np.zeros(2, np.float16), TypeError, "got an array .* dtype float16"),
    "a masked array": (np.ma.zeros(2), TypeError, "`theta` must be an array of float32 or float64"),
    "a matrix": (np.zeros((2, 2)), ValueError, r"one-dimensional .* shape \(2, 2\); .*flatten"),
    "nothing": (np.zeros(0), ValueError, r"at least one element, got an array of shape \(0,\)"),
    "every other element": (np.zeros(4)[::2], ValueError, r"contiguous, .* strides \(16,\)"),
    "a read-only array": (read_only(2), ValueError, "`theta` must be writeable, got a read-only"),
}


@pytest.mark.parametrize(("theta", "error", "message"), VECTORS.values(), ids=VECTORS)
def test_vectors_that_cannot_be_stepped_are_refused(make, theta, error, message):
    with pytest.raises(error, match=message):
        make(theta)


def test_wrong_options_and_arguments_are_named(make):
    theta = START.copy()
    for wrong in ({"gtol": -1}, {"c1": 0}, {"maxls": 0}, {"line_search": "armijo"}):
        (name,) = wrong
        with pytest.raises(ValueError, match=f"`{name}` must be"):
            make(theta, **wrong)
    with pytest.raises(TypeError, match="`deterministic` must be True or False"):
        make(theta, deterministic="no")
    with pytest.raises(ValueError, match=r"`c1` must be less than `c2`, got c1=0\.5 and"):
        make(theta, c1=0.5, c2=0.5)
    optimizer = make(theta)
    with pytest.raises(TypeError, match="`closure` must be callable"):
        optimizer.step(3)
    with pytest.raises(ValueError, match="`iterations` must be a positive integer, got 0"):
        optimizer.step(Rosenbrock(theta), 0)
    theta[2] = np.nan
    with pytest.raises(ValueError, match="`theta` must be finite, got nan at index 2"):
        optimizer.step(Rosenbrock(theta))
    with pytest.raises(TypeError, match="`hessp` must be callable"):
        fastopt.NewtonCG(START.copy()).step(Rosenbrock(theta), hessp=1)


def test_an_optimizer_says_how_far_it_is(make):
    theta = START.copy()
    optimizer = make(theta)
    assert optimizer.message == "Not started yet. Call step()."
    assert repr(optimizer) == f"<{make.__name__}: 5 parameters, 0 iterations, loss=nan, status=-1>"
    loss = optimizer.step(Rosenbrock(theta), 2)
    assert optimizer.message == "There is more to do. Call step() to go on."
    assert f"2 iterations, loss={loss:.6g}, status=-1" in repr(optimizer)


def test_optimizers_of_different_vectors_run_in_threads(make):
    expected = START.copy()
    make(expected).step(Rosenbrock(expected), 30)
    vectors = [START.copy() for _ in range(4)]
    threads = [
        threading.Thread(target=make(theta).step, args=(Rosenbrock(theta), 30)) for theta in vectors
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {theta.tobytes() for theta in vectors} == {expected.tobytes()}
