from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

class Gatherer:
    def __new__(
        cls, tables: tuple[Any, ...], buffers: tuple[Any, ...], direct: bool = True
    ) -> Self: ...
    def gather(self, first: int, rows: int, order: NDArray[np.uint32] | None = None) -> None: ...
