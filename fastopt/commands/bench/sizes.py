"""How large the problems of the benchmarks are."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["QUICK", "USUAL", "Sizes"]


@dataclass(frozen=True)
class Sizes:
    """Of a run: the usual one is under two minutes, compiling included."""

    compiled: tuple[int, ...] = (2, 10, 100)  # variables
    solves_inside: int = 1000  # in a loop of compiled code
    fits: int = 5000
    sample: int = 20  # of fits or solves, for whom all of them would take a minute
    signals: tuple[int, ...] = (100_000, 1_000_000)  # variables
    parameters: int = 1_000_000
    images: int = 16
    width: int = 512  # of a linear layer, in and out
    every_rule: bool = True  # or Adam alone: each takes a second to compile


USUAL = Sizes()
QUICK = Sizes(
    compiled=(2,),
    solves_inside=20,
    fits=50,
    sample=5,
    signals=(2000,),
    parameters=2000,
    images=2,
    width=64,
    every_rule=False,
)
