"""Newton's method with a line search (Nocedal & Wright 2006, section 3.4), and Newton-CG (7.1).

Own the Newton direction, exact or truncated, and what becomes of it where the Hessian is not
positive definite. Know nothing of searches and their failures, nor of where derivatives come from.

Newton's method factors the Hessian as it is (Cholesky), and where that fails so that negative
curvature counts as positive of the same size (`symmetric.solve_made_positive`). One that is sparse
stays with the objective, which factors it by means of its own. Newton-CG stops its
inner iteration at min(1/2, sqrt(|g| / |g0|)) |g|: Eisenstat and Walker's superlinear choice.
"""

from libc.math cimport INFINITY, isnan, sqrt
from libc.string cimport memset

from fastopt.core.abi cimport REPLY_DONE, REPLY_STOP, RUNNING, Objective, StatusCode
from fastopt.core.flag cimport is_set
from fastopt.core.vector cimport copy_scaled, distance, norm_two
from fastopt.solvers.descent cimport Descent, Engine, begin_descent, descend, set_out
from fastopt.solvers.iteration cimport (
    SHARED_VECTORS, Iteration, Method, accept_trial, lay_out_points, status_of_reply,
)
from fastopt.solvers.second_derivatives cimport evaluate_hessian, multiply_hessian
from fastopt.solvers.symmetric cimport (
    factor, lay_out_symmetric, solve, solve_made_positive, symmetric_size, take_in,
)
from fastopt.solvers.truncated_cg cimport (
    TRUNCATED_CG_VECTORS, lay_out_truncated_cg, minimize_model,
)

cdef Engine EXACT
EXACT.aim = aim_exactly
EXACT.follow = follow
EXACT.blind = False
EXACT.forget = NULL

cdef Engine TRUNCATED
TRUNCATED.aim = aim_by_cg
TRUNCATED.follow = follow
TRUNCATED.blind = False
TRUNCATED.forget = NULL

# The forcing sequence: the inner residual is at most this share of the gradient.
cdef double MOST_FORCING = 0.5


cdef Method newton_method() noexcept nogil:
    cdef Method method
    method.state_size = sizeof(Newton)
    method.count_doubles = count_exact
    method.lay_out = lay_out_exact
    method.work = work_exact
    method.prepare = prepare
    method.iterate = iterate_exactly
    return method


cdef Method newton_cg_method() noexcept nogil:
    cdef Method method
    method.state_size = sizeof(Newton)
    method.count_doubles = count_truncated
    method.lay_out = lay_out_truncated
    method.work = work_truncated
    method.prepare = prepare
    method.iterate = iterate_by_cg
    return method


cdef void begin_newton(Newton* state, const double* settings) noexcept nogil:
    """What is not zero in a state that has done nothing yet; `begin` comes first."""
    begin_descent(&state.descent, settings)


cdef void prepare(void* address, const Objective* objective) noexcept nogil:
    cdef Newton* state = <Newton*>address
    state.first_norm = norm_two(state.descent.iteration.current.gradient, state.descent.iteration.n)
    set_out(&state.descent, &EXACT, objective, 0)


cdef StatusCode iterate_exactly(void* address, const Objective* objective) noexcept nogil:
    return descend(<Descent*>address, &EXACT, objective)


cdef StatusCode iterate_by_cg(void* address, const Objective* objective) noexcept nogil:
    return descend(<Descent*>address, &TRUNCATED, objective)


cdef StatusCode aim_exactly(Descent* descent, const Objective* objective) noexcept nogil:
    cdef Newton* state = <Newton*>descent
    cdef Py_ssize_t n = descent.iteration.n
    cdef int reply
    if state.place == IN_OBJECTIVE:
        return aim_by_objective(state, objective)
    reply = evaluate_hessian(&descent.iteration, objective, &state.curvature, state.matrix.entries)
    if reply != REPLY_DONE:
        return status_of_reply(&descent.iteration, reply)
    if not take_in(&state.matrix):
        descent.iteration.modelless += 1
        memset(descent.direction, 0, n * sizeof(double))      # no direction: the gradient's
        return RUNNING
    copy_scaled(-1.0, descent.iteration.current.gradient, descent.direction, n)
    if factor(&state.matrix, 0) == 0:
        solve(&state.matrix, descent.direction)
    else:
        solve_made_positive(&state.matrix, descent.direction)
    return RUNNING


cdef StatusCode aim_by_objective(Newton* state, const Objective* objective) noexcept nogil:
    cdef Iteration* iteration = &state.descent.iteration
    cdef int reply = REPLY_STOP
    if not is_set(&objective.stop):
        reply = objective.newton(iteration.current.x, iteration.current.gradient,
                                 state.descent.direction, &state.shift, iteration.n,
                                 objective.context)
        iteration.nhev += reply == REPLY_DONE
        iteration.modelless += reply == REPLY_DONE and isnan(state.descent.direction[0])
    return status_of_reply(iteration, reply)


cdef StatusCode aim_by_cg(Descent* descent, const Objective* objective) noexcept nogil:
    cdef Newton* state = <Newton*>descent
    cdef const double* gradient = descent.iteration.current.gradient
    cdef Py_ssize_t n = descent.iteration.n
    cdef double norm = norm_two(gradient, n)
    cdef int reply
    state.curvature.counted = False
    state.cg.tolerance = min(MOST_FORCING, sqrt(norm / state.first_norm)) * norm
    reply = minimize_model(&state.cg, multiply_vector, state, objective, gradient, n, INFINITY,
                           descent.direction, state.product)
    descent.iteration.modelless += reply == REPLY_DONE and state.cg.broken
    return status_of_reply(&descent.iteration, reply)


cdef int multiply_vector(void* address, const Objective* objective, const double* vector,
                         double* product) noexcept nogil:
    cdef Newton* state = <Newton*>address
    return multiply_hessian(&state.descent.iteration, objective, &state.curvature, vector, product)


cdef double follow(Descent* descent, bint along) noexcept nogil:
    accept_trial(&descent.iteration, distance(descent.iteration.trial.x,
                                              descent.iteration.current.x, descent.iteration.n))
    return 0


# --- memory ----------------------------------------------------------------------------------

cdef Py_ssize_t count_exact(const void* address) noexcept nogil:
    cdef const Newton* state = <const Newton*>address
    cdef Py_ssize_t n = state.descent.iteration.n
    return (SHARED_VECTORS + 3) * n + (symmetric_size(n) if state.place == IN_STATE else 0)


cdef Py_ssize_t count_truncated(const void* address) noexcept nogil:
    cdef Py_ssize_t n = (<const Newton*>address).descent.iteration.n
    return (SHARED_VECTORS + 4 + TRUNCATED_CG_VECTORS) * n


cdef double* lay_out_shared(Newton* state, double* vectors) noexcept nogil:
    cdef Py_ssize_t n = state.descent.iteration.n
    state.descent.direction = lay_out_points(&state.descent.iteration, vectors)
    state.curvature.point = state.descent.direction + n
    state.curvature.gradient = state.curvature.point + n
    return state.curvature.gradient + n


cdef void lay_out_exact(void* address, double* vectors) noexcept nogil:
    cdef Newton* state = <Newton*>address
    cdef double* rest = lay_out_shared(state, vectors)
    if state.place == IN_STATE:
        lay_out_symmetric(&state.matrix, state.descent.iteration.n, rest)


cdef void lay_out_truncated(void* address, double* vectors) noexcept nogil:
    cdef Newton* state = <Newton*>address
    cdef Py_ssize_t n = state.descent.iteration.n
    state.product = lay_out_shared(state, vectors)
    lay_out_truncated_cg(&state.cg, n, state.product + n)


cdef double work_exact(const void* address) noexcept nogil:
    cdef double n = (<const Newton*>address).descent.iteration.n
    if (<const Newton*>address).place != IN_STATE:
        return 10 * <double>count_exact(address)
    return n * n * n / 3


cdef double work_truncated(const void* address) noexcept nogil:
    return 10 * <double>count_truncated(address)
