from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastopt.objectives.objective import BoundObjective
from fastopt.solvers.state import SolverState

class Answers:
    x: NDArray[np.float64]
    fun: NDArray[np.float64]
    jac: NDArray[np.float64]
    nit: NDArray[np.int64]
    nfev: NDArray[np.int64]
    njev: NDArray[np.int64]
    nhev: NDArray[np.int64]
    modelless: NDArray[np.int64]
    status: NDArray[np.int64]
    errors: dict[int, Exception]
    def __new__(cls, starts: NDArray[np.float64]) -> Self: ...
    def note(self, i: int, state: SolverState) -> None: ...

class BatchSolver:
    iterations: int
    def __new__(cls, solver: str, n: int, settings: dict[str, Any]) -> Self: ...
    def solve(
        self,
        objective: BoundObjective,
        starts: NDArray[np.float64],
        answers: Answers,
        first: int,
        last: int,
        most: int = ...,
    ) -> int: ...
