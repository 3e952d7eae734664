"""Where training starts: what parameters are before the first step.

Owns the distributions and what a draw depends on. Knows nothing of layers.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.nn.graph import Parameter

__all__ = ["fill"]

# Numbers are drawn in double precision whatever the vector's, a piece at a time.
_PIECE = 1 << 18


def fill(theta: NDArray[Any], parameters: Iterable[Parameter], seed: int) -> None:
    """Give each parameter its first values. What a layer gets depends on `seed` and its name alone.

    Parameters
    ----------
    theta : ndarray, shape (n,)
        Overwritten.
    parameters : iterable of Parameter
        Those of the whole vector.
    seed : int
        Not negative.
    """
    for parameter in parameters:
        values = theta[parameter.place]
        if isinstance(parameter.init, float):
            values[:] = parameter.init
            continue
        digest = hashlib.sha256(parameter.name.encode()).digest()
        rng = np.random.default_rng([seed, *np.frombuffer(digest[:16], "<u4").tolist()])
        for start in range(0, values.size, _PIECE):
            piece = values[start : start + _PIECE]
            piece[:] = _draw(rng, parameter, piece.size)


def _draw(rng: np.random.Generator, parameter: Parameter, size: int) -> NDArray[np.float64]:
    if parameter.init == "glorot":
        limit = math.sqrt(6.0 / (parameter.fan_in + parameter.fan_out))
        return rng.uniform(-limit, limit, size)
    variance = {"he": 2.0, "lecun": 1.0}[str(parameter.init)] / parameter.fan_in
    return math.sqrt(variance) * rng.standard_normal(size)
