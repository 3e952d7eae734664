"""Steps of finite differences, as plain C over one vector (no Python, no objective)."""

from libc.math cimport fabs


cdef enum Scheme:
    EXACT = 0            # the user's own derivative
    TWO_POINT = 1        # (f(x + h) - f(x)) / h
    THREE_POINT = 2      # (f(x + h) - f(x - h)) / 2h
    COMPLEX_STEP = 3     # Im f(x + ih) / h


cdef inline double default_step(Scheme scheme) noexcept nogil:
    """The relative step that balances truncation against rounding: eps^(1/2) and eps^(1/3).

    A complex step subtracts nothing, so it can be as small as one likes.
    """
    if scheme == TWO_POINT:
        return 1.4901161193847656e-08
    if scheme == THREE_POINT:
        return 6.055454452393343e-06
    return 1e-20


cdef inline double difference_step(Scheme scheme, double x, double relative,
                                   double absolute) noexcept nogil:
    """The step at `x`: `absolute`, else `relative` |x|, each where it is not 0; else the default.

    Signed away from zero. `x + step` is rounded: divide by the distance that came of it.
    """
    cdef double sign = 1.0 if x >= 0 else -1.0
    cdef double step = 0
    if absolute != 0:
        step = absolute
    elif relative != 0:
        step = relative * sign * fabs(x)
    if scheme == COMPLEX_STEP:
        return step if step != 0 else default_step(scheme) * max(1.0, fabs(x))
    if (x + step) - x == 0:
        step = default_step(scheme) * sign * max(1.0, fabs(x))
    return step
