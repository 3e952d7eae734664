from typing import Any

class BoundRule:
    def __init__(self, settings: dict[str, Any], dtype: Any) -> None: ...
