"""Minimisers of a quadratic within a ball, from its matrix."""

from fastopt.solvers.symmetric cimport Symmetric


cdef void minimize_exactly(Symmetric* hess, const double* gradient, double radius,
                           double* multiplier, double* step, double* null, double* scratch
                           ) noexcept nogil
cdef double make_definite(Symmetric* hess, const double* gradient, double* newton) noexcept nogil
cdef void walk_dogleg(const Symmetric* hess, double shift, const double* gradient,
                      const double* newton, double radius, double* step, double* scratch
                      ) noexcept nogil
