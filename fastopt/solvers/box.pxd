"""Loops over vectors whose elements have a lower and an upper bound each, which may be infinite.

What they write lies between the bounds to the last bit.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY, fabs

from fastopt.core.vector cimport unshared

# So close to a bound, relative to both, a variable that moves towards it has been meant to reach
# it: the length of a step is rounded, and so is the sum.
cdef enum:
    ULPS = 4


cdef inline double within(double x, double low, double high) noexcept nogil:
    """The nearest number between the bounds; NaN stays what it is."""
    if x < low:
        return low
    if x > high:
        return high
    return x


cdef inline void clip(double* x, const double* low, const double* high,
                      Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        x[i] = within(x[i], low[i], high[i])


cdef inline bint add_within(const double* a, double scale, const double* b, const double* low,
                            const double* high, unshared out, Py_ssize_t n) noexcept nogil:
    """out = a + scale b, kept between the bounds; says whether all of it is finite."""
    cdef double product = 0
    cdef double bound
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = a[i] + scale * b[i]
        product += 0 * out[i]
        if b[i] != 0:
            bound = low[i] if b[i] < 0 else high[i]
            if fabs(out[i] - bound) < ULPS * DBL_EPSILON * (fabs(a[i]) + fabs(bound)):
                out[i] = bound
        out[i] = within(out[i], low[i], high[i])
    return product == 0


cdef inline double projected(double x, double slope, double low, double high) noexcept nogil:
    """An element of the projected gradient, x - P(x - g)."""
    return within(slope, x - high, x - low)


cdef inline double projected_norm_max(const double* x, const double* gradient, const double* low,
                                      const double* high, Py_ssize_t n) noexcept nogil:
    """The largest magnitude in the projected gradient; NaN if there is one."""
    cdef double largest = 0
    cdef double magnitude
    cdef Py_ssize_t i
    for i in range(n):
        magnitude = fabs(projected(x[i], gradient[i], low[i], high[i]))
        if not magnitude <= largest:
            largest = magnitude
            if magnitude != magnitude:
                break
    return largest


cdef inline bint is_held(double x, double slope, double low, double high) noexcept nogil:
    """Whether a variable is at a bound and does not want away from it; the fixed ones all are."""
    return (slope >= 0 and x <= low) or (slope <= 0 and x >= high)


cdef inline double longest_step(const double* x, const double* direction, const double* low,
                                const double* high, Py_ssize_t n) noexcept nogil:
    """How many times `direction` leads from x to the first bound on the way; inf if none is."""
    cdef double longest = INFINITY
    cdef Py_ssize_t i
    for i in range(n):
        if direction[i] < 0:
            if low[i] - x[i] > longest * direction[i]:
                longest = (low[i] - x[i]) / direction[i]
        elif direction[i] > 0:
            if high[i] - x[i] < longest * direction[i]:
                longest = (high[i] - x[i]) / direction[i]
    return longest
