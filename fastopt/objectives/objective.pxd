"""The owner of a C objective on the Python side."""

from fastopt.core.abi cimport Objective


cdef class BoundObjective:
    """Keeps alive what `objective.context` points to, and the exception that it met."""

    cdef Objective objective
    cdef object error
    cdef object preconditioner     # what `objective.preconditioner` points to, or is
    cdef object bounds             # what `objective.low` and `objective.high` point into

    cdef int set_preconditioner(self, given) except -1
    cdef int set_bounds(self, given) except -1
    cdef Py_ssize_t count_free(self, Py_ssize_t n)
    cdef void select(self, Py_ssize_t i) noexcept nogil
    cdef int look_at_hessian(self, const double* x, bint* sparse) except -1
    cdef void look_away(self)
    cdef int raise_error(self) except -1
