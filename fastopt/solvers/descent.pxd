"""What line-search methods share: the loop of search, recovery and diagnosis."""

from fastopt.core.abi cimport Objective, StatusCode
from fastopt.solvers.iteration cimport Iteration
from fastopt.solvers.line_search cimport SearchSettings
from fastopt.solvers.stalling cimport Marks


# What the state of every such method begins with.
cdef struct Descent:
    Iteration iteration
    SearchSettings search
    Marks marks
    double* direction
    double slope              # of f along the direction
    double first_step         # what the next search tries first
    bint steepest             # the direction is -scale g: nothing is known but the gradient
    double scale
    bint aimed                # a method that aims: it has, at `current`


# How a method finds its directions.
cdef struct Engine:
    # Before a search: leave the direction from `current` in `direction` and the step to try first
    # in `first_step`. It may evaluate derivatives. NULL: `follow` has done so already.
    StatusCode (*aim)(Descent* state, const Objective* objective) noexcept nogil
    # A search has led to `trial`: make it the current point, learn from the step, and, without
    # `aim`, leave the direction from there; `along` says that it lies along `direction`. What it
    # answers is the new slope; one that is not negative means the gradient's direction.
    double (*follow)(Descent* state, bint along) noexcept nogil
    # There is no model that says what is to be gained; what the last step gained stands in.
    bint blind
    # What was learnt has led nowhere; the direction will be -scale g. NULL: there is nothing.
    void (*forget)(Descent* state) noexcept nogil


cdef void begin_descent(Descent* state, const double* settings) noexcept nogil
cdef void limit_step(Descent* state) noexcept nogil
cdef void set_out(Descent* state, const Engine* engine, const Objective* objective,
                  double slope) noexcept nogil
cdef StatusCode descend(Descent* state, const Engine* engine,
                        const Objective* objective) noexcept nogil
