"""Sources of kernels in the simulator of numba-cuda, which knows them as threads of the CPU.

Beside the emulator it is somebody else's idea of a GPU, and single precision is single throughout.
It finds no races, no memory out of bounds by an address, and nothing that is not aligned.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("greenlet")

CASES = (
    "relu",
    "leaky_relu in place",
    "total of a block",
    "smooth_l1_loss",
    "binary_cross_entropy",
    "softmax_cross_entropy",
)


@pytest.fixture(scope="module")
def errors():
    program = Path(__file__).with_name("in_simulator.py")
    result = subprocess.run(
        [sys.executable, program, *CASES],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize("case", CASES)
def test_kernel_computes_the_same_in_the_simulator(errors, case):
    assert errors[case] <= 8 * np.finfo(np.float32).eps
