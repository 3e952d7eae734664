"""What a kernel is as machine code: registers, stack, and which instructions it has.

By NVIDIA's assembler and disassembler, which need no GPU.
"""

import re
import shutil
import subprocess
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

__all__ = ["CAPABILITIES", "MachineCode", "machine_code"]

CAPABILITIES = [(8, 0), (9, 0)]


@dataclass
class MachineCode:
    """A kernel for one compute capability."""

    registers: int
    stack: int  # bytes
    spills: int  # bytes stored and loaded
    shared: int  # bytes
    instructions: Counter
    doubles: bool  # whether its PTX has float64 arithmetic
    text: str  # what the disassembler writes

    def count(self, start):
        """Instructions that begin with a word, such as "LDG.E.128"."""
        return sum(many for name, many in self.instructions.items() if name.startswith(start))

    def longest_loop(self):
        """Instructions from a label to the last jump back to it, at the most."""
        labels, here, longest = {}, 0, 0
        for line in self.text.splitlines():
            if label := re.match(r"(\.L_x_\d+):", line):
                labels[label[1]] = here
            elif re.match(r"\s+/\*[0-9a-f]{4,}\*/\s", line):
                here += 1
                jump = re.search(r"BRA.*(\.L_x_\d+)", line)
                if jump and jump[1] in labels and "@" in line:
                    longest = max(longest, here - labels[jump[1]])
        return longest


def machine_code(kernel, capability, folder):
    """Assemble and disassemble a kernel in a folder, and check what holds for all of them."""
    ptxas, nvdisasm = _tool("ptxas"), _tool("nvdisasm")
    ptx, _ = kernel.ptx(capability)
    source, binary = folder / "kernel.ptx", folder / "kernel.cubin"
    source.write_text(ptx)
    command = [ptxas, "-v", "-arch=sm_{}{}".format(*capability), source, "-o", binary]
    log = _run(command).stderr
    text = _run([nvdisasm, "-c", binary]).stdout
    names = re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\d+\s+)?([A-Z0-9_.]+)", text, re.MULTILINE)
    stack, stores, loads = (
        int(re.search(rf"(\d+) bytes {what}", log)[1])
        for what in ("stack frame", "spill stores", "spill loads")
    )
    shared = re.search(r"(\d+) bytes smem", log)
    code = MachineCode(
        registers=int(re.search(r"Used (\d+) registers", log)[1]),
        stack=stack,
        spills=stores + loads,
        shared=int(shared[1]) if shared else 0,
        instructions=Counter(names),
        doubles=".f64" in ptx,
        text=text,
    )
    assert code.stack == code.spills == code.count("LDL") == code.count("STL") == 0, log
    assert code.shared <= 48 * 1024
    return code


def _run(command):
    return subprocess.run(command, capture_output=True, text=True, check=True)


@cache
def _tool(name):
    """From the packages of the ``cuda`` extra, or where programs are."""
    import nvidia

    for folder in nvidia.__path__:
        for path in Path(folder).glob(f"*/bin/{name}"):
            return path
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path
