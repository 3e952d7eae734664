"""Accelerated gradient descent, with or without an l1 term."""

from fastopt.solvers.iteration cimport Iteration, Method, Point
from fastopt.solvers.stalling cimport Marks


cdef struct Accelerated:
    Iteration iteration
    Marks marks
    Point ahead               # y, where the next step begins; its value is without the l1 term
    double* motion            # n: the last step
    double momentum           # t: how far the next step looks ahead; 0: it does not
    double lipschitz          # L of the last step
    double guess              # what the next one tries first
    bint penalised            # there is an l1 term
    double weight             # of all variables; NaN where each has its own
    double* weights           # n, if there is a term


cdef Method accelerated_method() noexcept nogil
cdef void begin_accelerated(Accelerated* state, const double* settings) noexcept nogil
cdef void copy_weights(Accelerated* state, const double* weights) noexcept nogil
