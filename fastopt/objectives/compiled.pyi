from typing import Any, Self

from numpy.typing import ArrayLike

from fastopt.objectives.objective import BoundObjective
from fastopt.objectives.wrappers import Wrapper

class CompiledObjective(BoundObjective):
    n: int
    wrapper: Wrapper
    def __new__(
        cls,
        wrapper: Wrapper,
        args: tuple[Any, ...],
        n: int,
        abs_step: ArrayLike | None = None,
        rel_step: ArrayLike | None = None,
        batched: tuple[bool, ...] = (),
        preconditioner: Any = None,
        bounds: ArrayLike | None = None,
    ) -> Self: ...

class CFunctionObjective(BoundObjective):
    def __init__(
        self,
        capsule: Any,
        owner: Any,
        preconditioner: Any = None,
        bounds: ArrayLike | None = None,
    ) -> None: ...
