"""Machine code as a C objective, and the arguments that it reads."""

from fastopt.objectives.context cimport Context, Slot
from fastopt.objectives.objective cimport BoundObjective


# Gives up the arguments at an address, where they are counted.
ctypedef void (*release_fn)(char* arguments) noexcept nogil


cdef class CompiledObjective(BoundObjective):

    cdef Context* context
    cdef Slot* slots           # where the batched arguments go; NULL: they are those of one problem
    cdef Py_ssize_t slot_count
    cdef readonly object wrapper   # keeps the machine code alive,
    cdef tuple args            # what the arguments point to,
    cdef object keep           # the steps of differences, or the scratch vector,
    cdef object matrix         # and the Hessian that products come from
    cdef release_fn release    # NULL where arguments are not counted
    cdef readonly Py_ssize_t n

    cdef int set_steps(self, scheme, abs_step, rel_step) except -1
    cdef int hold_hessian(self) except -1
    cdef int pack(self, layout, tuple batched) except -1
