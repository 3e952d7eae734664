"""What Numba's cache has to know of compiled calls of `minimize`.

Numba keeps a function that was compiled with ``cache=True`` for as long as the file that holds it
is unchanged. What a call of `minimize` puts into it comes from elsewhere: from fastopt's own files,
those of the objective, and the globals that it takes as constants. So a `Freshness` goes into the
cache with the function. When it is taken out again it looks at these, and has Numba compile the
function anew if one has changed.

The code knows the solver by name alone. Importing this module tells LLVM where it is; it is
imported whenever Numba is about to compile or load anything, so it imports little itself.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from llvmlite.binding import add_symbol

from fastopt.core.call_graph import reached_from
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
    # fastopt has its own stamp, and Numba asks for its version by itself.
    reached = reached_from(functions, skip=("fastopt", "numba"))
    paths = {function.__code__.co_filename for function in reached.functions}
    stamps = {path: _stamp(path) for path in paths if Path(path).is_file()}  # no notebook's cells
    values = {place: _digest(value) for place, value in reached.constants.items()}
    reloaded.add(
        Freshness(tuple(sorted(stamps.items())), tuple(sorted(values.items())), _own_stamp())
    )
    return True


class Freshness:
    """What a function was compiled from, as it was then.

    Parameters
    ----------
    stamps : tuple of (str, Stamp)
        The files of the user's functions.
    values : tuple of ((str, str), str)
        The values that they found under names of their own, or of other, modules: digests.
    own : Stamp
        Fastopt's files, all of them together.
    """

    def __init__(
        self,
        stamps: tuple[tuple[str, Stamp], ...],
        values: tuple[tuple[tuple[str, str], str], ...],
        own: Stamp,
    ) -> None:
        self._stamps = stamps
        self._values = values
        self._own = own

    def __call__(self) -> None:
        """What Numba calls before it loads the code; all that is needed has been done by then."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _load, (self._stamps, self._values, self._own)


def _load(stamps: Any, values: Any, own: Stamp) -> Freshness:
    if own != _own_stamp() or any(_stamp(path) != stamp for path, stamp in stamps):
        raise OutdatedCode("a source file has changed since this function was compiled")
    for (module, name), digest in values:
        if _digest(getattr(sys.modules.get(module), name, None)) != digest:
            raise OutdatedCode(f"{module}.{name} has changed since this function was compiled")
    return Freshness(stamps, values, own)


def _stamp(path: str) -> Stamp:
    status = Path(path).stat()
    return status.st_mtime_ns, status.st_size


def _digest(value: Any) -> str:
    """What tells a constant from another; nothing of objects that do not pickle."""
    try:
        return hashlib.sha256(pickle.dumps(value)).hexdigest()
    except Exception:  # an object's own __reduce__ may raise anything
        return ""


@cache
def _own_stamp() -> Stamp:
    files = [*Path(__file__).parents[1].rglob("*.py"), Path(ENTRY_FILE)]
    stamps = [_stamp(str(path)) for path in files]
    return max(time for time, _ in stamps), sum(size for _, size in stamps)
