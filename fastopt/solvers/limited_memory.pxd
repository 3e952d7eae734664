"""The inverse Hessian as the last m pairs (s, y), and what is made of them."""

from fastopt.core.vector cimport Products
from fastopt.solvers.inverse_hessian cimport InverseHessian
from fastopt.solvers.iteration cimport Point

cdef Py_ssize_t most_pairs(Py_ssize_t n) noexcept nogil
cdef Py_ssize_t pairs_size(const InverseHessian* memory) noexcept nogil
cdef void lay_out_pairs(InverseHessian* memory, double* vectors) noexcept nogil
cdef void form_pair(InverseHessian* memory, const Point* before, const Point* after,
                    Products* products) noexcept nogil
cdef double learn(InverseHessian* memory, double curvature, double length, double change,
                  const double* gradient, double* direction) noexcept nogil
cdef double point_downhill(InverseHessian* memory, const double* gradient,
                           double* direction) noexcept nogil
cdef void recall(InverseHessian* memory) noexcept nogil
cdef void put_in_order(InverseHessian* memory) noexcept nogil
