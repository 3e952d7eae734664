"""What other compiled code may rely on: the declarations, and a package that uses them."""

import difflib
import os
import shutil
import subprocess
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import pytest

from .record_abi import PACKAGE, PLACE, describe

EXAMPLE = Path(__file__).with_name("cython_example")


def test_what_other_compiled_code_relies_on_is_as_recorded():
    recorded = PLACE.read_text(encoding="utf-8").splitlines()
    found = describe().splitlines()
    changed = "\n".join(
        difflib.unified_diff(recorded, found, "recorded", "found", lineterm="", n=0)
    )
    assert not changed, (
        f"{changed}\n\nIf that is meant: `python -m tests.core.record_abi` records it. A change of "
        "fastopt.core.abi breaks packages that were built with it, and is for CHANGELOG.md to say."
    )


def compiler():
    return shutil.which((sysconfig.get_config_var("CC") or "cl").split()[0])


@pytest.mark.skipif(find_spec("Cython") is None, reason="needs Cython")
@pytest.mark.skipif(find_spec("setuptools") is None, reason="needs setuptools")
@pytest.mark.skipif(compiler() is None, reason="needs a C compiler")
def test_a_package_of_its_own_hands_a_c_function_to_minimize(tmp_path):
    folder = shutil.copytree(EXAMPLE, tmp_path / "example")
    where = {"PYTHONPATH": str(PACKAGE.parent)} if PACKAGE.parent.name != "site-packages" else {}

    def run(*command):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={**os.environ, **where, "CFLAGS": "-O0"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("setup.py", "build_ext", "--inplace")
    assert run("hang.py") == "bfgs: [2. 3. 3. 2.]\nl-bfgs: [2. 3. 3. 2.]\n"
