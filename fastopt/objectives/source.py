"""Which objective evaluates a function: the interpreter's or a compiled one.

Owns the choice, and when it changes. Loads Numba only where the user's function is Numba's already.

An @njit function can be called through the interpreter, which costs about a microsecond a call, or
through a wrapper, which costs next to nothing but takes tenths of a second to compile. Who solves
once should not wait for it, who solves for a long time should not go without it, and which of the
two it is shows only as time goes by: so the interpreter starts, and the wrapper is compiled when
the calls have cost as much as it will. Then, whatever comes, at most twice the least time is spent.
Both give the same bits, so the change may come in the middle of a solve.
"""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import LowLevelCallable

from fastopt.objectives.compiled import CFunctionObjective, CompiledObjective
from fastopt.objectives.machine_code import enters_threads
from fastopt.objectives.minibatched import MinibatchObjective
from fastopt.objectives.minibatches import Minibatches, buffers
from fastopt.objectives.objective import BoundObjective
from fastopt.objectives.python import PythonObjective

if TYPE_CHECKING:
    from fastopt.objectives.wrappers import Wrapper

__all__ = [
    "PAYS_AFTER",
    "ObjectiveSource",
    "are_parallel",
    "calls_of",
    "calls_so_far",
    "compiled_objective",
    "first_of",
    "is_c_function",
    "is_dispatcher",
    "is_known",
    "is_parallel",
    "is_wrappable",
    "must_compile",
    "size_of",
    "turn_of",
]

# After so many calls through the interpreter a wrapper pays: see asv_benchmarks, `startup`.
PAYS_AFTER = 150_000
# The attribute of a dispatcher that counts them, over all solves.
_CALLS = "_fastopt_calls"

# Numba's own threads abort the process when they are entered from two at once.
_ONE_AT_A_TIME = threading.RLock()
if hasattr(os, "register_at_fork"):  # the thread that holds it does not live on in a child
    os.register_at_fork(after_in_child=_ONE_AT_A_TIME._at_fork_reinit)  # type: ignore[attr-defined]


class ObjectiveSource:
    """A function with its gradient and arguments, and the objective that evaluates it at present.

    Parameters
    ----------
    fun, jac, args, n, abs_step, rel_step, workers
        As in `PythonObjective`; `fun` may be a Numba cfunc or a `scipy.LowLevelCallable`, too.
    compile : {"auto", True, False}
        Whether an @njit function is called without the interpreter.
    hess, hessp, preconditioner, bounds
        As in `PythonObjective`.
    data : fastopt.Minibatches, optional
        The function's first arguments are batches of these, another one at every evaluation.

    Attributes
    ----------
    objective : BoundObjective
        What evaluates the function: with `data`, a `MinibatchObjective`. It may be another after
        `note_calls`.
    pace : float
        Seconds that an iteration is expected to take; 0 if that is not known.
    turn : context manager
        To be held while the function is evaluated: some functions must not run twice at once.
    """

    def __init__(
        self,
        fun: Any,
        jac: Any,
        args: tuple[Any, ...],
        n: int,
        abs_step: Any = None,
        rel_step: Any = None,
        workers: Callable[..., Any] | None = None,
        compile: bool | str = "auto",
        hess: Callable[..., Any] | None = None,
        hessp: Callable[..., Any] | None = None,
        preconditioner: Any = None,
        bounds: NDArray[np.float64] | None = None,
        data: Minibatches | None = None,
    ) -> None:
        self._data = data
        self._further = args
        if data is not None:
            if is_c_function(fun):
                raise TypeError(
                    "`fun` must be a Python or an @njit function if there is `data`, got a C "
                    "function, which takes no further arguments"
                )
            if is_dispatcher(fun):
                args = (*buffers(data), *args)
        self._recipe = (fun, jac, args, n, abs_step, rel_step, workers, compile)
        self._second = (hess, hessp)
        self._preconditioner = preconditioner
        self._bounds = bounds
        self._wrapper: Wrapper | None = None
        self._counts = False
        self.pace = 0.0
        self.turn: AbstractContextManager[Any] = nullcontext()
        self.objective: BoundObjective
        # Where no wrapper has been compiled, the module that does it need not be loaded either.
        wrappers = _loaded_wrappers()
        if compile is not False and wrappers and _obstacle(fun, jac, workers, hess, hessp) is None:
            self._wrapper = self._served(wrappers.known_wrapper(fun, jac, args, hess, hessp))
        if self._wrapper is not None:
            self._compile()
        elif is_c_function(fun):
            self.objective = _from_c(fun, jac, args, hess, hessp, preconditioner, bounds)
        else:
            if is_dispatcher(fun):
                refuse_masked(args)
            compiling = must_compile(fun, jac, workers, compile, hess, hessp)
            self.turn = turn_of(fun, jac, hess, hessp)
            if not (compiling and self._compile()):
                self._counts = compiling is None
                self._set(
                    PythonObjective(
                        fun,
                        jac,
                        args,
                        n,
                        abs_step,
                        rel_step,
                        workers,
                        hess,
                        hessp,
                        preconditioner,
                        bounds,
                    )
                )

    def __reduce__(self) -> tuple[Any, ...]:
        fun, jac, _, *recipe = self._recipe
        rest = (self._preconditioner, self._bounds, self._data)
        state = None
        if isinstance(self.objective, MinibatchObjective):
            state = self.objective.state_dict() | {"epochs": self.objective.epochs}
        arguments = (fun, jac, self._further, *recipe, *self._second, *rest)
        return ObjectiveSource, arguments, state

    def __setstate__(self, state: dict[str, Any]) -> None:
        assert isinstance(self.objective, MinibatchObjective)
        self.objective.load_state_dict(state)
        self.objective.epochs = state["epochs"]

    def note_calls(self, nfev: int, njev: int, nhev: int = 0) -> None:
        """Take note of so many more values, gradients and Hessians; compile if that pays from here
        on."""
        if not self._counts:
            return
        fun, jac = self._recipe[:2]
        total = fun.__dict__[_CALLS] = calls_so_far(fun) + calls_of(jac, nfev, njev) + nhev
        if total >= PAYS_AFTER:
            self._counts = False
            # What does not compile goes on as it is: it has run well so far.
            if is_wrappable(fun, jac, self._recipe[2], *self._second):
                self._compile()

    def note_pace(self, seconds: float) -> None:
        """Take note of what an iteration takes, for this solve and for the next."""
        self.pace = seconds
        if self._wrapper is not None:
            self._wrapper.pace.note(seconds, self._recipe[3], self._size)

    def _compile(self) -> bool:
        """Have compiled code evaluate the function; False if it goes on through the interpreter."""
        fun, jac, args, n, abs_step, rel_step, *_ = self._recipe
        if self._wrapper is None:
            from fastopt.objectives.wrappers import compile_wrapper

            self._wrapper = self._served(compile_wrapper(fun, jac, args, *self._second))
        if self._wrapper is None:
            return False
        if self._wrapper.exclusive:
            self.turn = _ONE_AT_A_TIME
        self._set(
            CompiledObjective(
                self._wrapper,
                args,
                n,
                abs_step,
                rel_step,
                preconditioner=self._preconditioner,
                bounds=self._bounds,
            )
        )
        self._size = size_of(args)
        self.pace = self._wrapper.pace.expected(n, self._size)
        return True

    def _set(self, inner: BoundObjective) -> None:
        """Have `inner` evaluate the function, from the place in the data on where it has got to."""
        if self._data is None:
            self.objective = inner
            return
        before = getattr(self, "objective", None)
        fun = self._recipe[0]
        self.objective = MinibatchObjective(inner, self._data, self._further, is_dispatcher(fun))
        if isinstance(before, MinibatchObjective):
            self.objective.take_over(before)

    def _served(self, wrapper: Wrapper | None) -> Wrapper | None:
        """A wrapper, if it can be served with batches where there are any.

        An array that the function hands to the interpreter may be kept there: those of a stream
        have no owner that compiled code knows.
        """
        streamed = self._data is not None and self._data.stream is not None
        return None if streamed and wrapper and wrapper.layout.tree is None else wrapper


def calls_of(jac: Any, nfev: int, njev: int) -> int:
    """How many calls of the user's functions so many values and gradients are."""
    return nfev + njev if callable(jac) else nfev


def calls_so_far(fun: Any) -> int:
    """How often an @njit function has been called through the interpreter, over all solves."""
    return int(fun.__dict__.get(_CALLS, 0))


def compiled_objective(
    fun: Any,
    jac: Any,
    args: tuple[Any, ...],
    n: int,
    abs_step: Any = None,
    rel_step: Any = None,
    batched: tuple[bool, ...] = (),
    hess: Any = None,
    hessp: Any = None,
    preconditioner: Any = None,
    bounds: NDArray[np.float64] | None = None,
) -> BoundObjective:
    """An objective that runs without the interpreter, for one problem or for a batch.

    With `batched`, the arguments that it marks are arrays whose first axis counts the problems.
    """
    if is_c_function(fun):
        return _from_c(fun, jac, args, hess, hessp, preconditioner, bounds)
    from fastopt.objectives.wrappers import compile_wrapper

    wrapper = compile_wrapper(fun, jac, first_of(args, batched), hess, hessp)
    return CompiledObjective(wrapper, args, n, abs_step, rel_step, batched, preconditioner, bounds)


def first_of(args: tuple[Any, ...], batched: tuple[bool, ...]) -> tuple[Any, ...]:
    """The arguments of a batch's first problem."""
    if not any(batched):
        return args
    return tuple(arg[0] if each else arg for arg, each in zip(args, batched, strict=True))


def must_compile(
    fun: Any, jac: Any, workers: Any, compile: bool | str, hess: Any = None, hessp: Any = None
) -> bool | None:
    """Whether a function is to be compiled: True, False, or None where that is to be seen.

    Raises
    ------
    TypeError
        It is, because the caller says so, and cannot be.
    """
    if is_c_function(fun):
        return True
    obstacle = _obstacle(fun, jac, workers, hess, hessp)
    if obstacle and compile is True:
        raise TypeError(f"{obstacle}; leave the option `compile` out, or pass False")
    if obstacle or compile is False:
        return False
    return True if compile is True else None


def refuse_masked(args: tuple[Any, ...]) -> None:
    """Numba takes a masked array for its data, once it has seen the latter."""
    masked = getattr(sys.modules.get("numpy.ma"), "MaskedArray", None)
    for k, arg in enumerate(args):
        if masked is not None and isinstance(arg, masked):
            raise TypeError(
                f"`args[{k}]` must not be a masked array where `fun` is an @njit function, which "
                "would not see its mask; pass data and mask as two arrays"
            )


def size_of(args: tuple[Any, ...]) -> int:
    """How many numbers the arguments hold, as far as that is easily told."""
    return sum(size_of(arg) if isinstance(arg, tuple) else getattr(arg, "size", 1) for arg in args)


def _loaded_wrappers() -> Any:
    """The module that compiles wrappers, or None before it has been loaded.

    A module is in `sys.modules` as soon as a thread begins to load it. An attribute of its package
    it becomes at the end.
    """
    return vars(sys.modules[__package__]).get("wrappers")


def is_known(
    fun: Any, jac: Any, args: tuple[Any, ...], hess: Any = None, hessp: Any = None
) -> bool:
    """Whether the wrapper of an @njit function for such arguments has been compiled."""
    wrappers = _loaded_wrappers()
    if wrappers is None or _obstacle(fun, jac, None, hess, hessp):
        return False
    return wrappers.known_wrapper(fun, jac, args, hess, hessp) is not None


def turn_of(*functions: Any, released: bool = False) -> AbstractContextManager[Any]:
    """What to hold while functions are evaluated: some must not run twice at once."""
    return _ONE_AT_A_TIME if are_parallel(*functions, released=released) else nullcontext()


def are_parallel(*functions: Any, released: bool = False) -> bool:
    """Whether one of them `is_parallel`."""
    for function in functions:  # noqa: SIM110 - `any` takes twice as long
        if is_parallel(function, released):
            return True
    return False


def is_dispatcher(function: Any) -> bool:
    """Whether it is an @njit function."""
    # Another thread may be loading it, and have come halfway.
    dispatcher = getattr(sys.modules.get("numba.core.registry"), "CPUDispatcher", None)
    return dispatcher is not None and isinstance(function, dispatcher)


def is_parallel(function: Any, released: bool = False) -> bool:
    """Whether a function is known to use Numba's own threads, and may do so from two at once.

    One that holds the GIL may not, unless it is `released` around it. To find out whether another
    one that it calls does takes a millisecond, once.
    """
    if not is_dispatcher(function):
        return False
    options = function.targetoptions
    if released or options.get("nogil"):
        return enters_threads(function)
    return bool(options.get("parallel"))


def is_wrappable(
    fun: Any, jac: Any, args: tuple[Any, ...], hess: Any = None, hessp: Any = None
) -> bool:
    """Whether an @njit function compiles for such arguments; after this it is compiled."""
    from fastopt.objectives.wrappers import wrapper_if_possible

    return wrapper_if_possible(fun, jac, args, hess, hessp) is not None


def _is_mapped(jac: Any, workers: Any) -> bool:
    """Whether the points of differences go through a map of the user's."""
    return workers is not None and isinstance(jac, str) and jac != "inplace"


def _obstacle(fun: Any, jac: Any, workers: Any, hess: Any = None, hessp: Any = None) -> str | None:
    """What keeps a function from being compiled, as the beginning of an error message."""
    if not is_dispatcher(fun):
        return f"`fun` must be an @njit function to be compiled, got {type(fun).__name__}"
    for name, function in (("jac", jac), ("hess", hess), ("hessp", hessp)):
        if callable(function) and not is_dispatcher(function):
            kind = type(function).__name__
            return f"`{name}` must be an @njit function to be compiled, got {kind}"
    if _is_mapped(jac, workers):
        return "`workers` of differences call the function through the interpreter"
    return None


# --- C functions -----------------------------------------------------------------------------


def is_c_function(fun: Any) -> bool:
    """Whether `fun` is a Numba cfunc or a `scipy.LowLevelCallable`."""
    compiled = getattr(sys.modules.get("numba.core.ccallback"), "CFunc", None)
    if compiled is not None and isinstance(fun, compiled):
        return True
    return isinstance(fun, LowLevelCallable)


_C_TYPES = (
    "int (double *, double *, double *, N, void *)",
    ("long", "long long", "int64_t", "Py_ssize_t", "ssize_t", "ptrdiff_t", "intptr_t"),
)


def _from_c(
    fun: Any,
    jac: Any,
    args: tuple[Any, ...],
    hess: Any,
    hessp: Any,
    preconditioner: Any,
    bounds: Any,
) -> BoundObjective:
    for name, function in (("hess", hess), ("hessp", hessp)):
        if function is not None:
            raise TypeError(
                f"`{name}` must be left out when `fun` is a C function, got "
                f"{type(function).__name__}; use an @njit `fun`"
            )
    if jac is not True:
        raise ValueError(
            "`jac` must be True when `fun` is a C function, which computes value and gradient: "
            f"int fun(const double *x, double *value, double *grad, Py_ssize_t n, void *data); "
            f"{'it was left out' if jac == '2-point' else f'got {jac!r}'}"
        )
    if args:
        raise ValueError(
            "`args` must be empty when `fun` is a C function, which gets its data through "
            f"the user_data of a LowLevelCallable; got {len(args)}"
        )
    if not isinstance(fun, LowLevelCallable):
        fun = LowLevelCallable(fun.ctypes)
    template, integers = _C_TYPES
    given = re.sub(r"\bconst\b", "", fun.signature)
    if _squeeze(given) not in {_squeeze(template.replace("N", name)) for name in integers}:
        expected = template.replace("N", "Py_ssize_t")
        raise TypeError(
            f"`fun` must be a C function of the type {expected!r}, got {fun.signature!r}"
        )
    return CFunctionObjective(tuple.__getitem__(fun, 0), fun, preconditioner, bounds)


def _squeeze(signature: str) -> str:
    return "".join(signature.split())
