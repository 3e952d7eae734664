"""describe_system: facts for a bug report, which come out even where something is broken."""

import os
import re
import sys
import time
from importlib import metadata
from types import SimpleNamespace

import llvmlite.binding
import numba
import numpy as np
import pytest

from fastopt.core import system
from fastopt.core.system import describe_system


def test_every_fact_is_a_line_of_text():
    for facts in describe_system().values():
        assert facts
        for name, value in facts.items():
            assert name
            assert value
            assert len(value.splitlines()) == 1


def test_versions_are_those_of_the_installed_packages():
    versions = describe_system()["Versions"]
    for name, package in (("NumPy", "numpy"), ("SciPy", "scipy"), ("Numba", "numba")):
        assert versions[name].startswith(metadata.version(package))


def test_extension_modules_of_a_working_installation_are_all_compiled():
    build = describe_system()["Build"]
    assert "not compiled" not in build
    compiled, _, total = build["extension modules"].split()[:3]
    assert compiled == total
    assert int(total) > 0


def test_extension_modules_that_are_missing_or_stale_are_named(tmp_path, monkeypatch):
    package = tmp_path / "fastopt"
    package.mkdir()
    monkeypatch.setattr(system, "PACKAGE", package)
    suffix = system.importlib.machinery.EXTENSION_SUFFIXES[0]
    for name in ("fresh", "stale", "wheel"):
        (package / f"{name}{suffix}").touch()
    for name in ("fresh", "stale", "missing"):
        (package / f"{name}.pyx").touch()
    set_age(package / "fresh.pyx", 100)
    set_age(package / f"stale{suffix}", 100)
    build = system._build()
    assert build["extension modules"].startswith("3 of 4 compiled")
    assert build["not compiled"] == "fastopt.missing"
    assert build["older than their source"] == "fastopt.stale"


def set_age(path, seconds):
    then = time.time() - seconds
    os.utime(path, (then, then))


def test_thread_variables_are_shown_only_where_they_are_set(monkeypatch):
    for name in system.THREAD_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert describe_system()["Machine"]["thread variables"] == "none set"
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert describe_system()["Machine"]["thread variables"] == "OMP_NUM_THREADS=3"


def test_a_question_that_fails_is_answered_with_its_error(monkeypatch):
    def broken(mode):
        raise RuntimeError("no such table")

    monkeypatch.setattr(np, "show_config", broken)
    facts = describe_system()
    assert facts["Machine"]["SIMD found"] == "unknown (RuntimeError: no such table)"
    assert facts["BLAS"]["NumPy"] == "unknown (RuntimeError: no such table)"


@pytest.mark.parametrize("module", ["numba", "threadpoolctl"])
def test_facts_come_out_where_a_package_cannot_be_imported(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    facts = describe_system()
    named = {"numba": facts["Numba"], "threadpoolctl": facts["BLAS"]}[module]
    assert module in " ".join(named.values())


def test_svml_is_in_use_where_numba_says_so():
    assert describe_system()["Numba"]["SVML"].startswith("in use:") == numba.config.USING_SVML


@pytest.mark.parametrize(
    ("using", "disabled", "supported", "answer"),
    [
        (True, 0, True, r"^in use: "),
        (False, 1, True, r"^not in use, .*: NUMBA_DISABLE_INTEL_SVML is set$"),
        (False, 0, False, r"^not in use, .*: this llvmlite is built without it"),
        (False, 0, True, r"^not in use, .*: .* pip install intel-cmplr-lib-rt, .*LD_LIBRARY_PATH="),
    ],
)
def test_svml_that_is_not_in_use_is_said_with_its_reason(
    using, disabled, supported, answer, monkeypatch
):
    monkeypatch.setattr(llvmlite.binding.targets, "has_svml", lambda: supported)
    config = SimpleNamespace(USING_SVML=using, DISABLE_INTEL_SVML=disabled)
    assert re.search(answer, system._svml(config))
