from typing import Any

import numpy as np
from numpy.typing import NDArray

class Gatherer:
    def __init__(
        self, tables: tuple[Any, ...], buffers: tuple[Any, ...], direct: bool = True
    ) -> None: ...
    def gather(self, first: int, rows: int, order: NDArray[np.uint32] | None = None) -> None: ...
