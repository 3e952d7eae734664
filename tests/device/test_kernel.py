"""Kernels: how they are launched, and what they are compiled from."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.core import _cuda
from fastopt.device import driver
from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, float32, int32, pointer


def twice(x, n):
    i = cuda.blockIdx.x * int32(64) + cuda.threadIdx.x
    if i < n:
        x[i] = x[i] + x[i]


@pytest.fixture
def kernel():
    return Kernel(twice, [pointer(float32), int32], 64, 2)


@pytest.fixture
def launches():
    found = []
    with driver.use(SimpleNamespace(launch=lambda *arguments: found.append(arguments))):
        yield found


@pytest.mark.parametrize(
    ("grid", "blocks"), [((3,), (3, 1, 1)), ((3, 4), (3, 4, 1)), ((3, 4, 5), (3, 4, 5))]
)
def test_grid_is_filled_up_to_three_dimensions(kernel, launches, grid, blocks):
    kernel.launch(grid, 4096, 10)
    assert launches == [(kernel, blocks, (4096, 10))]


@pytest.mark.parametrize("grid", [(0,), (3, 0), (3, 4, 0)])
def test_a_grid_without_blocks_is_no_launch(kernel, launches, grid):
    kernel.launch(grid, 4096, 10)
    assert launches == []


def test_ptx_has_one_entry_and_the_launch_bounds(kernel):
    ptx, name = kernel.ptx((8, 0))
    assert ptx.count(".entry") == 1
    assert f".entry {name}(" in ptx
    assert ".target sm_80" in ptx
    assert ".maxntid 64" in ptx
    assert ".minnctapersm 2" in ptx


def test_machine_code_is_compiled_once_for_each_capability(kernel, monkeypatch):
    pytest.importorskip("cuda.core")
    compiled = []
    compile_ptx = _cuda.compile_ptx

    def noted(*arguments):
        compiled.append(arguments[2])
        return compile_ptx(*arguments)

    monkeypatch.setattr(_cuda, "compile_ptx", noted)
    first = kernel.machine_code((9, 0))
    assert kernel.machine_code((9, 0)) is first
    code, name = first
    assert code.startswith(b"\x7fELF")
    assert name.encode() in code
    kernel.machine_code((8, 0))
    assert compiled == [(9, 0), (8, 0)]


def test_its_name_says_what_it_takes(kernel):
    assert repr(kernel) == "<Kernel twice(float32*, int32), 64 threads>"


def test_a_kernel_runs_in_the_emulator():
    pytest.importorskip("greenlet")
    from fastopt.testing.cuda import emulated_device

    numbers = np.arange(100, dtype=np.float32)
    with emulated_device() as device:
        x = device.array(numbers)
        Kernel(twice, [pointer(float32), int32], 64).launch(
            (2,), x.__cuda_array_interface__["data"][0], 100
        )
        np.testing.assert_array_equal(x.get(), 2 * numbers)


@pytest.mark.parametrize("grid", [(1, 65536), (1, 1, 65536)])
def test_a_grid_that_no_gpu_takes_is_refused(grid):
    def nothing(out):
        pass

    kernel = Kernel(nothing, [pointer(float32)], 32)
    with pytest.raises(ValueError, match="arrays are too large for a GPU"):
        kernel.launch(grid, 0)
