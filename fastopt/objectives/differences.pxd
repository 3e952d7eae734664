"""Steps of finite differences, as plain C over one vector (no Python, no objective)."""

from libc.math cimport fabs


cdef enum Scheme:
    EXACT = 0            # the user's own derivative
    TWO_POINT = 1        # (f(x + h) - f(x)) / h
    THREE_POINT = 2      # (f(x + h) - f(x - h)) / 2h
    COMPLEX_STEP = 3     # Im f(x + ih) / h


cdef inline double default_step(Scheme scheme, bint jitted=False) noexcept nogil:
    """The relative step that balances truncation against rounding: eps^(1/2) and eps^(1/3).

    A complex step subtracts nothing, so it can be as small as one likes; but Numba raises complex
    numbers to powers by way of logarithms, where an imaginary part of 1e-20 drowns in rounding
    errors of 1e-16. There it is SciPy's, whose square is lost beside 1.
    """
    if scheme == THREE_POINT:
        return 6.055454452393343e-06
    if scheme == TWO_POINT or jitted:
        return 1.4901161193847656e-08
    return 1e-20


cdef inline double difference_step(Scheme scheme, double x, double relative, double absolute,
                                   double default) noexcept nogil:
    """The step at `x`: `absolute`, else `relative` |x|, each where it is not 0; else `default`
    max(1, |x|).

    Signed away from zero. `x + step` is rounded: divide by the distance that came of it.
    """
    cdef double sign = 1.0 if x >= 0 else -1.0
    cdef double step = 0
    if absolute != 0:
        step = absolute
    elif relative != 0:
        step = relative * sign * fabs(x)
    if scheme == COMPLEX_STEP:
        return step if step != 0 else default * max(1.0, fabs(x))
    if (x + step) - x == 0:
        step = default * sign * max(1.0, fabs(x))
    return step
