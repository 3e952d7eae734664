# cython: language_level=3, cdivision=True, embedsignature=True
"""A chain of weights on springs, between two hooks: its energy as a C function for fastopt."""

import ctypes
import sys

import numpy as np
from scipy import LowLevelCallable

from fastopt.core.abi cimport REPLY_DONE, value_grad_fn


cdef api int energy(const double* x, double* value, double* grad, Py_ssize_t n,
                    void* context) noexcept nogil:
    """Of the springs, half the sum of (x[i + 1] - x[i])^2; less that of each weight times x[i]."""
    cdef const double* weights = <const double*>context
    cdef double before, stretched
    cdef Py_ssize_t i
    value[0] = 0
    for i in range(n):
        grad[i] = -weights[i]
        value[0] -= weights[i] * x[i]
    for i in range(n + 1):
        before = x[i - 1] if i > 0 else 0
        stretched = (x[i] if i < n else 0) - before
        value[0] += 0.5 * stretched * stretched
        if i < n:
            grad[i] += stretched
        if i > 0:
            grad[i - 1] -= stretched
    return REPLY_DONE


# Only for the compiler, which refuses a function that is not of the type that solvers call.
cdef value_grad_fn checked = energy


def energy_of(weights):
    """`energy` with these weights, an array of shape (n,), which the result keeps alive."""
    weights = np.array(weights, dtype=np.float64)
    context = weights.ctypes.data_as(ctypes.c_void_p)
    return LowLevelCallable.from_cython(sys.modules[__name__], "energy", context)
