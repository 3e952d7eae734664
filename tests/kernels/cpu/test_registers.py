"""Which vector registers kernels are compiled for."""

import os
import subprocess
import sys

import pytest

from fastopt.kernels.cpu import registers

PRINT = "from fastopt.kernels.cpu.registers import COUNT, WIDTH; print(WIDTH, COUNT)"


def test_a_register_holds_twice_as_many_floats_as_doubles():
    assert (
        registers.lanes_of("float32") == 2 * registers.lanes_of("float64") == registers.WIDTH // 4
    )


@pytest.mark.parametrize(
    ("features", "expected"),
    [
        ("+avx512f", "64 32"),
        ("+avx2,+fma", "32 16"),
        ("+avx2,+avx512f,-avx512f", "32 16"),
        ("+avx512f,-avx512f,-avx", None),
    ],
)
def test_numbas_features_decide(features, expected):
    environment = os.environ | {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": features}
    run = subprocess.run(
        [sys.executable, "-c", PRINT], env=environment, capture_output=True, text=True, check=True
    )
    # The narrowest registers are the processor family's own.
    assert run.stdout.strip() in ([expected] if expected else ["16 16", "16 32"])
