"""One build runs on every x86-64: what only some processors can do is left to them.

Reads the machine code of the extension modules, for the machine that runs the tests can do more.
"""

import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastopt

MODULES = sorted(Path(fastopt.__file__).parent.rglob("*.so"))

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or platform.machine() != "x86_64",
        reason="reads the machine code of Linux on x86-64",
    ),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump, of binutils"),
]


def functions_with_avx(path):
    """The functions of a module that have an instruction of AVX, or of what came after it."""
    command = ["objdump", "--disassemble", "--no-show-raw-insn", str(path)]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = set()
    name = ""
    for line in listing.splitlines():
        if head := re.match(r"[0-9a-f]+ <(.*)>:$", line):
            name = head[1]
        elif re.search(r"\tv[a-z]|%[yz]mm", line):  # an encoding by VEX begins with a v
            found.add(name)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name.partition(".")[0])
def test_only_functions_that_are_chosen_at_run_time_use_avx(path):
    found = functions_with_avx(path)
    if not path.name.partition(".")[0].endswith("_avx2"):
        assert not found
        return
    if found == {".text"}:
        pytest.skip("this build has no names of functions")
    assert found
    # Not what loads the module, which every processor does.
    assert {name for name in found if not name.startswith("__pyx_f_")} == set()
