from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastopt.solvers.bound_rule import BoundRule

class Stepper:
    theta: NDArray[np.floating[Any]]
    slots: NDArray[np.floating[Any]]
    t: int
    skipped: int
    def __new__(
        cls,
        theta: NDArray[np.floating[Any]],
        rules: list[BoundRule],
        pieces: list[tuple[int, int, int]],
    ) -> Self: ...
    def fits(self, grad: Any) -> bool: ...
    def is_finite(self, grad: NDArray[np.floating[Any]]) -> bool: ...
    def step(self, grad: Any) -> bool: ...
