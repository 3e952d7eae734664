"""The kernels in both precisions against PyTorch's values, recorded by record_pytorch.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastopt import kernels

from .calls import CALLS, arguments

RECORD = json.loads(Path(__file__).with_name("pytorch.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", RECORD["cases"])
def test_kernel_is_that_of_pytorch(name, dtype):
    case = RECORD["cases"][name]
    inputs = arguments(case, dtype)
    before = {key: np.copy(value) for key, value in inputs.items()}
    found = CALLS[case["kernel"]](kernels, **inputs)
    for key, value in before.items():
        np.testing.assert_array_equal(inputs[key], value, err_msg=f"{key} was written to")
    assert found.keys() == case["outputs"].keys()
    for output, expected in case["outputs"].items():
        assert isinstance(found[output], float) or found[output].dtype == dtype
        eps = np.finfo(dtype).eps
        # PyTorch subtracts means as they round in double precision; one is 1e4.
        rounded = np.finfo(float).eps * np.max(np.abs(case["inputs"]["x"]))
        scale = np.max(np.abs(expected), initial=1.0)
        np.testing.assert_allclose(
            found[output], expected, rtol=0, atol=20 * (eps + rounded) * scale
        )
