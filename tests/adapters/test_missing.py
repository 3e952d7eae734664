"""Where a library is missing, its adapter says what to install."""

import sys

import pytest

from fastopt.adapters import from_jax, from_torch


@pytest.mark.parametrize(
    ("library", "call", "message"),
    [
        ("torch", lambda: from_torch(None, None), r"from_torch needs PyTorch, .*fastopt\[torch\]"),
        ("jax", lambda: from_jax(None), r"from_jax needs JAX, .*fastopt\[jax\]"),
    ],
)
def test_a_missing_library_is_named(monkeypatch, library, call, message):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=message):
        call()
