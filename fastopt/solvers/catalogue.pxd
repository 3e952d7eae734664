"""The solvers by number: how each begins, and the room that its state takes."""

from fastopt.solvers.accelerated cimport Accelerated
from fastopt.solvers.barzilai_borwein cimport BarzilaiBorwein
from fastopt.solvers.bounded cimport Bounded
from fastopt.solvers.conjugate_gradient cimport ConjugateGradient
from fastopt.solvers.first_order cimport FirstOrder
from fastopt.solvers.iteration cimport Iteration, Method
from fastopt.solvers.newton cimport Newton
from fastopt.solvers.quasi_newton cimport QuasiNewton
from fastopt.solvers.trust_region cimport TrustRegion


cdef enum SolverKind:
    FIRST_ORDER = 0
    BFGS = 1
    LBFGS = 2
    DFP = 3
    SR1 = 4
    CG = 5
    NEWTON = 6
    NEWTON_CG = 7
    DOGLEG = 8
    TRUST_EXACT = 9
    TRUST_NCG = 10
    LBFGSB = 11
    BARZILAI_BORWEIN = 12
    ACCELERATED = 13


# The state of any solver.
cdef union State:
    Iteration iteration
    FirstOrder first_order
    QuasiNewton quasi_newton
    Bounded bounded
    ConjugateGradient conjugate_gradient
    Newton newton
    TrustRegion trust_region
    BarzilaiBorwein barzilai_borwein
    Accelerated accelerated


cdef Method method_of(SolverKind kind) noexcept nogil
cdef void begin_solver(SolverKind kind, State* state, Py_ssize_t n,
                       const double* settings) noexcept nogil
