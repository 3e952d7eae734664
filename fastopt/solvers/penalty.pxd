"""Loops over vectors for functions with an l1 term, the sum of weights[i] |x[i]|, added to them.

What they write is exactly zero where it is zero in theory.
"""

from libc.math cimport copysign, fabs

from fastopt.core.vector cimport unshared
from fastopt.solvers.box cimport within


cdef inline double penalty(const double* x, const double* weights, Py_ssize_t n) noexcept nogil:
    """The l1 term."""
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        s0 += weights[i] * fabs(x[i])
        s1 += weights[i + 1] * fabs(x[i + 1])
        s2 += weights[i + 2] * fabs(x[i + 2])
        s3 += weights[i + 3] * fabs(x[i + 3])
        i += 4
    while i < n:
        s0 += weights[i] * fabs(x[i])
        i += 1
    return (s0 + s2) + (s1 + s3)


cdef inline double shrunk(double number, double threshold) noexcept nogil:
    """Soft thresholding: nearer to zero by the threshold, or zero."""
    return number - within(number, -threshold, threshold)


cdef inline double subgradient(double x, double slope, double weight) noexcept nogil:
    """Of the derivatives of f plus the l1 term along a variable, the one nearest to zero."""
    if x == 0:
        return shrunk(slope, weight)
    return slope + copysign(weight, x)


cdef inline double subgradient_norm_max(const double* x, const double* gradient,
                                        const double* weights, Py_ssize_t n) noexcept nogil:
    """The largest magnitude among them; NaN if there is one."""
    cdef double largest = 0
    cdef double magnitude
    cdef Py_ssize_t i
    for i in range(n):
        magnitude = fabs(subgradient(x[i], gradient[i], weights[i]))
        if not magnitude <= largest:
            largest = magnitude
            if magnitude != magnitude:
                break
    return largest


cdef inline void shrink_step(const double* x, double scale, const double* gradient,
                             const double* weights, unshared out, Py_ssize_t n) noexcept nogil:
    """out = x - scale gradient, each element shrunk by scale times its weight."""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = shrunk(x[i] - scale * gradient[i], scale * weights[i])
