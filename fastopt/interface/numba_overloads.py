"""`minimize` and `Options` inside @njit code.

Owns what compiled code may pass, and what is said of the rest, when a caller is compiled. What is
then generated is `numba_call`'s affair.

Importing this module makes the two known to Numba. That happens wherever Numba and `minimize` are
both loaded, whether or not the one will see the other: so what it takes to compile a call is
imported when one is compiled.

What is refused is refused by a TypeError or a ValueError, as in Python, and not by Numba's
TypingError: that would reach the user inside Numba's account of its search for an implementation,
where any other exception comes out as it is.
"""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any, NoReturn

from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher, cpu_target
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import lower_builtin, typeof_impl

from fastopt.interface.methods import METHODS, SCIPY_METHODS, Method, find_method, unknown_method
from fastopt.interface.minimize import minimize
from fastopt.interface.solver import DIFFERENCES
from fastopt.interface.tuples import Options, OptionsType

if TYPE_CHECKING:
    from fastopt.interface.numba_call import Plan

_FROM_PYTHON = "or call fastopt.minimize outside @njit code"


class _Minimize(AbstractTemplate):  # type: ignore[misc]
    """The type of a call of `minimize`.

    Not an `overload`: Numba would keep what it compiles for one, and with it the user's functions,
    for the life of the process.
    """

    key = minimize
    prefer_literal = True

    def generic(self, args: Any, kws: Any) -> Any:
        from fastopt.interface.numba_call import RESULT

        try:
            given = _MINIMIZE.bind(*args, **kws).arguments
        except TypeError as error:
            raise TypeError(f"fastopt.minimize{_MINIMIZE_NAMES} {error}") from None
        kinds = {name: given.get(name, default) for name, default in _DEFAULTS.items()}
        _check(**kinds)
        _plan(**kinds)
        return signature(RESULT, *kinds.values()).replace(pysig=_MINIMIZE)


infer_global(minimize)(_Minimize)

_NONE, _EMPTY = types.none, types.Tuple(())
_MINIMIZE = inspect.signature(minimize)
_MINIMIZE_NAMES = f"({', '.join(_MINIMIZE.parameters)})"
_DEFAULTS = {
    name: _EMPTY if parameter.default == () else _NONE
    for name, parameter in _MINIMIZE.parameters.items()
}


@lower_builtin(minimize, types.VarArg(types.Any))
def _call_minimize(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    from fastopt.interface.numba_call import generate_call

    plan = _plan(**dict(zip(_DEFAULTS, signature.args, strict=True)))
    arguments = dict(zip(_DEFAULTS, zip(signature.args, values, strict=True), strict=True))
    return generate_call(context, builder, plan, arguments)


def _check(
    fun: Any,
    x0: Any,
    hess: Any,
    hessp: Any,
    bounds: Any,
    constraints: Any,
    tol: Any,
    callback: Any,
    options: Any,
    data: Any,
    **_: Any,
) -> None:
    """Refuse types that compiled code cannot take."""
    if not _is_function(fun):
        _refuse("fun", "an @njit function", fun)
    for name, kind in (("hess", hess), ("hessp", hessp)):
        if kind != _NONE and not _is_function(kind):
            _refuse(name, "an @njit function or None in @njit code", kind)
    if bounds != _NONE and not _are_bounds(bounds):
        _refuse(
            "bounds",
            "None, a pair of vectors (low, high) or an array of shape (n, 2), of float64, in @njit "
            f"code, {_FROM_PYTHON}",
            bounds,
        )
    if callback != _NONE:
        _refuse("callback", f"None in @njit code: leave it out, {_FROM_PYTHON}", callback)
    if constraints not in (_NONE, _EMPTY):
        _refuse("constraints", f"() in @njit code: leave it out, {_FROM_PYTHON}", constraints)
    if data != _NONE:
        _refuse("data", f"None in @njit code: leave it out, {_FROM_PYTHON}", data)
    _check_start(x0)
    if tol != _NONE and not _is_number(tol):
        _refuse("tol", "a nonnegative number or None", tol)
    if options != _NONE and not _is_options(options):
        _refuse(
            "options", "a fastopt.Options in @njit code, not a dict: Options(gtol=1e-8)", options
        )


def _plan(
    fun: Any, args: Any, method: Any, jac: Any, hess: Any, hessp: Any, bounds: Any, **_: Any
) -> Plan:
    """What a call with arguments of these types comes down to; a literal carries its value."""
    from fastopt.interface.numba_call import Plan
    from fastopt.objectives.wrappers import wrapper_for

    methods = _methods(method, bounds)
    arguments = _argument_types(args)
    gradient, given = _gradient(jac, fun, arguments)
    second = [None if kind == _NONE else kind.dispatcher for kind in (hess, hessp)]
    if not any(row.second_order for row in methods):
        for name, function in zip(("hess", "hessp"), second, strict=True):
            if function is not None:
                raise TypeError(
                    f"`{name}` must be left out: method {methods[0].name} does not use it"
                )
    wrapper = wrapper_for(fun.dispatcher, gradient, arguments, *second)
    functions = tuple(each for each in (fun.dispatcher, gradient, *second) if callable(each))
    return Plan(functions, wrapper, arguments, methods, not given)


# --- what the types of arguments may be ------------------------------------------------------


def _refuse(name: str, expected: str, given: Any) -> NoReturn:
    raise TypeError(f"`{name}` must be {expected}; got {given}")


def _is_function(kind: Any) -> bool:
    return isinstance(kind, types.Dispatcher) and isinstance(kind.dispatcher, CPUDispatcher)


def _is_number(kind: Any) -> bool:
    """A real number, perhaps none."""
    if isinstance(kind, types.Optional):
        kind = kind.type
    return isinstance(kind, types.Integer | types.Float | types.IntegerLiteral)


def _are_bounds(kind: Any) -> bool:
    if isinstance(kind, types.Array):
        return bool(kind.ndim == 2 and kind.dtype == types.float64)
    return (
        isinstance(kind, types.BaseTuple)
        and len(kind) == 2
        and all(
            isinstance(each, types.Array) and each.ndim == 1 and each.dtype == types.float64
            for each in kind
        )
    )


def _is_options(kind: Any) -> bool:
    return isinstance(kind, types.BaseNamedTuple) and kind.instance_class is Options


def _check_start(x0: Any) -> None:
    expected = "a one-dimensional array, list or tuple of real numbers, or one such number"
    items = list(x0) if isinstance(x0, types.BaseTuple) else [x0]
    if isinstance(x0, types.List | types.ListType) or (
        isinstance(x0, types.Array) and x0.ndim == 1
    ):
        items = [x0.dtype]
    if not all(isinstance(each, types.Integer | types.Float | types.Boolean) for each in items):
        _refuse("x0", expected, x0)


def _argument_types(args: Any) -> Any:
    """The type of `args` as a tuple."""
    if not isinstance(args, types.BaseTuple):
        args = types.Tuple((args,))
    return _unliteral(args)


def _unliteral(kind: Any) -> Any:
    if not isinstance(kind, types.BaseTuple):
        return types.unliteral(kind)
    return types.BaseTuple.from_types(
        [_unliteral(each) for each in kind], getattr(kind, "instance_class", None)
    )


def _methods(method: Any, bounds: Any) -> tuple[Method, ...]:
    """The rows that may be run: one if it is known by now."""
    if method == _NONE:
        return (METHODS["bfgs" if bounds == _NONE else "l-bfgs"],)
    if isinstance(method, types.UnicodeType):
        return tuple(METHODS.values())
    if not isinstance(method, types.StringLiteral):
        _refuse("method", "a string or None in @njit code", method)
    name: str = method.literal_value
    row = find_method(name)
    if row is not None:
        return (row,)
    if name.lower() in SCIPY_METHODS:
        raise ValueError(
            f"`method` must be one of {', '.join(map(repr, METHODS))} in @njit code, got {name!r}, "
            "which is SciPy's: call fastopt.minimize outside @njit code"
        )
    raise unknown_method(name, METHODS)


def _gradient(jac: Any, fun: Any, arguments: Any) -> tuple[Any, bool]:
    """Where the gradient comes from, as wrappers take it, and whether the caller said so."""
    if jac == _NONE:
        return "2-point", False
    if _is_function(jac):
        return jac.dispatcher, True
    if isinstance(jac, types.BooleanLiteral):
        return (True, True) if jac.literal_value else ("2-point", False)
    if isinstance(jac, types.Boolean):
        # Its value comes at run time, too late; what the function returns tells as well.
        from fastopt.objectives.wrappers import returns_pair

        return (True, True) if returns_pair(fun.dispatcher, arguments) else ("2-point", False)
    expected = (
        "an @njit function, True, False, None, or 'inplace', '2-point', '3-point' or 'cs' written "
        "out in the call"
    )
    if not isinstance(jac, types.StringLiteral):
        _refuse("jac", expected, jac)
    scheme: str = jac.literal_value
    if scheme != "inplace" and scheme not in DIFFERENCES:
        raise ValueError(f"`jac` must be {expected}; got {scheme!r}")
    return scheme, True


# --- Options ---------------------------------------------------------------------------------


class _MakeOptions(AbstractTemplate):  # type: ignore[misc]
    """The types of a call of `Options`: a float each, or what may be none."""

    key = Options

    def generic(self, args: Any, kws: Any) -> Any:
        try:
            given = _OPTIONS.bind(*args, **kws).arguments
        except TypeError as error:
            names = ", ".join(Options._fields)
            raise TypeError(f"`Options` takes {names}, each once: {error}") from None
        kinds = []
        for name in Options._fields:
            kind = given.get(name, types.float64)
            if kind != _NONE and not _is_number(kind):
                _refuse(name, "a number or None", kind)
            may_be_none = isinstance(kind, types.Optional | types.NoneType)
            kinds.append(kind if may_be_none else types.float64)
        return signature(_OPTIONS_TYPE, *kinds).replace(pysig=_OPTIONS)


@typeof_impl.register(OptionsType)
def _type_of_options_class(value: Any, context: Any) -> Any:
    return types.Function(_MakeOptions)


@lower_builtin(Options, types.VarArg(types.Any))
def _make_options(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    from fastopt.interface.numba_call import as_double

    numbers = [
        as_double(context, builder, kind, value)
        for kind, value in zip(signature.args, values, strict=True)
    ]
    return context.make_tuple(builder, _OPTIONS_TYPE, numbers)


_OPTIONS_TYPE = types.NamedUniTuple(types.float64, len(Options._fields), Options)
_OPTIONS = inspect.Signature(
    [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=math.nan)
        for name in Options._fields
    ]
)

# Numba looks for what has been registered whenever it begins to compile a function. Where that
# function says `fastopt.minimize`, it has begun before it gets here.
if global_compiler_lock.is_locked():
    cpu_target.target_context.refresh()
