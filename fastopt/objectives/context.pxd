"""What the context of a compiled objective holds; `calls.py` reads and writes it from Numba's side.

One context serves one solve at a time: it is written to in every evaluation.
"""

from libc.string cimport memcmp, memcpy

from fastopt.core.abi cimport REPLY_DONE, hess_fn
from fastopt.core.vector cimport multiply_lower


cdef struct Context:
    double value              # at the last point whose value was asked for: differences start there
    double* point             # n: the copy of x that `fun(x, grad)` sees
    const double* abs_step    # n each, of the differences
    const double* rel_step
    const int* stop           # nonzero asks the differences to end
    const void* exception     # what the user's code raised, as Numba hands it on, and its code,
    int code                  # or one of `Complaint`, and what it is about
    Py_ssize_t detail
    hess_fn hess              # where products come from, if not from a function of their own:
    double* matrix            # (n, n): the Hessian
    double* place             # n: at this point,
    Py_ssize_t held           # if it has been evaluated at all
    const double* low         # n each: bounds that no difference may leave; NULL: there are none
    const double* high


cdef enum:
    ARGUMENTS = 112           # where the arguments begin, in bytes; `calls.ARGUMENTS`


# Why a wrapper answered REPLY_RAISED where the user's code did not raise.
cdef enum Complaint:
    NO_MEMORY = -1001
    NOT_A_SCALAR = -1002      # detail: the size of what came
    NOT_A_GRADIENT = -1003    # detail: likewise
    NOT_A_HESSIAN = -1004     # detail: the number of rows of what came
    NOT_A_PRODUCT = -1005     # detail: the size


# Where the arguments of problem i of a batch come from.
cdef struct Slot:
    char* target              # in the context
    const char* source        # in the batch, of problem 0
    Py_ssize_t stride         # from one problem to the next
    Py_ssize_t size           # how much to copy; 0: the target is a pointer, to be set


cdef inline int multiply_held(const double* x, const double* p, double* product, Py_ssize_t n,
                              void* address) noexcept nogil:
    """The `hessp_fn` of a function that gives the Hessian alone: evaluated once at a point."""
    cdef Context* context = <Context*>address
    cdef int reply
    if not context.held or memcmp(x, context.place, n * sizeof(double)) != 0:
        context.held = False
        reply = context.hess(x, context.matrix, n, context)
        if reply != REPLY_DONE:
            return reply
        memcpy(context.place, x, n * sizeof(double))
        context.held = True
    multiply_lower(context.matrix, p, product, n)
    return REPLY_DONE
