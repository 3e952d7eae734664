"""What kind of mistake makes a derivative differ from differences: sentences for people.

Owns the wording and the list of mistakes that are recognised. Evaluates nothing: it reads what was
given beside what the differences say. Components that were not looked at are NaN.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.testing.differences import SAFETY

__all__ = [
    "Comparison",
    "Place",
    "describe",
    "name_entry_mistake",
    "name_gradient_mistake",
    "name_hessian_mistake",
    "other_entries",
    "shown",
    "shown_place",
]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]
Place = tuple[int, ...]

# A derivative has to be so many errors away from zero for a ratio with it to mean something.
MEANINGFUL = 30.0
# How well a recognised mistake has to explain what was given.
EXPLAINED = 1e-5

FACTORS = {
    -1.0: "the same with its sign flipped",
    2.0: "twice that",
    0.5: "half of it",
    -2.0: "twice that with its sign flipped",
    -0.5: "half of it with its sign flipped",
    3.0: "three times that",
    4.0: "four times that",
    0.25: "a quarter of it",
    1.0 / 3.0: "a third of it",
    math.pi: "pi times that",
    2.0 * math.pi: "2 pi times that",
    1.0 / math.pi: "that over pi",
    0.5 / math.pi: "that over 2 pi",
}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Given and expected values, of shape (n,) or (n, columns); NaN where nothing is expected.

    `error` is by how much the expected ones may be off, which lie from `low` to `high`, `allowance`
    what is no mistake, and `terms` the size of what they are made up of. Of a large Hessian,
    `columns` are those that were looked at.
    """

    given: Vector
    expected: Vector
    error: Vector
    low: Vector
    high: Vector
    allowance: Vector
    terms: Vector
    columns: Sequence[int] = ()

    @property
    def distance(self) -> Vector:
        return np.maximum(0.0, np.maximum(self.low - self.given, self.given - self.high))

    def tolerance(self, share: float = 1.0) -> Vector:
        """With a `share` of the allowance."""
        return SAFETY * self.error + share * self.allowance

    @property
    def wrong(self) -> Mask:
        return self.distance > self.tolerance()

    @property
    def size(self) -> Vector:
        """What a disagreement is relative to."""
        return np.where(self.terms > 0.0, self.terms, 1.0)

    def worst(self) -> Place:
        """Where the relative disagreement is largest: among those that are wrong if there are any,
        else among those of which two digits are known."""
        seen = np.isfinite(self.expected)
        choices = self.wrong, seen & (self.tolerance() < 0.01 * self.size), seen
        choice = next((mask for mask in choices if mask.any()), seen)
        flat = int(np.argmax(np.where(choice, self.distance / self.size, -1.0)))
        return tuple(int(i) for i in np.unravel_index(flat, seen.shape))

    def place(self, at: Place) -> int | Place:
        """The component, or row and column of the Hessian, that is at `at`."""
        return at[0] if len(at) == 1 else (at[0], self.columns[at[1]])

    def part(self, index: Any) -> Comparison:
        names = ("given", "expected", "error", "low", "high", "allowance", "terms")
        return Comparison(**{name: getattr(self, name)[index] for name in names})

    @property
    def meaningful(self) -> Mask:
        """Components that were looked at and are not zero."""
        with np.errstate(invalid="ignore"):
            return np.abs(self.expected) > MEANINGFUL * self.error

    def explained_by(self, explanation: Vector, witnesses: int = 2) -> bool:
        """Whether what was given is this, wherever that can be told, with so many witnesses."""
        seen = np.isfinite(self.expected)
        with np.errstate(invalid="ignore"):
            apart = np.abs(self.given - explanation)
            close = apart <= EXPLAINED * np.abs(self.given) + 10.0 * self.error
            telling = seen & self.wrong & (np.abs(explanation) > MEANINGFUL * self.error)
        return bool(close[seen].all() and telling.sum() >= witnesses)


def shown(number: float, error: float = 0.0) -> str:
    """A number with the digits that its error leaves, six at least."""
    digits = 6
    if 0.0 < error < abs(number):
        digits = min(15, max(6, 2 + math.ceil(math.log10(abs(number) / error))))
    return f"{number + 0.0:.{digits}g}"  # no minus sign before zero


def shown_place(place: int | Place) -> str:
    return str(place) if isinstance(place, int) else f"[{', '.join(map(str, place))}]"


def describe(found: Comparison, at: Place, where: str = "") -> str:
    given, expected, error = found.given[at], found.expected[at], found.error[at]
    resolution = max(float(error), 1e-3 * abs(float(given - expected)))
    return (
        f"given {shown(given, resolution)}{where}, differences say {shown(expected, resolution)} "
        f"+- {error:.1g}"
    )


def other_entries(found: Comparison, at: Place) -> str:
    """Which others are wrong, as a sentence; empty if none is."""
    others = [tuple(int(i) for i in place) for place in np.argwhere(found.wrong)]
    others = [place for place in others if place != at]
    if not others:
        return ""
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return f" Wrong, too: {', '.join(shown_place(found.place(at)) for at in others[:5])}{more}."


def name_gradient_mistake(x: Vector, found: Comparison) -> str:
    """What is wrong with the gradient as a whole; empty if no one mistake explains it."""
    hint = ": a factor of the chain rule may be missing, or there twice"
    factor = name_factor(found, "component", hint)
    if factor:
        return factor
    v = found.expected
    (wrong,) = found.wrong.nonzero()
    if wrong.size == 2:
        swapped = v.copy()
        swapped[wrong] = v[wrong[::-1]]
        if found.explained_by(swapped, witnesses=1):
            return f"components {wrong[0]} and {wrong[1]} are swapped"
    with np.errstate(all="ignore"):
        explanations = {
            "every component is multiplied by its x, as if the variables were logarithms": v * x,
            "every component is divided by its x: a factor of the chain rule may be missing": v / x,
            "every component is multiplied by the square of its x": v * x * x,
            "the components are in reverse order": v[::-1],
            "every component is that of the variable before it": np.roll(v, 1),
            "every component is that of the variable after it": np.roll(v, -1),
        }
        for words, explanation in explanations.items():
            if found.explained_by(explanation):
                return words
    ordered = np.sort(found.given[wrong]), np.sort(found.expected[wrong])
    if wrong.size > 2 and np.allclose(*ordered, rtol=EXPLAINED, atol=0.0):
        return "the right components are there, in another order"
    return ""


def name_hessian_mistake(found: Comparison) -> str:
    """What is wrong with the Hessian as a whole; empty if no one mistake explains it."""
    given, expected = found.given, found.expected
    factor = name_factor(found, "entry")
    if factor:
        return factor
    if given.shape[0] != given.shape[1] or np.isnan(expected).any():
        return ""
    explanations = {
        "it is the transposed": expected.T,
        "only its upper triangle is filled": np.triu(expected),
        "only its lower triangle is filled": np.tril(expected),
        "only its diagonal is filled": np.diag(np.diag(expected)),
    }
    for words, explanation in explanations.items():
        if found.explained_by(explanation, witnesses=0):
            return words
    diagonal = np.eye(given.shape[0], dtype=bool)
    for part, words in ((diagonal, "diagonal"), (~diagonal, "off-diagonal")):
        if found.wrong[part].sum() >= 2 and not found.wrong[~part].any():
            common = common_factor(found.part(part))
            if common is not None:
                what = FACTORS.get(common, f"{shown(common)} times that")
                return f"every {words} entry is {what}"
    return ""


def name_factor(found: Comparison, word: str, hint: str = "") -> str:
    """The factor that all values are off by, zero included; empty if there is none.

    `hint` is added to one that has no name.
    """
    if found.wrong.sum() >= 2 and not found.given.any():
        return f"every {word} is zero"
    factor = common_factor(found)
    if factor is None:
        return ""
    if factor == -1.0:
        return f"the sign of every {word} is flipped"
    unnamed = f"{shown(factor)} times what the differences say{hint}"
    return f"every {word} is {FACTORS.get(factor, unnamed)}"


def common_factor(found: Comparison) -> float | None:
    """given / expected, where it is the same for all components, two at least, and not 1."""
    telling = found.meaningful
    if telling.sum() < 2 or not (found.wrong & telling).any():
        return None
    # The most exact of them decides; the others have to fit within their own errors.
    relative = np.where(telling, found.error / np.where(telling, np.abs(found.expected), 1.0), 2.0)
    at = np.unravel_index(int(relative.argmin()), relative.shape)
    factor = float(found.given[at] / found.expected[at])
    if factor == 0.0 or not found.explained_by(factor * found.expected):
        return None
    return known_factor(factor, float(relative[at])) or factor


def known_factor(ratio: float, error: float) -> float | None:
    """The number in `FACTORS` that this is."""
    for factor in FACTORS:
        if abs(ratio - factor) <= abs(factor) * (10.0 * error + EXPLAINED):
            return factor
    return None


def name_entry_mistake(found: Comparison, at: Place) -> str:
    """How one component differs from what the differences say of it."""
    given, expected, error = (
        float(values[at]) for values in (found.given, found.expected, found.error)
    )
    if not abs(expected) > MEANINGFUL * error:
        return "it should be zero, as far as differences can tell"
    if given == 0.0:
        return "it is zero"
    factor = known_factor(given / expected, error / abs(expected))
    if factor is not None:
        return FACTORS[factor]
    with np.errstate(invalid="ignore"):
        apart = np.abs(found.expected - given)
        twins = (apart <= 1e-7 * abs(given) + found.error) & found.meaningful
    twins[at] = False
    others = np.argwhere(twins)
    if len(others) == 1:
        place = found.place(tuple(int(i) for i in others[0]))
        return f"which is that of {'component ' * isinstance(place, int)}{shown_place(place)}"
    excess = given / expected - 1.0
    if abs(excess) < 0.1:
        return f"off by a relative {abs(excess):.2g}"
    return f"{shown(given / expected)} times that"
