"""Accelerated gradient descent (Nesterov 1983), and FISTA, which is the same with an l1 term.

Owns the momentum, its restarts and the estimate of the Lipschitz constant. With f smooth, F = f
plus the l1 term, and x the last iterate, a step is (Beck & Teboulle, SIAM J. Imaging Sci. 2, 2009,
equations 4.1 to 4.3)

    y  = x + (t - 1) / t+ (x - x before)
    x+ = shrink(y - f'(y) / L, weights / L)

where L has to bound the curvature of f from y to x+ ("backtracking"). It may shrink again: with

    t+ = (1 + sqrt(1 + 4 L+/L t^2)) / 2

F(x) - F(minimum) <= 2 max(L) |x0 - minimum|^2 / (k + 1)^2 for all convex f (Scheinberg, Goldfarb &
Bai, Found. Comput. Math. 14, 2014), with k and x0 counted from the last restart. L shrinks and
grows as in Becker, Candès & Grant (Math. Program. Comput. 3, 2011), who also tell how
to see the curvature where differences of f drown in rounding.

The momentum is given up when it leads uphill, by the angle between the step and the gradient
(O'Donoghue & Candès, Found. Comput. Math. 15, 2015, section 3.2) or because F would rise: so F
never does, be f convex or not.
"""

from libc.float cimport DBL_EPSILON, DBL_MIN
from libc.math cimport INFINITY, NAN, fabs, isfinite, sqrt
from libc.string cimport memcpy

from fastopt.core.abi cimport RUNNING, UNBOUNDED, Objective, StatusCode
from fastopt.core.four cimport Four, add_up, load, minus, plus_product, repeat
from fastopt.core.vector cimport add_scaled, all_finite, combine, distance, norm_two
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, Point, accept_trial, evaluate, is_bottomless, keep_if_best,
    lay_out_points, slope_norm, status_of_reply,
)
from fastopt.solvers.penalty cimport penalty, shrink_step
from fastopt.solvers.settings cimport AT_L1
from fastopt.solvers.stalling cimport CREEPING, begin_marks, diagnose, is_idle

# An L that is too small grows by this factor at least, and by
cdef double GROWTH = 2
# this one at most, whatever the curvature that was met; it shrinks by this factor after each step,
cdef double MOST_GROWTH = 100
cdef double SHRINK = 0.9
# and by this one where there is no momentum to lose, or no curvature; but not below the curvature.
cdef double MOST_SHRINK = 0.1
cdef int MOST_TRIALS = 100
# A step for which L had to grow by this factor, and to where differences of f drown, is none.
cdef double SWOLLEN = 1e4
# Changes of f below this part of it are seen by the slopes only.
cdef double FINE = 1e-10
# The first step is visible beside x if it is longer than this share of it.
cdef double VISIBLE = 1e-8


# How an attempt at a step ended.
cdef enum Verdict:
    GOOD
    TOO_LONG                  # L is too small
    ASTRAY                    # the momentum leads nowhere
    LOST                      # there is no step that could be seen beside x
    ENDED                     # the objective has ended the solve, or has no bottom


cdef struct Step:
    double momentum           # t, or 0 to do without
    double lipschitz          # L
    double t                  # t+
    Point base                # y, and f there
    double length             # |x+ - y|
    double curvature          # of f from y to x+
    bint by_slopes            # that has been seen by slopes
    double smooth             # f(x+)
    StatusCode status         # why the solve has ended


cdef Method accelerated_method() noexcept nogil:
    cdef Method method
    method.state_size = sizeof(Accelerated)
    method.count_doubles = count_doubles
    method.lay_out = lay_out
    method.work = work
    method.prepare = prepare
    method.iterate = iterate
    return method


cdef void begin_accelerated(Accelerated* state, const double* settings) noexcept nogil:
    """What is not zero in a state that has done nothing yet."""
    begin_marks(&state.marks)
    state.marks.patience = CREEPING
    state.penalised = settings[AT_L1] > 0
    state.weight = settings[AT_L1]


cdef void copy_weights(Accelerated* state, const double* weights) noexcept nogil:
    """Give each variable a weight of its own, once all is laid out."""
    cdef Py_ssize_t i
    state.weight = NAN
    for i in range(state.iteration.n):
        state.weights[i] = weights[i]


cdef void prepare(void* address, const Objective* objective) noexcept nogil:
    """The first step has length one, without the l1 term, or what can be seen at all beside x."""
    cdef Accelerated* state = <Accelerated*>address
    cdef Iteration* iteration = &state.iteration
    cdef const Point* current = &iteration.current
    cdef double norm = slope_norm(iteration)
    if not state.penalised:
        iteration.smooth = current.value
    state.marks.first_gradient = norm
    state.guess = max(norm_two(current.gradient, iteration.n), max(norm, DBL_MIN))
    state.guess /= max(1.0, VISIBLE * norm_two(current.x, iteration.n))
    state.lipschitz = state.guess


cdef StatusCode iterate(void* address, const Objective* objective) noexcept nogil:
    """One step, with an L large enough for it; without the momentum, if that leads uphill."""
    cdef Accelerated* state = <Accelerated*>address
    cdef Iteration* iteration = &state.iteration
    cdef double edge = INFINITY
    cdef Verdict verdict
    cdef Step step
    step.momentum = state.momentum
    step.lipschitz = state.guess
    for _ in range(MOST_TRIALS):
        verdict = attempt(state, objective, &step)
        if verdict == GOOD:
            accept(state, &step)
            if is_idle(&state.marks, iteration, objective):
                break
            return RUNNING
        keep_if_best(iteration)
        keep_ahead(state)
        if verdict == ENDED:
            return step.status
        if verdict == LOST:
            break
        if verdict == ASTRAY:
            step.momentum = 0
            continue
        if step.curvature == INFINITY:
            edge = min(edge, step.length)
        step.lipschitz = max(GROWTH * step.lipschitz,
                             min(step.curvature, MOST_GROWTH * step.lipschitz))
    return diagnose(&state.marks, iteration, objective, edge)


cdef Verdict attempt(Accelerated* state, const Objective* objective, Step* step) noexcept nogil:
    """Evaluate at y, unless that is x, and at the end of the step from there."""
    cdef Iteration* iteration = &state.iteration
    cdef Point* trial = &iteration.trial
    cdef double growth = step.lipschitz / state.lipschitz
    cdef double push
    trial.value = INFINITY
    state.ahead.value = INFINITY
    step.t = 0.5 * (1 + sqrt(1 + 4 * growth * step.momentum * step.momentum))
    push = (step.momentum - 1) / step.t
    step.base = iteration.current
    step.base.value = iteration.smooth
    if push > 0:
        if not add_scaled(iteration.current.x, push, state.motion, state.ahead.x, iteration.n):
            return ASTRAY
        if ends_at(&state.ahead, iteration, objective, step):
            return ENDED
        if state.ahead.value == INFINITY:
            return ASTRAY
        step.base = state.ahead
    move(iteration, step)
    if step.length == 0:
        return ASTRAY if push > 0 else LOST
    if step.length < INFINITY and ends_at(trial, iteration, objective, step):
        return ENDED
    step.curvature = INFINITY
    if trial.value == INFINITY:
        return TOO_LONG
    step.smooth = trial.value
    if iteration.l1 != NULL:
        trial.value += penalty(trial.x, iteration.l1, iteration.n)
    step.curvature = curvature_along(step, trial, iteration.n)
    if not step.curvature <= step.lipschitz * (1 + FINE):
        return TOO_LONG
    if trial.value > iteration.current.value + 16 * DBL_EPSILON * fabs(trial.value):
        return ASTRAY if push > 0 else TOO_LONG
    if step.by_slopes and step.lipschitz > SWOLLEN * state.guess:
        return LOST
    return GOOD


cdef bint ends_at(Point* point, Iteration* iteration, const Objective* objective,
                  Step* step) noexcept nogil:
    """Evaluate, and say whether that ends the solve; where anything is not finite, f is inf."""
    step.status = status_of_reply(iteration, evaluate(iteration, objective, point))
    if step.status == RUNNING and is_bottomless(point.value):
        step.status = UNBOUNDED
    if step.status != RUNNING or not (
            isfinite(point.value) and all_finite(point.gradient, iteration.n)):
        point.value = INFINITY
    return step.status != RUNNING


cdef void move(Iteration* iteration, Step* step) noexcept nogil:
    """x+, and how far it is from y."""
    cdef const Point* base = &step.base
    cdef double* x = iteration.trial.x
    cdef Py_ssize_t n = iteration.n
    if iteration.l1 == NULL:
        add_scaled(base.x, -1 / step.lipschitz, base.gradient, x, n)
    else:
        shrink_step(base.x, 1 / step.lipschitz, base.gradient, iteration.l1, x, n)
    step.length = distance(x, base.x, n)
    if not step.length < INFINITY:
        step.length = INFINITY


cdef double curvature_along(Step* step, const Point* trial, Py_ssize_t n) noexcept nogil:
    """Twice what f(x+) is above its tangent at y, over the square of the step.

    Where that drowns in rounding, the same by the slopes: it is as much if f is quadratic.
    """
    cdef const Point* base = &step.base
    cdef double length = step.length
    cdef double rise = step.smooth - base.value
    cdef double slope = slope_along(base.gradient, trial.x, base.x, n)
    step.by_slopes = step.lipschitz * length * length <= FINE * fabs(base.value)
    if step.by_slopes:
        return (slope_along(trial.gradient, trial.x, base.x, n) - slope) / length / length
    return 2 * (rise - slope) / length / length


cdef double slope_along(const double* gradient, const double* end, const double* start,
                        Py_ssize_t n) noexcept nogil:
    cdef Four fours = repeat(0)
    cdef double slope
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        fours = plus_product(fours, load(gradient + i), minus(load(end + i), load(start + i)))
        i += 4
    slope = add_up(fours)
    while i < n:
        slope += gradient[i] * (end[i] - start[i])
        i += 1
    return slope


cdef void accept(Accelerated* state, const Step* step) noexcept nogil:
    """x+ becomes the current point; whether it keeps the momentum, and the L to try next."""
    cdef Iteration* iteration = &state.iteration
    cdef double shrink = SHRINK if step.momentum > 0 and step.curvature > 0 else MOST_SHRINK
    state.marks.promised = step.lipschitz * step.length * step.length
    combine(1.0, iteration.trial.x, -1.0, iteration.current.x, state.motion, iteration.n)
    state.momentum = step.t
    if slope_along(state.motion, iteration.trial.x, step.base.x, iteration.n) < 0:
        state.momentum = 0
    state.lipschitz = step.lipschitz
    state.guess = max(step.curvature, shrink * step.lipschitz)
    iteration.smooth = step.smooth
    accept_trial(iteration, norm_two(state.motion, iteration.n))
    keep_if_best(iteration)                       # F may rise by as much as rounding errors
    if step.by_slopes:
        keep_ahead(state)


cdef void keep_ahead(Accelerated* state) noexcept nogil:
    """Keep y if it is the lowest point besides the current one."""
    cdef Iteration* iteration = &state.iteration
    cdef double lowest = min(iteration.current.value, iteration.best.value)
    cdef double value = state.ahead.value
    cdef Py_ssize_t n = iteration.n
    if value < lowest and iteration.l1 != NULL:
        value += penalty(state.ahead.x, iteration.l1, n)
    if value < lowest:
        iteration.trial.value = value
        memcpy(iteration.trial.x, state.ahead.x, n * sizeof(double))
        memcpy(iteration.trial.gradient, state.ahead.gradient, n * sizeof(double))
        keep_if_best(iteration)


# --- memory ----------------------------------------------------------------------------------

cdef Py_ssize_t count_doubles(const void* address) noexcept nogil:
    cdef const Accelerated* state = <const Accelerated*>address
    return (SHARED_VECTORS + 3 + state.penalised) * state.iteration.n


cdef void lay_out(void* address, double* vectors) noexcept nogil:
    cdef Accelerated* state = <Accelerated*>address
    cdef Py_ssize_t i, n = state.iteration.n
    state.ahead.x = lay_out_points(&state.iteration, vectors)
    state.ahead.gradient = state.ahead.x + n
    state.motion = state.ahead.gradient + n
    if state.penalised:
        state.weights = state.motion + n
        state.iteration.l1 = state.weights
        if state.weight == state.weight:
            for i in range(n):
                state.weights[i] = state.weight


cdef double work(const void* address) noexcept nogil:
    return 4 * <double>count_doubles(address)
