"""What every solver's state begins with, and the steps that all of them share.

A state is one struct and one block of doubles for its vectors. Between iterations it is complete:
it can be left, copied, pickled and gone on with.
"""

from fastopt.core.abi cimport Objective, StatusCode


cdef struct Point:
    double value
    double* x
    double* gradient


cdef struct Limits:
    double gtol
    double norm               # the order of the norm that `gtol` bounds
    double ftol
    double xtol
    double stopval
    long long maxiter
    long long maxfev


cdef struct Iteration:
    Py_ssize_t n
    StatusCode status
    bint started              # value and gradient at x0 are known
    long long nit
    long long nfev
    long long njev
    Point current             # the last accepted iterate
    Point trial               # scratch, between iterations
    Point best                # the lowest point seen besides `current`; value inf if there is none
    double decrease           # f(previous) - f(current)
    double previous_value
    double step               # length of the last step
    Limits limits


# A solver, as the loop sees it. `state` begins with an `Iteration`.
cdef struct Method:
    size_t state_size
    Py_ssize_t (*count_doubles)(const void* state) noexcept nogil
    void (*lay_out)(void* state, double* vectors) noexcept nogil
    double (*work)(const void* state) noexcept nogil      # operations of its own an iteration
    # Once, when x0 has been evaluated.
    void (*prepare)(void* state, const Objective* objective) noexcept nogil
    StatusCode (*iterate)(void* state, const Objective* objective) noexcept nogil


cdef enum:
    SHARED_VECTORS = 6        # x and gradient of `current`, `trial` and `best`


cdef void begin(Iteration* state, Py_ssize_t n) noexcept nogil
cdef StatusCode advance(const Method* method, void* state, const Objective* objective,
                        long long k) noexcept nogil
cdef const Point* answer(const Iteration* state) noexcept nogil
cdef double* lay_out_points(Iteration* state, double* vectors) noexcept nogil
cdef int evaluate(Iteration* state, const Objective* objective, Point* point) noexcept nogil
cdef StatusCode status_of_reply(const Iteration* state, int reply) noexcept nogil
cdef void accept_trial(Iteration* state, double step) noexcept nogil
cdef void keep_if_best(Iteration* state) noexcept nogil
