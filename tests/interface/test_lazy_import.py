"""A program pays only for what it uses: what is imported when, in fresh processes."""

import subprocess
import sys

import pytest

import fastopt

# What `import fastopt` must never load, whoever else has it installed.
HEAVY = (
    *("numba", "llvmlite", "numba_cuda", "dask", "distributed", "matplotlib", "tqdm", "rich"),
    *("torch", "jax"),
)


def modules_after(program):
    """The names of the modules that a fresh interpreter has loaded at the end of `program`."""
    report = "\nimport sys\nprint('\\n'.join(sys.modules))"
    finished = subprocess.run(
        [sys.executable, "-c", program + report], capture_output=True, text=True, check=True
    )
    return set(finished.stdout.split())


def test_import_loads_nothing_heavy():
    loaded = modules_after("import fastopt")
    assert not loaded & set(HEAVY)
    assert "scipy.optimize" not in loaded


@pytest.mark.parametrize("method", ["bfgs", "l-bfgs"])
def test_second_order_solve_loads_nothing_heavy(method):
    loaded = modules_after(
        f"import fastopt\nfastopt.minimize(lambda x: x[0] * x[0], [1.0], method={method!r})"
    )
    assert "fastopt.interface.minimize" in loaded
    assert not loaded & set(HEAVY)


def test_table_of_methods_loads_nothing_heavy():
    assert not modules_after("from fastopt.interface.methods import METHODS") & set(HEAVY)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("adapters.from_torch", "fastopt.adapters.torch"),
        ("distributed.SumObjective", "fastopt.distributed.sum_objective"),
    ],
)
def test_what_stands_on_a_library_loads_it_when_it_is_called(name, module):
    loaded = modules_after(f"import fastopt\nfastopt.{name}")
    assert module in loaded
    assert not loaded & set(HEAVY)


def test_losses_are_there_and_load_numba_when_they_are_asked_for():
    program = "import fastopt\nassert 'losses' in dir(fastopt)\n"
    assert "fastopt.losses" not in modules_after(program)
    assert {"fastopt.losses", "numba"} <= modules_after(program + "fastopt.losses.logistic")


def test_public_names_are_all_there_and_no_others():
    program = (
        "import fastopt\n"
        "assert set(fastopt.__all__) <= set(dir(fastopt)), dir(fastopt)\n"
        "for name in fastopt.__all__:\n"
        "    getattr(fastopt, name)\n"
        "    assert name in vars(fastopt), name\n"
    )
    assert "fastopt.plotting" in modules_after(program)
    with pytest.raises(AttributeError, match="module 'fastopt' has no attribute 'minimise'"):
        _ = fastopt.minimise
