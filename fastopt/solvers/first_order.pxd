"""The one loop of all first-order methods."""

from fastopt.core.abi cimport rule_step_fn
from fastopt.solvers.iteration cimport Iteration, Method


cdef enum:
    MOST_HYPERPARAMETERS = 16


cdef struct FirstOrder:
    Iteration iteration
    rule_step_fn step
    Py_ssize_t slots          # state vectors of the rule
    double[MOST_HYPERPARAMETERS] hyperparameters
    double* slot_vectors      # (slots, n)
    bint stepped              # `trial.x` and the slots are one step ahead of `current`


cdef Method first_order_method() noexcept nogil
