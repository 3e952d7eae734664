"""Kernels and steps on a GPU: the time that it spends on all passes of a case.

Where PyTorch finds no GPU there is nothing to time. ``python -m gpu``, from the folder above, has
each pass beside its peers.
"""

from typing import Any

from . import peers  # noqa: F401  (finds the folder of `gpu`)

try:
    import torch
    from gpu.cases import CASES
    from gpu.timing import microseconds
except ImportError:
    CASES: dict[str, Any] = {}


class Device:
    """Arrays of float32, made by PyTorch."""

    params = (tuple(CASES) or ("without PyTorch",),)
    param_names = ("case",)
    timeout = 300

    def setup(self, case: str) -> None:
        if not CASES or not torch.cuda.is_available():
            raise NotImplementedError("there is no GPU, or no PyTorch to find it")

    def track_microseconds(self, case: str) -> float:
        return sum(microseconds(each.calls["fastopt"]) for each in CASES[case]())

    track_microseconds.unit = "us"
