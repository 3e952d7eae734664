"""The iteration of all line-search methods; a method is an engine that finds directions.

Owns the search along a direction, the recovery where that fails, and the step to try first. Knows
nothing of Wolfe tests, of how directions are found, or of Python. Order of calls in an iteration:
aim, search, follow.
"""

from libc.float cimport DBL_MIN
from libc.math cimport INFINITY, fabs

from fastopt.core.abi cimport (
    RAISED, REPLY_DONE, REPLY_STOP, RUNNING, UNBOUNDED, Objective, StatusCode,
)
from fastopt.core.vector cimport add_scaled, copy_scaled, dot, norm_max, norm_two
from fastopt.solvers.box cimport add_within, is_held, longest_step, within
from fastopt.solvers.iteration cimport (
    Iteration, Point, evaluate, keep_if_best, slope_norm, status_of_reply,
)
from fastopt.solvers.line_search cimport (
    ACCEPTED, BOTTOMLESS, HAGER_ZHANG, SEARCH_RAISED, SEARCH_STOPPED, Outcome, Sample, Search,
    SearchKind, search_line,
)
from fastopt.solvers.settings cimport AT_C1, AT_C2, AT_LINE_SEARCH, AT_MAXLS
from fastopt.solvers.stalling cimport (
    begin_marks, diagnose, is_idle, take_lower_point, tell_noise_from_error,
)

# What differences of f are trusted to tell apart at first, relative to |f|.
cdef double FINE = 1e-10
# Once a search has failed, values closer than this, relative to |f|, are taken for equal (Hager &
# Zhang's epsilon): f is noisier than was thought, computed in single precision perhaps.
cdef double COARSE = 1e-6
# The first step is visible beside x if it is longer than this share of it.
cdef double VISIBLE = 1e-8
# A step along the gradient that is lost in the rounding of x grows by this factor, at most so
# often.
cdef double STRETCH = 1e3
cdef int MOST_STRETCHES = 12


cdef struct Line:
    Descent* state
    const Objective* objective
    bint tried                # `trial` holds an evaluation of this search


cdef void begin_descent(Descent* state, const double* settings) noexcept nogil:
    """What is not zero in a state that has done nothing yet."""
    state.search.kind = <SearchKind>settings[AT_LINE_SEARCH]
    state.search.c1 = settings[AT_C1]
    state.search.c2 = settings[AT_C2]
    state.search.max_evaluations = <Py_ssize_t>settings[AT_MAXLS]
    state.search.max_step = INFINITY
    state.search.resolution = FINE
    state.scale = 1


cdef void set_out(Descent* state, const Engine* engine, const Objective* objective,
                  double slope) noexcept nogil:
    """At x0 or another new point, once that has been evaluated: `slope` is that along a direction
    which the method has by now; 0 if it has none."""
    begin_marks(&state.marks)
    state.aimed = False
    if objective.difference_step > 0:
        state.search.resolution = COARSE          # the slopes are noisy from the start
    state.marks.first_gradient = slope_norm(&state.iteration)
    state.first_step = 1
    if engine.aim == NULL:
        set_course(state, engine, slope)


cdef StatusCode descend(Descent* state, const Engine* engine,
                        const Objective* objective) noexcept nogil:
    """One search along the direction, or, where that leads nowhere, along the gradient."""
    cdef Iteration* iteration = &state.iteration
    cdef Search search
    cdef Outcome outcome
    cdef StatusCode status
    cdef double slope
    if engine.aim != NULL and not state.aimed:
        state.first_step = 1
        state.steepest = False
        status = engine.aim(state, objective)
        if status != RUNNING:
            return status
        state.aimed = True
        set_course(state, engine,
                   dot(iteration.current.gradient, state.direction, iteration.n))
    while True:
        outcome = search_along(state, objective, &search)
        if outcome == ACCEPTED:
            break
        if outcome == SEARCH_RAISED:
            return RAISED
        if outcome == SEARCH_STOPPED:
            return status_of_reply(iteration, REPLY_STOP)
        if outcome == BOTTOMLESS:
            return UNBOUNDED
        if take_lower_point(iteration):
            break
        if (state.search.kind == HAGER_ZHANG and state.search.resolution < COARSE
                and search.not_finite == 0):
            state.search.resolution = COARSE        # f is noisier than was thought
            continue
        if state.steepest:
            return diagnose(&state.marks, iteration, objective,
                            search.ceiling * norm_max(state.direction, iteration.n))
        look_downhill(state, engine, 0)
    state.aimed = False
    state.first_step = 1
    slope = engine.follow(state, outcome == ACCEPTED)
    if engine.aim == NULL:
        set_course(state, engine, slope)
    if is_idle(&state.marks, iteration, objective):
        return tell_noise_from_error(&state.marks, iteration, objective, state.search.resolution)
    return RUNNING


cdef void set_course(Descent* state, const Engine* engine, double slope) noexcept nogil:
    look_downhill(state, engine, slope)
    state.marks.promised = -state.slope
    if state.steepest and state.iteration.low != NULL:
        state.marks.promised = state.scale * free_squares(state)     # the slope is of some length
    if engine.blind and state.iteration.nit > 0:
        state.marks.promised = fabs(state.iteration.decrease)


cdef void look_downhill(Descent* state, const Engine* engine, double slope) noexcept nogil:
    """Make sure that the direction leads downhill; along the gradient, choose the step to try.

    A slope that is not negative means the gradient's direction.
    """
    cdef const Iteration* iteration = &state.iteration
    cdef const double* gradient = iteration.current.gradient
    cdef double length
    if not -INFINITY < slope < 0:
        if iteration.low != NULL:
            bend_downhill(state, engine)
            return
        slope = fall_back(state, engine)
        length = norm_two(gradient, iteration.n)
        if not -INFINITY < slope < 0 and length > 0:      # g'g left the range of a double
            state.scale = 1 / max(length, DBL_MIN)
            slope = fall_back(state, engine)
    state.slope = slope
    if state.steepest:
        # Nothing is known of the scale but the last step's; the first has length one, or what
        # can be seen at all beside x.
        state.first_step = 1
        length = norm_two(state.direction, iteration.n)
        if length > 0:
            state.first_step = iteration.step / length
            if iteration.nit == 0:
                state.first_step = max(1.0, VISIBLE * norm_two(iteration.current.x, iteration.n))
                state.first_step /= length


cdef double fall_back(Descent* state, const Engine* engine) noexcept nogil:
    """Turn to the gradient's direction; the slope along it."""
    cdef const double* gradient = state.iteration.current.gradient
    cdef Py_ssize_t n = state.iteration.n
    state.steepest = True
    if engine.forget != NULL:
        engine.forget(state)
    copy_scaled(-state.scale, gradient, state.direction, n)
    return dot(gradient, state.direction, n)


cdef void bend_downhill(Descent* state, const Engine* engine) noexcept nogil:
    """Between bounds: towards the projection of a point along the gradient, as far as the last step
    was long.

    The first step, of which nothing is known, has length one, or what can be seen beside x.
    """
    cdef const Iteration* iteration = &state.iteration
    cdef const double* x = iteration.current.x
    cdef const double* gradient = iteration.current.gradient
    cdef Py_ssize_t n = iteration.n
    cdef double length = iteration.step
    cdef double steepness = 0
    cdef double reach
    cdef Py_ssize_t i
    state.steepest = True
    if engine.forget != NULL:
        engine.forget(state)
    for i in range(n):
        state.direction[i] = gradient[i]
        if is_held(x[i], gradient[i], iteration.low[i], iteration.high[i]):
            state.direction[i] = 0
    steepness = max(norm_two(state.direction, n), DBL_MIN)
    if iteration.nit == 0:
        length = max(1.0, VISIBLE * norm_two(x, n))
    for _ in range(MOST_STRETCHES):
        reach = length / steepness
        for i in range(n):
            state.direction[i] = within(x[i] - reach * gradient[i], iteration.low[i],
                                        iteration.high[i]) - x[i]
        state.slope = dot(gradient, state.direction, n)
        if state.slope < 0:
            break
        length = max(STRETCH * length, DBL_MIN)       # it drowned in the rounding of x
    state.first_step = 1
    limit_step(state)


cdef double free_squares(const Descent* state) noexcept nogil:
    """g'g over the variables that no bound holds."""
    cdef const Iteration* iteration = &state.iteration
    cdef const double* gradient = iteration.current.gradient
    cdef double total = 0
    cdef Py_ssize_t i
    for i in range(iteration.n):
        if not is_held(iteration.current.x[i], gradient[i], iteration.low[i], iteration.high[i]):
            total += gradient[i] * gradient[i]
    return total


cdef void limit_step(Descent* state) noexcept nogil:
    """Between bounds: the search goes no further than to the first of them."""
    cdef const Iteration* iteration = &state.iteration
    state.search.max_step = max(1.0, longest_step(
        iteration.current.x, state.direction, iteration.low, iteration.high, iteration.n))


cdef Outcome search_along(Descent* state, const Objective* objective,
                          Search* search) noexcept nogil:
    cdef Iteration* iteration = &state.iteration
    cdef Outcome outcome
    cdef Line line
    line.state = state
    line.objective = objective
    line.tried = False
    search.start.step = 0
    search.start.value = iteration.current.value
    search.start.slope = state.slope
    search.start.finite = True
    outcome = search_line(evaluate_along, &line, &state.search, state.first_step, search)
    if outcome != ACCEPTED and line.tried and search.last.finite:
        keep_if_best(iteration)
    return outcome


cdef int evaluate_along(double step, Sample* sample, void* context) noexcept nogil:
    """The function of one variable that the search sees; its vectors are left in `trial`."""
    cdef Line* line = <Line*>context
    cdef Descent* state = line.state
    cdef Iteration* iteration = &state.iteration
    cdef Point* trial = &iteration.trial
    cdef Py_ssize_t n = iteration.n
    cdef int reply
    cdef bint finite
    if line.tried and sample.finite:
        keep_if_best(iteration)
    line.tried = False
    sample.finite = False
    sample.value = INFINITY
    if iteration.low == NULL:
        finite = add_scaled(iteration.current.x, step, state.direction, trial.x, n)
    else:
        finite = add_within(iteration.current.x, step, state.direction, iteration.low,
                            iteration.high, trial.x, n)
    if not finite:
        return REPLY_DONE
    reply = evaluate(iteration, line.objective, trial)
    if reply != REPLY_DONE:
        return reply
    line.tried = True
    sample.value = trial.value
    if fabs(trial.value) < INFINITY:
        sample.slope = dot(trial.gradient, state.direction, n)
        sample.finite = fabs(sample.slope) < INFINITY
        if not sample.finite:
            iteration.cut_short = True
    return REPLY_DONE
