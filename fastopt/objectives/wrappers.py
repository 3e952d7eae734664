"""From @njit functions to the C function that solvers call.

Owns the bodies of these functions, one for each form in which a gradient can come, and where they
are kept: with the user's function itself, so that they die with it. Importing this module imports
Numba.

A body gets C pointers, calls the user's function on a fresh array and copies what it returns. It
must not raise: an exception in a C function would be printed and dropped, and the solver would see
whatever the memory held. `calls.guarded` sees to that.
"""

from __future__ import annotations

import uuid
import weakref
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any

import numba
import numpy as np
from numba import types
from numba._dispatcher import compute_fingerprint
from numba.core.compiler import Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher
from numba.core.targetconfig import ConfigStack
from numba.extending import register_jitable

from fastopt.objectives.calls import (
    COMPLEX_VECTOR,
    NO_MEMORY,
    NOT_A_GRADIENT,
    NOT_A_SCALAR,
    POINTER,
    VECTOR,
    abs_step_of,
    as_number,
    complain,
    element,
    empty_vector,
    given,
    guarded,
    imaginary_part,
    load_arguments,
    point_of,
    rel_step_of,
    reraise,
    stopped,
    value_of,
    view,
)
from fastopt.objectives.machine_code import calls_interpreter, code_of, enters_threads
from fastopt.objectives.packing import Layout, layout_of

__all__ = ["SIGNATURE", "Wrapper", "compile_wrapper", "is_compilable", "known_wrapper"]

# `value_grad_fn` in core/abi.pxd.
SIGNATURE = types.int32(POINTER, POINTER, POINTER, types.intp, types.voidptr)

_DONE, _RAISED, _STOP = 0, 1, 2  # `Reply` in core/abi.pxd

# How many of a function's wrappers are kept: for its argument types, gradients and forms.
_KEPT = 32
# The attribute of a dispatcher that holds them. A registry of our own, however weak its keys, would
# keep functions alive: a wrapper's machine code refers to its function.
_ATTRIBUTE = "_fastopt_wrappers"
# And the one that holds for which arguments there can be none.
_REFUSED = "_fastopt_refused"


@dataclass(slots=True)
class Pace:
    """Seconds that an iteration took, with so many variables and numbers in the arguments.

    Zero seconds where that is not known.
    """

    seconds: float = 0.0
    n: int = 1
    size: int = 1

    def note(self, seconds: float, n: int, size: int) -> None:
        self.seconds, self.n, self.size = seconds, n, max(1, size)

    def expected(self, n: int, size: int) -> float:
        """For another problem, rather too much than too little: differences, and BFGS, take the
        square of n."""
        if n <= self.n and size <= self.size:
            return self.seconds
        return self.seconds * max(1.0, n / self.n) ** 2 * max(1.0, size / self.size)


@dataclass(eq=False)
class Wrapper:
    """A compiled `value_grad_fn`.

    ``library`` owns the machine code, which lives as long as it does; there it has a ``name`` and
    an ``address``. ``layout`` is how it expects its arguments. ``exclusive`` says that it must not
    run in two threads at once. ``origins`` has the user's functions, each with what it was compiled
    to. ``pace`` is what the last solve with it took.

    It refers to no function but weakly. Its function keeps it, and Numba keeps a gradient that
    refers to that function for as long as there is the gradient: with a reference to the gradient
    here, all of them would stay for the life of the process.
    """

    library: Any
    name: str
    address: int
    form: str
    layout: Layout
    exclusive: bool
    origins: tuple[tuple[weakref.ref[Any], Any], ...]
    pace: Pace = field(default_factory=Pace)

    @property
    def is_current(self) -> bool:
        """Whether no function has been compiled anew (``recompile()``) since."""
        for origin, code in self.origins:  # noqa: SIM110 - `all` takes twice as long
            if _first_code(origin()) is not code:
                return False
        return True


def is_compilable(function: object) -> bool:
    """Whether Numba compiles `function` to machine code for this processor."""
    return isinstance(function, CPUDispatcher)


# --- the bodies ------------------------------------------------------------------------------


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
    """Where an array can be kept, both are fresh arrays with owners."""

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
            point = _copy_of(x, n, context)
            if point.size != n:
                return _RAISED
            step = _difference_step(i, x[i], default, context) if i >= 0 else 0.0
            if i >= 0:
                point[i] += step
            raised, found = guarded(fun, (point,), args, context)
            if raised or not _put_value(found, element(grad, i) if i >= 0 else kept, context):
                return _RAISED
            if i >= 0:
                grad[i] = (grad[i] - kept[0]) / ((x[i] + step) - x[i])
        if given(value):
            value[0] = kept[0]
        return _DONE

    return value_grad


def _three_point(fun: Any, jac: Any, arguments: Any) -> Callable[..., Any]:
    default = 6.055454452393343e-06

    def value_grad(x, value, grad, n, context):
        args = load_arguments(context, arguments)
        ahead = step = 0.0
        for k in range(-1 if given(value) else 0, 2 * n if given(grad) else 0):
            if k >= 0 and stopped(context):
                return _STOP
            point = _copy_of(x, n, context)
            if point.size != n:
                return _RAISED
            i = k >> 1
            is_ahead = k & 1 == 0
            if k >= 0:
                step = _difference_step(i, x[i], default, context)
                point[i] += step if is_ahead else -step
            raised, found = guarded(fun, (point,), args, context)
            if raised or not _put_value(found, element(grad, i) if k >= 0 else value, context):
                return _RAISED
            if k >= 0 and is_ahead:
                ahead = grad[i]
            elif k >= 0:
                grad[i] = (ahead - grad[i]) / ((x[i] + step) - (x[i] - step))
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


_BODIES = {
    "joint": _joint,
    "inplace": _inplace,
    "separate": _separate,
    "2-point": _two_point,
    "3-point": _three_point,
    "cs": _complex_step,
}


@numba.njit
def _raise_from(address):
    reraise(address)


def raise_from(address: int) -> None:
    """Raise what a wrapper left in the context at `address`."""
    _raise_from(address)


# --- compiling and keeping -------------------------------------------------------------------


def form_of(jac: Any) -> str:
    """The form in which a gradient comes: a body's name."""
    if jac is True:
        return "joint"
    return jac if isinstance(jac, str) else "separate"


def known_wrapper(fun: Any, jac: Any, args: tuple[Any, ...]) -> Wrapper | None:
    """The wrapper for functions and arguments of these types, if there is one already."""
    kept = fun.__dict__.get(_ATTRIBUTE)
    return _current(kept, _key(jac, _fingerprint(args))) if kept else None


def _current(kept: dict[Any, Wrapper], key: tuple[Any, ...]) -> Wrapper | None:
    """What is kept under a key, unless it is of a function as it was."""
    wrapper = kept.get(key)
    if wrapper is not None and not wrapper.is_current:
        kept.pop(key, None)
        return None
    return wrapper


def compile_wrapper(fun: Any, jac: Any, args: tuple[Any, ...]) -> Wrapper:
    """The wrapper for functions and arguments of these types, compiled if there is none.

    Parameters
    ----------
    fun : Numba dispatcher
        The user's function.
    jac : Numba dispatcher, True, "inplace", "2-point", "3-point" or "cs"
        Its gradient, or where it comes from.
    args : tuple
        Arguments of the types to compile for.

    Raises
    ------
    numba.errors.NumbaError
        The user's function does not compile for these arguments.
    TypeError
        Numba knows no type for the arguments; or what the function returns is not a value or a
        gradient.
    """
    wrapper = known_wrapper(fun, jac, args)
    if wrapper is None:
        wrapper = wrapper_for(fun, jac, _type_of(args))
        wrapper = _keep(getattr(fun, _ATTRIBUTE), _key(jac, _fingerprint(args)), wrapper)
    return wrapper


def wrapper_if_possible(fun: Any, jac: Any, args: tuple[Any, ...]) -> Wrapper | None:
    """As `compile_wrapper`; None if that fails, and then it is not tried again."""
    refused = fun.__dict__.setdefault(_REFUSED, {})
    key = _key(jac, _fingerprint(args))
    if refused.get(key) == code_of(fun):  # it has not been compiled anew since
        return None
    try:
        return compile_wrapper(fun, jac, args)
    except (numba.errors.NumbaError, NotImplementedError, TypeError):
        if len(refused) >= _KEPT:
            refused.clear()
        refused[key] = code_of(fun)
        return None


def wrapper_for(fun: Any, jac: Any, arguments: Any) -> Wrapper:
    """As `compile_wrapper`, from the Numba type of the arguments."""
    key = _key(jac, arguments)
    kept = fun.__dict__.setdefault(_ATTRIBUTE, OrderedDict())
    wrapper = _current(kept, key)
    if wrapper is None:
        # Of threads that need it at once, one compiles it, and the others find it then.
        with global_compiler_lock:
            wrapper = _current(kept, key) or _keep(kept, key, build_wrapper(fun, jac, arguments))
    return wrapper


def _keep(kept: OrderedDict[Any, Wrapper], key: tuple[Any, ...], wrapper: Wrapper) -> Wrapper:
    """Keep it, unless another thread has been faster."""
    while len(kept) >= _KEPT:
        kept.popitem(last=False)
    first: Wrapper = kept.setdefault(key, wrapper)
    return first


def build_wrapper(fun: Any, jac: Any, arguments: Any) -> Wrapper:
    """As `wrapper_for`, and not kept."""
    form = form_of(jac)
    functions = [function for function in (fun, jac) if is_compilable(function)]
    with own_flags():
        _check_results(fun, jac, form, tuple(arguments))
        # What goes back to the interpreter may keep an array there, which then needs an owner.
        layout = layout_of(arguments, any(map(calls_interpreter, functions)))
        make = _inplace_owned if form == "inplace" and layout.tree is None else _BODIES[form]
        body = make(fun, jac, arguments)
        # A name of its own, in all processes: callers that Numba keeps in its cache hold copies of
        # wrappers, which must not be taken for those that are compiled here.
        body.__qualname__ += uuid.uuid4().hex
        callback = numba.cfunc(SIGNATURE)(body)
    return Wrapper(
        callback._library,
        callback.native_name,
        callback.address,
        form,
        layout,
        any(map(enters_threads, functions)),
        tuple((weakref.ref(function), _first_code(function)) for function in functions),
    )


def _first_code(function: Any) -> Any:
    """What a function was compiled to first; another object once it has been compiled anew."""
    return next(iter(dict.values(function.overloads)), None)


def own_flags() -> AbstractContextManager[Any]:
    """What is compiled in here has the flags that are its own, and no others.

    What is compiled in the middle of compiling another function takes over its `fastmath` and
    `error_model`, which would change the bits, and drop checks for NaN, for all later callers too.
    """
    flags = Flags()
    flags.nrt = True
    flags_in_force: AbstractContextManager[Any] = ConfigStack().enter(flags)
    return flags_in_force


def _key(jac: Any, kinds: Any) -> tuple[Any, ...]:
    """Under which a wrapper is kept, with either description of the types of its arguments."""
    return (weakref.ref(jac) if callable(jac) else jac, kinds)


def _fingerprint(args: tuple[Any, ...]) -> Any:
    """Tells types of arguments apart, as Numba does it when it looks for its own machine code.

    That takes a microsecond, and `numba.typeof` thirty. None if Numba knows no type for them.
    """
    if _is_plain(args):
        try:
            return compute_fingerprint(args)
        except (NotImplementedError, ValueError):
            pass
    with suppress(TypeError):
        return _type_of(args)
    return None


def _is_plain(args: tuple[Any, ...]) -> bool:
    """Whether a fingerprint tells all: it says nothing of byte orders, nor of masks."""
    for arg in args:
        if isinstance(arg, _ARRAYS):
            if type(arg) not in _PLAIN or not arg.dtype.isnative:
                return False
        elif isinstance(arg, tuple) and not _is_plain(arg):
            return False
    return True


_ARRAYS = (np.ndarray, np.void)
_PLAIN = (np.ndarray, np.void, np.record, np.memmap)


def _type_of(args: tuple[Any, ...]) -> Any:
    """The Numba type of the arguments."""
    for k, arg in enumerate(args):
        try:
            numba.typeof(arg)
        except (ValueError, NotImplementedError, numba.errors.NumbaError) as error:
            raise TypeError(
                f"`args[{k}]` must be of a type that Numba knows, got {_kind_of(arg)}: {error}"
            ) from error
    return numba.typeof(args)


def _kind_of(arg: Any) -> str:
    if isinstance(arg, np.ndarray):
        return f"a {type(arg).__name__} of dtype {arg.dtype}"
    return f"an object of type {type(arg).__name__}"


def _check_results(fun: Any, jac: Any, form: str, arguments: tuple[Any, ...]) -> None:
    """Compile the user's functions, and see that they return what their form asks for."""
    found = _returned(fun, (VECTOR, VECTOR) if form == "inplace" else (VECTOR,), arguments)
    if form == "joint":
        if not isinstance(found, types.BaseTuple) or len(found) != 2:
            raise TypeError(
                f"`fun` must return a pair (value, gradient) when jac=True, got {found}"
            )
        found, gradient = found
        _check_gradient("`fun` (jac=True)", gradient)
    elif form == "separate":
        _check_gradient("`jac`", _returned(jac, (VECTOR,), arguments))
    if not _is_number(found, types.Integer | types.Float | types.Boolean):
        raise TypeError(f"`fun` must return a real scalar, got {found}")
    if form == "cs":
        _check_complex(fun, arguments)


def _returned(function: Any, leading: tuple[Any, ...], arguments: tuple[Any, ...]) -> Any:
    """The type of what a function returns for arguments of these types."""
    typing = function.typingctx
    called = typing.resolve_function_type(numba.typeof(function), (*leading, *arguments), {})
    return called.return_type


def returns_pair(fun: Any, arguments: Any) -> bool:
    """Whether a function returns a value and its gradient, for arguments of a Numba tuple type."""
    with own_flags():
        return isinstance(_returned(fun, (VECTOR,), tuple(arguments)), types.BaseTuple)


def _is_number(found: Any, kinds: Any) -> bool:
    return isinstance(found.dtype if isinstance(found, types.Array) else found, kinds)


def _check_gradient(name: str, found: Any) -> None:
    if (
        isinstance(found, types.Array)
        and found.ndim == 1
        and _is_number(found, types.Integer | types.Float | types.Boolean)
    ):
        return
    raise TypeError(f"{name} must return a flat array of real numbers, got {found}")


def _check_complex(fun: Any, arguments: tuple[Any, ...]) -> None:
    instead = "use jac='3-point' or an exact gradient"
    try:
        found = _returned(fun, (COMPLEX_VECTOR,), arguments)
    except (numba.errors.NumbaError, NotImplementedError) as error:
        raise TypeError(
            f"`fun` must compile for a complex x when jac='cs', and does not; {instead}"
        ) from error
    if not _is_number(found, types.Complex):
        raise TypeError(
            "`fun` must return a complex number at a complex x when jac='cs', got "
            f"{found}; {instead}"
        )
