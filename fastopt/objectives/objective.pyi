import numpy as np
from numpy.typing import NDArray

class BoundObjective:
    def stop(self, stop: bool = True) -> None: ...
    def evaluate(
        self, x: NDArray[np.float64], value: bool = True, gradient: bool = True
    ) -> tuple[float, NDArray[np.float64]]: ...
