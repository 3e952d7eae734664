"""Bias corrections: what is left out of them changes no bit."""

import numpy as np
import pytest
from numba import njit

from fastopt.rules._precision import correction, power


@njit
def corrections(beta, numbers, out, expected):
    for i in range(numbers.size):
        out[i] = correction(beta, numbers[i])
        expected[i] = 1.0 - power(beta, numbers[i])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999])
def test_correction_leaves_out_only_powers_that_are_lost(beta, dtype):
    numbers = np.unique(np.linspace(1, 60 / (1 - beta), 4000).round()).astype(dtype)
    out, expected = np.empty((2, numbers.size))
    corrections(beta, numbers, out, expected)
    np.testing.assert_array_equal(out, expected)
    assert out[0] < 1 or beta == 0
    assert out[-1] == 1
    assert [correction(beta, t) for t in numbers] == out.tolist()
