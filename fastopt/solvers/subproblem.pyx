"""Minimisers of g's + s'Hs / 2 within |s| <= radius, from the matrix H.

* Exactly: Moré & Sorensen (SIAM J. Sci. Stat. Comput. 4, 1983, algorithm 3.14), with the bounds of
  Conn, Gould & Toint (Trust-Region Methods, 2000, section 7.3). Of s = -(H + lambda I)^-1 g, lambda
  is found such that |s| is the radius, by Newton's method on 1 / |s|; in the hard case, where no
  lambda makes s long enough, the rest of the way is gone along a direction of least curvature.
* Along the dogleg: Powell 1970 (Nocedal & Wright 2006, section 4.1).

Own the factorisations that this takes. Know nothing of how radii and matrices come about.
"""

import numpy as np

from libc.math cimport INFINITY, fabs, sqrt

from fastopt.core.vector cimport axpy, combine, copy_scaled, dot, norm_two, scale_by
from fastopt.solvers.symmetric cimport (
    Symmetric, factor, largest_row_sum, lay_out_symmetric, multiply, solve, solve_lower,
    solve_made_positive, solve_upper, symmetric_size, take_in,
)

# |s| may differ from the radius by this share of it, and the model's value by that from the least
# one, in the easy and in the hard case (Conn, Gould & Toint's kappa).
cdef double EASY = 0.1
cdef double HARD = 0.2
# Where Newton's lambda is out of bounds, the next one keeps this share of the interval from its
# lower end at least (their theta).
cdef double INWARD = 0.01
cdef int MOST_FACTORISATIONS = 60


cdef void minimize_exactly(Symmetric* hess, const double* gradient, double radius,
                           double* multiplier, double* step, double* null, double* scratch
                           ) noexcept nogil:
    """The step; `multiplier` is where the search for lambda begins, and becomes where it ends."""
    cdef Py_ssize_t n = hess.n
    cdef double norm = norm_two(gradient, n)
    cdef double size = largest_row_sum(hess)
    cdef double lower = max(max(0.0, -least(hess.diagonal, n)), norm / radius - size)
    cdef double upper = norm / radius + size
    cdef double shift = 0
    cdef double length, newton, curvature, way
    cdef Py_ssize_t failed
    if lower > 0 or multiplier[0] > 0:
        shift = multiplier[0] if lower < multiplier[0] < upper else between(lower, upper)
    for _ in range(MOST_FACTORISATIONS):
        multiplier[0] = shift
        failed = factor(hess, shift)
        if failed > 0:
            lower = max(lower, shift + missing_shift(hess, failed - 1, shift, scratch))
            shift = between(lower, upper)
            continue
        copy_scaled(-1.0, gradient, step, n)
        solve(hess, step)
        length = norm_two(step, n)
        if shift == 0 and length <= radius or fabs(length - radius) <= EASY * radius:
            return
        copy_scaled(1.0, step, scratch, n)
        solve_lower(hess, scratch)
        newton = shift + length * length / dot(scratch, scratch, n) * (length - radius) / radius
        if length > radius:
            lower = max(lower, shift)
        else:
            upper = shift
            curvature = find_null(hess, null, scratch)
            way = nearest_way_to_radius(step, null, radius, n)
            if way * way * curvature <= HARD * (-dot(gradient, step, n) + shift * radius * radius):
                axpy(way, null, step, n)
                return
            lower = max(lower, shift - curvature)
            if newton <= lower and lower == 0:
                newton = 0                        # it may be positive definite as it is
                lower = -INFINITY
        if not lower < newton < upper:
            newton = between(max(lower, 0.0), upper)
        shift = newton
        lower = max(lower, 0.0)
    copy_scaled(-radius / norm, gradient, step, n)


cdef double between(double lower, double upper) noexcept nogil:
    return max(sqrt(lower * upper), lower + INWARD * (upper - lower))


cdef double least(const double* entries, Py_ssize_t n) noexcept nogil:
    cdef double found = INFINITY
    cdef Py_ssize_t i
    for i in range(n):
        found = min(found, entries[i])
    return found


cdef double missing_shift(const Symmetric* hess, Py_ssize_t k, double shift,
                          double* v) noexcept nogil:
    """How much more has to be added at least, where the leading k rows have their factor and the
    next one has none: -v'(H + shift I)v / v'v, for the v that makes the pivot of it."""
    cdef Py_ssize_t n = hess.n
    cdef Symmetric leading = hess[0]
    cdef double pivot = hess.diagonal[k] + shift
    cdef Py_ssize_t i
    for i in range(k):
        v[i] = hess.entries[i * n + k]
    solve_leading(&leading, k, v, &pivot)
    return max(0.0, -pivot / (1 + dot(v, v, k)))


cdef void solve_leading(Symmetric* hess, Py_ssize_t k, double* v, double* pivot) noexcept nogil:
    """v = (H_k + shift I)^-1 v for the leading k rows, and v's part of the pivot taken off."""
    cdef Py_ssize_t n = hess.n
    cdef const double* row = hess.entries
    cdef Py_ssize_t i
    for i in range(k):
        v[i] = (v[i] - dot(row, v, i)) / row[i]
        row += n
    pivot[0] -= dot(v, v, k)
    i = k - 1
    while i >= 0:
        v[i] /= hess.entries[i * n + i]
        axpy(-v[i], hess.entries + i * n, v, i)
        i -= 1


cdef double find_null(const Symmetric* hess, double* null, double* sums) noexcept nogil:
    """A unit vector u for which u'(H + shift I)u is small, and that number.

    LINPACK's way (Golub & Van Loan 2013, algorithm 3.5.1): L w = e, each element of e 1 or -1 such
    that w grows, and L'u = w.
    """
    cdef Py_ssize_t n = hess.n
    cdef const double* entries = hess.entries
    cdef double plus, minus, growth_plus, growth_minus, size, length
    cdef Py_ssize_t i, k
    for i in range(n):
        sums[i] = 0
    for k in range(n):
        plus = (1 - sums[k]) / entries[k * n + k]
        minus = (-1 - sums[k]) / entries[k * n + k]
        growth_plus, growth_minus = fabs(plus), fabs(minus)
        for i in range(k + 1, n):
            growth_plus += fabs(sums[i] + entries[i * n + k] * plus)
            growth_minus += fabs(sums[i] + entries[i * n + k] * minus)
        null[k] = plus if growth_plus >= growth_minus else minus
        for i in range(k + 1, n):
            sums[i] += entries[i * n + k] * null[k]
    size = norm_two(null, n)
    solve_upper(hess, null)
    length = norm_two(null, n)
    scale_by(1 / length, null, n)
    return (size / length) ** 2


cdef double nearest_way_to_radius(const double* step, const double* unit, double radius,
                                  Py_ssize_t n) noexcept nogil:
    """The t nearest to zero at which |step + t unit| is the radius; the step is inside."""
    cdef double b = dot(step, unit, n)
    cdef double c = radius * radius - dot(step, step, n)
    cdef double root = sqrt(b * b + max(c, 0.0))
    return c / (root + b) if b > 0 else -c / (root - b)


# --- dogleg ----------------------------------------------------------------------------------

cdef void find_newton_step(Symmetric* hess, const double* gradient, double* newton) noexcept nogil:
    """-H^-1 g; where H is not positive definite, with its negative curvature made positive."""
    copy_scaled(-1.0, gradient, newton, hess.n)
    if factor(hess, 0) == 0:
        solve(hess, newton)
    else:
        solve_made_positive(hess, newton)


cdef void walk_dogleg(const Symmetric* hess, const double* gradient, const double* newton,
                      double radius, double* step, double* product, double* scratch
                      ) noexcept nogil:
    """From zero to the minimiser along the gradient, and from there to Newton's step, to the
    radius; `product` is H times the step.

    Where H is not positive definite the path may be worse than the gradient alone, and where that
    leads to the radius Newton's direction may be better: the better one of the two is taken.
    """
    cdef Py_ssize_t n = hess.n
    cdef double norm = norm_two(gradient, n)
    cdef double length = norm_two(newton, n)
    cdef double curvature, way, along_gradient, along_path
    copy_scaled(-1 / norm, gradient, step, n)
    multiply(hess, step, product)
    curvature = dot(step, product, n)
    way = min(norm / curvature, radius) if curvature > 0 else radius
    along_gradient = way * (0.5 * way * curvature - norm)

    if length <= radius:
        copy_scaled(1.0, newton, step, n)
    elif way < radius:
        scale_by(way, step, n)
        combine(1.0, newton, -1.0, step, scratch, n)
        axpy(way_to_radius(step, scratch, radius, n), scratch, step, n)
    else:
        copy_scaled(radius / length, newton, step, n)
    multiply(hess, step, product)
    curvature = dot(step, product, n)
    if curvature <= 0 and length < radius and length > 0:
        scale_by(radius / length, step, n)
        scale_by(radius / length, product, n)
        curvature *= (radius / length) ** 2
    along_path = dot(gradient, step, n) + 0.5 * curvature
    if not along_path <= along_gradient:
        copy_scaled(-way / norm, gradient, step, n)
        multiply(hess, step, product)


cdef double way_to_radius(const double* step, const double* direction, double radius,
                          Py_ssize_t n) noexcept nogil:
    """The positive t at which |step + t direction| is the radius; the step is inside."""
    cdef double a = dot(direction, direction, n)
    cdef double b = dot(step, direction, n)
    cdef double c = radius * radius - dot(step, step, n)
    cdef double root = sqrt(b * b + a * max(c, 0.0))
    return (root - b) / a if b <= 0 else c / (root + b)


# --- For tests, and for those who want to look at a model ---------------------------------------

def minimize_in_ball(hess, gradient, double radius, way="exact"):
    """Minimize a quadratic model within a radius.

    Parameters
    ----------
    hess : array_like, shape (n, n)
        The model's Hessian, symmetric; only the lower triangle is read.
    gradient : array_like, shape (n,)
        Its gradient, not zero.
    radius : float
        The longest step.
    way : {"exact", "dogleg"}
        How.

    Returns
    -------
    step : ndarray, shape (n,)
        The minimiser, or what comes near to it.
    multiplier : float
        The lambda for which ``(H + lambda I) step = -gradient``; outside the hard case, and 0 with
        the dogleg.

    Examples
    --------
    >>> from fastopt.solvers.subproblem import minimize_in_ball
    >>> step, multiplier = minimize_in_ball([[2.0, 0.0], [0.0, 4.0]], [2.0, 4.0], 10.0)
    >>> step, multiplier
    (array([-1., -1.]), 0.0)
    """
    cdef Symmetric matrix
    cdef double multiplier = 0
    cdef double[::1] slopes = np.array(gradient, dtype=np.float64)
    cdef Py_ssize_t n = slopes.shape[0]
    cdef double[::1] room = np.empty(symmetric_size(n) + 4 * n)
    cdef double* vectors = &room[0]
    cdef double[:, ::1] entries
    lay_out_symmetric(&matrix, n, vectors + 4 * n)
    entries = <double[:n, :n]>matrix.entries
    np.asarray(entries)[:] = hess
    take_in(&matrix)
    if way == "exact":
        minimize_exactly(&matrix, &slopes[0], radius, &multiplier, vectors, vectors + n,
                         vectors + 2 * n)
    else:
        find_newton_step(&matrix, &slopes[0], vectors + 3 * n)
        walk_dogleg(&matrix, &slopes[0], vectors + 3 * n, radius, vectors, vectors + n,
                    vectors + 2 * n)
    return np.array(<double[:n]>vectors), multiplier
