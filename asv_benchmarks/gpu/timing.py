"""Time on a GPU, by its own clock.

A call is timed between two events behind work that keeps the GPU busy while the call is put
on its queue: so the time of the host is not in it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["host_microseconds", "microseconds"]

_CYCLES = 1_500_000  # about a millisecond
_SECONDS = 0.08


def microseconds(call: Callable[[], Any]) -> float:
    """The median time that the GPU spends on a call."""
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    taken: list[float] = []
    end = time.perf_counter() + _SECONDS
    while len(taken) < 5 or time.perf_counter() < end:
        begun, ended = torch.cuda.Event(True), torch.cuda.Event(True)
        torch.cuda._sleep(_CYCLES)
        begun.record()
        call()
        ended.record()
        ended.synchronize()
        taken.append(1e3 * begun.elapsed_time(ended))
    return statistics.median(taken)


def host_microseconds(call: Callable[[], Any], times: int = 1000) -> float:
    """The median time that the host takes to put a call on the queue, over runs of fifty."""
    for _ in range(20):
        call()
    runs = []
    for _ in range(times // 50):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(50):
            call()
        runs.append((time.perf_counter() - begun) / 50)
    torch.cuda.synchronize()
    return 1e6 * statistics.median(runs)
