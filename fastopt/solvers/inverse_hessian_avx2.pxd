"""`inverse_hessian` for processors with AVX2."""

from fastopt.solvers.inverse_hessian cimport InverseHessian

cdef bint learn(InverseHessian* memory, double curvature, double squares, double length, bint along,
                const double* gradient, double* direction) noexcept nogil
cdef void point_downhill(InverseHessian* memory, const double* gradient,
                         double* direction) noexcept nogil
