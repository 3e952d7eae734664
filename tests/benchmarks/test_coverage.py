"""Whatever the tables list is measured: a new row has a benchmark from the start.

The modules of asv_benchmarks are imported, without asv, and their parameters read; nothing is run.
"""

import importlib
import inspect
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from fastopt import kernels
from fastopt.interface.methods import METHODS
from fastopt.rules.table import RULES

ASV = Path(__file__).resolve().parents[2] / "asv_benchmarks"
PREFIXES = ("time_", "timeraw_", "track_", "peakmem_", "mem_")
# Kernels that touch no data.
SETTINGS = {"conv2d_workspace", "get_num_threads", "set_num_threads"}


@pytest.fixture(scope="module")
def parameters():
    """Parameter name -> all values that benchmarks have for it."""
    before = sys.path.copy()
    sys.path.insert(0, str(ASV))
    try:
        found = defaultdict(set)
        for name in ("kernels", "latency", "second_order", "steps"):
            module = importlib.import_module(f"benchmarks.{name}")
            for benchmark in vars(module).values():
                if is_benchmark(benchmark):
                    for each, values in zip(benchmark.param_names, benchmark.params, strict=True):
                        found[each].update(values)
        return found
    finally:
        sys.path[:] = before


def is_benchmark(candidate):
    """As asv sees it."""
    return inspect.isclass(candidate) and any(name.startswith(PREFIXES) for name in vars(candidate))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_measured(parameters, method):
    assert method in parameters["method"]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_measured(parameters, rule):
    assert rule in parameters["rule"]


@pytest.mark.parametrize("kernel", sorted(set(kernels.__all__) - SETTINGS))
def test_every_kernel_is_measured(parameters, kernel):
    passes = {each.partition(": ")[2].partition(",")[0] for each in parameters["kernel"]}
    assert kernel in passes


def test_every_pass_of_the_kernels_can_be_made(parameters):
    """The list of passes, which is there before any array, is that of the calls."""
    from benchmarks.kernels import CASES, PASSES, SMALL

    for kind, case in SMALL.items():
        assert tuple(CASES[case]("fastopt", kernels)) == PASSES[kind], case
