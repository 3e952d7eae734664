"""The conjugate gradient iteration on a quadratic model, within a radius."""

from fastopt.core.abi cimport Objective


# The product of the model's Hessian with a vector; answers a `Reply`.
ctypedef int (*product_fn)(void* state, const Objective* objective, const double* vector,
                           double* product) noexcept nogil


cdef struct TruncatedCG:
    double* residual          # n each: scratch
    double* conjugate
    double* image
    double tolerance          # of the residual's Euclidean norm
    bint bounded              # the last step has gone to the radius
    bint broken               # its last product was not finite


cdef enum:
    TRUNCATED_CG_VECTORS = 3


cdef double* lay_out_truncated_cg(TruncatedCG* cg, Py_ssize_t n, double* vectors) noexcept nogil
cdef int minimize_model(TruncatedCG* cg, product_fn multiply, void* state,
                        const Objective* objective, const double* gradient, Py_ssize_t n,
                        double radius, double* step, double* product) noexcept nogil
