"""The vector registers of the processor that Numba compiles for.

Read from the features that Numba hands to LLVM, so that ``NUMBA_CPU_NAME`` and
``NUMBA_CPU_FEATURES`` change what is compiled as they should. Knows no kernel. Import `lanes_of` by
its name: what is compiled is then compiled again when this file changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core.registry import cpu_target

__all__ = ["COUNT", "WIDTH", "lanes_of"]


def _widest() -> tuple[int, int]:
    """Bytes in a register, and how many registers there are."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    # "+avx2,-avx512f": of a feature that is named twice the last holds.
    has = {name[1:]: name[0] == "+" for name in features.split(",") if name}
    if has.get("avx512f", False):
        return 64, 32
    if has.get("avx", False) or has.get("avx2", False):
        return 32, 16
    return 16, 32 if triple.startswith(("aarch64", "arm64")) else 16


WIDTH, COUNT = _widest()


def lanes_of(dtype: Any) -> int:
    """How many numbers of a dtype a register holds."""
    return WIDTH // int(np.dtype(dtype).itemsize)
