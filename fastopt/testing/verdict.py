"""What a check of derivatives comes to, and the checks that come to it at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastopt.testing.calls import Code
from fastopt.testing.diagnosis import Place, shown_place

__all__ = ["DerivativeCheck", "not_finite"]

Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class DerivativeCheck:
    """What a check of derivatives has found. It is true where nothing is wrong.

    Made by `check_grad`, `check_hess` and `check_hessp`. The parameters are its fields.

    Parameters
    ----------
    what : str
        ``"gradient"``, ``"Hessian"`` or ``"Hessian product"``.
    ok : bool
        Whether the derivative agrees with differences, as far as these can tell.
    error : float
        Relative disagreement at `index`, where it is largest: that of `given` and `expected` over
        the larger one's magnitude. NaN if nothing could be compared.
    tolerance : float
        From which relative disagreement on the differences would call that component wrong: `rtol`
        and four times their estimated error.
    index : int, tuple of int or None
        The component of the gradient, or row and column of the Hessian, with the largest
        disagreement: among those that are wrong if there are any, else among those of which the
        differences know two digits. None if it belongs to no single component.
    given, expected : float
        The derivative there, as given and as the differences say.
    differences, uncertainty : ndarray of shape (n,) or (n, n), read-only, or None
        What the differences say of all components, and by how much they may be off. NaN where they
        were not asked; None if they were asked of none.
    nfev, njev : int
        How often `fun` was called, and how often a gradient was taken.
    message : str
        A sentence that says what looks wrong, and how.

    Examples
    --------
    >>> from fastopt import check_grad
    >>> check = check_grad(lambda x: (x @ x, 2 * x), [3.0, 4.0])
    >>> check
    <DerivativeCheck: gradient ok>
    >>> bool(check), check.error < check.tolerance
    (True, True)
    """

    what: str
    ok: bool
    error: float
    tolerance: float
    index: int | Place | None
    given: float
    expected: float
    differences: Vector | None
    uncertainty: Vector | None
    nfev: int
    njev: int
    message: str

    def __post_init__(self) -> None:
        for array in (self.differences, self.uncertainty):
            if array is not None:
                array.flags.writeable = False

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        if self.ok:
            return f"<DerivativeCheck: {self.what} ok>"
        where = "" if self.index is None else f" at {self.index}"
        return f"<DerivativeCheck: {self.what} wrong{where}>"

    def __str__(self) -> str:
        return (
            f"{self.what}: {'ok' if self.ok else 'wrong'}\n"
            f"  {self.message}\n"
            f"  relative disagreement {self.error:.2g}, tolerance {self.tolerance:.2g}; "
            f"{self.nfev} evaluations of the function, {self.njev} of the gradient"
        )


def not_finite(what: str, code: Code, *found: tuple[str, Vector]) -> DerivativeCheck | None:
    """The verdict where there is nothing to take differences of, or nothing to compare."""
    for name, array in found:
        finite = np.isfinite(array)
        if finite.all():
            continue
        at = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), finite.shape))
        index: int | Place | None = at[0] if len(at) == 1 else at
        given = float(array[at])
        if name == "fun":
            message = f"fun is {given} at x: choose a point where it is finite."
            index, given = None, math.nan
        else:
            word = "Component" if len(at) == 1 else "Entry"
            place = shown_place(at[0] if len(at) == 1 else at)
            message = f"{word} {place} of the {name} looks wrong: it is {given}."
        nan = math.nan
        return DerivativeCheck(
            what, False, nan, nan, index, given, nan, None, None, code.nfev, code.njev, message
        )
    return None
