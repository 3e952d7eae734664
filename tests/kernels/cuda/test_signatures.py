"""The functions of a GPU's kernels are called as those of the CPU are."""

import inspect
from importlib import import_module

import pytest

pytest.importorskip("numba_cuda")

# What public functions and networks call, in modules that both places have.
MODULES = (
    *("activations", "arithmetic", "batchnorm", "convolution", "copies", "dropout", "linear"),
    *("losses", "pooling"),
)
# How the CPU's kernels share out work, how its values are looked at, and the dtype of places.
CPU_ALONE = {"PIECE", "PLACE", "first_outside", "piece", "pieces"}


def modules(name):
    return [import_module(f"fastopt.kernels.{place}.{name}") for place in ("cpu", "cuda")]


def functions(name):
    """What callers call in a module, of the CPU and of a GPU: functions, classes and methods."""
    cpu, cuda = modules(name)
    for each in cpu.__all__:
        if each in CPU_ALONE:
            continue
        here, there = getattr(cpu, each), getattr(cuda, each)
        yield each, here, there
        if inspect.isclass(here):
            for method, function in vars(here).items():
                if inspect.isfunction(function) and not method.startswith("_"):
                    yield f"{each}.{method}", function, getattr(there, method)


@pytest.mark.parametrize("name", MODULES)
def test_both_places_have_the_same_names(name):
    cpu, cuda = (set(module.__all__) for module in modules(name))
    assert cpu - CPU_ALONE == cuda


@pytest.mark.parametrize("name", MODULES)
def test_arguments_are_those_of_the_cpu_and_further_ones_are_optional(name):
    for function, here, there in functions(name):
        expected, found = (
            [
                (each.name, each.kind, each.default)
                for each in inspect.signature(each).parameters.values()
            ]
            for each in (here, there)
        )
        assert found[: len(expected)] == expected, function
        for argument, _, default in found[len(expected) :]:
            assert default is not inspect.Parameter.empty, (function, argument)
