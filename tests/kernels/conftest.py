"""What all tests of kernels start from, and leave as they found it."""

import pytest

from fastopt import kernels
from fastopt.kernels.cpu import threads


@pytest.fixture(autouse=True)
def any_work_is_worth_a_thread(monkeypatch):
    """Small arrays would otherwise run on one."""
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 1)
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)
