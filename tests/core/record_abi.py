"""Writes `abi.txt`: what other compiled code may rely on, as `test_abi.py` compares it.

    python -m tests.core.record_abi

First the declarations of `fastopt/core/abi.pxd`, which other projects cimport, without comments;
then the C functions that extension modules hand to one another, whose types are compared when they
are loaded: nobody else's, but a module of another version is refused for them.
"""

import re
from importlib import import_module
from pathlib import Path

import fastopt

PLACE = Path(__file__).with_name("abi.txt")
PACKAGE = Path(fastopt.__file__).parent


def describe() -> str:
    return "\n\n".join(["fastopt.core.abi\n" + declarations(), *exported_functions()]) + "\n"


def declarations() -> str:
    """`abi.pxd`, a line for each of its declarations and of the members of structs and enums."""
    source = (PACKAGE / "core" / "abi.pxd").read_text(encoding="utf-8")
    source = re.sub(r'^""".*?"""\n', "", source, flags=re.DOTALL)
    source = re.sub(r"[ ]*#.*", "", source)
    source = re.sub(r",\s+", ", ", source)
    source = re.sub(r"\)\s+noexcept", ") noexcept", source)
    return "\n".join(f"    {line}" for line in source.splitlines() if line)


def exported_functions() -> list[str]:
    """A paragraph for each extension module that has any."""
    told = []
    for path in sorted(PACKAGE.rglob("*.pxd")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        try:
            module = import_module(name)
        except ModuleNotFoundError:  # declarations without a module
            continue
        functions = getattr(module, "__pyx_capi__", {})
        if functions:
            told.append("\n".join([name, *map(described, sorted(functions.items()))]))
    return told


def described(function: tuple[str, object]) -> str:
    """A function's name and its type, which is the name of its capsule."""
    name, capsule = function
    found = re.search(r'"(.*)"', repr(capsule))
    assert found
    return f"    {name}: {re.sub(r'__pyx_[a-z]+_(?=[0-9])([0-9a-zA-Z_]+)', own_name, found[1])}"


def own_name(mangled: re.Match[str]) -> str:
    """`Pair` of ``7fastopt_4core_Pair``: before it, modules with their lengths."""
    name = mangled[1]
    while length := re.match("[0-9]+", name):
        name = name[length.end() + int(length[0]) + 1 :]
    return name


if __name__ == "__main__":
    PLACE.write_text(describe(), encoding="utf-8")
