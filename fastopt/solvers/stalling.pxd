"""Whether a solve still gets anywhere, and why it does not."""

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY, fabs

from fastopt.core.abi cimport Objective, StatusCode
from fastopt.solvers.iteration cimport Iteration, Point, slope_norm


cdef enum:
    # So many iterations in which neither f nor the gradient shrinks end the solve; fewer where the
    # gradient is made of differences, which cannot be trusted to get anywhere by itself.
    PATIENCE = 20
    PATIENCE_WITH_DIFFERENCES = 5
    # Methods that know nothing but gradients creep: they are given so many times as long.
    CREEPING = 25


cdef struct Marks:
    double first_gradient     # norm of the gradient at x0
    double promised           # what the model at this iterate says is to be gained, twice over
    double least_value        # what an iteration has to beat to count as progress
    double least_gradient
    int idle                  # iterations since one did
    int patience              # how many times as long as others it may go on like that


cdef void begin_marks(Marks* marks) noexcept nogil
cdef StatusCode tell_noise_from_error(const Marks* marks, const Iteration* iteration,
                                      const Objective* objective, double noise) noexcept nogil
cdef StatusCode diagnose(const Marks* marks, const Iteration* iteration,
                         const Objective* objective, double edge) noexcept nogil


# --- steps, in the header so that they become part of a solver's loop -------------------------

cdef inline bint is_lower(double value, double mark) noexcept nogil:
    """By more than rounding errors: 16 ulps."""
    return value < mark - 16 * DBL_EPSILON * fabs(value)


cdef inline bint is_idle(Marks* marks, const Iteration* iteration,
                         const Objective* objective) noexcept nogil:
    """Whether progress has ceased: values drown in rounding, and slopes gain nothing either."""
    return has_stalled(marks, iteration.current.value, iteration, objective)


cdef inline bint has_stalled(Marks* marks, double value, const Iteration* iteration,
                             const Objective* objective) noexcept nogil:
    """The same by another value than that at the current point."""
    cdef double norm
    if is_lower(value, marks.least_value):
        marks.least_value = value
        marks.least_gradient = INFINITY
        marks.idle = 0
        return False
    norm = slope_norm(iteration)
    if norm < 0.5 * marks.least_gradient:
        marks.least_gradient = norm
        marks.idle = 0
        return False
    marks.idle += 1
    return marks.idle >= marks.patience * (PATIENCE if objective.difference_step == 0
                                           else PATIENCE_WITH_DIFFERENCES)


cdef inline bint take_lower_point(Iteration* iteration) noexcept nogil:
    """Where no acceptable step was found: make the best point the trial, if it is lower."""
    cdef Point best = iteration.best
    cdef double value = iteration.current.value
    if not best.value < value - 16 * DBL_EPSILON * fabs(value):
        return False
    iteration.best = iteration.trial
    iteration.best.value = INFINITY
    iteration.trial = best
    return True
