"""`limited_memory` for processors with AVX2."""

from fastopt.core.vector cimport Products
from fastopt.solvers.inverse_hessian cimport InverseHessian
from fastopt.solvers.iteration cimport Point

cdef void form_pair(InverseHessian* memory, const Point* before, const Point* after,
                    Products* products) noexcept nogil
cdef double learn(InverseHessian* memory, double curvature, double length, double change,
                  const double* gradient, double* direction) noexcept nogil
cdef double point_downhill(InverseHessian* memory, const double* gradient,
                           double* direction) noexcept nogil
