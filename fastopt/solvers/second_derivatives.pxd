"""Hessians and their products, wherever they come from."""

from fastopt.core.abi cimport Objective
from fastopt.solvers.iteration cimport Iteration


# What products with the Hessian at one point need.
cdef struct Curvature:
    bint counted              # the evaluation that all products at this point come from
    double* point             # n each: scratch of differences
    double* gradient


cdef int evaluate_hessian(Iteration* state, const Objective* objective, Curvature* curvature,
                          double* hess) noexcept nogil
cdef int multiply_hessian(Iteration* state, const Objective* objective, Curvature* curvature,
                          const double* vector, double* product) noexcept nogil
