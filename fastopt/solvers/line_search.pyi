from collections.abc import Callable
from typing import Literal

OUTCOMES: dict[int, str]

def search(
    function: Callable[[float], tuple[float, float]],
    value: float,
    slope: float,
    first_step: float = 1.0,
    *,
    kind: Literal["hager-zhang", "more-thuente"] = "hager-zhang",
    c1: float = 1e-4,
    c2: float = 0.9,
    max_step: float = ...,
    resolution: float = 1e-6,
    max_evaluations: int = 50,
) -> tuple[str, float, float, float, int]: ...
