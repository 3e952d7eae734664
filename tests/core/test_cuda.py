"""numba-cuda: how it is asked for, what a report says of it, and that all else works without it."""

import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastopt.core import _cuda
from fastopt.core._cuda import describe_cuda
from fastopt.core.system import describe_system

INSTALL = re.escape("pip install 'fastopt[cuda]'")


# --- without numba-cuda ------------------------------------------------------------------------


def test_missing_numba_cuda_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(_cuda, "find_spec", lambda name: None)
    _cuda.load.cache_clear()
    with pytest.raises(ImportError, match=rf"numba-cuda, which is not installed: {INSTALL}"):
        _cuda.load()
    (name, answer), *others = describe_cuda().items()
    assert name == "device"
    assert re.fullmatch(rf"none: numba-cuda is not installed \({INSTALL}\)", answer)
    assert not others


WITHOUT = """
import sys
sys.modules["numba_cuda"] = None
import numpy as np
import fastopt
from fastopt import kernels
from fastopt.__main__ import main

class OnGPU:
    __cuda_array_interface__ = {
        "shape": (3,), "typestr": "<f4", "data": (4096, False), "strides": None, "version": 3
    }

print(kernels.relu(np.array([-1.0, 2.0])))
print(kernels.mse_loss(np.array([1.0]), np.array([3.0]))[0])
for call in (
    lambda: kernels.relu(OnGPU()),
    lambda: kernels.relu(OnGPU(), out=OnGPU()),
    lambda: kernels.mse_loss(OnGPU(), OnGPU()),
):
    try:
        call()
    except ImportError as error:
        print(error)
assert main(["info"]) == 0
"""


def test_all_but_arrays_of_a_gpu_works_without_it():
    result = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    first, second, *refusals, info = result.stdout.split("\n", 5)
    assert (first, second) == ("[0. 2.]", "4.0")
    for line in refusals:
        assert re.search(INSTALL, line)
    assert re.search(rf"none: numba-cuda is not installed \({INSTALL}\)", " ".join(info.split()))


# --- with it -----------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch):
    """What numba-cuda and the driver answer is to be set by the test."""
    answers = SimpleNamespace(
        device=SimpleNamespace(name=b"NVIDIA H100", compute_capability=(9, 0)),
        version=(0, 13010),
        compiled=[],
    )

    def ask(answer):
        if isinstance(answer, Exception):
            raise answer
        return answer

    types = SimpleNamespace(CPointer=lambda number: number, float32="float32")
    numba_cuda = SimpleNamespace(get_current_device=lambda: ask(answers.device), types=types)
    driver = SimpleNamespace(cuDriverGetVersion=lambda: ask(answers.version))

    def compiled(stage):
        def compile_for(*arguments):
            answers.compiled.append((stage, arguments))
            ask(getattr(answers, stage, None))
            return "code", "name"

        return compile_for

    monkeypatch.setattr(_cuda, "find_spec", lambda name: name)
    monkeypatch.setattr(_cuda, "load", lambda: numba_cuda)
    monkeypatch.setattr(_cuda, "import_module", {"cuda.bindings.driver": driver}.__getitem__)
    monkeypatch.setattr(_cuda, "compile_ptx", compiled("ptx"))
    monkeypatch.setattr(_cuda, "assemble", compiled("machine"))
    monkeypatch.setattr(_cuda.metadata, "version", {"numba-cuda": "0.30.4"}.get)
    return answers


def test_report_has_device_driver_versions_and_whether_kernels_compile(installed, monkeypatch):
    facts = describe_cuda()
    assert facts["device"] == "NVIDIA H100, compute capability 9.0"
    assert facts["driver"] == "for CUDA 13.1"
    assert facts["numba-cuda"].startswith("numba-cuda 0.30.4")
    assert facts["kernels"] == "compile for sm_90"
    assert [stage for stage, _ in installed.compiled] == ["ptx", "machine"]
    assert describe_system()["CUDA"] == facts


def test_without_a_device_kernels_are_compiled_all_the_same(installed):
    installed.device = RuntimeError("\nError at driver init:\n" + "no library, " * 99)
    installed.version = ImportError("no libcuda.so.1")
    facts = describe_cuda()
    start = "none that numba-cuda finds (Error at driver init: no library, no library,"
    assert facts["device"].startswith(start)
    assert len(facts["device"]) < 250
    assert facts["driver"] == "none (no libcuda.so.1)"
    assert facts["kernels"] == "compile for sm_80"


def test_a_driver_that_does_not_know_its_version_is_unknown(installed):
    installed.version = 3, None
    assert describe_cuda()["driver"] == "unknown (3)"


@pytest.mark.parametrize(
    ("stage", "answer"),
    [
        ("ptx", "cannot be compiled for sm_90 (no libnvvm)"),
        ("machine", "compile to PTX, but not to machine code for sm_90 (no libnvvm)"),
    ],
)
def test_kernels_that_do_not_compile_are_said_with_the_reason(installed, stage, answer):
    setattr(installed, stage, OSError("no libnvvm"))
    assert describe_cuda()["kernels"] == answer


def test_an_error_without_words_is_said_by_its_type(installed):
    installed.device = ZeroDivisionError()
    assert describe_cuda()["device"] == "none that numba-cuda finds (ZeroDivisionError)"


def test_packages_are_listed_with_their_versions(monkeypatch):
    assert re.fullmatch(r"numpy \d[\d.a-z]*", _cuda._versions("numpy", "no-such-package"))
    assert _cuda._versions("no-such-package") == "not from packages of Python"


def test_kernels_compile_here():
    pytest.importorskip("numba_cuda")
    facts = describe_cuda()
    assert re.fullmatch(r"compile for sm_\d+", facts["kernels"])
    assert facts["numba-cuda"].startswith("numba-cuda 0.")


def test_a_word_that_numpy_has_no_more_is_lent_for_the_import(monkeypatch):
    monkeypatch.delattr(np, "row_stack", raising=False)
    with _cuda._row_stack():
        assert np.row_stack is np.vstack  # noqa: NPY201
    assert not hasattr(np, "row_stack")
