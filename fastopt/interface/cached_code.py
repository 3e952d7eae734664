"""What Numba's cache has to know of compiled calls of `minimize`.

Numba keeps a function that was compiled with ``cache=True`` for as long as the file that holds it
is unchanged. What a call of `minimize` puts into it comes from other files: fastopt's own, and
those of the objective. So a `Freshness` goes into the cache with the function. When it is taken out
again it looks at these files, and has Numba compile the function anew if one has changed.

The code knows the solver by name alone. Importing this module tells LLVM where it is; it is
imported whenever Numba is about to compile or load anything, so it imports little itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from llvmlite.binding import add_symbol

from fastopt.solvers.entry import ADDRESS, SYMBOL
from fastopt.solvers.entry import __file__ as ENTRY_FILE

__all__ = ["OutdatedCode", "keep_fresh"]

add_symbol(SYMBOL, ADDRESS)

# When a file was changed, and its size: Numba's own idea of whether a file is the same.
Stamp = tuple[int, int]


class OutdatedCode(OSError):
    """What a function in Numba's cache was made from has changed.

    An OSError, because Numba takes that for a cache file that has gone, and compiles.
    """


def keep_fresh(context: Any, functions: Iterable[Any]) -> bool:
    """Have the function that is being compiled kept in Numba's cache with its `Freshness`.

    Returns whether this version of Numba can do so; if not, the function must not be cached.
    """
    reloaded = getattr(context.active_code_library, "_reload_init", None)
    if reloaded is None:
        return False
    stamps = {path: _stamp(path) for path in _sources(functions)}
    reloaded.add(Freshness(tuple(sorted(stamps.items())), _own_stamp()))
    return True


class Freshness:
    """The files that a function was compiled from, as they were then.

    Parameters
    ----------
    stamps : tuple of (str, Stamp)
        Those of the user's functions.
    own : Stamp
        Fastopt's, all of them together.
    """

    def __init__(self, stamps: tuple[tuple[str, Stamp], ...], own: Stamp) -> None:
        self._stamps = stamps
        self._own = own

    def __call__(self) -> None:
        """What Numba calls before it loads the code; all that is needed has been done by then."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self._stamps, self._own)


def _load(stamps: tuple[tuple[str, Stamp], ...], own: Stamp) -> Freshness:
    if own != _own_stamp() or any(_stamp(path) != stamp for path, stamp in stamps):
        raise OutdatedCode("a source file has changed since this function was compiled")
    return Freshness(stamps, own)


def _stamp(path: str) -> Stamp:
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size


@cache
def _own_stamp() -> Stamp:
    files = [*Path(__file__).parents[1].rglob("*.py"), Path(ENTRY_FILE)]
    stamps = [_stamp(str(path)) for path in files]
    return max(time for time, _ in stamps), sum(size for _, size in stamps)


def _sources(functions: Iterable[Any]) -> set[str]:
    """The files that hold `functions` and all functions that these call by name."""
    pending, seen, paths = list(functions), set(), set()
    while pending:
        function = pending.pop()
        function = getattr(function, "py_func", function)  # a dispatcher's
        if not isinstance(function, FunctionType) or function in seen:
            continue
        if str(function.__module__).partition(".")[0] in ("fastopt", "numba"):
            continue  # fastopt has its own stamp, and Numba asks for its version by itself
        seen.add(function)
        path = function.__code__.co_filename
        if Path(path).is_file():  # and not a notebook's cell
            paths.add(path)
        names = function.__code__.co_names
        named = [function.__globals__[name] for name in names if name in function.__globals__]
        pending += named
        for module in named:
            if isinstance(module, ModuleType):
                found = [getattr(module, name, None) for name in names]
                pending += [each for each in found if hasattr(each, "py_func")]
        pending += [cell.cell_contents for cell in function.__closure__ or ()]
    return paths
