"""Newton's method and Newton-CG, with a line search."""

from fastopt.solvers.descent cimport Descent
from fastopt.solvers.iteration cimport Method
from fastopt.solvers.second_derivatives cimport Curvature
from fastopt.solvers.symmetric cimport Symmetric
from fastopt.solvers.truncated_cg cimport TruncatedCG


cdef struct Newton:
    Descent descent
    Curvature curvature
    Symmetric matrix          # of Newton's method
    TruncatedCG cg            # of Newton-CG
    double* product
    double first_norm         # Euclidean norm of the gradient at x0


cdef Method newton_method() noexcept nogil
cdef Method newton_cg_method() noexcept nogil
cdef void begin_newton(Newton* state, const double* settings) noexcept nogil
