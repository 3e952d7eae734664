"""Invariants, checked in debug builds (``FASTOPT_DEBUG=1``) and free of cost in others."""

cdef extern from "assert.h" nogil:
    void check "assert" (bint condition)

cdef extern from *:
    """
    #ifdef NDEBUG
    #define FASTOPT_CHECKED 0
    #else
    #define FASTOPT_CHECKED 1
    #endif
    """
    const bint CHECKED "FASTOPT_CHECKED"
