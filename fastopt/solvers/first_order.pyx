"""The one loop of all first-order methods; the method is the rule's C step.

Owns the iteration. Knows nothing of what a rule does with its slots.
"""

from libc.math cimport INFINITY, isfinite
from libc.string cimport memcpy

from fastopt.core.abi cimport DIVERGED, REPLY_DONE, RUNNING, UNBOUNDED, Objective, StatusCode
from fastopt.core.rule_step cimport MOST_HYPERPARAMETERS, clip_scale, take_step
from fastopt.core.vector cimport all_finite, distance
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, Point, accept_trial, evaluate, keep_if_best, lay_out_points,
    status_of_reply,
)
from fastopt.solvers.settings cimport (
    AT_AVERAGE_DECAY, AT_AVERAGE_FROM, AT_AVERAGING, AT_CLIP_NORM, AT_CLIP_VALUE,
    AT_HYPERPARAMETERS, AT_WEIGHT_DECAY,
)


cdef Method first_order_method() noexcept nogil:
    cdef Method method
    method.state_size = sizeof(FirstOrder)
    method.count_doubles = count_doubles
    method.lay_out = lay_out
    method.work = work
    method.prepare = prepare
    method.iterate = iterate
    return method


cdef void begin_first_order(FirstOrder* state, const double* settings) noexcept nogil:
    """The rule itself, which Numba compiles, is the caller's to set."""
    memcpy(state.rule.hyperparameters, settings + AT_HYPERPARAMETERS,
           MOST_HYPERPARAMETERS * sizeof(double))
    state.rule.clip_norm = settings[AT_CLIP_NORM]
    state.rule.clip_value = settings[AT_CLIP_VALUE]
    state.rule.weight_decay = settings[AT_WEIGHT_DECAY]
    state.averaging = <Averaging><int>settings[AT_AVERAGING]
    state.average_decay = settings[AT_AVERAGE_DECAY]
    state.average_from = <long long>settings[AT_AVERAGE_FROM]


cdef void prepare(void* address, const Objective* objective) noexcept nogil:
    pass


cdef StatusCode iterate(void* address, const Objective* objective) noexcept nogil:
    """One step of the rule, and the evaluation where it leads.

    An evaluation that raises or stops leaves the step taken; it is not taken again.
    """
    cdef FirstOrder* state = <FirstOrder*>address
    cdef Iteration* iteration = &state.iteration
    cdef Point* current = &iteration.current
    cdef Point* trial = &iteration.trial
    cdef Py_ssize_t n = iteration.n
    cdef double scale, step
    cdef int reply
    if not state.stepped:
        memcpy(trial.x, current.x, n * sizeof(double))
        scale = clip_scale(&state.rule, <const double*>current.gradient, n)
        take_step(&state.rule, trial.x, <const double*>current.gradient, state.slot_vectors, scale,
                  iteration.nit + 1, n, n)
        state.stepped = True
    step = distance(trial.x, current.x, n)
    if not (isfinite(step) or all_finite(trial.x, n)):
        return DIVERGED
    reply = evaluate(iteration, objective, trial)
    if reply != REPLY_DONE:
        return status_of_reply(iteration, reply)
    if trial.value == -INFINITY:
        return UNBOUNDED
    if not (isfinite(trial.value) and all_finite(trial.gradient, n)):
        return DIVERGED
    state.stepped = False
    accept_trial(iteration, step)
    keep_if_best(iteration)
    update_average(state)
    return RUNNING


cdef void update_average(FirstOrder* state) noexcept nogil:
    """Both kinds are the mean of the first iterates, until the last one's share is what a mean that
    forgets gives it."""
    cdef long long k = state.iteration.nit - state.average_from
    cdef const double* x = state.iteration.current.x
    cdef double share
    cdef Py_ssize_t i
    if state.averaging == NOT_AVERAGED or k <= 0:
        return
    share = 1.0 / <double>k
    if state.averaging == EXPONENTIAL:
        share = max(share, 1 - state.average_decay)
    for i in range(state.iteration.n):
        state.average[i] += share * (x[i] - state.average[i])


cdef void take_pending_step(FirstOrder* state) noexcept nogil:
    """Go where the last gradient leads, without an evaluation there; value and gradient stay."""
    cdef Iteration* iteration = &state.iteration
    cdef Py_ssize_t n = iteration.n
    if state.stepped and all_finite(iteration.trial.x, n):
        memcpy(iteration.current.x, iteration.trial.x, n * sizeof(double))
        state.stepped = False
        iteration.nit += 1
        update_average(state)


cdef Py_ssize_t count_doubles(const void* address) noexcept nogil:
    cdef const FirstOrder* state = <const FirstOrder*>address
    cdef Py_ssize_t own = state.rule.slots + (state.averaging != NOT_AVERAGED)
    return (SHARED_VECTORS + own) * state.iteration.n


cdef void lay_out(void* address, double* vectors) noexcept nogil:
    cdef FirstOrder* state = <FirstOrder*>address
    state.slot_vectors = lay_out_points(&state.iteration, vectors)
    state.average = NULL
    if state.averaging != NOT_AVERAGED:
        state.average = state.slot_vectors + state.rule.slots * state.iteration.n


cdef double work(const void* address) noexcept nogil:
    return 4 * <double>count_doubles(address)
