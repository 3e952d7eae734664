"""Invariants, checked in debug builds (``FASTOPT_DEBUG=1``) and free of cost in others."""

cdef extern from "assert.h" nogil:
    void check "assert" (bint condition)
