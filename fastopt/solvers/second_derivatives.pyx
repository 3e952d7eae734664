"""Hessians and their products at the current point, wherever they come from.

Owns the choice: the user's Hessian or its product where there is one, or else differences of
gradients, and what is counted. Knows no solver. Each function answers a `Reply`; what is not finite
is for the caller to notice.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport fabs, sqrt

from fastopt.core.abi cimport REPLY_DONE, REPLY_STOP, Objective
from fastopt.core.flag cimport is_set
from fastopt.core.vector cimport add_scaled, combine, norm_two
from fastopt.solvers.iteration cimport Iteration


cdef int evaluate_hessian(Iteration* state, const Objective* objective, Curvature* curvature,
                          double* hess) noexcept nogil:
    """The lower triangle of the Hessian, row-major (n, n)."""
    cdef int reply
    if objective.hess != NULL:
        if is_set(&objective.stop):
            return REPLY_STOP
        reply = objective.hess(state.current.x, hess, state.n, objective.context)
        state.nhev += reply == REPLY_DONE
        return reply
    if objective.hessp != NULL:
        return gather_products(state, objective, curvature, hess)
    return subtract_gradients(state, objective, curvature, hess)


cdef int gather_products(Iteration* state, const Objective* objective, Curvature* curvature,
                         double* hess) noexcept nogil:
    """Row i is the product with unit vector i."""
    cdef Py_ssize_t n = state.n
    cdef Py_ssize_t i
    cdef int reply = REPLY_DONE
    for i in range(n):
        curvature.point[i] = 0
    for i in range(n):
        curvature.point[i] = 1
        reply = multiply_hessian(state, objective, curvature, curvature.point, hess + i * n)
        curvature.point[i] = 0
        if reply != REPLY_DONE:
            break
    return reply


cdef int subtract_gradients(Iteration* state, const Objective* objective, Curvature* curvature,
                            double* hess) noexcept nogil:
    """Forward differences of the gradient, made symmetric."""
    cdef const double* x = state.current.x
    cdef const double* gradient = state.current.gradient
    cdef double* point = curvature.point
    cdef double* row = hess
    cdef Py_ssize_t n = state.n
    cdef Py_ssize_t i, j
    cdef double relative = relative_step(objective)
    cdef double step
    cdef int reply
    for j in range(n):
        point[j] = x[j]
    for i in range(n):
        row = hess + i * n
        step = relative * max(1.0, fabs(x[i]))
        point[i] = x[i] + (step if x[i] >= 0 else -step)
        reply = evaluate_gradient_alone(state, objective, point, row)
        step = point[i] - x[i]
        point[i] = x[i]
        if reply != REPLY_DONE:
            return reply
        for j in range(n):
            row[j] = (row[j] - gradient[j]) / step
    for i in range(n):
        for j in range(i):
            hess[i * n + j] = 0.5 * (hess[i * n + j] + hess[j * n + i])
    return REPLY_DONE


cdef int multiply_hessian(Iteration* state, const Objective* objective, Curvature* curvature,
                          const double* vector, double* product) noexcept nogil:
    """The product of the Hessian at the current point with a vector."""
    cdef Py_ssize_t n = state.n
    cdef double length, step
    cdef int reply
    if objective.hessp != NULL:
        if is_set(&objective.stop):
            return REPLY_STOP
        reply = objective.hessp(state.current.x, vector, product, n, objective.context)
        if reply == REPLY_DONE:
            state.nhev += not (objective.holds and curvature.counted)
            curvature.counted = True
        return reply
    length = norm_two(vector, n)
    step = 2 * relative_step(objective) * (1 + norm_two(state.current.x, n)) / length
    add_scaled(state.current.x, step, vector, curvature.point, n)
    reply = evaluate_gradient_alone(state, objective, curvature.point, curvature.gradient)
    combine(1 / step, curvature.gradient, -1 / step, state.current.gradient, product, n)
    return reply


cdef double relative_step(const Objective* objective) noexcept nogil:
    """Of a forward difference of gradients: the root of their relative error balances truncation
    against it. If they are differences themselves, that is eps over their step."""
    if objective.difference_step > 0:
        return sqrt(DBL_EPSILON / objective.difference_step)
    return sqrt(DBL_EPSILON)


cdef int evaluate_gradient_alone(Iteration* state, const Objective* objective, const double* x,
                                 double* gradient) noexcept nogil:
    """The gradient where no value has been asked for; the value comes with it where both come from
    one call (a C function may count on that), or where differences need it."""
    cdef bint valued = objective.joint or objective.difference_step > 0
    cdef double value
    cdef int reply
    if is_set(&objective.stop) or state.nfev >= state.limits.maxfev:
        return REPLY_STOP
    reply = objective.value_grad(x, &value if valued else NULL, gradient, state.n,
                                 objective.context)
    if reply == REPLY_DONE:
        state.njev += 1
        state.nfev += valued + objective.gradient_cost
    return reply
