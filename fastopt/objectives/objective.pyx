"""The owner of a C objective on the Python side."""


from fastopt.core.flag cimport set_flag


cdef class BoundObjective:
    """A function bound to its arguments, as a C objective; the base of all kinds of objective."""

    def stop(self, bint stop=True):
        """Have the solve that runs, in another thread, end at its next evaluation.

        With False, take that back, so that it can go on.
        """
        set_flag(&self.objective.stop, stop)

    cdef void select(self, Py_ssize_t i) noexcept nogil:
        """Turn to problem i, where this is the objective of a batch."""

    cdef int raise_error(self) except -1:
        """Raise what the user's code raised in the evaluation that answered `REPLY_RAISED`."""
        error, self.error = self.error, None
        raise error
