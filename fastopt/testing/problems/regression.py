"""The nonlinear regressions of NIST's Statistical Reference Datasets: models, data, certified fits.

A model is one formula of NumPy's functions; its derivatives come from `jets`. Data and certified
values are in nist_strd.txt.
"""

# NumPy types the elements of an array as Any, so every formula in them is Any as well.
# mypy: disable-error-code="no-any-return"

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from fastopt.testing.problems import jets
from fastopt.testing.problems.definition import Array, SumOfSquares
from fastopt.testing.problems.problem import LeastSquaresProblem

_COLUMNS = ("y", "x", "x1", "x2")

# Of parameters, arrays or jets, and the predictors.
Model = Callable[..., Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Regression(SumOfSquares):
    """A fit of a model to data, with what is certified of it.

    Attributes
    ----------
    second_start
        Another starting point, nearer to the solution, shape (n,).
    standard_deviations
        Of the parameters at the solution, shape (n,).
    """

    second_start: Array
    standard_deviations: Array


@dataclass(frozen=True, eq=False, repr=False)
class RegressionProblem(LeastSquaresProblem):
    """A nonlinear regression with certified results: its residual sum of squares is minimised.

    Everything that `LeastSquaresProblem` has, a second start, and the standard deviations of the
    parameters. Made by `nist_strd` and `problem`.

    Parameters
    ----------
    number : int
        Number in the order of NIST's list.
    name : str
        Name of the data set.
    define : callable
        ``define()`` makes the residuals, their derivatives, the starts and what is certified.

    See Also
    --------
    nist_strd : The collection.

    Examples
    --------
    >>> from fastopt.testing import problem
    >>> p = problem("Misra1a")
    >>> p
    RegressionProblem(1, 'Misra1a', n=2, m=14)
    >>> p.minima[0]
    0.12455138894
    >>> p.minimizers[0]
    array([2.38942129e+02, 5.50156432e-04])
    """

    define: Callable[[], Regression]
    _definition: Regression = field(init=False)

    @property
    def starts(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Both starting points, each (n,) and read-only: `x0`, and one nearer to the solution.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> far, near = problem("MGH17").starts
        >>> print(far, near)
        [  50.  150. -100.    1.    2.] [ 0.5   1.5  -1.    0.01  0.02]
        """
        return self.x0, _read_only(self._definition.second_start)

    @property
    def standard_deviations(self) -> npt.NDArray[np.float64]:
        """Certified standard deviations of the parameters, shape (n,), read-only.

        Examples
        --------
        >>> from fastopt.testing import problem
        >>> problem("Misra1a").standard_deviations
        array([2.70700752e+00, 7.26686884e-06])
        """
        return _read_only(self._definition.standard_deviations)


def nist_strd() -> tuple[RegressionProblem, ...]:
    """Make the nonlinear regressions of NIST's Statistical Reference Datasets.

    All 27, with two starts each, and residual sum of squares, parameters and standard deviations
    certified to eleven digits. `Problem.minima` and `Problem.minimizers` hold the certified values
    as they are printed, so the gradient there is small, but not as small as it can be. Several are
    known to defeat sound methods from the first start.

    Returns
    -------
    tuple of RegressionProblem
        In the order of NIST's list, by level of difficulty: lower (1 to 8), average (9 to 19) and
        higher (20 to 27).

    See Also
    --------
    problem : One problem, by name.

    References
    ----------
    National Institute of Standards and Technology, "Statistical Reference Datasets: Nonlinear
    Regression", https://www.itl.nist.gov/div898/strd/nls/nls_main.shtml

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.optimize import least_squares
    >>> from fastopt.testing import nist_strd
    >>> p = nist_strd()[0]
    >>> fit = least_squares(p.residuals, p.starts[1], jac=p.jacobian, method="lm", xtol=1e-14)
    >>> bool(np.allclose(fit.x, p.minimizers[0], rtol=1e-9))
    True
    """
    return tuple(nist_problem(name) for name in _MODELS)


def nist_names() -> tuple[str, ...]:
    return tuple(_MODELS)


def nist_problem(name: str) -> RegressionProblem:
    number = 1 + list(_MODELS).index(name)
    return RegressionProblem(number, name, partial(_define, name))


def _define(name: str) -> Regression:
    model = _MODELS[name]
    minimum, parameters, (y, *predictors) = _data()[name]
    first, second, certified, deviations = parameters.T.copy()
    if name == "Nelson":
        y = np.log(y)
    m = y.size

    def residuals(x: Array) -> Array:
        return y - model(x, *predictors)

    def jacobian(x: Array) -> Array:
        fit = model(jets.variables(x, second=False), *predictors)
        return -np.broadcast_to(fit.slope, (x.size, m)).T

    def curvature(x: Array, weights: Array) -> Array:
        fit = model(jets.variables(x, second=True), *predictors)
        return -np.broadcast_to(fit.bend, (x.size, x.size, m)) @ weights

    return Regression(
        x0=first,
        second_start=second,
        residuals=residuals,
        jacobian=jacobian,
        curvature=curvature,
        minima=(minimum,),
        minimizers=(certified,),
        standard_deviations=deviations,
    )


@cache
def _data() -> dict[str, tuple[float, Array, list[Array]]]:
    """By name: the residual sum of squares, a row for each parameter, the columns of data."""
    text = files(__package__).joinpath("nist_strd.txt").read_text(encoding="ascii").rstrip()
    found: dict[str, tuple[float, Array, list[Array]]] = {}
    for block in text.split("\n\n")[1:]:
        # What is continued on the next line is indented by four.
        (name, minimum), *rows = (line.split() for line in block.replace("\n    ", " ").split("\n"))
        columns = [np.array(row[1:], dtype=np.float64) for row in rows if row[0] in _COLUMNS]
        parameters = [row for row in rows if row[0] not in _COLUMNS]
        found[name] = float(minimum), np.array(parameters, dtype=np.float64), columns
    return found


def _read_only(array: Array) -> Array:
    array.flags.writeable = False
    return array


def _bennett(b: Any, x: Array) -> Any:
    return b[0] * (b[1] + x) ** (-1.0 / b[2])


def _saturation(b: Any, x: Array) -> Any:
    return b[0] * (1.0 - np.exp(-b[1] * x))


def _chwirut(b: Any, x: Array) -> Any:
    return np.exp(-b[0] * x) / (b[1] + b[2] * x)


def _dan_wood(b: Any, x: Array) -> Any:
    return b[0] * x ** b[1]


def _enso(b: Any, x: Array) -> Any:
    turn = 2.0 * np.pi * x
    year = b[1] * np.cos(turn / 12.0) + b[2] * np.sin(turn / 12.0)
    first = b[4] * np.cos(turn / b[3]) + b[5] * np.sin(turn / b[3])
    second = b[7] * np.cos(turn / b[6]) + b[8] * np.sin(turn / b[6])
    return b[0] + year + first + second


def _eckerle(b: Any, x: Array) -> Any:
    return b[0] / b[1] * np.exp(-0.5 * ((x - b[2]) / b[1]) ** 2)


def _gauss(b: Any, x: Array) -> Any:
    first = b[2] * np.exp(-(((x - b[3]) / b[4]) ** 2))
    second = b[5] * np.exp(-(((x - b[6]) / b[7]) ** 2))
    return b[0] * np.exp(-b[1] * x) + first + second


def _cubic_by_cubic(b: Any, x: Array) -> Any:
    top = b[0] + b[1] * x + b[2] * x**2 + b[3] * x**3
    return top / (1.0 + b[4] * x + b[5] * x**2 + b[6] * x**3)


def _kirby(b: Any, x: Array) -> Any:
    return (b[0] + b[1] * x + b[2] * x**2) / (1.0 + b[3] * x + b[4] * x**2)


def _lanczos(b: Any, x: Array) -> Any:
    return b[0] * np.exp(-b[1] * x) + b[2] * np.exp(-b[3] * x) + b[4] * np.exp(-b[5] * x)


def _mgh_09(b: Any, x: Array) -> Any:
    return b[0] * (x**2 + x * b[1]) / (x**2 + x * b[2] + b[3])


def _mgh_10(b: Any, x: Array) -> Any:
    return b[0] * np.exp(b[1] / (x + b[2]))


def _mgh_17(b: Any, x: Array) -> Any:
    return b[0] + b[1] * np.exp(-x * b[3]) + b[2] * np.exp(-x * b[4])


def _misra_1b(b: Any, x: Array) -> Any:
    return b[0] * (1.0 - (1.0 + b[1] * x / 2.0) ** -2.0)


def _misra_1c(b: Any, x: Array) -> Any:
    return b[0] * (1.0 - (1.0 + 2.0 * b[1] * x) ** -0.5)


def _misra_1d(b: Any, x: Array) -> Any:
    return b[0] * b[1] * x / (1.0 + b[1] * x)


def _nelson(b: Any, x1: Array, x2: Array) -> Any:
    return b[0] - b[1] * x1 * np.exp(-b[2] * x2)


def _rat_42(b: Any, x: Array) -> Any:
    return b[0] / (1.0 + np.exp(b[1] - b[2] * x))


def _rat_43(b: Any, x: Array) -> Any:
    return b[0] / (1.0 + np.exp(b[1] - b[2] * x)) ** (1.0 / b[3])


def _roszman(b: Any, x: Array) -> Any:
    return b[0] - b[1] * x - np.arctan(b[2] / (x - b[3])) / np.pi


_MODELS: dict[str, Model] = {
    "Misra1a": _saturation,
    "Chwirut2": _chwirut,
    "Chwirut1": _chwirut,
    "Lanczos3": _lanczos,
    "Gauss1": _gauss,
    "Gauss2": _gauss,
    "DanWood": _dan_wood,
    "Misra1b": _misra_1b,
    "Kirby2": _kirby,
    "Hahn1": _cubic_by_cubic,
    "Nelson": _nelson,
    "MGH17": _mgh_17,
    "Lanczos1": _lanczos,
    "Lanczos2": _lanczos,
    "Gauss3": _gauss,
    "Misra1c": _misra_1c,
    "Misra1d": _misra_1d,
    "Roszman1": _roszman,
    "ENSO": _enso,
    "MGH09": _mgh_09,
    "Thurber": _cubic_by_cubic,
    "BoxBOD": _saturation,
    "Rat42": _rat_42,
    "MGH10": _mgh_10,
    "Eckerle4": _eckerle,
    "Rat43": _rat_43,
    "Bennett5": _bennett,
}
