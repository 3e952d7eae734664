"""Minimisers of a quadratic within a ball, from its matrix."""

from fastopt.solvers.symmetric cimport Symmetric


cdef void minimize_exactly(Symmetric* hess, const double* gradient, double radius,
                           double* multiplier, double* step, double* null, double* scratch
                           ) noexcept nogil
cdef void find_newton_step(Symmetric* hess, const double* gradient, double* newton) noexcept nogil
cdef void walk_dogleg(const Symmetric* hess, const double* gradient, const double* newton,
                      double radius, double* step, double* product, double* scratch
                      ) noexcept nogil
cdef double way_to_radius(const double* step, const double* direction, double radius,
                          Py_ssize_t n) noexcept nogil
