"""What the context of a compiled objective holds; `calls.py` reads and writes it from Numba's side.

One context serves one solve at a time: it is written to in every evaluation.
"""


cdef struct Context:
    double value              # at the last point whose value was asked for: differences start there
    double* point             # n: the copy of x that `fun(x, grad)` sees
    const double* abs_step    # n each, of the differences
    const double* rel_step
    const int* stop           # nonzero asks the differences to end
    const void* exception     # what the user's code raised, as Numba hands it on, and its code,
    int code                  # or one of `Complaint`, and what it is about
    Py_ssize_t detail


cdef enum:
    ARGUMENTS = 64            # where the arguments begin, in bytes; `calls.ARGUMENTS`


# Why a wrapper answered REPLY_RAISED where the user's code did not raise.
cdef enum Complaint:
    NO_MEMORY = -1001
    NOT_A_SCALAR = -1002      # detail: the size of what came
    NOT_A_GRADIENT = -1003    # detail: likewise


# Where the arguments of problem i of a batch come from.
cdef struct Slot:
    char* target              # in the context
    const char* source        # in the batch, of problem 0
    Py_ssize_t stride         # from one problem to the next
    Py_ssize_t size           # how much to copy; 0: the target is a pointer, to be set
