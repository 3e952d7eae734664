"""What a line search sees: a function of one variable, and the constants of its tests."""


cdef struct Sample:
    double step
    double value
    double slope
    bint finite       # point, value and gradient all are; otherwise value and slope mean nothing


# Evaluates at `step`; answers a `Reply`.
ctypedef int (*line_fn)(double step, Sample* sample, void* line) noexcept nogil


cdef enum SearchKind:
    HAGER_ZHANG = 0
    MORE_THUENTE = 1


cdef struct SearchSettings:
    SearchKind kind
    double c1                     # sufficient decrease (Armijo)
    double c2                     # curvature (Wolfe)
    double max_step
    double resolution             # values closer than this, relative to |f|, cannot be ranked
    Py_ssize_t max_evaluations


cdef enum Outcome:
    OPEN = 0                      # still searching
    ACCEPTED = 1                  # the last sample satisfies the conditions
    NO_STEP = 2                   # evaluations, or the resolution of a double, used up
    BOTTOMLESS = 3                # the value left the range of a double downwards
    SEARCH_RAISED = 4
    SEARCH_STOPPED = 5


cdef struct Search:
    Sample start
    Sample last                   # the newest evaluation; the accepted one if there is one
    Py_ssize_t evaluations
    Py_ssize_t not_finite         # how many of them were not finite
    double ceiling                # the smallest such step; inf if there was none


cdef Outcome search_line(line_fn line, void* context, const SearchSettings* settings,
                         double first_step, Search* search) noexcept nogil
