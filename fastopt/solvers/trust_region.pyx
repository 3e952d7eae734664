"""Trust-region methods (Nocedal & Wright 2006, algorithm 4.1): the iteration and its radius.

Own the acceptance of steps, the radius, and the model at an iterate. Know nothing of how a model
is minimised within the radius, nor of where derivatives come from.

The radius is max(1, |x0|) at first (Moré, in Numerical Analysis, 1978), and then follows Lin & Moré
(TRON, SIAM J. Optim. 9, 1999, section 2): it is no longer than the first step, and changes by the
minimiser of the quadratic through both values and the slope along a step. SR1 is Nocedal & Wright's
algorithm 6.2.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY, fabs, isfinite, sqrt
from libc.string cimport memset

from fastopt.core.abi cimport (
    REPLY_DONE, RUNNING, UNBOUNDED, Objective, StatusCode,
)
from fastopt.core.check cimport check
from fastopt.core.vector cimport (
    add_scaled, all_finite, axpy, combine, distance, dot, norm_max, norm_two,
)
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, Point, accept_trial, evaluate_gradient, evaluate_value,
    keep_if_best, lay_out_points, status_of_reply,
)
from fastopt.solvers.second_derivatives cimport evaluate_hessian, multiply_hessian
from fastopt.solvers.settings cimport AT_ETA, AT_INITIAL_RADIUS, AT_MAX_RADIUS
from fastopt.solvers.stalling cimport (
    begin_marks, diagnose, is_idle, take_lower_point,
)
from fastopt.solvers.subproblem cimport find_newton_step, minimize_exactly, walk_dogleg
from fastopt.solvers.symmetric cimport (
    Symmetric, lay_out_symmetric, multiply, symmetric_size, take_in,
)
from fastopt.solvers.truncated_cg cimport (
    TRUNCATED_CG_VECTORS, lay_out_truncated_cg, minimize_model,
)

# Lin & Moré's eta_1, eta_2 and sigma_1 to sigma_3: what counts as a bad and as a very good step,
# and by how much the radius shrinks and grows; but sigma_3 is 4 there, which costs a tenth more
# evaluations: in a curved valley every second step is then too long.
cdef double BAD = 0.25
cdef double GOOD = 0.75
cdef double SHRINK_MOST = 0.25
cdef double SHRINK = 0.5
cdef double GROW = 2.0
# But it grows by so much where f falls no less than its slope says: there is no valley.
cdef double LEAP = 10.0
# Decreases are told apart from rounding errors of so many ulps of f (Conn, Gould & Toint 2000,
# section 17.4.2).
cdef double ROUNDING = 10 * DBL_EPSILON
# Below this a function has no bottom in double precision.
cdef double BOTTOM = -1e300
# The inner residual is at most this share of the gradient,
cdef double MOST_FORCING = 0.5
# and with SR1, whose products cost no evaluation,
cdef double SR1_FORCING = 1e-3
# SR1 leaves B alone where the update's denominator is less than this (their r).
cdef double LEAST_DENOMINATOR = 1e-8
# SR1's first step is visible beside x if it is longer than this share of it.
cdef double VISIBLE = 1e-8


cdef Method trust_region_method(ModelKind kind) noexcept nogil:
    cdef Method method
    method.state_size = sizeof(TrustRegion)
    method.count_doubles = count_doubles
    method.lay_out = lay_out
    method.work = work
    method.prepare = prepare
    method.iterate = iterate
    return method


cdef void begin_trust_region(TrustRegion* state, ModelKind kind,
                             const double* settings) noexcept nogil:
    """What is not zero in a state that has done nothing yet; `begin` comes first."""
    begin_marks(&state.marks)
    state.kind = kind
    state.radius = settings[AT_INITIAL_RADIUS]
    state.max_radius = settings[AT_MAX_RADIUS]
    state.least_ratio = settings[AT_ETA]
    state.ceiling = INFINITY


cdef void prepare(void* address, const Objective* objective) noexcept nogil:
    cdef TrustRegion* state = <TrustRegion*>address
    cdef Iteration* iteration = &state.iteration
    state.marks.first_gradient = norm_max(iteration.current.gradient, iteration.n)
    state.first_norm = norm_two(iteration.current.gradient, iteration.n)
    if state.radius == 0:
        state.radius = min(max(1.0, norm_two(iteration.current.x, iteration.n)), state.max_radius)
    else:
        state.begun = True                    # the caller's radius is no guess


cdef StatusCode iterate(void* address, const Objective* objective) noexcept nogil:
    """Steps within shrinking radii, until one is taken."""
    cdef TrustRegion* state = <TrustRegion*>address
    cdef Iteration* iteration = &state.iteration
    cdef Point* current = &iteration.current
    cdef Point* trial = &iteration.trial
    cdef Py_ssize_t n = iteration.n
    cdef double length, predicted, actual, slope, rounding
    cdef bint taken = False
    cdef int reply
    if not state.modelled:
        reply = set_model(state, objective)
        if reply != REPLY_DONE:
            return status_of_reply(iteration, reply)
        state.modelled = True
        state.promising = False
        state.renewed = False
        state.ceiling = INFINITY
    while not taken:
        reply = choose_step(state, objective)
        if reply != REPLY_DONE:
            return status_of_reply(iteration, reply)
        if state.kind == PRODUCT_MODEL and state.cg.broken and not state.promising:
            iteration.modelless += 1
        length = norm_two(state.step, n)
        slope = dot(current.gradient, state.step, n)
        predicted = -(slope + 0.5 * dot(state.step, state.product, n))
        if not state.promising:
            state.marks.promised = 2 * predicted
            state.promising = True
        add_scaled(current.x, 1.0, state.step, trial.x, n)
        if not predicted > 0 or not is_visible(current.x, trial.x, n):
            if take_lower_point(iteration):
                break
            if state.kind == SR1_MODEL and state.scaled and not state.renewed:
                guess(state)
                state.renewed = True
                continue
            return diagnose(&state.marks, iteration, objective, state.ceiling)
        reply = evaluate_value(iteration, objective, trial)
        if reply != REPLY_DONE:
            return status_of_reply(iteration, reply)
        if trial.value <= BOTTOM:
            return UNBOUNDED
        rounding = ROUNDING * max(fabs(current.value), fabs(trial.value))
        actual = current.value - trial.value
        taken = (isfinite(trial.value)
                 and actual + rounding >= state.least_ratio * (predicted + rounding))
        if taken or state.kind == SR1_MODEL or trial.value < current.value:
            if isfinite(trial.value):
                reply = evaluate_gradient(iteration, objective, trial)
                if reply != REPLY_DONE:
                    return status_of_reply(iteration, reply)
        if taken and actual < 0:                  # by rounding errors, or else not at all
            taken = norm_max(trial.gradient, n) < norm_max(current.gradient, n)
            if not taken:
                actual = -INFINITY
        if not isfinite(trial.value) or taken and not all_finite(trial.gradient, n):
            taken = False
            state.ceiling = min(state.ceiling, norm_max(state.step, n))
            state.radius = SHRINK_MOST * length
            state.begun = True
            continue
        change_radius(state, length, slope, actual + rounding, predicted + rounding)
        if state.kind == SR1_MODEL and all_finite(trial.gradient, n):
            update_sr1(state)
        if not taken and trial.value < current.value and all_finite(trial.gradient, n):
            keep_if_best(iteration)
    accept_trial(iteration, distance(trial.x, current.x, n))
    state.modelled = False
    if is_idle(&state.marks, iteration, objective):
        return diagnose(&state.marks, iteration, objective, state.ceiling)
    return RUNNING


cdef bint is_visible(const double* x, const double* trial, Py_ssize_t n) noexcept nogil:
    """Whether a step changes any variable."""
    cdef Py_ssize_t i
    for i in range(n):
        if x[i] != trial[i]:
            return True
    return False


cdef void change_radius(TrustRegion* state, double length, double slope, double actual,
                        double predicted) noexcept nogil:
    """Lin & Moré's rules, for a step of this length."""
    cdef double curvature = -actual - slope         # half of that of the quadratic
    cdef double share = LEAP                        # where it is lowest, in lengths of the step
    cdef double growth = LEAP if curvature <= 0 else GROW
    if not state.begun:
        state.radius = min(state.radius, length)
        state.begun = True
    if curvature > 0:
        share = max(SHRINK_MOST, -0.5 * slope / curvature)
    if actual < state.least_ratio * predicted:
        state.radius = min(max(share, SHRINK_MOST) * length, SHRINK * state.radius)
    elif actual < BAD * predicted:
        state.radius = max(SHRINK_MOST * state.radius, min(share * length, SHRINK * state.radius))
    elif actual < GOOD * predicted:
        state.radius = max(SHRINK_MOST * state.radius, min(share * length, GROW * state.radius))
    else:
        state.radius = max(state.radius, min(share * length, growth * state.radius))
    state.radius = min(state.radius, state.max_radius)
    check(state.radius > 0)


# --- the model -------------------------------------------------------------------------------

cdef int set_model(TrustRegion* state, const Objective* objective) noexcept nogil:
    """The model at a new iterate; answers a `Reply`."""
    cdef Iteration* iteration = &state.iteration
    cdef Py_ssize_t n = iteration.n
    cdef int reply = REPLY_DONE
    if state.kind == PRODUCT_MODEL:
        state.curvature.counted = False
        return reply
    if state.kind == SR1_MODEL:
        if iteration.nit == 0:
            guess(state)
        return reply
    reply = evaluate_hessian(iteration, objective, &state.curvature, state.matrix.entries)
    if reply != REPLY_DONE:
        return reply
    if not take_in(&state.matrix):
        iteration.modelless += 1
        memset(state.matrix.entries, 0, n * n * sizeof(double))   # none: the gradient is all there
        take_in(&state.matrix)                                    # is to go by
    if state.kind == DOGLEG_MODEL:
        find_newton_step(&state.matrix, iteration.current.gradient, state.newton)
    return reply


cdef int choose_step(TrustRegion* state, const Objective* objective) noexcept nogil:
    """`step`, and `product` for it; answers a `Reply`."""
    cdef Iteration* iteration = &state.iteration
    cdef const double* gradient = iteration.current.gradient
    cdef Py_ssize_t n = iteration.n
    cdef double norm
    if state.kind == EXACT_MODEL:
        minimize_exactly(&state.matrix, gradient, state.radius, &state.multiplier, state.step,
                         state.newton, state.change)
        multiply(&state.matrix, state.step, state.product)
        return REPLY_DONE
    if state.kind == DOGLEG_MODEL:
        walk_dogleg(&state.matrix, gradient, state.newton, state.radius, state.step, state.product,
                    state.change)
        return REPLY_DONE
    norm = norm_two(gradient, n)
    if state.kind == SR1_MODEL:
        state.cg.tolerance = SR1_FORCING * norm
        return minimize_model(&state.cg, multiply_sr1, state, objective, gradient, n, state.radius,
                              state.step, state.product)
    state.cg.tolerance = min(MOST_FORCING, sqrt(norm / state.first_norm)) * norm
    return minimize_model(&state.cg, multiply_vector, state, objective, gradient, n, state.radius,
                          state.step, state.product)


cdef int multiply_vector(void* address, const Objective* objective, const double* vector,
                         double* product) noexcept nogil:
    cdef TrustRegion* state = <TrustRegion*>address
    return multiply_hessian(&state.iteration, objective, &state.curvature, vector, product)


# --- SR1 -------------------------------------------------------------------------------------

cdef int multiply_sr1(void* address, const Objective* objective, const double* vector,
                      double* product) noexcept nogil:
    multiply(&(<TrustRegion*>address).matrix, vector, product)
    return REPLY_DONE


cdef void guess(TrustRegion* state) noexcept nogil:
    """B, and a radius, such that the next step is as long as the last one; the first has length
    one, or what can be seen at all beside x."""
    cdef const Iteration* iteration = &state.iteration
    cdef Py_ssize_t n = iteration.n
    cdef double length = max(1.0, VISIBLE * norm_two(iteration.current.x, n))
    if iteration.nit > 0:
        length = iteration.step
    set_diagonal(&state.matrix, norm_two(iteration.current.gradient, n) / length)
    state.scaled = False
    if not state.begun or iteration.nit > 0:
        state.radius = min(length, state.max_radius)
        state.begun = True


cdef void set_diagonal(Symmetric* matrix, double value) noexcept nogil:
    cdef Py_ssize_t n = matrix.n
    cdef Py_ssize_t i
    memset(matrix.entries, 0, n * n * sizeof(double))
    for i in range(n):
        matrix.diagonal[i] = value


cdef void update_sr1(TrustRegion* state) noexcept nogil:
    """B + v v' / v's with v = y - B s (Nocedal & Wright 2006, equation 6.24)."""
    cdef const Point* current = &state.iteration.current
    cdef const Point* trial = &state.iteration.trial
    cdef Py_ssize_t n = state.iteration.n
    cdef double* v = state.change
    cdef double curvature, denominator
    cdef double* row = state.matrix.entries
    cdef Py_ssize_t i
    combine(1.0, trial.gradient, -1.0, current.gradient, v, n)
    curvature = dot(v, state.step, n)
    if not state.scaled and curvature > 0:
        state.scaled = True
        set_diagonal(&state.matrix, norm_two(v, n) / (curvature / norm_two(v, n)))
        multiply(&state.matrix, state.step, state.product)
    axpy(-1.0, state.product, v, n)
    denominator = dot(v, state.step, n)
    if not fabs(denominator) > LEAST_DENOMINATOR * norm_two(v, n) * norm_two(state.step, n):
        return
    for i in range(n):
        state.matrix.diagonal[i] += v[i] / denominator * v[i]
        axpy(v[i] / denominator, v + i + 1, row + i + 1, n - i - 1)
        row += n


# --- memory ----------------------------------------------------------------------------------

cdef bint has_matrix(const TrustRegion* state) noexcept nogil:
    return state.kind != PRODUCT_MODEL


cdef Py_ssize_t count_doubles(const void* address) noexcept nogil:
    cdef const TrustRegion* state = <const TrustRegion*>address
    cdef Py_ssize_t n = state.iteration.n
    cdef Py_ssize_t count = (SHARED_VECTORS + 6) * n
    if has_matrix(state):
        count += symmetric_size(n)
    if state.kind == PRODUCT_MODEL or state.kind == SR1_MODEL:
        count += TRUNCATED_CG_VECTORS * n
    return count


cdef void lay_out(void* address, double* vectors) noexcept nogil:
    cdef TrustRegion* state = <TrustRegion*>address
    cdef Py_ssize_t n = state.iteration.n
    state.step = lay_out_points(&state.iteration, vectors)
    state.product = state.step + n
    state.newton = state.product + n
    state.change = state.newton + n
    state.curvature.point = state.change + n
    state.curvature.gradient = state.curvature.point + n
    vectors = state.curvature.gradient + n
    if has_matrix(state):
        vectors = lay_out_symmetric(&state.matrix, n, vectors)
    if state.kind == PRODUCT_MODEL or state.kind == SR1_MODEL:
        lay_out_truncated_cg(&state.cg, n, vectors)


cdef double work(const void* address) noexcept nogil:
    cdef const TrustRegion* state = <const TrustRegion*>address
    cdef double n = state.iteration.n
    if state.kind == EXACT_MODEL or state.kind == DOGLEG_MODEL:
        return n * n * n
    return 10 * <double>count_doubles(address)
