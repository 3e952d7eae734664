"""What the machine code of an @njit function reaches, itself or deeper down.

Numba does not say; the names of the C functions that the code calls do. They are looked up in the
module that Numba links into callers, which holds all that the function calls, and which Numba's
cache holds as well. Imports no Numba: who has such a function has it loaded.
"""

from __future__ import annotations

from typing import Any

__all__ = ["calls_interpreter", "code_of", "enters_threads"]

# The attribute of a dispatcher that holds what was found: by symbol, with the code that was read.
_ATTRIBUTE = "_fastopt_reaches"
# Around each function Numba puts two that can be called from C and from the interpreter. They take
# the GIL for reasons of their own.
_AROUND = ("cfunc.", "cpython.")


def calls_interpreter(function: Any) -> bool:
    """Whether an @njit function goes back to the interpreter (``objmode``), as far as compiled."""
    return _reaches(function, "numba_gil_ensure")


def enters_threads(function: Any) -> bool:
    """Whether an @njit function enters Numba's own threads (``prange``), as far as compiled."""
    return bool(function.targetoptions.get("parallel")) or _reaches(function, "numba_parallel_for")


def code_of(function: Any) -> tuple[Any, ...]:
    """What an @njit function has been compiled to so far, a result for each type of arguments."""
    # Not by the OrderedDict's own iterator, which compares keys and so can lose its turn to a
    # thread that compiles.
    return tuple(dict.values(function.overloads))


def _reaches(function: Any, symbol: str) -> bool:
    code = code_of(function)
    known = function.__dict__.setdefault(_ATTRIBUTE, {})
    read, found = known.get(symbol, ((), False))
    if len(read) != len(code) or any(a is not b for a, b in zip(read, code, strict=True)):
        found = any(_refers_to(each.library, symbol) for each in code)
        known[symbol] = code, found
    return bool(found)


def _refers_to(library: Any, symbol: str) -> bool:
    return any(
        symbol in str(part)
        for part in library._get_module_for_linking().functions
        if not part.is_declaration and not part.name.startswith(_AROUND)
    )
