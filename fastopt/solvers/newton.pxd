"""Newton's method and Newton-CG, with a line search."""

from fastopt.solvers.descent cimport Descent
from fastopt.solvers.iteration cimport Method
from fastopt.solvers.second_derivatives cimport Curvature
from fastopt.solvers.symmetric cimport Symmetric
from fastopt.solvers.truncated_cg cimport TruncatedCG


# Where the Hessian of Newton's method is.
cdef enum HessianPlace:
    IN_STATE = 0              # in `matrix`
    IN_OBJECTIVE = 1          # the objective finds the steps: there is no room for a matrix here
    NOT_KNOWN = 2             # there is none yet, either: to be settled before the first iteration


cdef struct Newton:
    Descent descent
    Curvature curvature
    HessianPlace place
    Symmetric matrix          # of Newton's method
    double shift              # IN_OBJECTIVE: the last that a Hessian needed
    TruncatedCG cg            # of Newton-CG
    double* product
    double first_norm         # Euclidean norm of the gradient at x0


cdef Method newton_method() noexcept nogil
cdef Method newton_cg_method() noexcept nogil
cdef void begin_newton(Newton* state, const double* settings) noexcept nogil
