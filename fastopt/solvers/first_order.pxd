"""The one loop of all first-order methods."""

from fastopt.core.rule_step cimport RuleStep
from fastopt.solvers.iteration cimport Iteration, Method


cdef struct FirstOrder:
    Iteration iteration
    RuleStep rule
    double* slot_vectors      # (slots, n)
    bint stepped              # `trial.x` and the slots are one step ahead of `current`


cdef Method first_order_method() noexcept nogil
cdef void begin_first_order(FirstOrder* state, const double* settings) noexcept nogil
