"""BFGS (Nocedal & Wright 2006, algorithm 6.1) and L-BFGS (algorithm 7.5).

Own the iteration and its recovery. Know nothing of Wolfe tests, of how curvature is stored, or of
Python. Order of calls in an iteration: search, note the pair, accept, learn, look downhill.
"""

from libc.float cimport DBL_EPSILON, DBL_MIN
from libc.math cimport INFINITY, fabs

from fastopt.core.abi cimport (
    DOMAIN_EDGE, GRADIENT_MISMATCH, NOISY_DIFFERENCES, RAISED, REPLY_DONE, REPLY_STOP, ROUNDOFF,
    RUNNING, UNBOUNDED, Objective, StatusCode,
)
from fastopt.core.vector cimport (
    Products, add_scaled, dot, length_of, norm_max, norm_two, subtract_both,
)
from fastopt.solvers cimport inverse_hessian, inverse_hessian_avx2
from fastopt.solvers.inverse_hessian cimport (
    InverseHessian, MemoryKind, forget, lay_out_memory, memory_size,
)
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, Point, accept_trial, evaluate, keep_if_best, lay_out_points,
    status_of_reply,
)
from fastopt.solvers.line_search cimport (
    ACCEPTED, BOTTOMLESS, HAGER_ZHANG, SEARCH_RAISED, SEARCH_STOPPED, Outcome, Sample, Search,
    search_line,
)

cdef extern from *:
    """
    #if defined(__GNUC__) && defined(__x86_64__)
    #define fastopt_has_avx2() __builtin_cpu_supports("avx2")
    #else
    #define fastopt_has_avx2() 0
    #endif
    """
    bint has_avx2 "fastopt_has_avx2"() noexcept nogil

# Whether vectors of this length and longer are handled in registers of four doubles; shorter ones
# gain nothing.
cdef Py_ssize_t WIDE = 16
cdef bint wide_registers = has_avx2()

# What differences of f are trusted to tell apart at first, relative to |f|.
cdef double FINE = 1e-10
# A lower point found by a search that failed is taken if it is lower by more than this many ulps.
cdef double REAL_DECREASE = 16 * DBL_EPSILON
# Once a search has failed, values closer than this, relative to |f|, are taken for equal (Hager &
# Zhang's epsilon): f is noisier than was thought, computed in single precision perhaps.
cdef double COARSE = 1e-6
# The first step is visible beside x if it is longer than this share of it.
cdef double VISIBLE = 1e-8
# A gradient that has shrunk to this share of the first one counts as small.
cdef double FALLEN = 1e-4
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


cdef void begin_quasi_newton(QuasiNewton* state, MemoryKind kind, Py_ssize_t m) noexcept nogil:
    """What is not zero in a state that has done nothing yet, besides settings; `begin` comes first.

    `m` is how many pairs a limited memory holds.
    """
    state.search.max_step = INFINITY
    state.search.resolution = FINE
    state.memory.kind = kind
    state.memory.n = state.iteration.n
    state.memory.m = m
    state.memory.empty = True
    state.memory.scale = 1
    state.least_value = INFINITY
    state.least_gradient = INFINITY


cdef void prepare(void* address, const Objective* objective) noexcept nogil:
    cdef QuasiNewton* state = <QuasiNewton*>address
    if objective.difference_step > 0:
        state.search.resolution = COARSE          # the slopes are noisy from the start
    state.first_gradient = norm_max(state.iteration.current.gradient, state.iteration.n)
    look_downhill(state, -INFINITY)
    state.promised = -state.slope


cdef StatusCode iterate(void* address, const Objective* objective) noexcept nogil:
    """One search along the direction, or, where that leads nowhere, along the gradient."""
    cdef QuasiNewton* state = <QuasiNewton*>address
    cdef Iteration* iteration = &state.iteration
    cdef Search search
    cdef Outcome outcome
    cdef Products products
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
        if state.memory.empty:
            return diagnose(state, objective, &search)
        forget(&state.memory)
        look_downhill(state, -INFINITY)
    products = subtract_both(
        iteration.trial.x, iteration.current.x, state.memory.s,
        iteration.trial.gradient, iteration.current.gradient, state.memory.y, iteration.n)
    accept_trial(iteration, length_of(state.memory.s, products.ss, iteration.n))
    learn(&state.memory, products.sy, products.yy, iteration.step, outcome == ACCEPTED,
          iteration.current.gradient, state.direction)
    look_downhill(state, dot(iteration.current.gradient, state.direction, iteration.n))
    state.promised = -state.slope
    if is_idle(state, PATIENCE if objective.difference_step == 0 else PATIENCE_WITH_DIFFERENCES):
        return tell_noise_from_error(state, objective, state.search.resolution)
    return RUNNING


cdef bint learn(InverseHessian* memory, double curvature, double squares, double length, bint along,
                const double* gradient, double* direction) noexcept nogil:
    if wide_registers and memory.n >= WIDE:
        return inverse_hessian_avx2.learn(memory, curvature, squares, length, along, gradient,
                                          direction)
    return inverse_hessian.learn(memory, curvature, squares, length, along, gradient, direction)


cdef void point_downhill(InverseHessian* memory, const double* gradient,
                         double* direction) noexcept nogil:
    if wide_registers and memory.n >= WIDE:
        inverse_hessian_avx2.point_downhill(memory, gradient, direction)
    else:
        inverse_hessian.point_downhill(memory, gradient, direction)


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
        length = norm_two(gradient, iteration.n)
        if not -INFINITY < slope < 0 and length > 0:      # g'g left the range of a double
            forget(&state.memory)
            state.memory.scale = 1 / max(length, DBL_MIN)
            point_downhill(&state.memory, gradient, state.direction)
            slope = dot(gradient, state.direction, iteration.n)
    state.slope = slope
    if state.memory.empty:
        # Nothing is known of the scale but the last step's; the first has length one, or what
        # can be seen at all beside x.
        length = norm_two(state.direction, iteration.n)
        if length > 0:
            state.first_step = iteration.step / length
            if iteration.nit == 0:
                state.first_step = max(1.0, VISIBLE * norm_two(iteration.current.x, iteration.n))
                state.first_step /= length


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
                         const Search* search) noexcept nogil:
    """Why there is no way down from here, not even along the gradient."""
    cdef const Iteration* iteration = &state.iteration
    cdef const Point* current = &iteration.current
    cdef double edge = search.ceiling * norm_max(state.direction, iteration.n)
    if edge <= EDGE * max(1.0, norm_max(current.x, iteration.n)):
        return DOMAIN_EDGE
    return tell_noise_from_error(state, objective, NOISE)


cdef StatusCode tell_noise_from_error(const QuasiNewton* state, const Objective* objective,
                                      double noise) noexcept nogil:
    """Where nothing more is gained: whether there is nothing to gain, or the gradient is wrong.

    What the model promises is not enough to go by, for beside a kink H has collapsed: the
    gradient has to be small, too, against what it was or against f.
    """
    cdef const Point* current = &state.iteration.current
    cdef Py_ssize_t n = state.iteration.n
    cdef double norm = norm_max(current.gradient, n)
    if objective.difference_step > 0:
        if is_rounding_error(current, objective, n):
            return ROUNDOFF
        return NOISY_DIFFERENCES
    if state.promised <= noise * fabs(current.value) and (
            norm <= FALLEN * state.first_gradient
            or norm * max(1.0, norm_max(current.x, n)) <= COARSE * fabs(current.value)):
        return ROUNDOFF
    return GRADIENT_MISMATCH


cdef bint is_rounding_error(const Point* point, const Objective* objective,
                            Py_ssize_t n) noexcept nogil:
    """Whether a gradient made of differences is nothing but the rounding errors of f."""
    cdef double rounding = DBL_EPSILON * fabs(point.value) / objective.difference_step
    cdef double error = DIFFERENCE_NOISE * rounding
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


def use_wide_registers(bint wanted):
    """For tests: use AVX2, where the processor has it, or do not. Says whether it was used before.

    No bit of any result depends on it.
    """
    global wide_registers
    before = wide_registers
    wide_registers = wanted and has_avx2()
    return before
