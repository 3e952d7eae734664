"""Steihaug and Toint's conjugate gradients (Nocedal & Wright 2006, algorithms 7.1 and 7.2).

Own the iteration on the model g's + s'Hs / 2. Know nothing of where products come from, of line
searches and of how radii are chosen.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY, fabs, sqrt
from libc.string cimport memset

from fastopt.core.abi cimport REPLY_DONE, Objective
from fastopt.core.vector cimport axpy, copy_scaled, dot, norm_two, scale_by
from fastopt.solvers.subproblem cimport way_to_radius


cdef double* lay_out_truncated_cg(TruncatedCG* cg, Py_ssize_t n, double* vectors) noexcept nogil:
    cg.residual = vectors
    cg.conjugate = vectors + n
    cg.image = vectors + 2 * n
    return vectors + TRUNCATED_CG_VECTORS * n


cdef int minimize_model(TruncatedCG* cg, product_fn multiply, void* state,
                        const Objective* objective, const double* gradient, Py_ssize_t n,
                        double radius, double* step, double* product) noexcept nogil:
    """Leave the step in `step`, and H times it in `product`; answers a `Reply`.

    Where the curvature is negative the step goes on to the radius; without one, as far as it would
    with the same curvature positive. Where there is none, or a product is not finite, the iteration
    ends; the first time nothing but the gradient is known, and the step goes along that to the
    radius, and is zero without one.
    """
    cdef double* residual = cg.residual
    cdef double* conjugate = cg.conjugate
    cdef double* image = cg.image
    cdef double norm = norm_two(gradient, n)
    cdef double squares = 1, squares_before, curvature, share, way
    cdef Py_ssize_t k
    cdef int reply = REPLY_DONE
    cg.bounded = False
    cg.broken = False
    # Of the model divided by |g|, lest squares overflow or underflow.
    copy_scaled(1 / norm, gradient, residual, n)
    copy_scaled(-1.0, residual, conjugate, n)
    memset(step, 0, n * sizeof(double))
    memset(product, 0, n * sizeof(double))
    for k in range(2 * n + 10):
        reply = multiply(state, objective, conjugate, image)
        if reply != REPLY_DONE:
            return reply
        scale_by(1 / norm, image, n)
        curvature = dot(conjugate, image, n)
        cg.broken = not fabs(curvature) < INFINITY
        if cg.broken or not (
                fabs(curvature) > DBL_EPSILON * norm_two(conjugate, n) * norm_two(image, n)):
            if k == 0 and radius < INFINITY:
                copy_scaled(radius, conjugate, step, n)
                cg.bounded = True
            break
        share = squares / fabs(curvature)
        if radius < INFINITY:
            way = way_to_radius(step, conjugate, radius, n)
            if curvature < 0 or share >= way:
                share = way
                cg.bounded = True
        axpy(share, conjugate, step, n)
        axpy(share, image, product, n)
        if cg.bounded or curvature < 0:
            break
        axpy(share, image, residual, n)
        squares_before = squares
        squares = dot(residual, residual, n)
        if sqrt(squares) * norm <= cg.tolerance:
            break
        combine_with_residual(squares / squares_before, residual, conjugate, n)
    scale_by(norm, product, n)
    return reply


cdef void combine_with_residual(double beta, const double* residual, double* conjugate,
                                Py_ssize_t n) noexcept nogil:
    """conjugate = beta conjugate - residual"""
    cdef Py_ssize_t i
    for i in range(n):
        conjugate[i] = beta * conjugate[i] - residual[i]
