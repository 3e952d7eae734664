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
    AT_CLIP_NORM, AT_CLIP_VALUE, AT_HYPERPARAMETERS, AT_WEIGHT_DECAY,
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
    return RUNNING


cdef Py_ssize_t count_doubles(const void* address) noexcept nogil:
    cdef const FirstOrder* state = <const FirstOrder*>address
    return (SHARED_VECTORS + state.rule.slots) * state.iteration.n


cdef void lay_out(void* address, double* vectors) noexcept nogil:
    cdef FirstOrder* state = <FirstOrder*>address
    state.slot_vectors = lay_out_points(&state.iteration, vectors)


cdef double work(const void* address) noexcept nogil:
    return 4 * <double>count_doubles(address)
