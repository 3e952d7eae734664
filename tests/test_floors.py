"""The floors of the package: which module may import which.

A module imports only from floors below its own. Inside one folder imports are free but acyclic;
between two folders of one floor there are none. Imports and cimports count alike, wherever they
stand: at the top, inside a function, or under ``TYPE_CHECKING``.

The checker below reads the sources and runs nothing, so it needs no compiled extension. The
synthetic trees at the end show that it catches each kind of violation.
"""

import ast
import graphlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "fastopt"

# First name below `fastopt` -> floor. A new folder gets its floor here, on purpose.
FLOORS = {
    "_version": -1,  # a constant; anyone may read it
    "core": 0,
    "device": 1,
    "rules": 2,
    "schedules": 2,
    "objectives": 3,
    "solvers": 4,
    "kernels": 4,
    "nn": 5,
    "losses": 5,
    "interface": 6,
    "training": 6,
    "distributed": 6,
    "testing": 7,
    "adapters": 7,
    "plotting": 7,
    "commands": 8,  # show and measure all of it
    "__main__": 9,  # starts the commands
}
# `fastopt/__init__.py` gathers what users call: it may import anything, and only what is
# above, which uses fastopt as a user does, may import it.
FRONT_DOOR = 6.5

SUFFIXES = (".py", ".pyi", ".pyx", ".pxd", ".pxi")


def sources_by_module(package: Path) -> dict[str, list[Path]]:
    """Dotted module name -> its files: a .pyx and its .pxd are one module."""
    found: dict[str, list[Path]] = {}
    for path in sorted(package.rglob("*")):
        if path.suffix in SUFFIXES:
            parts = path.relative_to(package.parent).with_suffix("").parts
            if parts[-1] == "__init__":
                parts = parts[:-1]
            found.setdefault(".".join(parts), []).append(path)
    return found


def imported_modules(path: Path, package: Path, known: set[str]) -> set[str]:
    """Modules of the package that the file at `path` imports, cimports or includes."""
    text = path.read_text(encoding="utf-8")
    is_python = path.suffix in (".py", ".pyi")
    statements = python_imports(text) if is_python else cython_imports(text)
    # A relative import counts its dots from the folder that holds the file.
    folder = path.parent.relative_to(package.parent).parts

    modules = set()
    for base, names in statements:
        dots = len(base) - len(base.lstrip("."))
        if dots:
            anchor = ".".join(folder[: len(folder) - dots + 1])
            base = ".".join(filter(None, [anchor, base.lstrip(".")]))
        if base.partition(".")[0] != package.name:
            continue
        # `from package.core import abi` names a module only where there is such a file.
        submodules = {f"{base}.{name}" for name in names} & known
        modules |= submodules
        if not names or {f"{base}.{name}" for name in names} - submodules:
            modules.add(base)

    if not is_python:
        for name in re.findall(r"^[ \t]*include\s+[\"'](.+?)[\"']", text, re.MULTILINE):
            target = (path.parent / name).resolve().with_suffix("")
            if target.is_relative_to(package):
                modules.add(".".join(target.relative_to(package.parent).parts))
    return modules


def python_imports(text: str) -> Iterator[tuple[str, list[str]]]:
    """(module, imported names) of each import; no names where the module itself is imported."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base, [alias.name for alias in node.names]
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func)
            if called in ("importlib.import_module", "import_module", "__import__"):
                yield str(node.args[0].value), []


STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"""'
    r"|'''(?:\\.|[^\\])*?'''"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*'"
    r"|#[^\n]*",
    re.DOTALL,
)
FROM_IMPORT = re.compile(
    r"^[ \t]*from\s+(?P<base>\.*[\w.]*)\s+c?import\s*(?:\((?P<many>[^)]*)\)|(?P<few>[^\n;]*))",
    re.MULTILINE,
)
PLAIN_IMPORT = re.compile(r"^[ \t]*c?import\s+(?P<modules>[\w., \t]+)", re.MULTILINE)


def cython_imports(text: str) -> Iterator[tuple[str, list[str]]]:
    """As `python_imports`, read from the text: Cython is not Python's grammar."""
    text = STRING_OR_COMMENT.sub(" ", text).replace("\\\n", " ")
    for match in FROM_IMPORT.finditer(text):
        names = (match["many"] or match["few"] or "").split(",")
        yield match["base"], [name.split()[0] for name in names if name.strip()]
    for match in PLAIN_IMPORT.finditer(text):
        yield from ((name.split()[0], []) for name in match["modules"].split(",") if name.strip())


def violations(package: Path) -> list[str]:
    """One sentence for each import that the floors forbid, and one for each cycle in a folder."""
    sources = sources_by_module(package)
    imports = {
        module: set().union(*(imported_modules(path, package, set(sources)) for path in paths))
        - {module}
        for module, paths in sources.items()
    }
    del imports[package.name]

    def folder(module: str) -> str:
        return module.split(".")[1] if "." in module else ""

    def floor(module: str) -> float | None:
        return FLOORS.get(folder(module)) if "." in module else FRONT_DOOR

    found = [f"{module} stands on no floor" for module in imports if floor(module) is None]
    within_folder: dict[str, dict[str, set[str]]] = {}
    for module, targets in imports.items():
        own = floor(module)
        for target in sorted(targets):
            below = floor(target)
            if target not in sources:
                found.append(f"{module} imports {target}, which does not exist")
            elif own is None or below is None:
                continue
            elif folder(module) == folder(target):
                within_folder.setdefault(folder(module), {}).setdefault(module, set()).add(target)
            elif below > own:
                found.append(f"{module} (floor {own}) imports {target} above it")
            elif below == own:
                found.append(f"{module} imports its sibling {target} on floor {own}")
    for graph in within_folder.values():
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as error:
            found.append(f"cycle: {' -> '.join(reversed(error.args[1]))}")
    return found


@pytest.mark.checkout
def test_package_keeps_to_its_floors():
    assert violations(PACKAGE) == []


@pytest.mark.checkout
def test_checker_sees_the_imports_and_cimports_of_the_package():
    sources = sources_by_module(PACKAGE)
    assert {"fastopt", "fastopt.core.abi", "fastopt.interface.minimize"} <= set(sources)
    (front_door,) = sources["fastopt"]
    assert "fastopt.interface.minimize" in imported_modules(front_door, PACKAGE, set(sources))
    cimports = set()
    for module, paths in sources.items():
        if module.startswith("fastopt.solvers."):
            for path in paths:
                cimports |= imported_modules(path, PACKAGE, set(sources))
    assert "fastopt.core.abi" in cimports


def write_tree(root: Path, files: dict[str, str]) -> Path:
    package = root / "fastopt"
    for name, text in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return package


ALLOWED = {
    "a floor below": {
        "core/abi.py": "",
        "solvers/state.py": "from fastopt.core.abi import Status",
    },
    "a floor below, relative, as a module": {
        "core/abi.py": "",
        "solvers/state.py": "from ..core import abi",
    },
    "a sibling module in the same folder": {
        "solvers/memory.pxd": "",
        "solvers/lbfgs.pyx": "from .memory cimport push",
    },
    "a .pyx and its own .pxd": {
        "solvers/lbfgs.pxd": "from fastopt.solvers.lbfgs cimport self_reference",
        "solvers/lbfgs.pyx": "cimport fastopt.solvers.lbfgs",
    },
    "the front door imports every floor": {
        "__init__.py": "from fastopt.interface import minimize\nimport fastopt.plotting",
        "interface/minimize.py": "",
        "plotting.py": "",
    },
    "the top floor uses the front door": {"__main__.py": "from fastopt import minimize"},
    "the version": {"_version.py": "", "core/abi.py": "from fastopt._version import __version__"},
    "other packages, and names that only begin alike": {
        "core/abi.py": "import numpy, fastoptimiser\nfrom scipy import optimize",
        "core/vector.pyx": "from libc.math cimport sqrt\nimport fastoptimiser\ncimport numpy as np",
    },
    "words in Cython strings and comments": {
        "core/vector.pyx": '"""\nfrom fastopt.solvers cimport x\n"""\n# cimport fastopt.nn\n',
        "solvers/x.pxd": "",
    },
}

FORBIDDEN = {
    "a floor above": (
        {"core/abi.py": "from fastopt.solvers.state import advance", "solvers/state.py": ""},
        "fastopt.core.abi (floor 0) imports fastopt.solvers.state above it",
    ),
    "a floor above, relative, as a module": (
        {"core/abi.py": "from ..solvers import state", "solvers/state.py": ""},
        "fastopt.core.abi (floor 0) imports fastopt.solvers.state above it",
    ),
    "a floor above, from a package's __init__": (
        {"core/__init__.py": "from ..rules import table", "rules/table.py": ""},
        "fastopt.core (floor 0) imports fastopt.rules.table above it",
    ),
    "a floor above, inside a function": (
        {"core/abi.py": "def f():\n    import fastopt.rules.table", "rules/table.py": ""},
        "fastopt.core.abi (floor 0) imports fastopt.rules.table above it",
    ),
    "a floor above, for type checkers only": (
        {
            "core/abi.py": "if TYPE_CHECKING:\n    from fastopt.rules.table import Rule",
            "rules/table.py": "",
        },
        "fastopt.core.abi (floor 0) imports fastopt.rules.table above it",
    ),
    "a floor above, through importlib": (
        {"core/abi.py": "importlib.import_module('fastopt.rules.table')", "rules/table.py": ""},
        "fastopt.core.abi (floor 0) imports fastopt.rules.table above it",
    ),
    "a floor above, in a stub": (
        {"core/abi.pyi": "import fastopt.rules.table", "rules/table.py": ""},
        "fastopt.core.abi (floor 0) imports fastopt.rules.table above it",
    ),
    "a cimport from above": (
        {"core/vector.pxd": "from fastopt.solvers.x cimport y", "solvers/x.pxd": ""},
        "fastopt.core.vector (floor 0) imports fastopt.solvers.x above it",
    ),
    "a cimport from above over several lines": (
        {
            "core/vector.pyx": "from fastopt.solvers cimport (  # why\n    y as z,\n)",
            "solvers/y.pxd": "",
        },
        "fastopt.core.vector (floor 0) imports fastopt.solvers.y above it",
    ),
    "a cimport from above, indented, with a backslash": (
        {
            "core/vector.pyx": "def f():\n    from ..solvers.x \\\n        cimport y",
            "solvers/x.pxd": "",
        },
        "fastopt.core.vector (floor 0) imports fastopt.solvers.x above it",
    ),
    "a plain cimport from above": (
        {"core/vector.pyx": "cimport numpy, fastopt.solvers.x as x", "solvers/x.pxd": ""},
        "fastopt.core.vector (floor 0) imports fastopt.solvers.x above it",
    ),
    "an include from above": (
        {"core/vector.pyx": 'include "../solvers/loops.pxi"', "solvers/loops.pxi": ""},
        "fastopt.core.vector (floor 0) imports fastopt.solvers.loops above it",
    ),
    "a folder on the same floor": (
        {"kernels/relu.py": "from fastopt.solvers import state", "solvers/state.py": ""},
        "fastopt.kernels.relu imports its sibling fastopt.solvers.state on floor 4",
    ),
    "a module beside the folders on floor 7": (
        {"plotting.py": "import fastopt.testing", "testing/__init__.py": ""},
        "fastopt.plotting imports its sibling fastopt.testing on floor 7",
    ),
    "the front door, from inside": (
        {"interface/solver.py": "import fastopt"},
        "fastopt.interface.solver (floor 6) imports fastopt above it",
    ),
    "the front door by a dot": (
        {"interface/solver.py": "from .. import minimize"},
        "fastopt.interface.solver (floor 6) imports fastopt above it",
    ),
    "a cycle in a folder": (
        {
            "solvers/a.py": "from . import b",
            "solvers/b.pyx": "from fastopt.solvers.c cimport f",
            "solvers/c.pxd": "cimport fastopt.solvers.a",
        },
        "cycle: ",
    ),
    "a folder without a floor": (
        {"helpers/text.py": ""},
        "fastopt.helpers.text stands on no floor",
    ),
    "a module that is not there": (
        {"core/abi.py": "from fastopt.utils import text"},
        "fastopt.core.abi imports fastopt.utils, which does not exist",
    ),
}


@pytest.mark.parametrize("files", ALLOWED.values(), ids=ALLOWED)
def test_checker_allows(files, tmp_path):
    assert violations(write_tree(tmp_path, files)) == []


@pytest.mark.parametrize(("files", "expected"), FORBIDDEN.values(), ids=FORBIDDEN)
def test_checker_catches(files, expected, tmp_path):
    (found,) = violations(write_tree(tmp_path, files)) or [""]
    assert found.startswith(expected)
