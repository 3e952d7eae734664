"""Trust-region methods: one loop over four ways to minimise the model."""

from fastopt.solvers.iteration cimport Iteration, Method
from fastopt.solvers.second_derivatives cimport Curvature
from fastopt.solvers.stalling cimport Marks
from fastopt.solvers.symmetric cimport Symmetric
from fastopt.solvers.truncated_cg cimport TruncatedCG


cdef enum ModelKind:
    EXACT_MODEL = 0           # the Hessian, minimised exactly: Moré & Sorensen
    DOGLEG_MODEL = 1          # the Hessian, along the dogleg
    PRODUCT_MODEL = 2         # Hessian products: Steihaug & Toint
    SR1_MODEL = 3             # an SR1 matrix, likewise


cdef struct TrustRegion:
    Iteration iteration
    Marks marks
    ModelKind kind
    double radius
    double max_radius
    double least_ratio        # of actual to predicted decrease, for a step to be taken
    bint modelled             # the model is that of `current`
    bint begun                # a step has been tried: the radius is no guess any more
    double first_norm         # Euclidean norm of the gradient at x0
    double ceiling            # the least step from here, by its largest element, out of f's domain
    double* step              # n
    double* product           # n: the model's Hessian times the step
    Symmetric matrix
    double multiplier         # EXACT: lambda of the last step, where the next search begins
    double* newton            # n: DOGLEG's way to the minimum; EXACT: scratch
    double* change            # n: SR1's y - B s; scratch
    bint promising            # what the model promises has been noted, before its radius shrinks
    bint scaled               # SR1: B is no longer the first guess
    bint renewed              # SR1: B has been given up at this iterate
    Curvature curvature
    TruncatedCG cg


cdef Method trust_region_method(ModelKind kind) noexcept nogil
cdef void begin_trust_region(TrustRegion* state, ModelKind kind,
                             const double* settings) noexcept nogil
