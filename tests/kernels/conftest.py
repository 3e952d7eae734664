"""What all tests of kernels leave as they found it."""

import pytest

from fastopt import kernels


@pytest.fixture(autouse=True)
def number_of_threads_restored():
    before = kernels.get_num_threads()
    yield
    kernels.set_num_threads(before)
