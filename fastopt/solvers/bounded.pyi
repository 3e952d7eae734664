import numpy as np
from numpy.typing import NDArray

def model_points(
    x: NDArray[np.float64],
    gradient: NDArray[np.float64],
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    steps: NDArray[np.float64],
    changes: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]: ...
