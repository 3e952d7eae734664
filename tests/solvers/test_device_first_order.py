"""The kernels of solves on a GPU, as machine code; what they compute is tested by `minimize`."""

import pytest

pytest.importorskip("numba_cuda")

from fastopt.solvers.device_first_order import _copy_kernel, _judge_kernel
from tests.kernels.cuda.compilation import CAPABILITIES, machine_code


@pytest.mark.parametrize("capability", CAPABILITIES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_need_no_stack(dtype, capability, tmp_path):
    for value_dtype in ("float32", "float64"):
        code = machine_code(_judge_kernel(dtype, value_dtype), capability, tmp_path)
        assert code.registers <= 64
    code = machine_code(_copy_kernel(dtype), capability, tmp_path)
    assert code.doubles == (dtype == "float64")
