"""One step of a first-order rule, with what is done to the gradient before it and to its numbers.

Owns clipping, weight decay and the schedule. Knows nothing of how the rule was compiled, nor of
what it does with its slots.
"""

from libc.math cimport INFINITY, sqrt

from fastopt.core.abi cimport multiplier_fn, rule_step_f32_fn, rule_step_fn
from fastopt.core.vector cimport norm_two, real


cdef enum:
    MOST_HYPERPARAMETERS = 16
    BLOCK = 4096              # numbers of a gradient that are shaped and used at a time


cdef struct RuleStep:
    rule_step_fn step         # one of the two, by the type of the parameters
    rule_step_f32_fn step_f32
    Py_ssize_t slots          # state vectors of the rule
    Py_ssize_t count          # of hyperparameters
    double[MOST_HYPERPARAMETERS] hyperparameters
    bint has_lr               # the first of them is the step length
    # The schedule multiplies those whose bit is set. NULL: there is none.
    multiplier_fn multiplier
    const double* schedule
    long long rows
    unsigned int scheduled
    # In this order the gradient is clipped, by its length and number by number, and decays.
    double clip_norm          # INFINITY: not at all
    double clip_value         # likewise
    double weight_decay
    bint decoupled            # the parameters decay, by lr times `weight_decay`, not the gradient


cdef inline double clip_scale(const RuleStep* rule, const real* grad, Py_ssize_t n) noexcept nogil:
    """By what the whole gradient is multiplied, so that it is no longer than `clip_norm`."""
    cdef double norm
    if rule.clip_norm == INFINITY:
        return 1
    norm = length(grad, n)
    return rule.clip_norm / norm if norm > rule.clip_norm else 1


cdef inline void take_step(const RuleStep* rule, real* x, const real* grad, real* slots,
                           double scale, long long t, Py_ssize_t n,
                           Py_ssize_t stride) noexcept nogil:
    """Step t of n parameters; `scale` is the gradient's, and the slots are `stride` apart."""
    cdef double[MOST_HYPERPARAMETERS] scheduled
    cdef const double* numbers = rule.hyperparameters
    if rule.multiplier != NULL:
        multiply_scheduled(rule, t, scheduled)
        numbers = scheduled
    if scale == 1 and rule.clip_value == INFINITY and rule.weight_decay == 0:
        call_step(rule, x, grad, slots, numbers, t, n, stride)
    else:
        take_shaped_step(rule, x, grad, slots, <real>scale, numbers, t, n, stride)


cdef inline void multiply_scheduled(const RuleStep* rule, long long t,
                                    double* numbers) noexcept nogil:
    cdef double multiplier = rule.multiplier(rule.schedule, rule.rows, t)
    cdef Py_ssize_t k
    for k in range(rule.count):
        numbers[k] = rule.hyperparameters[k]
        if rule.scheduled >> k & 1:
            numbers[k] *= multiplier


cdef inline void call_step(const RuleStep* rule, real* x, const real* grad, real* slots,
                           const double* numbers, long long t, Py_ssize_t n,
                           Py_ssize_t stride) noexcept nogil:
    if real is float:
        rule.step_f32(x, grad, slots, numbers, t, n, stride)
    else:
        rule.step(x, grad, slots, numbers, t, n, stride)


cdef inline void take_shaped_step(const RuleStep* rule, real* x, const real* grad, real* slots,
                                  real scale, const double* numbers, long long t, Py_ssize_t n,
                                  Py_ssize_t stride) noexcept nogil:
    """Block by block, so that the shaped gradient stays in a cache. For each block the rule's
    coefficients are computed again, so blocks are not small."""
    cdef real[BLOCK] shaped
    cdef real limit = <real>rule.clip_value
    cdef real decay = 0 if rule.decoupled else <real>rule.weight_decay
    cdef real shrink = 0
    cdef real value
    cdef Py_ssize_t i, size
    cdef Py_ssize_t start = 0
    if rule.decoupled and rule.has_lr:
        shrink = <real>(rule.weight_decay * numbers[0])
    while start < n:
        size = min(<Py_ssize_t>BLOCK, n - start)
        for i in range(size):
            value = scale * grad[start + i]
            # A NaN is neither, and stays.
            value = limit if value > limit else (-limit if value < -limit else value)
            shaped[i] = value + decay * x[start + i]
        if shrink != 0:
            for i in range(size):
                x[start + i] -= shrink * x[start + i]
        call_step(rule, x + start, <const real*>shaped, slots + start, numbers, t, size, stride)
        start += size


cdef inline double length(const real* a, Py_ssize_t n) noexcept nogil:
    """Euclidean length; the squares are summed in double."""
    if real is double:
        return norm_two(a, n)
    else:
        return sqrt(squares(a, n))


cdef inline double squares(const float* a, Py_ssize_t n) noexcept nogil:
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        s0 += <double>a[i] * a[i]
        s1 += <double>a[i + 1] * a[i + 1]
        s2 += <double>a[i + 2] * a[i + 2]
        s3 += <double>a[i + 3] * a[i + 3]
        i += 4
    while i < n:
        s0 += <double>a[i] * a[i]
        i += 1
    return (s0 + s1) + (s2 + s3)
