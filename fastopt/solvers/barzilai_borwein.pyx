"""Gradient descent with the steps of Barzilai & Borwein (IMA J. Numer. Anal. 8, 1988), made to
converge by the search of Raydan (SIAM J. Optim. 7, 1997): f need not decrease, but it stays below
the highest of its last ten values (Grippo, Lampariello & Lucidi, SIAM J. Numer. Anal. 23, 1986).

Owns the choice of the step along the gradient. With s the last step and y the change of the
gradient, there are two that make one number of the inverse Hessian:

    long  = s's / s'y
    short = s'y / y'y

Which of them is taken, Frassoldati, Zanni & Zanghirati decide (J. Ind. Manag. Optim. 4, 2008,
ABBmin1): the long one if the two are alike, else the shortest of the last short ones, which takes
away what is left along large eigenvalues, so that a long step can follow.
"""

from libc.float cimport DBL_EPSILON, DBL_MIN
from libc.math cimport INFINITY, fabs, isfinite

from fastopt.core.abi cimport REPLY_DONE, RUNNING, UNBOUNDED, Objective, StatusCode
from fastopt.core.four cimport Four, add_up, load, minus, plus_product, repeat
from fastopt.core.vector cimport add_scaled, all_finite, distance, norm_max, norm_two
from fastopt.solvers.box cimport within
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, Point, accept_trial, evaluate, is_bottomless, keep_if_best,
    lay_out_points, slope_norm, status_of_reply,
)
from fastopt.solvers.stalling cimport CREEPING, begin_marks, diagnose, has_stalled

# Of what the slope promises, f has to fall by this part.
cdef double LEAST_DECREASE = 1e-4
# Where it does not, the step shrinks to between these parts of it, the lower one where f is not
# finite.
cdef double MOST_SHRINK = 0.1
cdef double LEAST_SHRINK = 0.5
cdef int MOST_TRIALS = 100
# A step that had to shrink to this part of it, and to where f is nothing but noise, is none.
cdef double VANISHED = 1e-4
# The short step is taken where it is below this part of the long one. On the problems of
# `fastopt.testing` and parabolas, the long one always would take 1.6 times the evaluations, the
# short one always or both by turns 1.1 times; on the parabolas alone 2.1, 1.6 and 1.8 times.
cdef double UNLIKE = 0.5
# Where f bends downward along the step, the next one grows by this factor.
cdef double GROWTH = 10
# The first step is visible beside x if it is longer than this share of it.
cdef double VISIBLE = 1e-8


# Inner products of the gradient g before a step and its change, g - g+.
cdef struct Changes:
    double before             # g'g
    double along              # g'(g - g+)
    double squares            # (g - g+)'(g - g+)


cdef Method barzilai_borwein_method() noexcept nogil:
    cdef Method method
    method.state_size = sizeof(BarzilaiBorwein)
    method.count_doubles = count_doubles
    method.lay_out = lay_out
    method.work = work
    method.prepare = prepare
    method.iterate = iterate
    return method


cdef void begin_barzilai_borwein(BarzilaiBorwein* state) noexcept nogil:
    """What is not zero in a state that has done nothing yet."""
    cdef Py_ssize_t i
    begin_marks(&state.marks)
    state.marks.patience = CREEPING
    for i in range(WINDOW):
        state.values[i] = -INFINITY
    forget_shorts(state)


cdef void prepare(void* address, const Objective* objective) noexcept nogil:
    """The first step has length one, or what can be seen at all beside x."""
    cdef BarzilaiBorwein* state = <BarzilaiBorwein*>address
    cdef const Point* current = &state.iteration.current
    cdef Py_ssize_t n = state.iteration.n
    state.marks.first_gradient = slope_norm(&state.iteration)
    state.values[0] = current.value
    state.step = max(1.0, VISIBLE * norm_two(current.x, n))
    state.step /= max(norm_two(current.gradient, n), DBL_MIN)


cdef StatusCode iterate(void* address, const Objective* objective) noexcept nogil:
    """One step along the gradient, shortened until f is below its last values."""
    cdef BarzilaiBorwein* state = <BarzilaiBorwein*>address
    cdef Iteration* iteration = &state.iteration
    cdef const Point* current = &iteration.current
    cdef Point* trial = &iteration.trial
    cdef Py_ssize_t n = iteration.n
    cdef double length = norm_two(current.gradient, n)
    cdef double ceiling = highest(state)
    cdef double step = state.step
    cdef double edge = INFINITY
    cdef double promised, decrease, noise
    cdef int reply
    for _ in range(MOST_TRIALS):
        promised = step * length * length
        if add_scaled(current.x, -step, current.gradient, trial.x, n):
            reply = evaluate(iteration, objective, trial)
            if reply != REPLY_DONE:
                return status_of_reply(iteration, reply)
            if is_bottomless(trial.value):
                return UNBOUNDED
            if isfinite(trial.value) and all_finite(trial.gradient, n):
                noise = 16 * DBL_EPSILON * fabs(trial.value)
                decrease = LEAST_DECREASE * promised
                if trial.value <= ceiling - decrease + noise:
                    state.marks.promised = state.step * length * length
                    if step < VANISHED * state.step and decrease <= noise:
                        keep_if_best(iteration)
                        break
                    accept(state, step)
                    if has_stalled(&state.marks, highest(state), iteration, objective):
                        break
                    return RUNNING
                step *= within(0.5 * promised / (trial.value - current.value + promised),
                               MOST_SHRINK, LEAST_SHRINK)
                keep_if_best(iteration)
                continue
        edge = min(edge, step * norm_max(current.gradient, n))
        step *= MOST_SHRINK
    return diagnose(&state.marks, iteration, objective, edge)


cdef double highest(const BarzilaiBorwein* state) noexcept nogil:
    cdef double value = state.values[0]
    cdef Py_ssize_t i
    for i in range(1, WINDOW):
        value = max(value, state.values[i])
    return value


cdef void accept(BarzilaiBorwein* state, double step) noexcept nogil:
    """The trial, `step` times the gradient away, becomes the current point."""
    cdef Iteration* iteration = &state.iteration
    cdef Changes changes = compare(iteration.current.gradient, iteration.trial.gradient, 1,
                                   iteration.n)
    cdef double unit
    if not (1e-280 < changes.before < INFINITY and changes.squares < INFINITY):
        unit = max(norm_max(iteration.current.gradient, iteration.n),
                   norm_max(iteration.trial.gradient, iteration.n))
        changes = compare(iteration.current.gradient, iteration.trial.gradient, 1 / unit,
                          iteration.n)
    state.step = next_step(state, step, &changes)
    accept_trial(iteration, distance(iteration.trial.x, iteration.current.x, iteration.n))
    keep_if_best(iteration)
    state.values[iteration.nit % WINDOW] = iteration.current.value


cdef double next_step(BarzilaiBorwein* state, double step, const Changes* changes) noexcept nogil:
    cdef double shortest = INFINITY
    cdef double long_step, short_step
    cdef Py_ssize_t i
    if not changes.along > 0:
        forget_shorts(state)
        return GROWTH * step
    long_step = step * (changes.before / changes.along)
    short_step = step * (changes.along / changes.squares)
    state.shorts[state.next_short] = short_step
    state.next_short = (state.next_short + 1) % RECENT
    if short_step >= UNLIKE * long_step:
        return long_step
    for i in range(RECENT):
        shortest = min(shortest, state.shorts[i])
    return shortest


cdef void forget_shorts(BarzilaiBorwein* state) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(RECENT):
        state.shorts[i] = INFINITY


cdef Changes compare(const double* before, const double* after, double scale,
                     Py_ssize_t n) noexcept nogil:
    """The products of both gradients times `scale`: their ratios do not depend on it."""
    cdef Four zero = repeat(0)
    cdef Four factor = repeat(scale)
    cdef Four g_four, change_four
    cdef Four squares_before = zero, along = zero, squares = zero
    cdef double g, change
    cdef Changes changes
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        g_four = plus_product(zero, factor, load(before + i))
        change_four = minus(g_four, plus_product(zero, factor, load(after + i)))
        squares_before = plus_product(squares_before, g_four, g_four)
        along = plus_product(along, g_four, change_four)
        squares = plus_product(squares, change_four, change_four)
        i += 4
    changes.before, changes.along = add_up(squares_before), add_up(along)
    changes.squares = add_up(squares)
    while i < n:
        g = scale * before[i]
        change = g - scale * after[i]
        changes.before += g * g
        changes.along += g * change
        changes.squares += change * change
        i += 1
    return changes


# --- memory ----------------------------------------------------------------------------------

cdef Py_ssize_t count_doubles(const void* address) noexcept nogil:
    return SHARED_VECTORS * (<const BarzilaiBorwein*>address).iteration.n


cdef void lay_out(void* address, double* vectors) noexcept nogil:
    lay_out_points(&(<BarzilaiBorwein*>address).iteration, vectors)


cdef double work(const void* address) noexcept nogil:
    return 4 * <double>count_doubles(address)
