import numpy as np
from numpy.typing import ArrayLike, NDArray

def solve_system(
    matrix: ArrayLike, vector: ArrayLike, shift: float = 0.0, made_positive: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
