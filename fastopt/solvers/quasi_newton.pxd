"""BFGS, DFP and L-BFGS: one engine over two memories."""

from fastopt.solvers.descent cimport Descent
from fastopt.solvers.inverse_hessian cimport InverseHessian, MemoryKind
from fastopt.solvers.iteration cimport Method


cdef struct QuasiNewton:
    Descent descent
    InverseHessian memory
    bint damped               # Powell's damping


cdef Method quasi_newton_method() noexcept nogil
cdef void begin_quasi_newton(QuasiNewton* state, MemoryKind kind,
                             const double* settings) noexcept nogil
