from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastopt.objectives.objective import BoundObjective

class PythonObjective(BoundObjective):
    deadline: float
    def __init__(
        self,
        fun: Callable[..., Any],
        jac: Callable[..., Any] | str | bool,
        args: tuple[Any, ...],
        n: int,
        abs_step: ArrayLike | None = None,
        rel_step: ArrayLike | None = None,
        workers: Callable[..., Any] | None = None,
        hess: Callable[..., Any] | None = None,
        hessp: Callable[..., Any] | None = None,
        preconditioner: Any = None,
        bounds: ArrayLike | None = None,
    ) -> None: ...
    def set_args(self, args: tuple[Any, ...]) -> None: ...

def as_gradient(found: Any, name: str) -> NDArray[np.float64]: ...
