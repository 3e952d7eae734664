"""The vector registers of the processor that Numba compiles for.

Read from the features that Numba hands to LLVM, so that ``NUMBA_CPU_NAME`` and
``NUMBA_CPU_FEATURES`` change what is compiled as they should. Knows no kernel. Import `lanes_of` by
its name: what is compiled is then compiled again when this file changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core.registry import cpu_target

__all__ = ["COUNT", "FUSES", "WIDTH", "described", "lanes_of"]


def described(triple: str, features: str) -> tuple[int, int, bool]:
    """Bytes in a register, how many there are, and whether one instruction multiplies and adds.

    Parameters
    ----------
    triple, features : str
        A target in LLVM's words.

    Examples
    --------
    >>> described("x86_64-unknown-linux-gnu", "+fma,+avx,+avx2")
    (32, 16, True)
    """
    # "+avx2,-avx512f": of a feature that is named twice the last holds.
    has = {name[1:]: name[0] == "+" for name in features.split(",") if name}
    if has.get("avx512f", False):
        return 64, 32, True
    if has.get("avx", False) or has.get("avx2", False):
        return 32, 16, has.get("fma", False)
    if triple.startswith(("aarch64", "arm64")):
        return 16, 32, True
    return 16, 16, False


_TRIPLE, _, _FEATURES = cpu_target.target_context.codegen().magic_tuple()
WIDTH, COUNT, FUSES = described(_TRIPLE, _FEATURES)


def lanes_of(dtype: Any) -> int:
    """How many numbers of a dtype a register holds."""
    return WIDTH // int(np.dtype(dtype).itemsize)
