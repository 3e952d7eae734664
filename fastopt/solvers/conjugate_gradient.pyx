"""Nonlinear conjugate gradients: Hager & Zhang (SIAM J. Optim. 16, 2005), and the classics.

Own the choice of beta, restarts, and the step to try first. Know nothing of searches and their
failures. With d the direction, g and g+ the gradients before and after a step, y = g+ - g, and P
the preconditioner, the next direction is -P g+ + beta d:

    hz     beta = (y'P g+ - 2 y'P y d'g+ / d'y) / d'y, at least 0.4 d'g / d'd
    pr+    max(0, y'P g+ / g'P g)        Polak & Ribière 1969, Powell 1984
    fr     g+'P g+ / g'P g               Fletcher & Reeves 1964
    dy     g+'P g+ / d'y                 Dai & Yuan 1999
    hs     max(0, y'P g+ / d'y)          Hestenes & Stiefel 1952

The bound of hz is that of Hager & Zhang (SIAM J. Optim. 23, 2013, equation 3.8), which unlike their
first one does not depend on the scale of f. Gradients are divided by the largest element of the
first one, lest squares leave the range of a double.
"""

from libc.math cimport INFINITY, fabs

from fastopt.core.abi cimport REPLY_DONE, RUNNING, Objective, StatusCode
from fastopt.core.vector cimport (
    all_finite, combine, copy_scaled, dot, norm_max, norm_two, scale_by,
)
from fastopt.solvers.descent cimport Descent, Engine, begin_descent, descend, set_out
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, accept_trial, lay_out_points, status_of_reply,
)
from fastopt.solvers.settings cimport AT_BETA

# beta is at least this times d'g / d'd (hz).
cdef double LEAST_BETA = 0.4
# Along the gradient again after so many times n iterations: directions are conjugate no longer.
cdef double RESTART = 6
# fr and dy do so, too, where successive gradients are this far from orthogonal (Powell 1977): they
# cannot leave a bad direction otherwise.
cdef double ORTHOGONAL = 0.2
# The step to try first is at most so many times as long as the last one.
cdef double MOST_GROWTH = 10

cdef Engine ENGINE
ENGINE.aim = aim
ENGINE.follow = follow
ENGINE.blind = True
ENGINE.forget = NULL


cdef Method conjugate_gradient_method() noexcept nogil:
    cdef Method method
    method.state_size = sizeof(ConjugateGradient)
    method.count_doubles = count_doubles
    method.lay_out = lay_out
    method.work = work
    method.prepare = prepare
    method.iterate = iterate
    return method


cdef void begin_conjugate_gradient(ConjugateGradient* state, const double* settings) noexcept nogil:
    """What is not zero in a state that has done nothing yet; `begin` comes first."""
    begin_descent(&state.descent, settings)
    state.kind = <BetaKind>settings[AT_BETA]
    state.fresh = True


cdef void prepare(void* address, const Objective* objective) noexcept nogil:
    set_out(<Descent*>address, &ENGINE, objective, 0)


cdef StatusCode iterate(void* address, const Objective* objective) noexcept nogil:
    return descend(<Descent*>address, &ENGINE, objective)


cdef StatusCode aim(Descent* descent, const Objective* objective) noexcept nogil:
    """The direction from the current point; `follow` has left y and the old direction."""
    cdef ConjugateGradient* state = <ConjugateGradient*>descent
    cdef Iteration* iteration = &descent.iteration
    cdef const double* gradient = iteration.current.gradient
    cdef double* direction = descent.direction
    cdef Py_ssize_t n = iteration.n
    cdef double energy, beta, slope
    cdef int reply
    if iteration.nit == 0:
        state.unit = norm_max(gradient, n)
    if objective.precondition != NULL:
        reply = objective.precondition(gradient, state.image_change, n, objective.preconditioner)
        if reply != REPLY_DONE:
            return status_of_reply(iteration, reply)
        iteration.modelless += not all_finite(state.image_change, n)
        scale_by(1 / state.unit, state.image_change, n)
    else:
        copy_scaled(1 / state.unit, gradient, state.image_change, n)
    take_image(state)
    energy = dot(gradient, state.image, n) / state.unit
    beta = 0
    if not state.fresh:
        beta = choose_beta(state, gradient, energy)
    if beta == 0:
        copy_scaled(-1.0, state.image, direction, n)
        state.since_restart = 0
    else:
        combine_directions(beta, direction, state.image, n)
    state.since_restart += 1
    slope = dot(gradient, direction, n)
    if state.fresh and objective.precondition == NULL:
        descent.steepest = True
    elif state.fresh:
        descent.first_step = state.unit           # -P g, as Newton's method would take it
    elif slope < 0:
        descent.first_step = choose_step(state, slope)
    state.fresh = False
    state.energy = energy
    return RUNNING


cdef void take_image(ConjugateGradient* state) noexcept nogil:
    """`image_change` holds P g+, `image` P g: they become P y and P g+."""
    cdef double before
    cdef Py_ssize_t i
    for i in range(state.descent.iteration.n):
        before = state.image[i]
        state.image[i] = state.image_change[i]
        state.image_change[i] -= before


cdef double choose_beta(const ConjugateGradient* state, const double* gradient,
                        double energy) noexcept nogil:
    """0 means to begin along the gradient again."""
    cdef const double* change = state.change
    cdef const double* image = state.image
    cdef const double* direction = state.descent.direction
    cdef Py_ssize_t n = state.descent.iteration.n
    cdef double curvature = dot(direction, change, n)     # d'y, positive after a Wolfe search
    cdef double overlap = dot(change, image, n)           # y'P g+
    cdef double beta
    if not curvature > 0 or not state.energy > 0 or state.since_restart >= RESTART * n:
        return 0
    if state.kind == HAGER_ZHANG_BETA:
        beta = overlap - (2 * dot(change, state.image_change, n) / curvature
                          * dot(direction, gradient, n) / state.unit)
        beta = max(beta / curvature,
                   LEAST_BETA * state.last_slope / state.unit / dot(direction, direction, n))
    elif state.kind == POLAK_RIBIERE:
        beta = max(0.0, overlap / state.energy)
    elif state.kind == HESTENES_STIEFEL:
        beta = max(0.0, overlap / curvature)
    elif fabs(energy - overlap) >= ORTHOGONAL * energy:   # g'P g+
        return 0
    elif state.kind == FLETCHER_REEVES:
        beta = energy / state.energy
    else:
        beta = energy / curvature
    return beta if fabs(beta) < INFINITY else 0


cdef double choose_step(const ConjugateGradient* state, double slope) noexcept nogil:
    """The one that promises the same first-order change as the last step made (Nocedal & Wright
    2006, section 3.5), but not much longer a step than that."""
    cdef Py_ssize_t n = state.descent.iteration.n
    cdef double longest = (MOST_GROWTH * state.descent.iteration.step
                           / norm_two(state.descent.direction, n))
    return min(state.last_step * state.last_slope / slope, longest)


cdef void combine_directions(double beta, double* direction, const double* image,
                             Py_ssize_t n) noexcept nogil:
    """d = beta d - P g+"""
    cdef Py_ssize_t i
    for i in range(n):
        direction[i] = beta * direction[i] - image[i]


cdef double follow(Descent* descent, bint along) noexcept nogil:
    cdef ConjugateGradient* state = <ConjugateGradient*>descent
    cdef Iteration* iteration = &descent.iteration
    cdef const double* direction = descent.direction
    cdef Py_ssize_t n = iteration.n
    cdef double step
    combine(1.0, iteration.trial.x, -1.0, iteration.current.x, state.change, n)
    step = dot(state.change, direction, n) / dot(direction, direction, n)
    accept_trial(iteration, norm_two(state.change, n))
    combine(1 / state.unit, iteration.current.gradient, -1 / state.unit, iteration.trial.gradient,
            state.change, n)
    state.last_step = step
    state.last_slope = descent.slope
    if not (along and step > 0):
        state.fresh = True
        state.last_step = 0
    return 0


# --- memory ----------------------------------------------------------------------------------

cdef Py_ssize_t count_doubles(const void* address) noexcept nogil:
    return (SHARED_VECTORS + 4) * (<const ConjugateGradient*>address).descent.iteration.n


cdef void lay_out(void* address, double* vectors) noexcept nogil:
    cdef ConjugateGradient* state = <ConjugateGradient*>address
    cdef Py_ssize_t n = state.descent.iteration.n
    state.descent.direction = lay_out_points(&state.descent.iteration, vectors)
    state.change = state.descent.direction + n
    state.image = state.change + n
    state.image_change = state.image + n


cdef double work(const void* address) noexcept nogil:
    return 4 * <double>count_doubles(address)
