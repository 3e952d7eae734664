SOLVERS: dict[str, int]
SETTINGS: dict[str, int]
WORDS: dict[str, int]
