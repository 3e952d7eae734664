from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.objectives.minibatches import Minibatches
from fastopt.objectives.objective import BoundObjective

class MinibatchObjective(BoundObjective):
    inner: BoundObjective
    data: Minibatches
    epochs: int | None
    deadline: float
    def __init__(
        self,
        inner: BoundObjective,
        data: Minibatches,
        args: tuple[Any, ...],
        as_tuples: bool = False,
    ) -> None: ...
    @property
    def position(self) -> tuple[int, int]: ...
    @property
    def running_loss(self) -> float: ...
    @property
    def epoch_loss(self) -> float: ...
    @property
    def nfev(self) -> int: ...
    @property
    def ended(self) -> bool: ...
    def evaluate_all(
        self, x: NDArray[np.float64], gradient: bool = True
    ) -> tuple[float, NDArray[np.float64]]: ...
    def seek(self, epoch: int, batch: int = 0) -> None: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...
    def take_over(self, other: MinibatchObjective) -> None: ...
