"""A rule with its numbers, ready to be stepped."""

from fastopt.core.rule_step cimport RuleStep


cdef class BoundRule:

    cdef RuleStep rule
    cdef tuple hyperparameters        # their names
    cdef object compiled              # keeps the machine code of the step alive
    cdef object multiplier            # that of the schedule
    cdef object table                 # and what it reads

    cdef double* place(self, str name) except NULL
    cdef int set_schedule(self, schedule) except -1
