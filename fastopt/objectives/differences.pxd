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


# Where a function of one variable is evaluated for its slope: at `first`, and at `second` as well
# with THREE_POINT.
cdef struct Stencil:
    double first
    double second
    bint one_sided       # both lie on the same side of x, so the value there is needed, too


cdef inline double limited(double x, double low, double high) noexcept nogil:
    return low if x < low else high if x > high else x


cdef inline Stencil place_points(Scheme scheme, double x, double step, double low,
                                 double high) noexcept nogil:
    """Points `step` away from x, or where the bounds allow it: as in SciPy, TWO_POINT turns to the
    other side, and THREE_POINT takes both points from the side with more room if x is close to a
    bound.
    """
    cdef Stencil points
    cdef double less, more, size
    points.first = x + step
    points.second = x - step
    points.one_sided = False
    if low <= points.first <= high and (scheme == TWO_POINT or low <= points.second <= high):
        return points
    if scheme == TWO_POINT:
        if low <= points.second <= high:
            points.first = points.second
        else:
            points.first = high if high - x >= x - low else low
        return points
    more = max(x - low, high - x)
    less = min(x - low, high - x)
    size = min(fabs(step), 0.5 * more)
    points.one_sided = size > less
    if not points.one_sided:
        points.first = limited(x + less, low, high)
        points.second = limited(x - less, low, high)
    else:
        if high - x < x - low:
            size = -size
        points.first = limited(x + size, low, high)
        points.second = limited(x + 2 * size, low, high)
    return points


cdef inline double three_point_slope(Stencil points, double x, double value, double first,
                                     double second) noexcept nogil:
    """The slope at x from the values at the points; from one side, that of the parabola."""
    cdef double near, far
    if not points.one_sided:
        return (first - second) / (points.first - points.second)
    far = (second - value) / (points.second - x)
    if points.first == x or points.first == points.second:
        return far           # there is no number between x and the bound
    near = (first - value) / (points.first - x)
    return near + (near - far) * ((points.first - x) / (points.second - points.first))
