from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

def minimize_in_ball(
    hess: ArrayLike,
    gradient: ArrayLike,
    radius: float,
    way: Literal["exact", "dogleg"] = "exact",
) -> tuple[NDArray[np.float64], float]: ...
