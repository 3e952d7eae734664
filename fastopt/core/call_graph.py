"""What functions refer to by name: other functions, and values that compiled code has as constants.

Read off their byte code, which runs nothing. Knows nothing of Numba but that its dispatchers have a
`py_func`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

__all__ = ["Reached", "reached_from"]


class Reached(NamedTuple):
    """What a call may come to: functions, and by (module, name) values that are none."""

    functions: set[FunctionType]
    constants: dict[tuple[str, str], Any]


def reached_from(functions: Iterable[Any], skip: tuple[str, ...] = ("numba",)) -> Reached:
    """All that functions, and what these call, refer to by name; themselves included.

    Parameters
    ----------
    functions : iterable of callable
        Python functions or dispatchers; anything else is passed over.
    skip : tuple of str
        Top-level packages whose functions are passed over as well.

    Returns
    -------
    Reached

    Examples
    --------
    >>> sorted(f.__name__ for f in reached_from([reached_from]).functions)[:2]
    ['_codes', '_named']
    """
    pending = list(functions)
    reached = Reached(set(), {})
    while pending:
        function = pending.pop()
        function = getattr(function, "py_func", function)
        if not isinstance(function, FunctionType) or function in reached.functions:
            continue
        if str(function.__module__).partition(".")[0] in skip:
            continue
        reached.functions.add(function)
        for place, value in _named(function):
            if callable(value):
                pending.append(value)
            elif not isinstance(value, ModuleType):
                reached.constants[place] = value
        pending += [cell.cell_contents for cell in function.__closure__ or ()]
    return reached


def _named(function: FunctionType) -> Iterator[tuple[tuple[str, str], Any]]:
    """The globals that a function names, and what it takes from modules; where, and what it is."""
    names = {name for code in _codes(function.__code__) for name in code.co_names}
    modules = []
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        yield (str(function.__module__), name), value
        if isinstance(value, ModuleType):
            modules.append(value)
    for module in modules:
        for name in names & vars(module).keys():
            value = vars(module)[name]
            # Of the functions of a module, such as NumPy's, only jitted ones are compiled in.
            if hasattr(value, "py_func") or not callable(value):
                yield (module.__name__, name), value


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A function's code and that of the functions and comprehensions within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
