"""What wrappers do: a body for each form in which a gradient can come.

A body gets C pointers, calls the user's function on a fresh array and copies what it returns. It
must not raise: an exception in a C function would be printed and dropped, and the solver would see
whatever the memory held. `calls.guarded` sees to that. Importing this module imports Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable

from fastopt.objectives.calls import (
    NO_MEMORY,
    NOT_A_GRADIENT,
    NOT_A_HESSIAN,
    NOT_A_PRODUCT,
    NOT_A_SCALAR,
    POINTER,
    abs_step_of,
    as_number,
    complain,
    element,
    empty_vector,
    given,
    guarded,
    high_of,
    imaginary_part,
    load_arguments,
    low_of,
    point_of,
    rel_step_of,
    stopped,
    value_of,
    view,
)

__all__ = ["HESSP_SIGNATURE", "HESS_SIGNATURE", "SIGNATURE", "body_of", "hess_body", "hessp_body"]

# `value_grad_fn`, `hess_fn` and `hessp_fn` in core/abi.pxd.
SIGNATURE = types.int32(POINTER, POINTER, POINTER, types.intp, types.voidptr)
HESS_SIGNATURE = types.int32(POINTER, POINTER, types.intp, types.voidptr)
HESSP_SIGNATURE = types.int32(POINTER, POINTER, POINTER, types.intp, types.voidptr)

_DONE, _RAISED, _STOP = 0, 1, 2  # `Reply` in core/abi.pxd


@register_jitable
def _copy_of(x, n, context):
    """A fresh array for the user's function, which is its to write to and to keep."""
    point = empty_vector(n, 0.0)
    for i in range(point.size):
        point[i] = x[i]
    if point.size != n:
        complain(context, NO_MEMORY, n)
    return point


@register_jitable
def _complex_copy_of(x, n, context):
    point = empty_vector(n, 0j)
    for i in range(point.size):
        point[i] = x[i]
    if point.size != n:
        complain(context, NO_MEMORY, n)
    return point


@register_jitable
def _put_value(found, value, context):
    size, number = as_number(found)
    if size != 1:
        complain(context, NOT_A_SCALAR, size)
        return False
    value[0] = number
    return True


@register_jitable
def _put_gradient(found, grad, n, context):
    if found.size != n:
        complain(context, NOT_A_GRADIENT, found.size)
        return False
    for i in range(n):
        grad[i] = found[i]
    return True


def _joint(fun: Any, jac: Any, arguments: Any) -> Callable[..., Any]:
    def value_grad(x, value, grad, n, context):
        args = load_arguments(context, arguments)
        point = _copy_of(x, n, context)
        if point.size != n:
            return _RAISED
        raised, found = guarded(fun, (point,), args, context)
        if raised:
            return _RAISED
        if given(value) and not _put_value(found[0], value, context):
            return _RAISED
        if given(grad) and not _put_gradient(found[1], grad, n, context):
            return _RAISED
        return _DONE

    return value_grad


def _inplace(fun: Any, jac: Any, arguments: Any) -> Callable[..., Any]:
    def value_grad(x, value, grad, n, context):
        args = load_arguments(context, arguments)
        point = view(point_of(context), n)
        for i in range(n):
            point[i] = x[i]
        filled = view(grad, n if given(grad) else 0)
        for i in range(filled.size):
            filled[i] = np.nan
        raised, found = guarded(fun, (point, filled), args, context)
        if raised or (given(value) and not _put_value(found, value, context)):
            return _RAISED
        return _DONE

    return value_grad


def _inplace_owned(fun: Any, jac: Any, arguments: Any) -> Callable[..., Any]:
    """As `_inplace`, with fresh arrays that have owners."""

    def value_grad(x, value, grad, n, context):
        args = load_arguments(context, arguments)
        point = _copy_of(x, n, context)
        filled = empty_vector(n if given(grad) else 0, 0.0)
        if point.size != n or (given(grad) and filled.size != n):
            complain(context, NO_MEMORY, n)
            return _RAISED
        for i in range(filled.size):
            filled[i] = np.nan
        raised, found = guarded(fun, (point, filled), args, context)
        if raised or (given(value) and not _put_value(found, value, context)):
            return _RAISED
        for i in range(filled.size):
            grad[i] = filled[i]
        return _DONE

    return value_grad


def _separate(fun: Any, jac: Any, arguments: Any) -> Callable[..., Any]:
    def value_grad(x, value, grad, n, context):
        args = load_arguments(context, arguments)
        if given(value):
            point = _copy_of(x, n, context)
            if point.size != n:
                return _RAISED
            raised, found = guarded(fun, (point,), args, context)
            if raised or not _put_value(found, value, context):
                return _RAISED
        if given(grad):
            point = _copy_of(x, n, context)
            if point.size != n:
                return _RAISED
            raised, slopes = guarded(jac, (point,), args, context)
            if raised or not _put_gradient(slopes, grad, n, context):
                return _RAISED
        return _DONE

    return value_grad


@register_jitable
def _sign(x):
    return 1.0 if x >= 0.0 else -1.0


@register_jitable
def _difference_step(i, x, default, context):
    """`difference_step` of differences.pxd, to the bit."""
    absolute, relative = abs_step_of(context), rel_step_of(context)
    step = 0.0
    if given(absolute) and absolute[i] != 0.0:
        step = absolute[i]
    elif given(relative) and relative[i] != 0.0:
        step = relative[i] * _sign(x) * abs(x)
    if (x + step) - x == 0.0:
        step = default * _sign(x) * max(1.0, abs(x))
    return step


@register_jitable
def _imaginary_step(i, x, default, context):
    """As `_difference_step`: a complex step is never lost beside x."""
    absolute, relative = abs_step_of(context), rel_step_of(context)
    step = 0.0
    if given(absolute) and absolute[i] != 0.0:
        step = absolute[i]
    elif given(relative) and relative[i] != 0.0:
        step = relative[i] * _sign(x) * abs(x)
    return step if step != 0.0 else default * max(1.0, abs(x))


@register_jitable
def _bounds(i, context):
    low, high = low_of(context), high_of(context)
    if given(low):
        return low[i], high[i]
    return -np.inf, np.inf


@register_jitable
def _is_fixed(i, context):
    low, high = _bounds(i, context)
    return low == high


@register_jitable
def _limited(x, low, high):
    return low if x < low else high if x > high else x


@register_jitable
def _turned_step(i, x, step, context):
    """`place_points` of differences.pxd with two points, to the bit."""
    low, high = _bounds(i, context)
    if low <= x + step <= high:
        return x + step
    if low <= x - step <= high:
        return x - step
    return high if high - x >= x - low else low


@register_jitable
def _place_points(i, x, step, context):
    """`place_points` of differences.pxd with three points, to the bit."""
    low, high = _bounds(i, context)
    first, second = x + step, x - step
    if low <= first <= high and low <= second <= high:
        return first, second, False
    more, less = max(x - low, high - x), min(x - low, high - x)
    size = min(abs(step), 0.5 * more)
    if size <= less:
        return _limited(x + less, low, high), _limited(x - less, low, high), False
    if high - x < x - low:
        size = -size
    return _limited(x + size, low, high), _limited(x + 2 * size, low, high), True


@register_jitable
def _three_point_slope(first, second, one_sided, x, value, ahead, behind):
    """`three_point_slope` of differences.pxd, to the bit."""
    if not one_sided:
        return (ahead - behind) / (first - second)
    far = (behind - value) / (second - x)
    if first == x or first == second:  # noqa: SIM109 - compiled
        return far
    near = (ahead - value) / (first - x)
    return near + (near - far) * ((first - x) / (second - first))


# The function is called at one place alone, in a loop over all evaluations: so it is compiled in
# once, and no helper that calls it has to be made, which Numba would keep with it. Evaluation -1 is
# that at x itself, the others move a variable.


def _two_point(fun: Any, jac: Any, arguments: Any) -> Callable[..., Any]:
    default = 1.4901161193847656e-08

    def value_grad(x, value, grad, n, context):
        args = load_arguments(context, arguments)
        kept = value_of(context)
        for i in range(-1 if given(value) else 0, n if given(grad) else 0):
            if i >= 0 and stopped(context):
                return _STOP
            if i >= 0 and _is_fixed(i, context):
                grad[i] = 0.0
                continue
            point = _copy_of(x, n, context)
            if point.size != n:
                return _RAISED
            place = 0.0
            if i >= 0:
                step = _difference_step(i, x[i], default, context)
                place = _turned_step(i, x[i], step, context)
                point[i] = place
            raised, found = guarded(fun, (point,), args, context)
            if raised or not _put_value(found, element(grad, i) if i >= 0 else kept, context):
                return _RAISED
            if i >= 0:
                grad[i] = (grad[i] - kept[0]) / (place - x[i])
        if given(value):
            value[0] = kept[0]
        return _DONE

    return value_grad


def _three_point(fun: Any, jac: Any, arguments: Any) -> Callable[..., Any]:
    default = 6.055454452393343e-06

    def value_grad(x, value, grad, n, context):
        args = load_arguments(context, arguments)
        kept = value_of(context)
        ahead = first = second = 0.0
        one_sided = False
        for k in range(-1 if given(value) else 0, 2 * n if given(grad) else 0):
            if k >= 0 and stopped(context):
                return _STOP
            i = k >> 1
            is_ahead = k & 1 == 0
            if k >= 0 and _is_fixed(i, context):
                grad[i] = 0.0
                continue
            point = _copy_of(x, n, context)
            if point.size != n:
                return _RAISED
            if k >= 0:
                step = _difference_step(i, x[i], default, context)
                first, second, one_sided = _place_points(i, x[i], step, context)
                point[i] = first if is_ahead else second
            raised, found = guarded(fun, (point,), args, context)
            if raised or not _put_value(found, element(grad, i) if k >= 0 else kept, context):
                return _RAISED
            if k >= 0 and is_ahead:
                ahead = grad[i]
            elif k >= 0:
                behind = grad[i]
                grad[i] = _three_point_slope(first, second, one_sided, x[i], kept[0], ahead, behind)
        if given(value):
            value[0] = kept[0]
        return _DONE

    return value_grad


def _complex_step(fun: Any, jac: Any, arguments: Any) -> Callable[..., Any]:
    default = 1.4901161193847656e-08

    def value_grad(x, value, grad, n, context):
        args = load_arguments(context, arguments)
        if given(value):
            point = _copy_of(x, n, context)
            if point.size != n:
                return _RAISED
            raised, found = guarded(fun, (point,), args, context)
            if raised or not _put_value(found, value, context):
                return _RAISED
        for i in range(n if given(grad) else 0):
            if stopped(context):
                return _STOP
            if _is_fixed(i, context):
                grad[i] = 0.0
                continue
            step = _imaginary_step(i, x[i], default, context)
            moved = _complex_copy_of(x, n, context)
            if moved.size != n:
                return _RAISED
            moved[i] += step * 1j
            raised, turned = guarded(fun, (moved,), args, context)
            if raised:
                return _RAISED
            size, slope = imaginary_part(turned)
            if size != 1:
                complain(context, NOT_A_SCALAR, size)
                return _RAISED
            grad[i] = slope / step
        return _DONE

    return value_grad


def hess_body(hess: Any, arguments: Any) -> Callable[..., Any]:
    """What makes the body that gives the Hessian."""

    def evaluate(x, matrix, n, context):
        args = load_arguments(context, arguments)
        point = _copy_of(x, n, context)
        if point.size != n:
            return _RAISED
        raised, found = guarded(hess, (point,), args, context)
        if raised:
            return _RAISED
        rows, columns = found.shape
        if rows != n or columns != n:
            complain(context, NOT_A_HESSIAN, rows if rows != n else columns)
            return _RAISED
        for i in range(n):
            for j in range(i + 1):
                matrix[i * n + j] = found[i, j]
        return _DONE

    return evaluate


def hessp_body(hessp: Any, arguments: Any) -> Callable[..., Any]:
    """What makes the body that gives the Hessian's product with a vector."""

    def evaluate(x, p, product, n, context):
        args = load_arguments(context, arguments)
        point = _copy_of(x, n, context)
        vector = _copy_of(p, n, context)
        if point.size != n or vector.size != n:
            return _RAISED
        raised, found = guarded(hessp, (point, vector), args, context)
        if raised:
            return _RAISED
        if found.size != n:
            complain(context, NOT_A_PRODUCT, found.size)
            return _RAISED
        for i in range(n):
            product[i] = found[i]
        return _DONE

    return evaluate


_BODIES = {
    "joint": _joint,
    "inplace": _inplace,
    "separate": _separate,
    "2-point": _two_point,
    "3-point": _three_point,
    "cs": _complex_step,
}


def body_of(form: str, counted: bool) -> Callable[[Any, Any, Any], Callable[..., Any]]:
    """What makes the body for a form, from function, gradient and the type of the arguments.

    With `counted` arguments, one of which may keep an array, every array has an owner.
    """
    return _inplace_owned if counted and form == "inplace" else _BODIES[form]
