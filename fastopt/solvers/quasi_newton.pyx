"""BFGS (Nocedal & Wright 2006, algorithm 6.1) and L-BFGS (algorithm 7.5).

Own the iteration and its recovery. Know nothing of Wolfe tests, of how curvature is stored, or of
Python. Order of calls in an iteration: search, note the pair, accept, learn, look downhill.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY, fabs

from fastopt.core.abi cimport (
    DOMAIN_EDGE, GRADIENT_MISMATCH, NOISY_DIFFERENCES, RAISED, REPLY_DONE, REPLY_STOP, ROUNDOFF,
    RUNNING, UNBOUNDED, Objective, StatusCode,
)
from fastopt.core.vector cimport add_scaled, dot, norm_max, norm_two, subtract
from fastopt.solvers.inverse_hessian cimport (
    forget, lay_out_memory, learn, memory_size, point_downhill,
)
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, Point, accept_trial, evaluate, keep_if_best, lay_out_points,
    status_of_reply,
)
from fastopt.solvers.line_search cimport (
    ACCEPTED, BOTTOMLESS, SEARCH_RAISED, SEARCH_STOPPED, Outcome, Sample, Search,
    search_line,
)

# A lower point found by a search that failed is taken if it is lower by more than this many ulps.
cdef double REAL_DECREASE = 16 * DBL_EPSILON
# What is left to gain counts as rounding errors below this, relative to |f|.
cdef double NOISE = 100 * DBL_EPSILON
# So does, with differences, a gradient of so many rounding errors of f divided by their step.
cdef double DIFFERENCE_NOISE = 10
# So many iterations in which neither f nor the gradient shrinks end the solve; fewer where the
# gradient is made of differences, which cannot be trusted to get anywhere by itself.
cdef int PATIENCE = 20
cdef int PATIENCE_WITH_DIFFERENCES = 5
# So near, relative to |x|, a point where f is not finite is where the domain ends.
cdef double EDGE = 1e-8


cdef struct Line:
    QuasiNewton* state
    const Objective* objective
    bint tried                # `trial` holds an evaluation of this search


cdef Method quasi_newton_method() noexcept nogil:
    cdef Method method
    method.state_size = sizeof(QuasiNewton)
    method.count_doubles = count_doubles
    method.lay_out = lay_out
    method.work = work
    method.prepare = prepare
    method.iterate = iterate
    return method


cdef void prepare(void* address) noexcept nogil:
    look_downhill(<QuasiNewton*>address, -INFINITY)


cdef StatusCode iterate(void* address, const Objective* objective) noexcept nogil:
    """One search along the direction, or, where that leads nowhere, along the gradient."""
    cdef QuasiNewton* state = <QuasiNewton*>address
    cdef Iteration* iteration = &state.iteration
    cdef Search search
    cdef Outcome outcome
    cdef double promised = -state.slope   # what the model says is to be gained, twice over
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
        if state.memory.empty:
            return diagnose(state, objective, &search, promised)
        forget(&state.memory)
        look_downhill(state, -INFINITY)
    subtract(iteration.trial.x, iteration.current.x, state.memory.s, iteration.n)
    subtract(iteration.trial.gradient, iteration.current.gradient, state.memory.y, iteration.n)
    accept_trial(iteration, norm_two(state.memory.s, iteration.n))
    learn(&state.memory, iteration.current.gradient, state.direction)
    look_downhill(state, dot(iteration.current.gradient, state.direction, iteration.n))
    if objective.difference_step == 0:
        return ROUNDOFF if is_idle(state, PATIENCE) else RUNNING
    if not is_idle(state, PATIENCE_WITH_DIFFERENCES):
        return RUNNING
    if is_rounding_error(&iteration.current, objective, iteration.n):
        return ROUNDOFF
    return NOISY_DIFFERENCES


cdef bint is_idle(QuasiNewton* state, int patience) noexcept nogil:
    """Whether progress has ceased: values drown in rounding, and slopes gain nothing either."""
    cdef const Iteration* iteration = &state.iteration
    cdef double value = iteration.current.value
    cdef double norm
    if value < state.least_value - REAL_DECREASE * fabs(value):
        state.least_value = value
        state.least_gradient = INFINITY
        state.idle = 0
        return False
    norm = norm_max(iteration.current.gradient, iteration.n)
    if norm < 0.5 * state.least_gradient:
        state.least_gradient = norm
        state.idle = 0
        return False
    state.idle += 1
    return state.idle >= patience


cdef void look_downhill(QuasiNewton* state, double slope) noexcept nogil:
    """Make sure that the direction leads downhill, and choose the step to try first.

    A slope that is not negative, or -inf for "no direction yet", means the gradient's direction.
    """
    cdef const Iteration* iteration = &state.iteration
    cdef const double* gradient = iteration.current.gradient
    cdef double length
    state.first_step = 1
    if not -INFINITY < slope < 0:
        if not state.memory.empty and slope != -INFINITY:
            forget(&state.memory)
        point_downhill(&state.memory, gradient, state.direction)
        slope = dot(gradient, state.direction, iteration.n)
    state.slope = slope
    if state.memory.empty:
        # Nothing is known of the scale but the last step's; the first has length one.
        length = norm_two(state.direction, iteration.n)
        if length > 0:
            state.first_step = (1 if iteration.nit == 0 else iteration.step) / length


cdef Outcome search_along(QuasiNewton* state, const Objective* objective,
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
    cdef QuasiNewton* state = line.state
    cdef Iteration* iteration = &state.iteration
    cdef Point* trial = &iteration.trial
    cdef Py_ssize_t n = iteration.n
    cdef int reply
    if line.tried and sample.finite:
        keep_if_best(iteration)
    line.tried = False
    sample.finite = False
    sample.value = INFINITY
    if not add_scaled(iteration.current.x, step, state.direction, trial.x, n):
        return REPLY_DONE
    reply = evaluate(iteration, line.objective, trial)
    if reply != REPLY_DONE:
        return reply
    line.tried = True
    sample.value = trial.value
    if fabs(trial.value) < INFINITY:
        sample.slope = dot(trial.gradient, state.direction, n)
        sample.finite = fabs(sample.slope) < INFINITY
    return REPLY_DONE


cdef bint take_lower_point(Iteration* iteration) noexcept nogil:
    """After a search without an acceptable step: make the best point the trial, if it is lower."""
    cdef Point best = iteration.best
    cdef double value = iteration.current.value
    if not best.value < value - REAL_DECREASE * fabs(value):
        return False
    iteration.best = iteration.trial
    iteration.best.value = INFINITY
    iteration.trial = best
    return True


cdef StatusCode diagnose(const QuasiNewton* state, const Objective* objective,
                         const Search* search, double promised) noexcept nogil:
    """Why there is no way down from here, not even along the gradient."""
    cdef const Iteration* iteration = &state.iteration
    cdef const Point* current = &iteration.current
    cdef double edge = search.ceiling * norm_max(state.direction, iteration.n)
    if edge <= EDGE * max(1.0, norm_max(current.x, iteration.n)):
        return DOMAIN_EDGE
    if objective.difference_step == 0:
        return ROUNDOFF if promised <= NOISE * fabs(current.value) else GRADIENT_MISMATCH
    if is_rounding_error(current, objective, iteration.n):
        return ROUNDOFF
    return NOISY_DIFFERENCES


cdef bint is_rounding_error(const Point* point, const Objective* objective,
                            Py_ssize_t n) noexcept nogil:
    """Whether a gradient made of differences is nothing but the rounding errors of f."""
    cdef double error = DIFFERENCE_NOISE * DBL_EPSILON * fabs(point.value) / objective.difference_step
    cdef Py_ssize_t i
    for i in range(n):
        if not fabs(point.gradient[i]) * max(1.0, fabs(point.x[i])) <= error:
            return False
    return True


cdef Py_ssize_t count_doubles(const void* address) noexcept nogil:
    cdef const QuasiNewton* state = <const QuasiNewton*>address
    return (SHARED_VECTORS + 1) * state.iteration.n + memory_size(&state.memory)


cdef void lay_out(void* address, double* vectors) noexcept nogil:
    cdef QuasiNewton* state = <QuasiNewton*>address
    state.direction = lay_out_points(&state.iteration, vectors)
    lay_out_memory(&state.memory, state.direction + state.iteration.n)


cdef double work(const void* address) noexcept nogil:
    cdef const QuasiNewton* state = <const QuasiNewton*>address
    return 4 * <double>memory_size(&state.memory)
