"""Whether a gradient by complex steps is that of the function, as plain C over an objective.

A function that takes a real part, a magnitude or a conjugate somewhere loses the imaginary step
there, and its gradient by complex steps is wrong without a word. So the gradient at x0 is compared,
along one direction, with central differences, which know nothing of complex numbers.

Differences err, too: by curvature where the step is long, by rounding where it is short, and at a
kink. Hence a disagreement alone proves nothing; what does is one in proportion to the step. An
error of rounding stays what it is while the step shrinks, one of curvature falls much faster, and
at a kink the two one-sided slopes differ by as much.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport fabs

from fastopt.core.abi cimport REPLY_DONE, REPLY_STOP, Objective
from fastopt.core.flag cimport is_set
from fastopt.objectives.differences cimport limited


cdef enum:
    STEPS = 6                  # at most: 2^-17, 2^-23, ... 2^-47, relative to x
    SHRINK = 64
    SEED = 20014               # the signs of the direction change from its beginning


cdef extern from *:
    """
    #define FASTOPT_LONGEST (1.0 / 512)
    """
    const double LONGEST "FASTOPT_LONGEST"     # of the steps that are taken


# A central difference, and what it should have been.
cdef struct Difference:
    double found               # f(x + step d) - f(x - step d)
    double miss                # that, without what the gradient promises
    double bend                # f(x + step d) + f(x - step d) - 2 f(x), its magnitude
    double noise               # rounding errors of f
    double tolerance           # what a right gradient misses by, as a rule, besides noise


cdef inline bint is_short(double step) noexcept nogil:
    """Whether complex steps of this length can be checked: longer ones err by curvature, too."""
    return step <= 1.5e-8


cdef inline int check_complex_step(const Objective* objective, const double* x, double value,
                                   const double* gradient, double* point, Py_ssize_t n,
                                   long long* calls, bint* wrong) noexcept nogil:
    """Whether the gradient at x is wrong, by two evaluations, or more where these raise a doubt.

    They are counted in `calls`; `point` is scratch for n numbers. Where differences cannot tell,
    the gradient is not wrong.
    """
    cdef Difference difference
    cdef double step = 1.0 / 131072
    cdef double longer = LONGEST
    cdef double rate = 0
    cdef double least = 0
    cdef double latest
    cdef int k, reply
    wrong[0] = False
    for k in range(STEPS):
        reply = take(objective, x, value, gradient, step, point, n, calls, &difference)
        if reply != REPLY_DONE:
            return reply
        if not fabs(difference.miss) > difference.tolerance + difference.noise:
            wrong[0] = False
            return reply
        latest = difference.miss / step
        if difference.found == 0 or k > 0 and fabs(latest) > 1.25 * fabs(rate):
            break              # from here on there is only rounding
        if k == 0:
            # A right gradient is inexact by rounding and, as differences are, by curvature.
            least = 0.001 * fabs(latest) + 0.1 * difference.bend / step
        wrong[0] = (k > 0 and fabs(latest - rate) <= 0.25 * fabs(rate) and fabs(latest) > least
                    and fabs(difference.miss) > 2 * difference.bend)
        rate = latest
        if fabs(difference.miss) <= difference.tolerance + 2 * SHRINK * difference.noise:
            break              # a shorter step shows nothing
        step /= SHRINK
    if not wrong[0]:
        return REPLY_DONE
    # Or a part of f has been rounded away all along; over a longer step it is seen.
    reply = take(objective, x, value, gradient, longer, point, n, calls, &difference)
    wrong[0] = not fabs(difference.miss / longer) < 0.5 * fabs(rate)
    return reply


cdef inline int take(const Objective* objective, const double* x, double value,
                     const double* gradient, double step, double* point, Py_ssize_t n,
                     long long* calls, Difference* difference) noexcept nogil:
    cdef double ahead = 0
    cdef double behind = 0
    cdef int reply = evaluate_at(objective, x, step, point, n, calls, &ahead)
    if reply == REPLY_DONE:
        reply = evaluate_at(objective, x, -step, point, n, calls, &behind)
    difference.found = ahead - behind
    difference.bend = fabs((ahead - value) + (behind - value))
    difference.noise = 8 * DBL_EPSILON * max(fabs(value), max(fabs(ahead), fabs(behind)))
    compare(objective, x, gradient, step, n, difference)
    return reply


cdef inline int evaluate_at(const Objective* objective, const double* x, double step,
                            double* point, Py_ssize_t n, long long* calls,
                            double* value) noexcept nogil:
    """The value at `step` along the direction."""
    cdef long long state = SEED
    cdef Py_ssize_t i
    if is_set(&objective.stop):
        return REPLY_STOP
    for i in range(n):
        point[i] = x[i] + move_of(objective, x, i, step, &state)
        if objective.low != NULL:
            point[i] = limited(point[i], objective.low[i], objective.high[i])
    calls[0] += 1
    return objective.value_grad(point, value, NULL, n, objective.context)


cdef inline void compare(const Objective* objective, const double* x, const double* gradient,
                         double step, Py_ssize_t n, Difference* difference) noexcept nogil:
    """What the gradient promises of a difference. The points are rounded: it is over the distance
    between them, and not over twice the step."""
    cdef long long state = SEED
    cdef double promised = 0
    cdef double magnitudes = 0
    cdef double move, part
    cdef Py_ssize_t i
    for i in range(n):
        move = move_of(objective, x, i, step, &state)
        part = gradient[i] * ((x[i] + move) - (x[i] - move))
        promised += part
        magnitudes += fabs(part)
    difference.miss = difference.found - promised
    difference.tolerance = 1e-6 * (magnitudes + difference.bend)


cdef inline double move_of(const Objective* objective, const double* x, Py_ssize_t i, double step,
                           long long* state) noexcept nogil:
    """How far variable i moves over a step; not the longest of them leads out of the bounds."""
    cdef double direction = component(x[i], state)
    cdef double room
    if objective.low != NULL:
        room = 0.99 * min(x[i] - objective.low[i], objective.high[i] - x[i]) / LONGEST
        if fabs(direction) > room:
            direction = room if direction > 0 else -room
    return step * direction


cdef inline double component(double x, long long* state) noexcept nogil:
    """The direction's next component: between 1/2 and 1 times the size of x, of either sign.

    From the generator of Park and Miller (Comm. ACM 31, 1988, 1192-1201): irregular, so that
    errors do not cancel, and the same at every call.
    """
    cdef double uniform
    state[0] = state[0] * 16807 % 2147483647
    uniform = state[0] / 2147483647.0
    return (uniform if uniform >= 0.5 else uniform - 1) * (fabs(x) if x != 0 else 1.0)
