"""PyTorch's recorded values, for kernels on a device."""

import json
from pathlib import Path

import numpy as np

from ..calls import CALLS, arguments

__all__ = ["cases", "check"]

_RECORD = json.loads(Path(__file__).parents[1].joinpath("pytorch.json").read_text(encoding="utf-8"))


def cases(*kernels):
    """The names of what is recorded of some kernels."""
    return [name for name, case in _RECORD["cases"].items() if case["kernel"] in kernels]


def check(on_device, name, dtype):
    """Whether a device makes what PyTorch made."""
    case = _RECORD["cases"][name]
    found = CALLS[case["kernel"]](on_device, **arguments(case, dtype))
    assert found.keys() == case["outputs"].keys()
    for output, expected in case["outputs"].items():
        assert found[output].dtype == dtype
        scale = np.max(np.abs(expected), initial=1.0)
        np.testing.assert_allclose(
            found[output], expected, rtol=0, atol=20 * np.finfo(dtype).eps * scale
        )
