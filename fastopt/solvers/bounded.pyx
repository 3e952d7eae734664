"""L-BFGS-B (Byrd, Lu, Nocedal & Zhu, SIAM J. Sci. Comput. 16, 1995), with the projection of Morales
& Nocedal (ACM Trans. Math. Softw. 38, 2011).

Owns the path along the projected gradient, the generalised Cauchy point on it, and the minimiser
of the model over the variables that are free there: where that lies outside, the variables in
question are held at their bounds and it is sought anew, a few times, before what is left is
projected. Knows nothing of searches and their failures, nor of how curvature is stored.

The model at x is g'z + z'Bz / 2. In units of its own (z = reach zeta, reach = 1 / (theta unit),
unit a power of two near 1 / |g|) it is

    -d'zeta + zeta'(I - W N^-1 W') zeta / 2,    d = -unit g,

so the path is x + tau reach d, bent at the bounds; equations are the paper's with theta = 1:

    paper                          here
    -----                          ----
    d, t, t_i                      slide, tau, breaks
    p = W'd                        through
    c = W'(x^c - x)                passed + tau through
    F (free at x^c)                memory.is_free

With z_H what the held variables have moved, the model's minimiser over the others is, since
c_F = tau p (Sherman, Morrison & Woodbury),

    zeta_F = d_F + W_F N_F^-1 (p + W_H'zeta_H).
"""

import numpy as np

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY, fabs, fmax, frexp, ldexp
from libc.string cimport memset

from fastopt.core.abi cimport Objective, StatusCode
from fastopt.core.vector cimport Products, axpy, dot, length_of, subtract_both
from fastopt.solvers.box cimport is_held, within
from fastopt.solvers.compact_hessian cimport (
    CompactHessian, compact_size, factor_reduced, factor_whole, forget_pairs, have_drowned,
    is_curved, lay_out_compact, recall_pair, regroup, solve_reduced, solve_whole,
    sum_elements, sum_products, take_pair,
)
from fastopt.solvers.descent cimport (
    Descent, Engine, begin_descent, descend, limit_step, set_out,
)
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, accept_trial, begin, lay_out_points,
)
from fastopt.solvers.settings cimport AT_DAMPING, AT_MAXCOR, SETTING_COUNT

# Breaks are put in order as far as this times where the path seems to end.
cdef double FORESIGHT = 4
# Where more than one variable in so many changes its group, all inner products are formed afresh.
cdef Py_ssize_t FEW = 4
# The model is minimised so often, at most, while its minimiser leaves the bounds.
cdef int MOST_TURNS = 5
# Powell's constant, as in quasi_newton.
cdef double LEAST_SHARE = 0.2

cdef Engine ENGINE
ENGINE.aim = NULL
ENGINE.follow = follow
ENGINE.blind = False
ENGINE.forget = forget_all


cdef Method bounded_method() noexcept nogil:
    cdef Method method
    method.state_size = sizeof(Bounded)
    method.count_doubles = count_doubles
    method.lay_out = lay_out
    method.work = work
    method.prepare = prepare
    method.iterate = iterate
    return method


cdef void begin_bounded(Bounded* state, const double* settings) noexcept nogil:
    """What is not zero in a state that has done nothing yet; `begin` comes first."""
    begin_descent(&state.descent, settings)
    state.damped = settings[AT_DAMPING] != 0
    state.memory.n = state.descent.iteration.n
    state.memory.m = <Py_ssize_t>settings[AT_MAXCOR]
    state.memory.theta = 1


cdef void copy_bounds(Bounded* state, const double* low, Py_ssize_t low_stride, const double* high,
                      Py_ssize_t high_stride) noexcept nogil:
    """Copy the bounds, of which each is so many bytes from the one before, once all is laid out."""
    cdef Py_ssize_t i
    for i in range(state.descent.iteration.n):
        state.low[i] = (<const double*>(<const char*>low + i * low_stride))[0]
        state.high[i] = (<const double*>(<const char*>high + i * high_stride))[0]


cdef void prepare(void* address, const Objective* objective) noexcept nogil:
    cdef Bounded* state = <Bounded*>address
    cdef double slope = 0
    if state.memory.pairs > 0:                    # it was given what an earlier solve had learnt
        sort_variables(state)
        slope = aim(state)
    set_out(&state.descent, &ENGINE, objective, slope)


cdef StatusCode iterate(void* address, const Objective* objective) noexcept nogil:
    return descend(<Descent*>address, &ENGINE, objective)


cdef void forget_all(Descent* descent) noexcept nogil:
    forget_pairs(&(<Bounded*>descent).memory)


cdef double follow(Descent* descent, bint along) noexcept nogil:
    cdef Bounded* state = <Bounded*>descent
    cdef Iteration* iteration = &descent.iteration
    cdef CompactHessian* memory = &state.memory
    cdef Py_ssize_t n = iteration.n
    cdef double length, change
    cdef Products products = subtract_both(
        iteration.trial.x, iteration.current.x, state.s,
        iteration.trial.gradient, iteration.current.gradient, state.y, n)
    length = length_of(state.s, products.ss, n)
    if state.damped and memory.pairs > 0:
        damp(state, &products)
    change = length_of(state.y, products.yy, n)
    accept_trial(iteration, length)
    sort_variables(state)
    if is_curved(products.sy, length, change):
        take_pair(memory, state.s, state.y, products.sy, length, change)
    descent.steepest = memory.pairs == 0
    descent.scale = 1 / memory.theta
    return 0 if descent.steepest else aim(state)


cdef void damp(Bounded* state, Products* products) noexcept nogil:
    """Move y towards B s where s'y is small (Nocedal & Wright 2006, procedure 18.2)."""
    cdef CompactHessian* memory = &state.memory
    cdef Py_ssize_t n = memory.n
    cdef Py_ssize_t stride = 2 * memory.m
    cdef Py_ssize_t count = 2 * memory.pairs
    cdef double expected, share, image
    cdef Py_ssize_t i
    if not factor_whole(memory):
        return
    sum_elements(memory, state.s, state.place)
    solve_whole(memory, state.place, state.weights)
    expected = memory.theta * (products.ss - dot(state.place, state.weights, count))
    if products.sy >= LEAST_SHARE * expected:
        return
    share = (1 - LEAST_SHARE) * expected / (expected - products.sy)
    for i in range(n):
        image = state.s[i] - dot(memory.elements + i * stride, state.weights, count)
        state.y[i] = share * state.y[i] + (1 - share) * memory.theta * image
    products.sy = dot(state.s, state.y, n)
    products.yy = dot(state.y, state.y, n)


# --- the direction ---------------------------------------------------------------------------

cdef double aim(Bounded* state) noexcept nogil:
    """Leave the direction from the current point in `direction`, once the variables are sorted.

    Answers the slope along it, or 0 where the memory has lost its accuracy.
    """
    cdef Descent* descent = &state.descent
    cdef CompactHessian* memory = &state.memory
    cdef double slope, tau
    cdef Py_ssize_t j
    cdef int turn
    set_slide(state)
    if not factor_whole(memory):
        return 0
    tau = find_cauchy_point(state)
    if not tau >= 0:
        return 0
    for turn in range(MOST_TURNS):
        if not factor_reduced(memory):
            return 0
        for j in range(2 * memory.pairs):
            state.place[j] = state.through[j] + state.passed[j]
        solve_reduced(memory, state.place, state.weights)
        if combine_elements(state) == 0 or turn + 1 == MOST_TURNS:
            break
        hold_outside(state)
    slope = dot(descent.iteration.current.gradient, descent.direction, memory.n)
    if not slope < 0:
        slope = turn_back(state, tau)
    limit_step(descent)
    return slope


cdef void sort_variables(Bounded* state) noexcept nogil:
    """Sort the variables into those that are held at the current point and those that are free."""
    cdef const Iteration* iteration = &state.descent.iteration
    cdef CompactHessian* memory = &state.memory
    cdef const double* x = iteration.current.x
    cdef const double* gradient = iteration.current.gradient
    cdef Py_ssize_t few = iteration.n // FEW
    cdef bint is_free
    cdef bint afresh = False
    cdef Py_ssize_t i
    for i in range(iteration.n):
        is_free = not is_held(x[i], gradient[i], state.low[i], state.high[i])
        if is_free == memory.is_free[i]:
            continue
        if memory.pairs == 0 or few == 0:
            memory.is_free[i] = is_free
            afresh = True
        else:
            regroup(memory, i, is_free)
            few -= 1
    if memory.pairs > 0 and (afresh or have_drowned(memory)):
        sum_products(memory)


cdef void set_slide(Bounded* state) noexcept nogil:
    cdef const Iteration* iteration = &state.descent.iteration
    cdef const double* x = iteration.current.x
    cdef const double* gradient = iteration.current.gradient
    cdef double largest = 0
    cdef double unit, pull, room
    cdef int exponent
    cdef Py_ssize_t i
    for i in range(iteration.n):
        if state.memory.is_free[i]:
            largest = fmax(largest, fabs(gradient[i]))
    frexp(largest, &exponent)
    unit = ldexp(1.0, min(-exponent, 1000))
    state.reach = 1 / unit / state.memory.theta
    for i in range(iteration.n):
        state.slide[i] = 0
        state.breaks[i] = INFINITY
        state.descent.direction[i] = 0
        if state.memory.is_free[i] and gradient[i] != 0:
            pull = -unit * gradient[i]
            room = (state.low[i] if pull < 0 else state.high[i]) - x[i]
            state.slide[i] = pull
            if fabs(room) < INFINITY:
                state.breaks[i] = room / state.reach / pull


# --- the generalised Cauchy point --------------------------------------------------------------

cdef struct Queue:
    double limit              # breaks up to here have been put in
    Py_ssize_t length
    Py_ssize_t few            # so many variables may yet change their group one by one


cdef double find_cauchy_point(Bounded* state) noexcept nogil:
    """The first minimiser of the model on the path (algorithm CP).

    Variables that reach their bound before it are held from there on, and `passed` and `through`
    are what they are at its end.
    """
    cdef CompactHessian* memory = &state.memory
    cdef Py_ssize_t n = memory.n
    cdef Py_ssize_t stride = 2 * memory.m
    cdef Py_ssize_t count = 2 * memory.pairs
    cdef double* through = state.through
    cdef double* passed = state.passed
    cdef double* weights = state.weights
    cdef double* place = state.place
    cdef const double* x = state.descent.iteration.current.x
    cdef const double* row
    cdef double tau = 0
    cdef double slope, bend, least_bend, end, pull, stop
    cdef Py_ssize_t i, j
    cdef Queue queue
    sum_elements(memory, state.slide, through)
    memset(passed, 0, stride * sizeof(double))
    slope = -dot(state.slide, state.slide, n)
    solve_whole(memory, through, weights)
    bend = -slope - dot(through, weights, count)
    least_bend = -DBL_EPSILON * slope
    if slope == 0:
        return 0
    if not least_bend < bend < INFINITY:
        bend = -slope                                 # lost in rounding: as without any pairs
    queue.limit = -1
    queue.length = 0
    queue.few = n // FEW
    while True:
        end = tau - slope / bend if slope < 0 else tau
        i = next_break(state, &queue, end)
        if i < 0:
            break
        stop = state.breaks[i]
        pull = state.slide[i]
        row = memory.elements + i * stride
        solve_whole(memory, row, weights)
        for j in range(count):
            place[j] = passed[j] + stop * through[j]
        slope += (stop - tau) * bend + pull * (pull - stop * pull + dot(weights, place, count))
        bend += pull * (2 * dot(weights, through, count)
                        - pull * (1 + dot(weights, row, count)))
        bend = fmax(bend, least_bend)
        axpy(stop * pull, row, passed, count)
        axpy(-pull, row, through, count)
        if queue.few > 0:
            regroup(memory, i, False)
        memory.is_free[i] = False
        state.descent.direction[i] = (state.low[i] if pull < 0 else state.high[i]) - x[i]
        queue.few -= 1
        tau = stop
    if queue.few < 0 or have_drowned(memory):
        sum_products(memory)
    return end


cdef Py_ssize_t next_break(Bounded* state, Queue* queue, double end) noexcept nogil:
    """The variable that reaches its bound next, no later than at `end`; -1 if none does.

    Breaks are put into the heap as far as needed: as a rule the path ends after a few.
    """
    cdef double* breaks = state.breaks
    cdef Py_ssize_t* heap = state.queue
    cdef Py_ssize_t i, first
    cdef double limit
    if queue.length == 0 and end > queue.limit:
        limit = FORESIGHT * end
        for i in range(state.memory.n):
            if queue.limit < breaks[i] <= limit < INFINITY or (
                    limit == INFINITY and queue.limit < breaks[i] < INFINITY):
                heap[queue.length] = i
                queue.length += 1
        queue.limit = limit
        for i in range(queue.length // 2 - 1, -1, -1):
            sift(heap, queue.length, i, breaks)
    if queue.length == 0 or breaks[heap[0]] >= end:
        return -1
    first = heap[0]
    queue.length -= 1
    heap[0] = heap[queue.length]
    sift(heap, queue.length, 0, breaks)
    return first


cdef void sift(Py_ssize_t* heap, Py_ssize_t length, Py_ssize_t at,
               const double* keys) noexcept nogil:
    """Let the entry at a place of the heap sink to where it belongs."""
    cdef Py_ssize_t entry = heap[at]
    cdef Py_ssize_t child
    while True:
        child = 2 * at + 1
        if child >= length:
            break
        if child + 1 < length and keys[heap[child + 1]] < keys[heap[child]]:
            child += 1
        if not keys[heap[child]] < keys[entry]:
            break
        heap[at] = heap[child]
        at = child
    if length > 0:
        heap[at] = entry


# --- the minimiser over the free variables -----------------------------------------------------

cdef Py_ssize_t combine_elements(Bounded* state) noexcept nogil:
    """The direction to the minimiser over the free variables, or to its projection where it lies
    outside; how many variables do so.

    The unprojected step is left in `y`.
    """
    cdef const Iteration* iteration = &state.descent.iteration
    cdef const CompactHessian* memory = &state.memory
    cdef const double* x = iteration.current.x
    cdef const double* row = memory.elements
    cdef double* direction = state.descent.direction
    cdef Py_ssize_t stride = 2 * memory.m
    cdef Py_ssize_t count = 2 * memory.pairs
    cdef Py_ssize_t outside = 0
    cdef double target
    cdef Py_ssize_t i
    for i in range(memory.n):
        if memory.is_free[i]:
            state.y[i] = state.reach * (state.slide[i] + dot(row, state.weights, count))
            target = within(x[i] + state.y[i], state.low[i], state.high[i])
            direction[i] = target - x[i]
            outside += target != x[i] + state.y[i]
        row += stride
    return outside


cdef void hold_outside(Bounded* state) noexcept nogil:
    """Hold the free variables whose minimiser lies outside at the bounds which they would pass."""
    cdef const double* x = state.descent.iteration.current.x
    cdef CompactHessian* memory = &state.memory
    cdef Py_ssize_t stride = 2 * memory.m
    cdef Py_ssize_t count = 2 * memory.pairs
    cdef Py_ssize_t few = memory.n // FEW
    cdef const double* row
    cdef Py_ssize_t i
    for i in range(memory.n):
        if memory.is_free[i] and not state.low[i] <= x[i] + state.y[i] <= state.high[i]:
            row = memory.elements + i * stride
            axpy(state.descent.direction[i] / state.reach, row, state.passed, count)
            axpy(-state.slide[i], row, state.through, count)
            if few > 0:
                regroup(memory, i, False)
            memory.is_free[i] = False
            few -= 1
    if few < 0 or have_drowned(memory):
        sum_products(memory)


cdef double turn_back(Bounded* state, double tau) noexcept nogil:
    """Where that leads uphill: the direction to the Cauchy point."""
    cdef const Iteration* iteration = &state.descent.iteration
    cdef const double* x = iteration.current.x
    cdef double* direction = state.descent.direction
    cdef Py_ssize_t i
    for i in range(iteration.n):
        direction[i] = within(x[i] + tau * state.reach * state.slide[i], state.low[i],
                              state.high[i]) - x[i]
    return dot(iteration.current.gradient, direction, iteration.n)


# --- memory ----------------------------------------------------------------------------------

cdef Py_ssize_t count_doubles(const void* address) noexcept nogil:
    cdef const Bounded* state = <const Bounded*>address
    return ((SHARED_VECTORS + 8) * state.descent.iteration.n + 8 * state.memory.m
            + compact_size(&state.memory))


cdef void lay_out(void* address, double* vectors) noexcept nogil:
    cdef Bounded* state = <Bounded*>address
    cdef Iteration* iteration = &state.descent.iteration
    cdef Py_ssize_t n = iteration.n
    cdef Py_ssize_t m = state.memory.m
    state.low = lay_out_points(iteration, vectors)
    state.high = state.low + n
    iteration.low = state.low
    iteration.high = state.high
    state.descent.direction = state.high + n
    state.slide = state.descent.direction + n
    state.breaks = state.slide + n
    state.s = state.breaks + n
    state.y = state.s + n
    state.queue = <Py_ssize_t*>(state.y + n)
    state.through = state.y + 2 * n
    state.passed = state.through + 2 * m
    state.weights = state.passed + 2 * m
    state.place = state.weights + 2 * m
    lay_out_compact(&state.memory, state.place + 2 * m)


cdef double work(const void* address) noexcept nogil:
    return 4 * <double>count_doubles(address)


# --- for tests ---------------------------------------------------------------------------------

def model_points(const double[::1] x, const double[::1] gradient, const double[::1] low,
                 const double[::1] high, const double[:, ::1] steps, const double[:, ::1] changes):
    """Where the model leads from x, once it has learnt from pairs of steps and changes.

    Returns
    -------
    theta : float
        What the model's Hessian begins as, times the identity.
    cauchy_point, target : ndarray of shape (n,)
        The generalised Cauchy point, and where the direction points to.
    """
    cdef Py_ssize_t i, n = x.shape[0]
    cdef double[SETTING_COUNT] settings
    cdef Bounded state
    cdef double tau, slope
    memset(&state, 0, sizeof(Bounded))
    memset(settings, 0, sizeof(settings))
    settings[AT_MAXCOR] = steps.shape[0]
    begin(&state.descent.iteration, n, settings)
    begin_bounded(&state, settings)
    cdef double[::1] vectors = np.zeros(count_doubles(&state))
    lay_out(&state, &vectors[0])
    copy_bounds(&state, &low[0], sizeof(double), &high[0], sizeof(double))
    for i in range(n):
        state.descent.iteration.current.x[i] = x[i]
        state.descent.iteration.current.gradient[i] = gradient[i]
    for i in range(steps.shape[0]):
        recall_pair(&state.memory, &steps[i, 0], &changes[i, 0])
    sort_variables(&state)
    set_slide(&state)
    if not factor_whole(&state.memory):
        raise ArithmeticError("the pairs do not make a positive definite matrix")
    tau = find_cauchy_point(&state)
    turn_back(&state, tau)
    cauchy_point = np.array([x[i] + state.descent.direction[i] for i in range(n)])
    sort_variables(&state)
    slope = aim(&state)
    if not slope < 0:
        raise ArithmeticError("the model has no minimiser")
    target = np.array([x[i] + state.descent.direction[i] for i in range(n)])
    return state.memory.theta, cauchy_point, target
