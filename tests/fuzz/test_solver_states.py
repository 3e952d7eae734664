"""Whatever happens to a `Solver` between two iterations, its path is that of a solve left alone.

The machine has some solvers of one problem, which are cut into slices, put away, copied,
interrupted by what their functions raise, and written to wherever a caller can; each is compared
with a solve that ran through.
"""

import contextlib
import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
)
from numba import njit
from scipy.optimize import rosen, rosen_der, rosen_hess

import fastopt
from fastopt.core.result import ENDINGS
from fastopt.interface.methods import METHODS
from tests.step_lengths import step_length

COUNTS = ("nfev", "njev", "nhev")
MESSAGES = {ending.message for ending in ENDINGS.values()}


class Mine(Exception):
    """What the user's own code raises."""


def valley(x):
    with np.errstate(all="ignore"):
        return rosen(x), rosen_der(x)


def bowl(x):
    scales = 10.0 ** np.arange(x.size)
    with np.errstate(all="ignore"):
        return 0.5 * float(scales @ (x - 1.0) ** 2), scales * (x - 1.0)


def bowl_hess(x):
    return np.diag(10.0 ** np.arange(x.size))


def walled(x):
    """Finite where all of x is above -2, its minimum just inside."""
    with np.errstate(all="ignore"):
        return float(np.sum(x - 0.1 * np.log(x + 2.0))), 1.0 - 0.1 / (x + 2.0)


def walled_hess(x):
    return np.diag(0.1 / (x + 2.0) ** 2)


def downhill(x):
    """Unbounded below."""
    with np.errstate(all="ignore"):
        return -float(x @ x), -2.0 * x


def downhill_hess(x):
    return -2.0 * np.eye(x.size)


def kinked(x):
    return float(np.abs(x).sum()), np.sign(x)


def kinked_hess(x):
    return np.zeros((x.size, x.size))


@njit(cache=True)
def compiled(x):
    return ((x - 1.0) ** 4).sum(), 4.0 * (x - 1.0) ** 3


def compiled_hess(x):
    return np.diag(12.0 * (x - 1.0) ** 2)


PROBLEMS = {
    valley: rosen_hess,
    bowl: bowl_hess,
    walled: walled_hess,
    downhill: downhill_hess,
    kinked: kinked_hess,
    compiled: compiled_hess,
}


class Trap:
    """Not yet set: a function that raises at a call to come, once."""

    # Of the class, since copies and pickles of a solver have copies of their function.
    left = math.inf
    error: type[BaseException] = Mine

    @classmethod
    def spring(cls):
        cls.left -= 1
        if cls.left <= 0:
            cls.left = math.inf
            raise cls.error("mine")


class Function:
    """One of the problems in the form that `jac` says; what it is given, it overwrites."""

    def __init__(self, problem, jac):
        self.problem = problem
        self.jac = jac

    def __repr__(self):
        return f"Function({self.problem.__name__}, {self.jac!r})"

    def __call__(self, x, *grad):
        Trap.spring()
        value, gradient = self.problem(x)
        x.fill(np.nan)
        if self.jac is True:
            return value, gradient
        if self.jac == "inplace" and grad[0].size:
            grad[0][:] = gradient
        return value


class Gradient:
    def __init__(self, problem):
        self.problem = problem

    def __call__(self, x):
        Trap.spring()
        gradient = self.problem(x)[1]
        x.fill(np.nan)
        return gradient


class Hessian:
    def __init__(self, hess):
        self.hess = hess

    def __call__(self, x):
        Trap.spring()
        return self.hess(x)


@st.composite
def problems(draw):
    """The arguments of a `Solver`."""
    method = draw(st.sampled_from(sorted(METHODS)))
    row = METHODS[method]
    problem = draw(st.sampled_from(list(PROBLEMS)))
    n = draw(st.integers(2 if problem is valley else 1, 4))
    jac = draw(st.sampled_from([True, "inplace", "callable", "2-point", "3-point"]))
    arguments = {
        "x0": np.array(draw(st.lists(st.integers(-8, 12), min_size=n, max_size=n))) / 4.0,
        "method": method,
    }
    if problem is compiled and draw(st.booleans()):
        arguments["fun"], arguments["jac"] = compiled, True
    else:
        arguments["fun"] = Function(problem, jac)
        arguments["jac"] = Gradient(problem) if jac == "callable" else jac
    if row.second_order and arguments["fun"] is not compiled and draw(st.booleans()):
        arguments["hess"] = Hessian(PROBLEMS[problem])
    if row.takes_bounds and draw(st.booleans()):
        arguments["bounds"] = [(-1.75, 2.5)] * n
    options = {
        **(step_length(method, draw(st.sampled_from([1e-3, 0.1]))) if row.rule else {}),
        "maxiter": draw(st.sampled_from([0, 1, 7, 40])),
    }
    if draw(st.booleans()):
        options["maxfev"] = draw(st.sampled_from([0, 1, 2, 10, 60]))
    if draw(st.booleans()):
        options["stopval"] = 0.5
    if draw(st.booleans()):
        options["xtol"] = 1e-3
    if "damping" in row.options and draw(st.booleans()):
        options["damping"] = True
    if "line_search" in row.options and draw(st.booleans()):
        options["line_search"] = "more-thuente"
    if method == "fista" and draw(st.booleans()):
        options["l1"] = 0.25
    for name in ("trace", "return_all"):
        options[name] = draw(st.booleans())
    if arguments["fun"] is compiled:
        options["compile"] = draw(st.sampled_from([True, False, "auto"]))
    return arguments | {"options": options}


class Solvers(RuleBasedStateMachine):
    """Copies of one solver, each of which goes its own way along the same path."""

    solvers = Bundle("solvers")

    @initialize(target=solvers, arguments=problems())
    def begin(self, arguments):
        Trap.left = math.inf
        self.limited = "maxfev" in arguments["options"]
        given = {"trace": True, "return_all": True}
        arguments["options"] |= {"gtol": 1e-8}
        self.whole = fastopt.minimize(**{**arguments, "options": arguments["options"] | given})
        self.arguments = arguments
        x0 = arguments["x0"]
        before = x0.copy()
        solver = fastopt.Solver(**arguments)
        assert x0.tobytes() == before.tobytes()
        x0.fill(np.nan)  # it is the caller's
        solver.was_disturbed = False
        self.check(solver)
        return solver

    # --- what may happen to a solver ---

    @rule(solver=solvers, k=st.one_of(st.integers(0, 5), st.just(10**30)))
    def advance(self, solver, k):
        nit, ended = solver.nit, solver.status != -1
        going = solver.advance(k)
        assert going == (solver.status == -1)
        assert nit <= solver.nit <= nit + k
        assert not ended or solver.nit == nit
        self.check(solver)

    @rule(target=solvers, solver=solvers, how=st.sampled_from(["pickle", "deepcopy", "copy"]))
    def duplicate(self, solver, how):
        copies = {"deepcopy": copy.deepcopy, "copy": copy.copy}
        other = copies[how](solver) if how in copies else pickle.loads(pickle.dumps(solver))
        other.was_disturbed = solver.was_disturbed
        self.check(other)
        return other

    @rule(
        solver=solvers,
        calls=st.integers(1, 6),
        k=st.integers(0, 5),
        error=st.sampled_from([Mine, KeyboardInterrupt, MemoryError, StopIteration]),
    )
    def raise_in_function(self, solver, calls, k, error):
        assume(not self.limited)
        nit = solver.nit
        Trap.left, Trap.error = calls, error
        with contextlib.suppress(error):
            solver.advance(k)
        solver.was_disturbed |= Trap.left == math.inf
        Trap.left = math.inf
        assert nit <= solver.nit <= nit + k
        self.check(solver)

    @rule(solver=solvers, count=st.integers(1, 4), error=st.sampled_from([Mine, KeyboardInterrupt]))
    def raise_in_callback(self, solver, count, error):
        calls = 0

        def callback(x):
            nonlocal calls
            calls += 1
            self.check_iterate(solver, solver.nit, x.copy())
            x.fill(np.nan)
            if calls == count:
                raise error("mine")

        nit = solver.nit
        if solver.status == -1 and len(self.whole.allvecs) > nit + count:
            with pytest.raises(error, match=r"^mine$"):
                solver.run(callback)
            assert solver.nit == nit + count
        else:
            solver.run(callback)
            assert solver.status != -1
        self.check(solver)

    @rule(solver=solvers, jac=st.booleans())
    def reenter(self, solver, jac):
        """A callback that goes on with the solver that calls it."""
        errors = []

        def callback(intermediate_result):
            for call in (solver.advance, solver.run, lambda: pickle.dumps(solver)):
                try:
                    call()
                except RuntimeError as error:
                    errors.append(error)
            intermediate_result.clear()
            raise Mine

        ended, nit = solver.status != -1, solver.nit
        try:
            solver.run(callback)
        except Mine:
            assert len(errors) >= 2
            assert solver.nit == nit + 1
        else:
            assert ended or not errors
        self.check(solver)

    @rule(solver=solvers)
    def write_to_all_that_is_returned(self, solver):
        result = solver.result()
        arrays = [solver.x, solver.jac, result.x, result.jac, *result.get("allvecs", ())]
        arrays += result.get("trace", {}).values()
        hess_inv = result.get("hess_inv")
        if isinstance(hess_inv, np.ndarray):
            arrays.append(hess_inv)
        elif hess_inv is not None:
            arrays += [hess_inv.sk, hess_inv.yk]
        for each in arrays:
            each.fill(-7)
        result.clear()
        self.check(solver)

    @rule(solver=solvers)
    def run_to_the_end(self, solver):
        result = solver.run()
        assert solver.status != -1
        self.check_result(solver, result)

    @rule(target=solvers, solver=solvers)
    def end_by_callback(self, solver):
        """A copy that ends otherwise than the others."""
        other = copy.deepcopy(solver)
        other.was_disturbed = solver.was_disturbed

        def callback(x):
            raise StopIteration

        result = other.run(callback)
        if solver.status == -1 and len(self.whole.allvecs) > solver.nit + 1:
            assert (result.status, result.success, result.nit) == (99, False, solver.nit + 1)
        assert not other.advance(3)
        assert other.run().x.tobytes() == result.x.tobytes()
        self.check(solver)
        return multiple()

    # --- what has to hold ---

    def check(self, solver):
        result = solver.result()
        row = METHODS[self.arguments["method"]]
        n = self.arguments["x0"].size
        assert result.x.shape == result.jac.shape == (n,)
        assert np.isfinite(result.x).all()
        assert result.method in (row.name, row.bounded, row.unbounded)
        assert result.status == solver.status
        assert result.success == (result.status == 0)
        assert (solver.nit, solver.nfev, solver.njev) == (result.nit, result.nfev, result.njev)
        if result.status == -1:
            assert result.nit < len(self.whole.allvecs)
            if not result.message.startswith("Not started"):
                self.check_iterate(solver, result.nit, result.x, result.fun)
            if not solver.was_disturbed and result.nit:
                assert result.nfev == self.whole.trace["nfev"][result.nit]
        else:
            assert result.message in MESSAGES
            self.check_result(solver, result)
        if "trace" in result and result.nit >= 0 and result.nfev:
            length = len(result.trace["nit"])
            np.testing.assert_array_equal(result.trace["nit"], np.arange(length))
            np.testing.assert_array_equal(result.trace["fun"], self.whole.trace["fun"][:length])
            assert np.all(np.diff(result.trace["nfev"]) >= 0)

    def check_iterate(self, solver, nit, x, fun=None):
        assert x.tobytes() == self.whole.allvecs[nit].tobytes()
        if fun is not None:
            np.testing.assert_equal(fun, self.whole.trace["fun"][nit])

    def check_result(self, solver, result):
        whole = self.whole
        assert (result.status, result.nit, result.message) == (
            whole.status,
            whole.nit,
            whole.message,
        )
        assert result.x.tobytes() == whole.x.tobytes()
        assert result.jac.tobytes() == whole.jac.tobytes()
        np.testing.assert_equal(result.fun, whole.fun)
        if not result.success and result.nfev:
            assert not any(fun < result.fun for fun in whole.trace["fun"])
        if not solver.was_disturbed:
            assert [result[name] for name in COUNTS] == [whole[name] for name in COUNTS]
        for name in ("nfev", "njev", "nhev"):
            assert result[name] >= whole[name]


Solvers.TestCase.settings = settings(max_examples=60, stateful_step_count=12)


def test_nothing_that_happens_between_iterations_changes_the_path(explore):
    explore(Solvers)
