"""The owner of a C objective on the Python side."""


cdef class BoundObjective:
    """A function bound to its arguments, as a C objective; the base of all kinds of objective."""

    cdef int raise_error(self) except -1:
        """Raise what the user's code raised in the evaluation that answered `REPLY_RAISED`."""
        error, self.error = self.error, None
        raise error
