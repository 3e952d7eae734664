"""What every solver's state begins with, and the steps that all of them share.

A state is one struct and one block of doubles for its vectors. Between iterations it is complete:
it can be left, copied, pickled and gone on with.
"""

from libc.math cimport isfinite

from fastopt.core.abi cimport REPLY_STOP, REPLY_DONE, Objective, StatusCode
from fastopt.core.check cimport check
from fastopt.core.flag cimport is_set
from fastopt.core.vector cimport all_finite, norm_max
from fastopt.solvers.box cimport projected_norm_max
from fastopt.solvers.penalty cimport subgradient_norm_max


cdef struct Point:
    double value
    double* x
    double* gradient


cdef struct Limits:
    double gtol
    double norm               # the order of the norm that `gtol` bounds
    double ftol
    double xtol
    double stopval
    long long maxiter
    long long maxfev


cdef struct Iteration:
    Py_ssize_t n
    StatusCode status
    bint started              # value and gradient at x0 are known
    long long nit
    long long nfev
    long long njev
    long long nhev
    long long modelless       # iterations in which what is to shape the step was not finite
    Point current             # the last accepted iterate
    Point trial               # scratch, between iterations
    Point best                # the lowest point seen besides `current`; value inf if there is none
    double decrease           # f(previous) - f(current)
    double previous_value
    double step               # length of the last step
    bint cut_short            # and whether f was not finite at a point that it was tried with
    Limits limits
    const double* low         # bounds of the variables; NULL: there are none
    const double* high
    const double* l1          # weights of an l1 term that is added to f; NULL: there is none
    double smooth             # if there is: f at `current` without it


# A solver, as the loop sees it. `state` begins with an `Iteration`.
cdef struct Method:
    size_t state_size
    Py_ssize_t (*count_doubles)(const void* state) noexcept nogil
    void (*lay_out)(void* state, double* vectors) noexcept nogil
    double (*work)(const void* state) noexcept nogil      # operations of its own an iteration
    # When x0 has been evaluated, and, for methods that can be sent to a new point, when that has.
    void (*prepare)(void* state, const Objective* objective) noexcept nogil
    StatusCode (*iterate)(void* state, const Objective* objective) noexcept nogil


cdef enum:
    SHARED_VECTORS = 6        # x and gradient of `current`, `trial` and `best`


cdef void begin(Iteration* state, Py_ssize_t n, const double* settings) noexcept nogil
cdef StatusCode advance(const Method* method, void* state, const Objective* objective,
                        long long k) noexcept nogil
cdef StatusCode revisit(const Method* method, void* state, const Objective* objective,
                        const double* x) noexcept nogil
cdef const Point* answer(const Iteration* state) noexcept nogil
cdef double* lay_out_points(Iteration* state, double* vectors) noexcept nogil
cdef StatusCode status_of_reply(const Iteration* state, int reply) noexcept nogil


# --- steps, in the header so that they become part of a solver's loop -------------------------

cdef inline int evaluate(Iteration* state, const Objective* objective, Point* point) noexcept nogil:
    """Value and gradient at `point.x`, counted.

    Where they are separate functions, the gradient is left alone if the value is not finite: it
    is of no use there, and the user's function need not be able to give one.
    """
    cdef int reply = evaluate_value(state, objective, point)
    if reply != REPLY_DONE or not isfinite(point.value):
        return reply
    return evaluate_gradient(state, objective, point)


cdef inline int evaluate_value(Iteration* state, const Objective* objective,
                               Point* point) noexcept nogil:
    """The value, and the gradient with it where that comes from the same call."""
    cdef int reply
    if is_set(&objective.stop) or state.started and state.nfev >= state.limits.maxfev:
        return REPLY_STOP
    reply = objective.value_grad(point.x, &point.value, point.gradient if objective.joint else NULL,
                                 state.n, objective.context)
    if reply == REPLY_STOP:
        return reply
    state.nfev += 1
    state.njev += objective.joint
    if not isfinite(point.value):
        state.cut_short = True
    return reply


cdef inline int evaluate_gradient(Iteration* state, const Objective* objective,
                                  Point* point) noexcept nogil:
    """The gradient where `evaluate_value` came last, if it has not been had there."""
    if objective.joint:
        return REPLY_DONE
    state.njev += 1
    state.nfev += objective.gradient_cost
    return objective.value_grad(point.x, NULL, point.gradient, state.n, objective.context)


cdef inline double slope_norm(const Iteration* state) noexcept nogil:
    """The largest magnitude in the gradient at the current point, projected where there are bounds,
    and in the smallest subgradient where there is an l1 term; NaN if there is one."""
    cdef const Point* current = &state.current
    if state.l1 != NULL:
        return subgradient_norm_max(current.x, current.gradient, state.l1, state.n)
    if state.low == NULL:
        return norm_max(current.gradient, state.n)
    return projected_norm_max(current.x, current.gradient, state.low, state.high, state.n)


cdef inline bint is_bottomless(double value) noexcept nogil:
    """Whether a value has left the range of a double downwards, or is about to."""
    return value <= -1e300


cdef inline void accept_trial(Iteration* state, double step) noexcept nogil:
    """The trial becomes the current point, `step` away from the one before."""
    cdef Point previous = state.current
    check(isfinite(state.trial.value) and all_finite(state.trial.gradient, state.n))
    state.decrease = previous.value - state.trial.value
    state.previous_value = previous.value
    state.step = step
    state.current = state.trial
    state.trial = previous
    state.nit += 1


cdef inline void keep_if_best(Iteration* state) noexcept nogil:
    """The trial point is kept, by exchange, if it is the lowest besides the current one."""
    cdef Point trial = state.trial
    if trial.value < state.best.value and trial.value < state.current.value:
        state.trial = state.best
        state.best = trial
