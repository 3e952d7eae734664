"""A user's type checker: fastopt is typed where it is installed, and strict about its use."""

import os
import subprocess
import sys
from importlib import import_module, resources
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastopt

PACKAGE = Path(fastopt.__file__).parent
USAGE = Path(__file__).with_name("usage.py")


def check_types(program, folder):
    """What mypy --strict says of a program, and whether it is content."""
    environment = {**os.environ, "MYPY_CACHE_DIR": str(folder / "cache")}
    if PACKAGE.parent.name != "site-packages":  # a checkout, which mypy is to look at and no other
        environment["MYPYPATH"] = str(PACKAGE.parent)
    mypy = [sys.executable, "-m", "mypy", "--strict"]
    command = [*mypy, "--config-file=", "--follow-imports=silent", str(program)]
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return run.stdout + run.stderr, run.returncode == 0


@pytest.mark.skipif(find_spec("mypy") is None, reason="needs mypy")
def test_a_strict_user_of_the_public_names_is_content_and_a_wrong_call_is_found(tmp_path):
    said, content = check_types(USAGE, tmp_path)
    assert content, said
    wrong = tmp_path / "wrong.py"
    wrong.write_text('import fastopt\nfastopt.minimize(abs, 0.0, metod="bfgs")\n', encoding="utf-8")
    said, content = check_types(wrong, tmp_path)
    assert not content
    assert 'Unexpected keyword argument "metod" for "minimize"' in said


def test_the_mark_of_a_typed_package_and_the_stubs_are_installed():
    assert resources.files("fastopt").joinpath("py.typed").is_file()
    compiled = {
        path.with_name(path.name.partition(".")[0])
        for suffix in ("so", "pyd")
        for path in PACKAGE.rglob(f"*.{suffix}")
    }
    assert compiled
    # A module whose names are all C functions has nothing to tell.
    untold = {path for path in compiled if not path.with_suffix(".pyi").exists()}
    for path in untold:
        name = ".".join(path.relative_to(PACKAGE.parent).parts)
        module = import_module(name)
        assert not [
            key
            for key, value in vars(module).items()
            if not key.startswith("_") and getattr(value, "__module__", "") == name
        ], f"{name} has names for Python, and no stub"
