"""Which objective evaluates a function: the interpreter's or a compiled one.

Owns the choice, and when it changes. Loads Numba only where the user's function is Numba's already.

An @njit function can be called through the interpreter, which costs about a microsecond a call, or
through a wrapper, which costs next to nothing but takes tenths of a second to compile. Who solves
once should not wait for it, who solves for a long time should not go without it, and which of the
two it is shows only as time goes by: so the interpreter starts, and the wrapper is compiled when the
calls have cost as much as it will. Then, whatever comes, no more than twice the least time is spent.
Both give the same bits, so the change may come in the middle of a solve.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from fastopt.objectives.objective import BoundObjective
from fastopt.objectives.python import PythonObjective

if TYPE_CHECKING:
    from fastopt.objectives.compiled import CompiledObjective

__all__ = ["ObjectiveSource", "compilable"]

# After so many calls through the interpreter a wrapper pays: see asv_benchmarks, `startup`.
PAYS_AFTER = 100_000
# The attribute of a dispatcher that counts them, over all solves.
_CALLS = "_fastopt_calls"

# Numba's own threads abort the process when they are entered from two at once.
_ONE_AT_A_TIME = threading.RLock()


class ObjectiveSource:
    """A function with its gradient and arguments, and the objective that evaluates it at present.

    Parameters
    ----------
    fun, jac, args, n, abs_step, rel_step, workers
        As in `PythonObjective`; `fun` may be a Numba cfunc or a `scipy.LowLevelCallable`, too.
    compile : {"auto", True, False}
        Whether an @njit function is called without the interpreter.

    Attributes
    ----------
    objective : BoundObjective
        What evaluates the function. It may be another after `note_calls`.
    interpreted : bool
        Whether that runs in the interpreter: then it needs the GIL, and Ctrl-C reaches it.
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
    ) -> None:
        self._recipe = (fun, jac, args, n, abs_step, rel_step, workers, compile)
        self._counts = False
        self.interpreted = True
        self.objective: BoundObjective
        if is_c_function(fun):
            self.objective = _from_c(fun, jac, args)
            self.interpreted = False
            return
        obstacle = _obstacle(fun, jac, workers)
        if compile is True:
            if obstacle:
                raise TypeError(f"{obstacle}; leave the option `compile` out, or pass False")
            self._compile()
        elif compile == "auto" and not obstacle:
            from fastopt.objectives.wrappers import known_wrapper  # Numba is loaded already

            if known_wrapper(fun, jac, args) is not None:
                self._compile()
            else:
                self._counts = True
        if self.interpreted:
            self.objective = PythonObjective(fun, jac, args, n, abs_step, rel_step, workers)

    def __reduce__(self) -> tuple[Any, ...]:
        return ObjectiveSource, self._recipe

    def note_calls(self, calls: int) -> None:
        """Take note of so many more calls of the function; compile it if that pays from here on."""
        if not self._counts:
            return
        attributes = self._recipe[0].__dict__
        total = attributes[_CALLS] = attributes.get(_CALLS, 0) + calls
        if total >= PAYS_AFTER:
            self._counts = False
            # What does not compile goes on as it is: it has run well so far.
            from numba.core.errors import NumbaError

            try:
                self._compile()
            except (NumbaError, TypeError):
                return

    def turn(self) -> AbstractContextManager[Any]:
        """To be held while the function is evaluated: some functions must not run twice at once."""
        fun, jac = self._recipe[:2]
        if _is_parallel(fun) or _is_parallel(jac):
            return _ONE_AT_A_TIME
        return nullcontext()

    def _compile(self) -> None:
        fun, jac, args, n, abs_step, rel_step, *_ = self._recipe
        self.objective = compiled_objective(fun, jac, args, n, abs_step, rel_step)
        self.interpreted = False


def compiled_objective(
    fun: Any,
    jac: Any,
    args: tuple[Any, ...],
    n: int,
    abs_step: Any = None,
    rel_step: Any = None,
    batched: tuple[bool, ...] = (),
) -> CompiledObjective:
    """An objective that runs without the interpreter, for one problem or for a batch.

    With `batched`, the arguments that it marks are arrays whose first axis counts the problems.
    """
    from fastopt.objectives.compiled import CompiledObjective
    from fastopt.objectives.packing import layout_of
    from fastopt.objectives.wrappers import compile_wrapper

    first = args
    if any(batched):
        first = tuple(
            arg[0] if each else arg for arg, each in zip(args, batched, strict=True)
        )
    wrapper = compile_wrapper(fun, jac, first)
    layout = layout_of(wrapper.arguments)
    return CompiledObjective(wrapper, layout, args, n, abs_step, rel_step, batched)


def compilable(fun: Any, jac: Any, workers: Any = None) -> bool:
    """Whether `fun` and its gradient can be evaluated without the interpreter."""
    return _obstacle(fun, jac, workers) is None


def _is_dispatcher(function: Any) -> bool:
    registry = sys.modules.get("numba.core.registry")
    return registry is not None and isinstance(function, registry.CPUDispatcher)


def _is_parallel(function: Any) -> bool:
    return _is_dispatcher(function) and bool(function.targetoptions.get("parallel"))


def _obstacle(fun: Any, jac: Any, workers: Any) -> str | None:
    """What keeps a function from being compiled, as the beginning of an error message."""
    if not _is_dispatcher(fun):
        return f"`fun` must be an @njit function to be compiled, got {type(fun).__name__}"
    if callable(jac) and not _is_dispatcher(jac):
        return f"`jac` must be an @njit function to be compiled, got {type(jac).__name__}"
    if workers is not None:
        return "`workers` of differences call the function through the interpreter"
    return None


# --- C functions -----------------------------------------------------------------------------


def is_c_function(fun: Any) -> bool:
    """Whether `fun` is a Numba cfunc or a `scipy.LowLevelCallable`."""
    ccallback = sys.modules.get("numba.core.ccallback")
    if ccallback is not None and isinstance(fun, ccallback.CFunc):
        return True
    from scipy import LowLevelCallable

    return isinstance(fun, LowLevelCallable)


_C_TYPES = (
    "int (double *, double *, double *, N, void *)",
    ("long", "long long", "int64_t", "Py_ssize_t", "ssize_t", "ptrdiff_t", "intptr_t"),
)


def _from_c(fun: Any, jac: Any, args: tuple[Any, ...]) -> BoundObjective:
    from fastopt.objectives.compiled import CFunctionObjective

    if jac is not True:
        raise ValueError(
            "`jac` must be True when `fun` is a C function, which computes value and gradient; "
            f"got {jac!r}"
        )
    if args:
        raise ValueError(
            "`args` must be empty when `fun` is a C function, which gets its data through "
            f"the user_data of a LowLevelCallable; got {len(args)}"
        )
    from scipy import LowLevelCallable

    if not isinstance(fun, LowLevelCallable):
        fun = LowLevelCallable(fun.ctypes)
    template, integers = _C_TYPES
    given = re.sub(r"\bconst\b", "", fun.signature)
    if _squeeze(given) not in {_squeeze(template.replace("N", name)) for name in integers}:
        expected = template.replace("N", "Py_ssize_t")
        raise TypeError(
            f"`fun` must be a C function of the type {expected!r}, got {fun.signature!r}"
        )
    return CFunctionObjective(tuple.__getitem__(fun, 0), fun)


def _squeeze(signature: str) -> str:
    return "".join(signature.split())
