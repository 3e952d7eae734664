"""The Numba decorators of fastopt, each flag with its reason.

Owns how functions are compiled and where their machine code is kept. Knows nothing of what they
compute. Importing this module imports Numba, so nothing that ``import fastopt`` reaches may.

Two flags are used nowhere. ``fastmath`` licenses the compiler to drop checks for NaN and to
reorder sums, so that results would depend on the machine. ``parallel`` brings in a Numba threading
layer, and the default one aborts the process when it is entered from two threads.
"""

from __future__ import annotations

import ctypes
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.typing.ctypes_utils import to_ctypes
from numba.extending import register_jitable

from fastopt.core.call_graph import reached_from

_Function = TypeVar("_Function", bound=Callable[..., Any])


def RULE(function: _Function) -> _Function:
    """Make a plain Python function callable from ``@njit`` code, and return it unchanged.

    Because it stays a plain function, it can be called from Python with the same result, is
    pickled by reference, and can be given to another compiler.

    Compiled with ``error_model="numpy"``: a division by zero gives inf or nan. The default checks
    every divisor in order to raise ZeroDivisionError, and that branch keeps the loop around the
    function from being vectorised.

    Compiled with ``forceinline=True``: the compiler sees the function and the loop around it as
    one. Above a size of its own choosing it would call the function for each entry instead, and a
    loop that calls is not vectorised.

    Parameters
    ----------
    function : callable
        A function that Numba can compile. If float32 arguments are to stay float32 it may hold no
        numeric literal, not even an integer: both promote to float64.

    Returns
    -------
    callable
        `function` itself.

    Examples
    --------
    >>> from numba import njit
    >>> @RULE
    ... def halve(x, two):
    ...     return x / two
    >>> halve(3.0, 2.0)
    1.5
    >>> @njit
    ... def quarter(x):
    ...     return halve(halve(x, 2.0), 2.0)
    >>> quarter(3.0)
    0.75
    """
    register_jitable(error_model="numpy", forceinline=True)(function)
    return function


def compile_step(function: Callable[..., Any], *parts: Callable[..., Any]) -> Any:
    """Compile a function over arrays for callers in Python and in ``@njit`` code.

    ``nogil=True`` because a step reads and writes arrays alone: other threads may run meanwhile.
    ``cache=True`` because compiling takes 0.2 to 0.5 s and loading a few milliseconds.

    Parameters
    ----------
    function : callable
        A closure over importable functions and numbers. (A closure over Numba dispatchers would
        never be found in the cache again: each carries an identity drawn at random.)
    *parts : callable
        The functions that `function` was made from, see :func:`own_cache_file`.

    Returns
    -------
    numba.core.dispatcher.Dispatcher
        Compiled for each combination of argument types at its first call.
    """
    own_cache_file(function, *parts)
    return _cached(numba.njit, function, nogil=True)


def compile_named(function: Callable[..., Any]) -> Any:
    """Compile a function of a module, as a decorator: as `compile_step` does, and pickled by name.

    Numba pickles a dispatcher with its source, and what comes out in another process is compiled
    there once more. One that stands in a module under its own name is found there, with its cache.

    Parameters
    ----------
    function : callable
        A function at the top level of a module.

    Returns
    -------
    numba.core.dispatcher.Dispatcher
        Compiled for each combination of argument types at its first call.
    """
    if numba.config.DISABLE_JIT:  # set at import, from a table
        return function
    compiled = compile_step(function)
    # What pickle asks an object for; a string is the name of a global.
    compiled.__reduce_ex__ = lambda protocol: function.__name__
    return compiled


def compile_c_function(
    signature: Any, function: Callable[..., Any], *parts: Callable[..., Any]
) -> Any:
    """Compile a function to a C function, now.

    ``cache=True`` for the same reason as in :func:`compile_step`. A C function needs no GIL and
    cannot raise: an exception in it is printed and dropped.

    Under NUMBA_DISABLE_JIT=1 it calls `function` in the interpreter, with ctypes pointers and with
    the GIL, so that a debugger or a coverage tool sees it.

    Parameters
    ----------
    signature : Numba signature
        For example ``numba.types.void(numba.types.CPointer(numba.float64), numba.int64)``.
    function : callable
        As in :func:`compile_step`.
    *parts : callable
        As in :func:`compile_step`.

    Returns
    -------
    numba.core.ccallback.CFunc
        Its ``address`` is valid for as long as the object lives.
    """
    if numba.config.DISABLE_JIT:  # set at import, from a table
        return _InterpretedCFunction(signature, function)
    own_cache_file(function, *parts)
    return _cached(lambda **flags: numba.cfunc(signature, **flags), function)


def own_cache_file(function: Callable[..., Any], *parts: Callable[..., Any]) -> None:
    """Give `function` a file in Numba's cache that no other function and no other source shares.

    Numba names the file after the function's qualified name and first line, and trusts it for as
    long as the file that holds those lines is unchanged. Closures that one maker returns would
    share a file, where two processes that save at once can leave one rule's code under another's
    key; and an edit to a function that the closure calls, in another file, would go unnoticed. So
    the qualified name is extended by the names of `parts` and by a digest of the sources.

    Parameters
    ----------
    function : callable
        Its ``__qualname__`` is changed.
    *parts : callable
        The functions that make it different from its siblings.

    Examples
    --------
    >>> def make_step(rule):
    ...     def step(x):
    ...         return rule(x)
    ...     return step
    >>> step = make_step(own_cache_file)
    >>> own_cache_file(step, own_cache_file)
    >>> step.__qualname__.rpartition("-")[0]
    'make_step.<locals>.step-own_cache_file'
    """
    names = "-".join(part.__name__ for part in parts)
    # RULE stands for this file, whose flags are part of what was compiled.
    digest = source_digest(function, RULE, *parts)
    function.__qualname__ = f"{function.__qualname__}-{names}-{digest[:16]}"


def source_digest(*functions: Callable[..., Any]) -> str:
    """SHA-256 of the files that hold `functions` and all functions that these call by name.

    A function reached only through an object is not followed, nor are Numba's own, whose version
    the cache checks. Where a file cannot be read, the byte code stands for it.

    Parameters
    ----------
    *functions : callable
        Plain Python functions.

    Returns
    -------
    str
        64 hexadecimal digits.

    Examples
    --------
    >>> source_digest(RULE) == source_digest(_cached)     # in the same file
    True
    """
    contents: set[bytes] = set()
    for function in reached_from(functions).functions:
        try:
            contents.add(Path(inspect.getfile(function)).read_bytes())
        except (OSError, TypeError):
            contents.add(function.__code__.co_code + repr(function.__code__.co_consts).encode())
    # Sorted, since the digest must not depend on the order in which the functions were met.
    digests = sorted(hashlib.sha256(content).digest() for content in contents)
    return hashlib.sha256(b"".join(digests)).hexdigest()


class _InterpretedCFunction:
    """A Python function behind a C function pointer, with the part of CFunc's interface we use."""

    def __init__(self, signature: Any, function: Callable[..., Any]) -> None:
        to_c: Any = to_ctypes
        types = [to_c(type_) for type_ in (signature.return_type, *signature.args)]
        self.ctypes = ctypes.CFUNCTYPE(*types)(function)
        self.address = ctypes.cast(self.ctypes, ctypes.c_void_p).value


def _cached(decorator: Callable[..., Any], function: Callable[..., Any], **flags: Any) -> Any:
    """Compile with ``cache=True``; where no folder can be written to, without."""
    try:
        return decorator(cache=True, **flags)(function)
    except (RuntimeError, OSError):
        # Numba's answer to a read-only installation whose user has no home folder, or a full disk.
        return decorator(**flags)(function)
