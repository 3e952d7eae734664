"""L-BFGS-B: limited-memory BFGS between bounds."""

from fastopt.solvers.compact_hessian cimport CompactHessian
from fastopt.solvers.descent cimport Descent
from fastopt.solvers.iteration cimport Method


cdef struct Bounded:
    Descent descent
    CompactHessian memory
    bint damped               # Powell's damping
    double* low               # n: the bounds, a part of the state
    double* high              # n
    double* slide             # n: downhill along the gradient, 0 for variables that are held
    double* breaks            # n: where on the path along it each variable reaches its bound
    double* s                 # n: the newest step and change of the gradient; scratch after that
    double* y                 # n
    Py_ssize_t* queue         # n: scratch, variables in the order of their breaks
    double* through           # 2 m each, of the path: W'd of what still moves,
    double* passed            # W'z of what has reached its bound
    double* weights           # scratch
    double* place             # scratch
    double reach              # a step of 1 on the path is this times `slide`


cdef Method bounded_method() noexcept nogil
cdef void begin_bounded(Bounded* state, const double* settings) noexcept nogil
cdef void copy_bounds(Bounded* state, const double* low, Py_ssize_t low_stride, const double* high,
                      Py_ssize_t high_stride) noexcept nogil
