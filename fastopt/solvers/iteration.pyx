"""The loop that runs every solver, and the steps that all of them share.

Owns evaluation, acceptance, termination and the best point seen. Knows nothing of directions and
steps, nor of how a solver chooses them.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY, NAN, fabs, isfinite
from libc.string cimport memcmp, memcpy

from fastopt.core.abi cimport (
    FTOL, GTOL, MAXFEV, MAXITER, NOISY_DIFFERENCES, NOT_ANALYTIC, NOT_FINITE, RAISED, REPLY_DONE,
    REPLY_RAISED, REPLY_STOP, RUNNING, STOPPED, STOPVAL, UNBOUNDED, XTOL,
)
from fastopt.core.vector cimport all_finite, norm_max, norm_order, norm_two
from fastopt.objectives.complex_step cimport check_complex_step
from fastopt.solvers.box cimport clip, projected
from fastopt.solvers.penalty cimport penalty, subgradient
from fastopt.solvers.settings cimport (
    AT_FTOL, AT_GTOL, AT_MAXFEV, AT_MAXITER, AT_NORM, AT_STOPVAL, AT_XTOL,
)


cdef void begin(Iteration* state, Py_ssize_t n, const double* settings) noexcept nogil:
    """What is not zero in a state that has done nothing yet."""
    state.n = n
    state.limits.gtol = settings[AT_GTOL]
    state.limits.norm = settings[AT_NORM]
    state.limits.ftol = settings[AT_FTOL]
    state.limits.xtol = settings[AT_XTOL]
    state.limits.stopval = settings[AT_STOPVAL]
    state.limits.maxiter = <long long>settings[AT_MAXITER]
    state.limits.maxfev = <long long>settings[AT_MAXFEV]
    state.step = NAN
    state.current.value = NAN
    state.best.value = INFINITY


cdef StatusCode advance(const Method* method, void* address, const Objective* objective,
                        long long k) noexcept nogil:
    """At most k more iterations. Called again it goes on, as if it had not stopped."""
    cdef Iteration* state = <Iteration*>address
    cdef StatusCode status = RUNNING
    if not state.started:
        status = start(state, objective)
        if status == RUNNING:
            method.prepare(address, objective)
    while status == RUNNING:
        status = test_termination(state)
        if status == GTOL and is_blind(state, objective):
            status = NOISY_DIFFERENCES
        if status != RUNNING or k == 0:
            break
        state.cut_short = False
        status = method.iterate(address, objective)
        k -= 1
    state.status = status
    return status


cdef StatusCode start(Iteration* state, const Objective* objective) noexcept nogil:
    """Evaluate at x0, or at the point nearest to it that the bounds allow."""
    cdef Point* current = &state.current
    cdef Py_ssize_t i
    cdef int reply
    cdef double value
    cdef bint finite
    cdef bint wrong = False
    if state.low != NULL:
        clip(current.x, state.low, state.high, state.n)
    for i in range(state.n):
        current.gradient[i] = NAN
    current.value = NAN
    reply = evaluate(state, objective, current)
    if reply != REPLY_DONE:
        return status_of_reply(state, reply)
    finite = isfinite(current.value) and all_finite(current.gradient, state.n)
    value = current.value
    if state.l1 != NULL:
        state.smooth = value
        current.value += penalty(current.x, state.l1, state.n)
    if finite and objective.complex_step:
        reply = check_complex_step(objective, current.x, value, current.gradient,
                                   state.trial.x, state.n, &state.nfev, &wrong)
        if reply != REPLY_DONE:
            return status_of_reply(state, reply)
        if wrong:
            return NOT_ANALYTIC
    state.started = True
    return status_at_start(current, finite)


cdef StatusCode status_at_start(const Point* point, bint finite) noexcept nogil:
    if point.value == -INFINITY:
        return UNBOUNDED
    return RUNNING if finite else NOT_FINITE


cdef StatusCode revisit(const Method* method, void* address, const Objective* objective,
                        const double* x) noexcept nogil:
    """Evaluate at x, where the function may be another than it was, and go on from there.

    What was learnt of its curvature is kept. Where point, value and gradient are the current ones
    to the last bit, nothing changes; nor does it where there is no value to be had.
    """
    cdef Iteration* state = <Iteration*>address
    cdef Point* trial = &state.trial
    cdef Point previous = state.current
    cdef StatusCode status
    cdef Py_ssize_t i
    cdef int reply
    memcpy(trial.x, x, state.n * sizeof(double))
    for i in range(state.n):
        trial.gradient[i] = NAN
    trial.value = NAN
    reply = evaluate(state, objective, trial)
    if reply != REPLY_DONE:
        return status_of_reply(state, reply)
    if state.started and is_same(trial, &previous, state.n):
        if state.status == RAISED or state.status == STOPPED:
            state.status = RUNNING
        return state.status
    state.current = trial[0]
    state.trial = previous
    state.best.value = INFINITY
    state.decrease = INFINITY           # that of another function
    state.started = True
    status = status_at_start(&state.current, isfinite(state.current.value)
                             and all_finite(state.current.gradient, state.n))
    if status == RUNNING:
        method.prepare(address, objective)
    state.status = status
    return status


cdef bint is_same(const Point* one, const Point* other, Py_ssize_t n) noexcept nogil:
    """Bit by bit: a NaN is the same as itself."""
    return (memcmp(&one.value, &other.value, sizeof(double)) == 0
            and memcmp(one.x, other.x, n * sizeof(double)) == 0
            and memcmp(one.gradient, other.gradient, n * sizeof(double)) == 0)


cdef StatusCode test_termination(const Iteration* state) noexcept nogil:
    """Which test, if any, the current point passes.

    The tests of values and steps are SciPy's: L-BFGS-B's `ftol` and BFGS' `xrtol`. They say nothing
    where a step is small because f is not finite further on.
    """
    cdef const Limits* limits = &state.limits
    cdef double scale
    if state.current.value <= limits.stopval:
        return STOPVAL
    if is_stationary(state):
        return GTOL
    if state.nit > 0 and not state.cut_short:
        if limits.ftol > 0:
            scale = max(1.0, max(fabs(state.current.value), fabs(state.previous_value)))
            if fabs(state.decrease) <= limits.ftol * scale:
                return FTOL
        if limits.xtol > 0:
            scale = limits.xtol + norm_two(state.current.x, state.n)
            if state.step <= limits.xtol * scale:
                return XTOL
    if state.nit >= limits.maxiter:
        return MAXITER
    if state.nfev >= limits.maxfev:
        return MAXFEV
    return RUNNING


cdef bint is_stationary(const Iteration* state) noexcept nogil:
    """Whether the norm of the gradient, projected where there are bounds, is at most `gtol`."""
    cdef Py_ssize_t i
    if state.low == NULL and state.l1 == NULL and state.limits.norm == INFINITY:
        for i in range(state.n):    # one that is too large is enough to know
            if not fabs(state.current.gradient[i]) <= state.limits.gtol:
                return False
        return True
    return measure_gradient(state) <= state.limits.gtol


cdef double measure_gradient(const Iteration* state) noexcept nogil:
    """That norm: where there is an l1 term, of the smallest subgradient."""
    cdef const Point* current = &state.current
    cdef double* scratch = state.trial.gradient
    cdef Py_ssize_t i
    if state.low == NULL and state.l1 == NULL:
        return norm_order(current.gradient, state.n, state.limits.norm)
    if state.limits.norm == INFINITY:
        return slope_norm(state)
    for i in range(state.n):
        if state.l1 != NULL:
            scratch[i] = subgradient(current.x[i], current.gradient[i], state.l1[i])
        else:
            scratch[i] = projected(current.x[i], current.gradient[i], state.low[i], state.high[i])
    return norm_order(scratch, state.n, state.limits.norm)


cdef bint is_blind(const Iteration* state, const Objective* objective) noexcept nogil:
    """Whether a gradient of zero says nothing: f is the same at all points of its differences, and
    its rounding errors alone could hide slopes above gtol."""
    if objective.difference_step == 0 or slope_norm(state) > 0:
        return False
    if state.l1 != NULL and norm_max(state.current.gradient, state.n) > 0:
        return False
    return DBL_EPSILON * fabs(state.current.value) > state.limits.gtol * objective.difference_step


cdef const Point* answer(const Iteration* state) noexcept nogil:
    """The point that a result holds: the current one while the solve can go on or where a test was
    passed there, otherwise the lowest."""
    if state.status in (RUNNING, RAISED, STOPPED, GTOL, FTOL, XTOL, STOPVAL):
        return &state.current
    if state.best.value < state.current.value:
        return &state.best
    return &state.current


cdef double* lay_out_points(Iteration* state, double* vectors) noexcept nogil:
    """Give the three points their vectors; what follows them is the solver's own."""
    cdef Py_ssize_t n = state.n
    state.current.x = vectors
    state.current.gradient = vectors + n
    state.trial.x = vectors + 2 * n
    state.trial.gradient = vectors + 3 * n
    state.best.x = vectors + 4 * n
    state.best.gradient = vectors + 5 * n
    return vectors + SHARED_VECTORS * n


cdef StatusCode status_of_reply(const Iteration* state, int reply) noexcept nogil:
    if reply == REPLY_RAISED:
        return RAISED
    if reply == REPLY_STOP:
        return MAXFEV if state.nfev >= state.limits.maxfev else STOPPED
    return RUNNING
