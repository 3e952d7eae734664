"""The one loop of all first-order methods."""

from fastopt.core.rule_step cimport RuleStep
from fastopt.solvers.iteration cimport Iteration, Method


# What is kept of the iterates besides the last.
cdef enum Averaging:
    NOT_AVERAGED = 0
    POLYAK = 1                # their mean
    EXPONENTIAL = 2           # a mean that forgets


cdef struct FirstOrder:
    Iteration iteration
    RuleStep rule
    double* slot_vectors      # (slots, n)
    double* average           # NULL: there is none
    Averaging averaging
    double average_decay
    long long average_from    # the first iterates that are left out
    bint stepped              # `trial.x` and the slots are one step ahead of `current`


cdef Method first_order_method() noexcept nogil
cdef void take_pending_step(FirstOrder* state) noexcept nogil
cdef void begin_first_order(FirstOrder* state, const double* settings) noexcept nogil
