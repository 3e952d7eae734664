"""From @njit functions to the C function that solvers call.

Owns how one is compiled, for which types, and where it is kept: with the user's function itself, so
that it dies with it. `bodies.py` has what is compiled. Importing this module imports Numba.
"""

from __future__ import annotations

import uuid
import weakref
from collections import OrderedDict
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import types
from numba._dispatcher import compute_fingerprint
from numba.core.compiler import Flags
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import CPUDispatcher
from numba.core.targetconfig import ConfigStack

from fastopt.objectives.bodies import (
    HESS_SIGNATURE,
    HESSP_SIGNATURE,
    SIGNATURE,
    body_of,
    hess_body,
    hessp_body,
)
from fastopt.objectives.calls import COMPLEX_VECTOR, VECTOR, reraise
from fastopt.objectives.machine_code import calls_interpreter, code_of, enters_threads
from fastopt.objectives.packing import Layout, layout_of

__all__ = ["Wrapper", "compile_wrapper", "is_compilable", "known_wrapper"]

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


class Part(NamedTuple):
    """A C function: ``library`` owns its machine code, which lives as long as that does, and there
    it has a ``name`` and an ``address``."""

    library: Any
    name: str
    address: int


@dataclass(eq=False)
class Wrapper:
    """A compiled `value_grad_fn`, and a `hess_fn` and a `hessp_fn` where there are such functions.

    ``layout`` is how it expects its arguments. ``exclusive`` says that it must not
    run in two threads at once. ``origins`` has the user's functions, each with what it was compiled
    to. ``pace`` is what the last solve with it took.

    It refers to no function but weakly. Its function keeps it, and Numba keeps a gradient that
    refers to that function for as long as there is the gradient: with a reference to the gradient
    here, all of them would stay for the life of the process.
    """

    value_grad: Part
    hess: Part | None
    hessp: Part | None
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


def known_wrapper(
    fun: Any, jac: Any, args: tuple[Any, ...], hess: Any = None, hessp: Any = None
) -> Wrapper | None:
    """The wrapper for functions and arguments of these types, if there is one already."""
    kept = fun.__dict__.get(_ATTRIBUTE)
    return _current(kept, _key(jac, _fingerprint(args), hess, hessp)) if kept else None


def _current(kept: dict[Any, Wrapper], key: tuple[Any, ...]) -> Wrapper | None:
    """What is kept under a key, unless it is of a function as it was."""
    wrapper = kept.get(key)
    if wrapper is not None and not wrapper.is_current:
        kept.pop(key, None)
        return None
    return wrapper


def compile_wrapper(
    fun: Any, jac: Any, args: tuple[Any, ...], hess: Any = None, hessp: Any = None
) -> Wrapper:
    """The wrapper for functions and arguments of these types, compiled if there is none.

    Parameters
    ----------
    fun : Numba dispatcher
        The user's function.
    jac : Numba dispatcher, True, "inplace", "2-point", "3-point" or "cs"
        Its gradient, or where it comes from.
    args : tuple
        Arguments of the types to compile for.
    hess, hessp : Numba dispatcher, optional
        Its Hessian and the product of that with a vector.

    Raises
    ------
    numba.errors.NumbaError
        The user's function does not compile for these arguments.
    TypeError
        Numba knows no type for the arguments; or what the function returns is not a value or a
        gradient.
    """
    wrapper = known_wrapper(fun, jac, args, hess, hessp)
    if wrapper is None:
        wrapper = wrapper_for(fun, jac, _type_of(args), hess, hessp)
        key = _key(jac, _fingerprint(args), hess, hessp)
        wrapper = _keep(getattr(fun, _ATTRIBUTE), key, wrapper)
    return wrapper


def wrapper_if_possible(
    fun: Any, jac: Any, args: tuple[Any, ...], hess: Any = None, hessp: Any = None
) -> Wrapper | None:
    """As `compile_wrapper`; None if that fails, and then it is not tried again."""
    refused = fun.__dict__.setdefault(_REFUSED, {})
    key = _key(jac, _fingerprint(args), hess, hessp)
    if refused.get(key) == code_of(fun):  # it has not been compiled anew since
        return None
    try:
        return compile_wrapper(fun, jac, args, hess, hessp)
    except (numba.errors.NumbaError, NotImplementedError, TypeError):
        if len(refused) >= _KEPT:
            refused.clear()
        refused[key] = code_of(fun)
        return None


def wrapper_for(fun: Any, jac: Any, arguments: Any, hess: Any = None, hessp: Any = None) -> Wrapper:
    """As `compile_wrapper`, from the Numba type of the arguments."""
    key = _key(jac, arguments, hess, hessp)
    kept = fun.__dict__.setdefault(_ATTRIBUTE, OrderedDict())
    wrapper = _current(kept, key)
    if wrapper is None:
        # Of threads that need it at once, one compiles it, and the others find it then.
        with global_compiler_lock:
            wrapper = _current(kept, key)
            if wrapper is None:
                wrapper = _keep(kept, key, build_wrapper(fun, jac, arguments, hess, hessp))
    return wrapper


def _keep(kept: OrderedDict[Any, Wrapper], key: tuple[Any, ...], wrapper: Wrapper) -> Wrapper:
    """Keep it, unless another thread has been faster."""
    while len(kept) >= _KEPT:
        kept.popitem(last=False)
    first: Wrapper = kept.setdefault(key, wrapper)
    return first


def build_wrapper(
    fun: Any, jac: Any, arguments: Any, hess: Any = None, hessp: Any = None
) -> Wrapper:
    """As `wrapper_for`, and not kept."""
    form = form_of(jac)
    functions = [function for function in (fun, jac, hess, hessp) if is_compilable(function)]
    with own_flags():
        _check_results(fun, jac, form, tuple(arguments))
        _check_second(hess, hessp, tuple(arguments))
        # What goes back to the interpreter may keep an array there, which then needs an owner.
        layout = layout_of(arguments, any(map(calls_interpreter, functions)))
        body = body_of(form, layout.tree is None)(fun, jac, arguments)
        value_grad = _compile(SIGNATURE, body)
        hess_part = hessp_part = None
        if hess is not None:
            hess_part = _compile(HESS_SIGNATURE, hess_body(hess, arguments))
        if hessp is not None:
            hessp_part = _compile(HESSP_SIGNATURE, hessp_body(hessp, arguments))
    return Wrapper(
        value_grad,
        hess_part,
        hessp_part,
        form,
        layout,
        any(map(enters_threads, functions)),
        tuple((weakref.ref(function), _first_code(function)) for function in functions),
    )


def _compile(signature: Any, body: Any) -> Part:
    # A name of its own, in all processes: callers that Numba keeps in its cache hold copies of
    # wrappers, which must not be taken for those that are compiled here.
    body.__qualname__ += uuid.uuid4().hex
    callback = numba.cfunc(signature)(body)
    return Part(callback._library, callback.native_name, callback.address)


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


def _key(jac: Any, kinds: Any, hess: Any, hessp: Any) -> tuple[Any, ...]:
    """Under which a wrapper is kept, with either description of the types of its arguments."""
    key = (_reference(jac), kinds)
    if hess is None and hessp is None:
        return key
    return (*key, _reference(hess), _reference(hessp))


def _reference(function: Any) -> Any:
    return weakref.ref(function) if callable(function) else function


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
    found = _returned("fun", fun, (VECTOR, VECTOR) if form == "inplace" else (VECTOR,), arguments)
    if form == "joint":
        if not isinstance(found, types.BaseTuple) or len(found) != 2:
            raise TypeError(
                f"`fun` must return a pair (value, gradient) when jac=True, got {found}"
            )
        found, gradient = found
        _check_gradient("`fun` (jac=True)", gradient)
    elif form == "separate":
        _check_gradient("`jac`", _returned("jac", jac, (VECTOR,), arguments))
    if not _is_number(found, _REAL):
        pair = isinstance(found, types.BaseTuple) and len(found) == 2
        hint = "; if that is the value and the gradient, pass jac=True" if pair else ""
        raise TypeError(f"`fun` must return a real scalar, got {found}{hint}")
    if form == "cs":
        _check_complex(fun, arguments)


def _check_second(hess: Any, hessp: Any, arguments: tuple[Any, ...]) -> None:
    """The same for the Hessian and its product."""
    if hess is not None:
        found = _returned("hess", hess, (VECTOR,), arguments)
        if not (isinstance(found, types.Array) and found.ndim == 2 and _is_number(found, _REAL)):
            raise TypeError(f"`hess` must return an array of shape (n, n), got {found}")
    if hessp is not None:
        _check_gradient("`hessp`", _returned("hessp", hessp, (VECTOR, VECTOR), arguments))


def _returned(
    name: str, function: Any, leading: tuple[Any, ...], arguments: tuple[Any, ...]
) -> Any:
    """The type of what a function returns for arguments of these types."""
    typing = function.typingctx
    given = (*leading, *arguments)
    called = typing.resolve_function_type(numba.typeof(function), given, {})
    if called is None:  # Numba's word for object mode, and for signatures that do not fit
        raise TypeError(
            f"`{name}` must compile for arguments of the types ({', '.join(map(str, given))}), and "
            f"does not: {function.__name__} is in object mode, or its signatures are for others"
        )
    return called.return_type


def returns_pair(fun: Any, arguments: Any) -> bool:
    """Whether a function returns a value and its gradient, for arguments of a Numba tuple type."""
    with own_flags():
        return isinstance(_returned("fun", fun, (VECTOR,), tuple(arguments)), types.BaseTuple)


_REAL = types.Integer | types.Float | types.Boolean


def _is_number(found: Any, kinds: Any) -> bool:
    return isinstance(found.dtype if isinstance(found, types.Array) else found, kinds)


def _check_gradient(name: str, found: Any) -> None:
    if isinstance(found, types.Array) and found.ndim == 1 and _is_number(found, _REAL):
        return
    raise TypeError(f"{name} must return a flat array of real numbers, got {found}")


def _check_complex(fun: Any, arguments: tuple[Any, ...]) -> None:
    instead = "use jac='3-point' or an exact gradient"
    try:
        found = _returned("fun", fun, (COMPLEX_VECTOR,), arguments)
    except (numba.errors.NumbaError, NotImplementedError) as error:
        raise TypeError(
            f"`fun` must compile for a complex x when jac='cs', and does not; {instead}"
        ) from error
    if not _is_number(found, types.Complex):
        raise TypeError(
            "`fun` must return a complex number at a complex x when jac='cs', got "
            f"{found}; {instead}"
        )
