"""Gradient descent with the step lengths of Barzilai and Borwein."""

from fastopt.solvers.iteration cimport Iteration, Method
from fastopt.solvers.stalling cimport Marks


cdef enum:
    WINDOW = 10               # a value need only be below the highest of so many
    RECENT = 7                # so many short steps are remembered


cdef struct BarzilaiBorwein:
    Iteration iteration
    Marks marks
    double step               # what the next step begins with, as a multiple of the gradient
    double[WINDOW] values     # at the last iterates, the newest at `nit % WINDOW`
    double[RECENT] shorts     # the last short steps, without order; inf: there is none
    Py_ssize_t next_short


cdef Method barzilai_borwein_method() noexcept nogil
cdef void begin_barzilai_borwein(BarzilaiBorwein* state) noexcept nogil
