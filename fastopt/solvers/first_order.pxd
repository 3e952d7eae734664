"""The one loop of all first-order methods."""

from fastopt.core.abi cimport rule_step_fn
from fastopt.solvers.iteration cimport Iteration, Method
from fastopt.solvers.settings cimport MOST_HYPERPARAMETERS


cdef struct FirstOrder:
    Iteration iteration
    rule_step_fn step
    Py_ssize_t slots          # state vectors of the rule
    double[MOST_HYPERPARAMETERS] hyperparameters
    double* slot_vectors      # (slots, n)
    bint stepped              # `trial.x` and the slots are one step ahead of `current`


cdef Method first_order_method() noexcept nogil
