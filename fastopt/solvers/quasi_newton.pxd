"""BFGS and L-BFGS: one loop over two memories."""

from fastopt.solvers.inverse_hessian cimport InverseHessian, MemoryKind
from fastopt.solvers.iteration cimport Iteration, Method
from fastopt.solvers.line_search cimport SearchSettings


cdef struct QuasiNewton:
    Iteration iteration
    SearchSettings search
    InverseHessian memory
    double* direction
    double slope              # of f along the direction
    double promised           # what the model at this iterate says is to be gained, twice over
    double first_step         # what the next search tries first
    double first_gradient     # norm of the gradient at x0
    double least_value        # the marks that an iteration has to beat to count as progress
    double least_gradient
    int idle                  # iterations since one did


cdef Method quasi_newton_method() noexcept nogil
cdef void begin_quasi_newton(QuasiNewton* state, MemoryKind kind, Py_ssize_t m) noexcept nogil
