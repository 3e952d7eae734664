"""`minimize_many` has the bits of `minimize` in a loop, whatever the batch looks like in memory."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import njit

import fastopt
from fastopt.interface.methods import METHODS
from tests.step_lengths import step_length

ENDING = ("status", "success", "message", "converged_to")
DTYPES = ("f8", "f4", "f2", "i4", "u1", ">f8", "?")


class Mine(Exception):
    """What the user's own code raises."""


def distance(x, target, weight):
    """Raises where the weight is too much, and is not finite where it is too little."""
    if weight > 6:
        raise Mine(float(weight))
    if weight < -6:
        return np.nan, np.full(x.size, np.nan)
    value = 0.0
    grad = np.zeros(x.size)
    for i in range(x.size):
        error = x[i] - target[i % target.size]
        value += (1 + i) * error**2 + 0.25 * error**4 + weight * x[i]
        grad[i] = 2 * (1 + i) * error + error**3 + weight
    return value, grad


compiled = njit(cache=True)(distance)


@st.composite
def in_memory(draw, array):
    """The same numbers, elsewhere."""
    way = draw(st.sampled_from(["C", "F", "gaps", "reversed", "read-only", "list"]))
    if way == "F":
        return np.asfortranarray(array)
    if way == "gaps":
        room = np.zeros((2 * array.shape[0], *array.shape[1:], 3), array.dtype)
        room[::2, ..., 1] = array
        return room[::2, ..., 1]
    if way == "reversed":
        return array[::-1].copy()[::-1]
    if way == "list":
        return list(array)
    array.flags.writeable = way == "C"
    return array


@st.composite
def batches(draw, is_compiled):
    """Starts, arguments and which of these are batched; few types of them for compiled functions,
    each of which takes a second."""
    problems, n, m = (draw(st.integers(1, 4)) for _ in range(3))

    def table(*shape, dtypes=DTYPES):
        size = int(np.prod(shape))
        entries = draw(st.lists(st.integers(0, 8), min_size=size, max_size=size))
        return np.array(entries).reshape(shape).astype(draw(st.sampled_from(dtypes)))

    starts = draw(in_memory(table(problems, n)))
    if is_compiled:
        targets = table(problems, m, dtypes=["f8"])
        return starts, (targets, table(problems, dtypes=["f8"])), (True, True)
    batched = draw(st.tuples(st.booleans(), st.booleans()))
    target = draw(in_memory(table(problems, m))) if batched[0] else table(m)
    weight = draw(in_memory(table(problems))) if batched[1] else float(draw(st.integers(-7, 7)))
    return starts, (target, weight), batched


def value_alone(x, *args):
    return distance(x, *args)[0]


@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(
    st.data(),
    st.sampled_from([(distance, True), (value_alone, "2-point"), (compiled, True)]),
    st.sampled_from(sorted(METHODS)),
    st.integers(1, 3),
)
def test_batch_has_the_bits_of_a_loop(data, function, method, workers):
    fun, jac = function
    starts, args, batched = data.draw(batches(fun is compiled))
    options = {"maxiter": 12, "compile": fun is compiled} | step_length(method, 1e-2)
    with np.errstate(all="ignore"):
        found = fastopt.minimize_many(
            fun, starts, args, batched, method=method, jac=jac, options=options, workers=workers
        )
        for i, start in enumerate(starts):
            own = tuple(arg[i] if each else arg for arg, each in zip(args, batched, strict=True))
            try:
                alone = fastopt.minimize(fun, start, own, method=method, jac=jac, options=options)
            except Mine:
                assert found.status[i] == 9
                assert found.errors[i].args == (float(own[1]),)
                assert not found.success[i]
                continue
            assert found.x[i].tobytes() == alone.x.tobytes()
            assert found.jac[i].tobytes() == alone.jac.tobytes()
            np.testing.assert_equal(found.fun[i], alone.fun)
            for name in ("nit", "nfev", "njev", "nhev", *ENDING):
                assert found[name][i] == alone[name]
