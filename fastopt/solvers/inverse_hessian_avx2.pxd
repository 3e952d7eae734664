"""`inverse_hessian` for processors with AVX2."""

from fastopt.solvers.inverse_hessian cimport InverseHessian

cdef double learn(InverseHessian* memory, double curvature, double length, double change,
                  bint along, const double* gradient, double* direction) noexcept nogil
cdef double point_downhill(InverseHessian* memory, const double* gradient,
                           double* direction) noexcept nogil
