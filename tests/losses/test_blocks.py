"""Losses of blocks of scores: where exponentials are most of the work, loops are vector code."""

import re

import numpy as np
import pytest
from numba import njit

from fastopt.losses import _blocks


@pytest.mark.parametrize("kind", ["evaluate", "curve"])
@pytest.mark.parametrize("name", ["logistic", "poisson"])
def test_loop_over_scores_is_vectorised_and_calls_no_library(name, kind):
    function = getattr(_blocks, f"{kind}_{name}")

    @njit  # here and now: code from the cache cannot be inspected
    def block(scores, others, y):
        function(scores, others, y, 0, scores.size, 1, ())

    block(np.zeros(32), np.zeros(32), np.zeros(32))
    (code,) = block.inspect_llvm().values()
    assert re.search(r"store <\d+ x double>", code)
    assert not re.search(r"call .*@(llvm\.)?(exp|log1p)\b", code)
