"""Whether a solve still gets anywhere, and why it does not.

Owns the marks by which progress is measured, and the diagnosis where there is none. Knows nothing
of directions, searches and trust regions.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY, fabs

from fastopt.core.abi cimport (
    DOMAIN_EDGE, GRADIENT_MISMATCH, NOISY_DIFFERENCES, ROUNDOFF, Objective, StatusCode,
)
from fastopt.core.vector cimport norm_max
from fastopt.solvers.box cimport projected
from fastopt.solvers.iteration cimport Iteration, Point, slope_norm
from fastopt.solvers.penalty cimport subgradient

# A gradient that has shrunk to this share of the first one is nothing but rounding errors,
cdef double VANISHED = 1e-12
# and to this share it counts as small,
cdef double FALLEN = 1e-4
# and so does one that cannot change f by more than this share of it.
cdef double SLIGHT = 1e-6
# What is left to gain counts as rounding errors below this, relative to |f|.
cdef double NOISE = 100 * DBL_EPSILON
# So does, with differences, a gradient of so many rounding errors of f divided by their step.
cdef double DIFFERENCE_NOISE = 10
# So near, relative to |x|, a point where f is not finite is where the domain ends.
cdef double EDGE = 1e-8


cdef void begin_marks(Marks* marks) noexcept nogil:
    marks.least_value = INFINITY
    marks.least_gradient = INFINITY
    marks.idle = 0
    marks.patience = 1


cdef StatusCode diagnose(const Marks* marks, const Iteration* iteration,
                         const Objective* objective, double edge) noexcept nogil:
    """Why there is no way down from here, not even along the gradient.

    `edge` is how far away, by the largest element, the nearest point was where f is not finite.
    """
    if edge <= EDGE * max(1.0, norm_max(iteration.current.x, iteration.n)):
        return DOMAIN_EDGE
    return tell_noise_from_error(marks, iteration, objective, NOISE)


cdef StatusCode tell_noise_from_error(const Marks* marks, const Iteration* iteration,
                                      const Objective* objective, double noise) noexcept nogil:
    """Where nothing more is gained: whether there is nothing to gain, or the gradient is wrong.

    What the model promises is not enough to go by, for beside a kink its curvature has grown
    without bound: the gradient has to be small, too, against what it was or against f.
    """
    cdef const Point* current = &iteration.current
    cdef double norm = slope_norm(iteration)
    if objective.difference_step > 0:
        if is_rounding_error(iteration, objective):
            return ROUNDOFF
        return NOISY_DIFFERENCES
    if norm <= VANISHED * marks.first_gradient:
        return ROUNDOFF
    if marks.promised <= noise * fabs(current.value) and (
            norm <= FALLEN * marks.first_gradient
            or norm * max(1.0, norm_max(current.x, iteration.n)) <= SLIGHT * fabs(current.value)):
        return ROUNDOFF
    return GRADIENT_MISMATCH


cdef bint is_rounding_error(const Iteration* iteration, const Objective* objective) noexcept nogil:
    """Whether a gradient made of differences is nothing but the rounding errors of f."""
    cdef const Point* point = &iteration.current
    cdef double rounding = DBL_EPSILON * fabs(point.value) / objective.difference_step
    cdef double error = DIFFERENCE_NOISE * rounding
    cdef double slope
    cdef Py_ssize_t i
    for i in range(iteration.n):
        slope = point.gradient[i]
        if iteration.low != NULL:
            slope = projected(point.x[i], slope, iteration.low[i], iteration.high[i])
        if iteration.l1 != NULL:
            slope = subgradient(point.x[i], slope, iteration.l1[i])
        if not fabs(slope) * max(1.0, fabs(point.x[i])) <= error:
            return False
    return True
