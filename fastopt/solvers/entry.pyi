from collections.abc import Iterable

SYMBOL: str
ADDRESS: int
CALL_SIZE: int
TOKEN: int
FIRST_HYPERPARAMETER: int
REFUSALS: dict[str, int]

def encode_methods(
    rows: Iterable[tuple[tuple[str, ...], str, int, bool, list[dict[str, float]]]],
) -> bytes: ...
