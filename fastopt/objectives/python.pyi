from collections.abc import Callable
from typing import Any

from numpy.typing import ArrayLike

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
