"""`check_grad`, `check_hess` and `check_hessp`: is the derivative code right?

Owns what is compared with what, at which points, and the verdict. How differences are taken is the
affair of `fastopt.testing.differences`; what a mistake is called, that of
`fastopt.testing.diagnosis`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastopt.core.validate import Integer, Real, check_callable, real_vector
from fastopt.testing.diagnosis import (
    Comparison,
    name_entry_mistake,
    name_gradient_mistake,
    name_hessian_mistake,
    shown,
)
from fastopt.testing.differences import EPS, SAFETY, Reading, measure, noise_along
from fastopt.testing.lines import Cross, Line

__all__ = ["DerivativeCheck", "check_grad", "check_hess", "check_hessp"]

Vector = NDArray[np.float64]
Mask = NDArray[np.bool_]
Place = tuple[int, ...]

# Up to so many variables each of them is looked at; beyond, random directions find what is wrong.
COORDINATES = 100
# Up to so many, each pair of them, where a Hessian is compared with values.
PAIRS = 20
# Of more variables, so many at random join the one found, to see what their errors have in common.
WITNESSES = 6
# Along a random direction, so much of what is allowed starts a search for a wrong component:
# its mistake may be small beside all the others' terms.
SCREENING = 0.01
# After so many components were found wrong from all steps, fewer steps will do for the others.
THOROUGH = 6
# So much of the change of a value across its variable's size is no noise, if it comes from nothing.
STATE = 1e-3
# More rounding than so many units is called noise.
NOISY = 1e4
# So many units of rounding of the largest term may be left of terms that cancel.
ROUNDING = 16.0 * EPS


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


def check_grad(
    fun: Callable[..., Any],
    x: ArrayLike,
    args: Any = (),
    jac: Callable[..., Any] | str | bool = True,
    *,
    directions: int = 3,
    seed: int = 0,
    rtol: float = 1e-6,
) -> DerivativeCheck:
    """Compare a gradient with differences of its function, and say what looks wrong.

    The step of the differences is chosen for each component, and their error is estimated, so a
    component is called wrong only if it lies outside of what they can tell. A function that is
    noisy, or has a kink or a jump at `x`, is said to be so.

    Parameters
    ----------
    fun : callable
        The function, as in `minimize`: ``fun(x, *args) -> float``; with ``jac=True``, the default,
        ``-> (float, gradient)``; with ``jac="inplace"``, ``fun(x, grad, *args) -> float``. A C
        function may take its place.
    x : array_like of real numbers, shape (n,)
        Where to compare. A point at random, of the size of what `minimize` will meet, shows more
        than the origin or a minimum, where components may vanish.
    args : tuple, optional
        Further arguments of `fun` and `jac`. Anything but a tuple is the one further argument.
    jac : {callable, True, "inplace"}, default True
        The gradient: ``jac(x, *args) -> array_like, shape (n,)``, or where `fun` leaves it.
    directions : int, default 3
        How many random directions to compare slopes along.
    seed : int, default 0
        Seed of the directions. The same arguments give the same result.
    rtol : float, default 1e-6
        Relative errors up to this are no mistake, in a component, and in a slope relative to the
        Euclidean norm of its terms.

    Returns
    -------
    DerivativeCheck
        True if nothing is wrong; its ``message`` says what is.

    Raises
    ------
    ValueError, TypeError
        If an argument is wrong, before anything is evaluated; or if `fun` or `jac` returns
        something that is not a value or a gradient. What they raise comes out unchanged.

    See Also
    --------
    check_hess : The same for a Hessian.
    check_hessp : The same for products with a Hessian.

    Notes
    -----
    **Costs.** Up to 100 variables, each is looked at: 6 to 12 evaluations of `fun` if it is right,
    some 40 to 60 if it is wrong or cannot be told. 30 to 50 more estimate the noise, compare slopes
    along the directions, and look for state that is kept between calls. Beyond 100 variables these
    are all, unless a slope disagrees: its direction is then halved until one component is left, in
    some ``8 log2(n)`` evaluations, and a few others are looked at beside it. A wrong component is
    found so if its error, times the size of its variable, is some ``rtol / 100`` of the Euclidean
    norm of all components times their variables. The gradient is evaluated twice, and once more
    if something is wrong.

    **Differences.** Central differences of steps that shrink by factors of four are extrapolated to
    zero [1]_. Of all entries of the extrapolation the one with the smallest error counts: the
    larger of its last two changes, plus what noise makes of it. Steps are relative to ``abs(x)``,
    from there up to 1e12 times as wide or narrow, so that each variable may have its own scale. The
    noise is the root mean square of second differences over the narrowest steps, as in
    [2]_, where they are of higher order. Where `fun` is not finite on one side, differences
    look to the other.

    Floating-point warnings of NumPy's at the trial points are silenced.

    References
    ----------
    .. [1] C. J. F. Ridders, "Accurate computation of F'(x) and F'(x) F''(x)", Adv. Eng. Software 4
       (1982) 75-76.
    .. [2] J. J. Moré and S. M. Wild, "Estimating computational noise", SIAM J. Sci. Comput. 33
       (2011) 1292-1314.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import check_grad
    >>> def bowl(x, centre):
    ...     return ((x - centre) ** 4).sum()
    >>> def slope(x, centre):
    ...     gradient = 4 * (x - centre) ** 3
    ...     gradient[1] *= 0.5
    ...     return gradient
    >>> check = check_grad(bowl, [1.0, 2.0, 3.0], args=(np.zeros(3),), jac=slope)
    >>> bool(check), check.index, check.given, round(check.expected, 6)
    (False, 1, 16.0, 32.0)
    >>> print(check.message)  # doctest: +ELLIPSIS
    Component 1 looks wrong: given 16, differences say 32 +- ...: half of it.
    """
    code = _Code(fun, args, jac, value_only=False)
    rng, directions, rtol = _settings(directions, seed, rtol)
    x = real_vector("x", x).copy()
    with code.turn:
        value, given = code.value_and_gradient(x)
        unusable = _unusable_value(value) or _unusable_derivative(given, "gradient")
        if unusable is not None:
            return _unchecked("gradient", *unusable, code)
        with np.errstate(all="ignore"):
            return _GradientCheck(code, x, value, given, rng, directions, rtol).run()


def check_hess(
    fun: Callable[..., Any] | None,
    x: ArrayLike,
    args: Any = (),
    jac: Callable[..., Any] | str | bool | None = None,
    hess: Callable[..., Any] | None = None,
    *,
    directions: int = 3,
    seed: int = 0,
    rtol: float = 1e-6,
) -> DerivativeCheck:
    """Compare a Hessian with differences of the gradient, and say what looks wrong.

    As `check_grad`, which should come first: a Hessian is compared with the gradient that is
    given. Without one it is compared with second differences of the function's values.

    Parameters
    ----------
    fun : callable or None
        The function, as in `minimize`. It may be None if `jac` is callable, as only gradients are
        evaluated then.
    x : array_like of real numbers, shape (n,)
        Where to compare.
    args : tuple, optional
        Further arguments of `fun`, `jac` and `hess`.
    jac : {callable, True, "inplace", None}, optional
        The gradient. None, the default, and False compare with values.
    hess : callable
        The Hessian, ``hess(x, *args)``: an array of shape (n, n), a sparse matrix or array of
        SciPy's, or a `scipy.sparse.linalg.LinearOperator`.
    directions, seed, rtol : optional
        As in `check_grad`.

    Returns
    -------
    DerivativeCheck
        True if nothing is wrong. Its ``index`` is a pair: row and column.

    Raises
    ------
    ValueError, TypeError
        As `check_grad`; and if `hess` returns something else than a Hessian.

    See Also
    --------
    check_grad : The same for a gradient.
    check_hessp : The same for products with a Hessian.

    Notes
    -----
    **Costs.** Up to 100 variables, 6 to 12 gradients each, some 40 to 80 if a column is wrong.
    Beyond, as many for each random direction, and some ``8 log2(n)`` to find the column. With
    values, 6 to 30 evaluations for each of the ``n (n + 1) / 2`` pairs up to 20 variables, some 50
    if it is wrong; beyond, for each pair of random directions, and twice ``16 log2(n)`` to find the
    entry. 12 evaluations more estimate the noise.

    Whether the Hessian is symmetric is tested as well.

    Differences are taken as in `check_grad`. The mixed second difference along u and v is
    ``(f(x + tu + tv) - f(x + tu - tv) - f(x - tu + tv) + f(x - tu - tv)) / (4 t**2)``, whose error
    has even powers of t alone.

    Examples
    --------
    >>> from scipy.optimize import rosen, rosen_der, rosen_hess
    >>> from fastopt import check_hess
    >>> bool(check_hess(rosen, [-1.2, 1.0, 0.7], jac=rosen_der, hess=rosen_hess))
    True
    >>> import numpy as np
    >>> check = check_hess(
    ...     rosen, [-1.2, 1.0, 0.7], jac=rosen_der, hess=lambda x: np.triu(rosen_hess(x))
    ... )
    >>> print(check.message)  # doctest: +ELLIPSIS
    Entry [1, 0] looks wrong: given 0, differences say 480 +- ...: only its upper ...
    """
    check_callable("hess", hess)
    assert hess is not None
    return _check_second("Hessian", fun, x, args, jac, hess, directions, seed, rtol)


def check_hessp(
    fun: Callable[..., Any] | None,
    x: ArrayLike,
    args: Any = (),
    jac: Callable[..., Any] | str | bool | None = None,
    hessp: Callable[..., Any] | None = None,
    *,
    directions: int = 3,
    seed: int = 0,
    rtol: float = 1e-6,
) -> DerivativeCheck:
    """Compare products with a Hessian with differences of the gradient, and say what looks wrong.

    As `check_hess`. Also tested are that the product is linear, and that it is symmetric: that
    ``u @ hessp(x, v)`` is ``v @ hessp(x, u)``.

    Parameters
    ----------
    fun, x, args, jac : optional
        As in `check_hess`.
    hessp : callable
        The product, ``hessp(x, p, *args) -> array_like, shape (n,)``.
    directions, seed, rtol : optional
        As in `check_grad`.

    Returns
    -------
    DerivativeCheck
        True if nothing is wrong. Its ``index`` is a row and a column of the Hessian.

    Raises
    ------
    ValueError, TypeError
        As `check_hess`.

    See Also
    --------
    check_hess : The same for the Hessian itself.

    Notes
    -----
    The costs are those of `check_hess`, and one product for each variable up to 100, and for each
    direction that is tried.

    Examples
    --------
    >>> from scipy.optimize import rosen, rosen_der, rosen_hess_prod
    >>> from fastopt import check_hessp
    >>> bool(check_hessp(rosen, [-1.2, 1.0, 0.7], jac=rosen_der, hessp=rosen_hess_prod))
    True
    """
    check_callable("hessp", hessp)
    assert hessp is not None
    return _check_second("Hessian product", fun, x, args, jac, hessp, directions, seed, rtol)


def _settings(directions: Any, seed: Any, rtol: Any) -> tuple[np.random.Generator, int, float]:
    directions = Integer(low=1)("directions", directions, 0)
    seed = Integer(low=0)("seed", seed, 0)
    rtol = Real(low=0.0, high=1.0, open_low=True, open_high=True)("rtol", rtol, 0)
    return np.random.default_rng(seed), directions, rtol


class _Code:
    """The user's function and gradient, with their arguments; counts the calls.

    Every call gets a fresh copy of the point, and what it returns is copied: some functions return
    the same array each time.
    """

    def __init__(self, fun: Any, args: Any, jac: Any, value_only: bool) -> None:
        from fastopt.objectives.source import is_c_function, turn_of  # takes a tenth of a second

        expected = "`jac` must be callable, True or 'inplace'"
        if value_only:
            expected = "`jac` must be callable, True, 'inplace', False or None"
        if isinstance(jac, np.bool_):
            jac = bool(jac)
        if value_only and jac is False:
            jac = None
        if isinstance(jac, str) and jac != "inplace":
            raise ValueError(f"{expected}, got {jac!r}")
        if jac is None or jac is False:
            if not value_only:
                raise TypeError(f"{expected}, got {jac}: there is no derivative to check")
        elif not (callable(jac) or jac is True or isinstance(jac, str)):
            raise TypeError(f"{expected}, got an object of type {type(jac).__name__}")
        self.is_c = is_c_function(fun)
        if self.is_c:
            _start_solver(fun, np.zeros(1), args, jac)  # refuses other forms of `jac` and `args`
        elif not (fun is None and value_only and callable(jac)):
            check_callable("fun", fun)
        self.fun, self.jac = fun, jac
        self.args = args if isinstance(args, tuple) else (args,)
        self.nfev = self.njev = 0
        self.turn = turn_of(fun, jac)

    def value(self, x: Vector) -> float:
        self.nfev += 1
        if self.is_c:
            return self._call_c(x)[0]
        if self.jac is True:
            return _as_value(self._pair(x)[0])
        if self.jac == "inplace":
            return _as_value(self.fun(x.copy(), np.empty(0), *self.args))
        return _as_value(self.fun(x.copy(), *self.args))

    def value_and_gradient(self, x: Vector) -> tuple[float, Vector]:
        if callable(self.jac):
            value = math.nan if self.fun is None else self.value(x)
            self.njev += 1
            return value, _as_vector("`jac`", self.jac(x.copy(), *self.args), x.size)
        self.nfev += 1
        self.njev += 1
        if self.is_c:
            return self._call_c(x)
        if self.jac is True:
            found = self._pair(x)
            return _as_value(found[0]), _as_vector("`fun` (jac=True)", found[1], x.size)
        gradient = np.full(x.size, np.nan)
        value = _as_value(self.fun(x.copy(), gradient, *self.args))
        return value, gradient

    def gradient(self, x: Vector) -> Vector:
        if not callable(self.jac):
            return self.value_and_gradient(x)[1]
        self.njev += 1
        return _as_vector("`jac`", self.jac(x.copy(), *self.args), x.size)

    def value_array(self, x: Vector) -> Vector:
        return np.array([self.value(x)])

    def _call_c(self, x: Vector) -> tuple[float, Vector]:
        solver = _start_solver(self.fun, x, self.args, self.jac)
        solver.advance(0)
        return solver.fun, solver.jac

    def _pair(self, x: Vector) -> Any:
        found = self.fun(x.copy(), *self.args)
        if not isinstance(found, tuple | list) or len(found) != 2:
            raise TypeError(
                "`fun` must return a pair (value, gradient) when jac=True, got "
                f"an object of type {type(found).__name__}"
            )
        return found


def _start_solver(fun: Any, x: Vector, args: Any, jac: Any) -> Any:
    """What calls C functions: a solver that goes no further than its start."""
    from fastopt.interface.solver import Solver

    return Solver(fun, x, args, "gd", jac)


def _as_value(found: Any) -> float:
    """The number that the user's function returned: a real scalar, or an array that holds one."""
    if isinstance(found, float):
        return found
    if isinstance(found, list | tuple | np.ndarray):
        array = np.asarray(found)
        if array.size != 1:
            raise ValueError(f"`fun` must return a scalar, got an array of shape {array.shape}")
        found = array.item()
    if found is None or isinstance(found, str | bytes | complex | np.complexfloating):
        _not_real("`fun`", "a real scalar", found)
    try:
        return float(found)
    except (TypeError, ValueError):
        _not_real("`fun`", "a real scalar", found)


def _as_vector(name: str, found: Any, n: int) -> Vector:
    array = _as_reals(name, found)
    if array.size != n or max(array.shape, default=1) != n:
        raise ValueError(f"{name} must return an array of shape ({n},), got shape {array.shape}")
    return array.reshape(n)


def _as_reals(name: str, found: Any) -> Vector:
    """A copy, as float64."""
    try:
        array = np.asarray(found)
    except ValueError:
        raise ValueError(f"{name} must return an array of numbers, got a ragged one") from None
    if found is None or array.dtype.kind not in "fiubO":
        _not_real(name, "an array of real numbers", found)
    try:
        if array.dtype.kind == "O":  # NumPy makes NaN of None
            return np.array([float(entry) for entry in array.flat]).reshape(array.shape)
        return np.array(array, dtype=np.float64)
    except (TypeError, ValueError):
        _not_real(name, "an array of real numbers", found)


def _not_real(name: str, expected: str, found: Any) -> NoReturn:
    got = "None" if found is None else f"an object of type {type(found).__name__}"
    if isinstance(found, np.ndarray):
        got = f"an array of shape {found.shape} and dtype {found.dtype}"
    raise TypeError(f"{name} must return {expected}, got {got}")


class _Slope(NamedTuple):
    """What was found along a random direction."""

    wrong: bool
    suspicious: bool  # enough to look for one component that is wrong
    error: float  # relative to the terms that make up the slope
    tolerance: float
    given: float
    expected: float
    uncertainty: float

    def described(self) -> str:
        return (
            f"given {shown(self.given, self.uncertainty)} along it, differences say "
            f"{_with_error(self.expected, self.uncertainty)}"
        )


class _Comparer:
    """What the checks have in common: the point, the noise, random directions, notes."""

    what: str
    centre: Vector
    noise: Vector
    given: Vector
    columns: list[int]  # of a Hessian, those that were looked at

    def __init__(
        self, code: _Code, x: Vector, rng: np.random.Generator, directions: int, rtol: float
    ) -> None:
        self.code, self.x, self.rng, self.rtol = code, x, rng, rtol
        self.directions = directions
        # A power of two of the size of each variable: steps of that scale add without rounding.
        with np.errstate(divide="ignore"):
            exponent = np.where(x == 0.0, 0.0, np.round(np.log2(np.abs(x))))
        self.unit: Vector = np.exp2(np.clip(exponent, -1000.0, 960.0))
        self.confirmed = 0
        self.slopes: list[_Slope] = []
        self.kinds: dict[str, list[Place]] = {}

    def random_direction(self) -> Vector:
        """Signs and sizes at random, so that no two mistakes cancel in all of the directions."""
        n = self.x.size
        return self.rng.choice([-1.0, 1.0], n) * self.rng.uniform(0.5, 1.0, n) * self.unit

    def axis(self, i: int) -> Vector:
        direction = np.zeros(self.x.size)
        direction[i] = self.unit[i]
        return direction

    def locate(self, direction: Vector, mistake: float, part: Callable[[Vector], float]) -> int:
        """The component of a direction that most of the mistake along it belongs to, by halving.

        `part` is the mistake along a direction; it adds up.
        """
        (active,) = direction.nonzero()
        while active.size > 1:
            half, rest = active[: active.size // 2], active[active.size // 2 :]
            masked = np.zeros_like(direction)
            masked[half] = direction[half]
            share = part(masked)
            if abs(share) >= abs(mistake - share):
                active, mistake = half, share
            else:
                active, mistake = rest, mistake - share
        return int(active[0])

    def add_slope(
        self, reading: Reading, i: int, given: float, allowance: float, size: float
    ) -> _Slope:
        """Judge component i of what was found along a direction."""
        value, error = float(reading.value[i]), float(reading.error[i])
        distance = max(0.0, float(reading.low[i]) - given, given - float(reading.high[i]))
        limit = SAFETY * error + allowance
        size = size or 1.0
        suspicious = distance > SAFETY * error + SCREENING * allowance
        slope = _Slope(
            distance > limit, suspicious, distance / size, limit / size, given, value, error
        )
        self.slopes.append(slope)
        return slope

    def worst_slope(self) -> _Slope | None:
        known = [slope for slope in self.slopes if math.isfinite(slope.expected)]
        return max(known, key=lambda slope: slope.error / (slope.tolerance or 1.0), default=None)

    def units_of_terms(self) -> Vector:
        """What `given` is to be multiplied by, to be a change of what is differenced."""
        raise NotImplementedError

    def witnesses(self) -> list[int]:
        count = min(WITNESSES, self.x.size)
        return sorted(int(i) for i in self.rng.choice(self.x.size, count, replace=False))

    def remark_on_noise(self, subject: str) -> str:
        if not self.kinds.keys().isdisjoint({"kink", "jump"}) and "noise" not in self.kinds:
            return ""
        noise = float(self.noise.max())
        terms = float(np.nanmax(np.abs(self.given * self.units_of_terms()), initial=0.0))
        size = max(float(np.abs(self.centre).max()), terms)
        if not ("noise" in self.kinds or noise > NOISY * EPS * size):
            return ""
        return (
            f" {subject} is noisy, or a step function: by about {noise:.1g}, which limits what "
            "differences can tell."
        )

    def note(self, kind: str, at: Place) -> None:
        if kind:
            self.kinds.setdefault(kind, []).append(at)


class _GradientCheck(_Comparer):
    what = "gradient"

    def __init__(
        self,
        code: _Code,
        x: Vector,
        value: float,
        given: Vector,
        rng: np.random.Generator,
        directions: int,
        rtol: float,
    ) -> None:
        super().__init__(code, x, rng, directions, rtol)
        self.value, self.given = value, given
        self.repeats = True
        self.expected = np.full(x.size, np.nan)
        self.error = np.full(x.size, np.nan)
        self.distance = np.full(x.size, np.nan)
        self.low, self.high = self.expected.copy(), self.expected.copy()
        self.centre = np.array([value])
        self.noise = noise_along(self.line(self.random_direction()))

    def run(self) -> DerivativeCheck:
        every = self.x.size <= COORDINATES
        if every:
            for i in range(self.x.size):
                self.look_at(i)
        if not (self.distance > self.tolerance()).any():
            for _ in range(self.directions):
                self.look_along(self.random_direction(), locating=not every)
        return self.verdict()

    def line(self, direction: Vector) -> Line:
        return Line(self.code.value_array, self.x, direction, self.centre)

    def tolerance(self) -> Vector:
        return SAFETY * self.error + self.allowance()

    def allowance(self) -> Vector:
        """What is no mistake; where terms cancel in a component, their rounding is left of them."""
        rounding: Vector = ROUNDING * float(np.max(np.abs(self.given * self.x))) / self.unit
        return self.rtol * np.abs(self.given) + rounding

    def look_at(self, i: int) -> None:
        unit = self.unit[i]
        given = self.given[i : i + 1] * unit
        reading = measure(
            self.line(self.axis(i)),
            given,
            self.noise,
            self.allowance()[i : i + 1] * unit,
            thorough=self.confirmed < THOROUGH,
        )
        self.expected[i] = reading.value[0] / unit
        self.error[i] = reading.error[0] / unit
        self.low[i], self.high[i] = reading.low[0] / unit, reading.high[0] / unit
        self.distance[i] = reading.distance(given)[0] / unit
        self.confirmed += bool(self.distance[i] > self.tolerance()[i])
        self.note(reading.kind[0], (i,))
        if reading.kind[0] == "noise":
            self.noise = np.maximum(self.noise, reading.noise)

    def look_along(self, direction: Vector, locating: bool) -> None:
        """Compare the slope along a direction; if it is wrong, find a component that is."""
        reading = self.slope_along(direction, thorough=True)
        given = float(self.given @ direction)
        terms = self.given * direction
        size = float(np.linalg.norm(terms))
        slope = self.add_slope(reading, 0, given, self.rtol * size, size)
        if locating:
            self.note(reading.kind[0], ())
        if not (locating and slope.suspicious) or (self.distance > self.tolerance()).any():
            return

        def mistake(along: Vector) -> float:
            found = float(self.slope_along(along, thorough=False).value[0])
            return float(self.given @ along) - found

        at = self.locate(direction, given - float(reading.value[0]), mistake)
        self.look_at(at)
        if (self.distance > self.tolerance()).any():
            for i in self.witnesses():
                self.look_at(i)

    def slope_along(self, direction: Vector, thorough: bool) -> Reading:
        terms = self.given * direction
        allowance = np.array([SCREENING * self.rtol * np.linalg.norm(terms)])
        given = np.array([self.given @ direction])
        return measure(self.line(direction), given, self.noise, allowance, thorough)

    def verdict(self) -> DerivativeCheck:
        found = Comparison(self.given, self.expected, self.error, self.distance > self.tolerance())
        stale = self.state_between_calls()
        slope = self.worst_slope()
        every = self.x.size <= COORDINATES
        nothing = not np.isfinite(found.expected).any() and slope is None
        ok = not (found.wrong.any() or stale or nothing)
        if found.wrong.any():
            message = self.complaint(found)
        elif stale:
            message = stale
        elif nothing:
            message = "Nothing could be compared: the function is not finite around x."
        elif slope is not None and slope.wrong and not every:
            ok = False
            message = (
                "The gradient looks wrong along a random direction, but in no one component that "
                f"could be found: {slope.described()}."
            )
            return _result(self, ok, found, message, slope)
        else:
            message = self.agreement(found)
            if slope is not None and slope.wrong:
                message += (
                    " But the slope along a random direction does not follow from them: the "
                    "function does not look differentiable at x."
                )
        return _result(self, ok, found, message, None if every else slope)

    def complaint(self, found: Comparison) -> str:
        at = _worst(found, self.distance, self.tolerance())
        i = at[0]
        if (i,) in self.kinds.get("kink", []) or (i,) in self.kinds.get("jump", []):
            kind = "kink" if (i,) in self.kinds.get("kink", []) else "jump"
            return (
                f"Component {i} looks wrong: given {shown(self.given[i])}, but the function has a "
                f"{kind} at x, with slopes of {shown(self.low[i])} and {shown(self.high[i])}."
            )
        message = _describe_entry(found, at, "Component")
        mistake = name_gradient_mistake(self.x, found)
        if mistake == "" and found.wrong.sum() > 1 and self.is_frozen():
            mistake = (
                "the gradient is the same at another point, where fun's is not: it may not be "
                "computed from x"
            )
        message += f": {mistake or name_entry_mistake(found, at)}."
        return message + _others(found, at, mistake)

    def agreement(self, found: Comparison) -> str:
        n = self.x.size
        if n > COORDINATES:
            of = f" along {self.directions} random directions"
        else:
            size = np.maximum(np.abs(self.given), np.abs(self.expected))
            vague = int(((SAFETY * self.error > 0.1 * size) & (size > 0.0)).sum())
            of = f" in all {n} components" if n > 1 else ""
            if vague:
                of += f", though differences tell little of {vague} small one{'s'[: vague > 1]}"
        return f"The gradient agrees with differences of the function{of}." + self.remarks()

    def units_of_terms(self) -> Vector:
        return self.unit

    def remarks(self) -> str:
        """What is peculiar about the function."""
        remarks = self.remark_on_noise("The function")
        if not self.repeats:
            remarks += " It gives different values at the same x."
        for kind in ("kink", "jump"):
            for place in self.kinds.get(kind, [])[:1]:
                where = f"along component {place[0]}" if place else "along a random direction"
                slopes = ""
                if place:
                    i = place[0]
                    slopes = f", with slopes of {shown(self.low[i])} and {shown(self.high[i])}"
                remarks += (
                    f" The function has a {kind} at x {where}{slopes}: it has no gradient there."
                )
        if self.kinds.get("edge"):
            remarks += " The function is finite on one side of x only, for some variables."
        if blind := self.kinds.get("blind"):
            where = f"component {blind[0][0]}" if blind[0] else "a random direction"
            remarks += (
                f" Along {where} the function is finite nowhere around x, and nothing can be told."
            )
        return remarks

    def state_between_calls(self) -> str:
        """A gradient that depends on which point came before is worse than a wrong one."""
        # Right after other points were asked for values: what is kept of those shows now.
        if callable(self.code.jac):
            gradient = self.code.gradient(self.x)
            value = self.code.value(self.x)
        else:
            value, gradient = self.code.value_and_gradient(self.x)
        change = abs(value - self.value)
        if not change <= STATE * max(self.change_across_size(), self.rtol * abs(self.value)):
            return (
                f"The function gives different values at the same x: {shown(self.value)}, then "
                f"{shown(value)}. It is random, or keeps something between calls."
            )
        self.repeats = change <= NOISY * EPS * abs(self.value)
        apart = np.abs(gradient - self.given)
        limit = self.allowance()
        if (apart > limit).any() or np.isnan(gradient).any():
            i = int(np.argmax(np.where(np.isnan(apart), np.inf, apart - limit)))
            return (
                f"The gradient is another one when it is evaluated at the same x again: component "
                f"{i} is {shown(self.given[i])}, then {shown(gradient[i])}. Something is kept "
                "between calls."
            )
        return ""

    def change_across_size(self) -> float:
        """How much the value changes where a variable changes by its size."""
        return float(np.max(np.abs(self.given * self.unit)))

    def is_frozen(self) -> bool:
        """Whether the gradient is that of x elsewhere, too, though the function is not linear."""
        step = 0.1 * self.random_direction()
        there = self.code.gradient(self.x + step)
        if not np.array_equal(there, self.given):
            return False
        bend = self.code.value(self.x + step) - 2.0 * self.value + self.code.value(self.x - step)
        return bool(abs(bend) > 1e3 * max(self.noise[0], EPS * abs(self.value)))


def _check_second(
    what: str,
    fun: Any,
    x: ArrayLike,
    args: Any,
    jac: Any,
    second: Callable[..., Any],
    directions: int,
    seed: int,
    rtol: float,
) -> DerivativeCheck:
    """`check_hess` and `check_hessp`."""
    code = _Code(fun, args, jac, value_only=True)
    rng, directions, rtol = _settings(directions, seed, rtol)
    x = real_vector("x", x).copy()
    limit = PAIRS if code.jac is None else COORDINATES
    with code.turn:
        if code.jac is None:
            centre = code.value_array(x)
            unusable = _unusable_value(float(centre[0]))
        else:
            centre = code.gradient(x)
            unusable = _unusable_derivative(centre, "gradient")
        if unusable is not None:
            return _unchecked(what, *unusable, code)
        if what == "Hessian":
            matrix, product, asymmetry = _read_hessian(second(x.copy(), *code.args), x.size, limit)
        else:
            matrix, asymmetry = None, None

            def product(direction: Vector) -> Vector:
                found = second(x.copy(), direction.copy(), *code.args)
                return _as_vector("`hessp`", found, x.size)

            if x.size <= limit:
                matrix = np.stack([product(row) for row in np.eye(x.size)], axis=1)
        if matrix is not None:
            unusable = _unusable_derivative(matrix, what)
            if unusable is not None:
                return _unchecked(what, *unusable, code)
        with np.errstate(all="ignore"):
            return _HessianCheck(
                what, code, x, centre, matrix, product, asymmetry, rng, directions, rtol
            ).run()


def _read_hessian(
    found: Any, n: int, limit: int
) -> tuple[Vector | None, Callable[[Vector], Vector], Any]:
    """What `hess` returned: as an array if there is room for one, as a product, and less its
    transposed, where that can be had."""
    from scipy.sparse import issparse
    from scipy.sparse.linalg import LinearOperator

    if not (issparse(found) or isinstance(found, LinearOperator)):
        found = _as_reals("`hess`", found)
    if found.shape != (n, n):
        raise ValueError(f"`hess` must return a matrix of shape ({n}, {n}), got {found.shape}")

    def product(direction: Vector) -> Vector:
        return _as_vector("`hess`", found @ direction, n)

    if isinstance(found, np.ndarray):
        return (found if n <= limit else None), product, found
    if issparse(found):
        found = found.tocsr()
        return (_as_reals("`hess`", found.toarray()) if n <= limit else None), product, found
    matrix = None
    if n <= limit:
        matrix = np.stack([product(row) for row in np.eye(n)], axis=1)
    return matrix, product, None


class _HessianCheck(_Comparer):
    def __init__(
        self,
        what: str,
        code: _Code,
        x: Vector,
        centre: Vector,
        matrix: Vector | None,
        product: Callable[[Vector], Vector],
        stored: Any,
        rng: np.random.Generator,
        directions: int,
        rtol: float,
    ) -> None:
        super().__init__(code, x, rng, directions, rtol)
        self.what, self.centre, self.matrix, self.product = what, centre, matrix, product
        self.stored = stored
        self.by_values = code.jac is None
        self.source = "the function" if self.by_values else "the gradient"
        n = x.size
        self.every = matrix is not None
        # Entries that were looked at, a column of the Hessian each.
        self.columns: list[int] = list(range(n)) if self.every else []
        shape = (n, len(self.columns))
        self.given = np.zeros(shape) if matrix is None else matrix
        self.expected, self.error, self.distance = (np.full(shape, np.nan) for _ in range(3))
        self.mistakes: list[str] = []
        self.noise = np.zeros_like(centre)
        self.noise = noise_along(self.line(self.random_direction()))

    def line(self, direction: Vector) -> Line:
        function = self.code.value_array if self.by_values else self.code.gradient
        return Line(function, self.x, direction, self.centre)

    def run(self) -> DerivativeCheck:
        n = self.x.size
        if self.every and self.by_values:
            for j in range(n):
                for i in range(j + 1):
                    self.look_at_entry(i, j, j)
                    if i != j:
                        self.look_at_entry(j, i, i, known=(i, j))
        elif self.every:
            for j in range(n):
                self.look_at_column(j, j)
        else:
            for _ in range(self.directions):
                if self.by_values:
                    self.look_along_pair()
                else:
                    self.look_along(self.random_direction())
        self.judge_product()
        return self.verdict()

    def tolerance(self) -> Vector:
        return SAFETY * self.error + self.allowance()

    def allowance(self) -> Vector:
        """As for a gradient: in an entry, the terms of its row cancel."""
        terms = np.abs(self.given * self.x[self.columns])
        largest = np.max(terms, axis=1, keepdims=True, initial=0.0)
        rounding: Vector = ROUNDING * largest / self.unit[self.columns]
        return self.rtol * np.abs(self.given) + rounding

    def look_at_column(self, j: int, at: int) -> None:
        unit = self.unit[j]
        given = self.given[:, at] * unit
        reading = measure(
            self.line(self.axis(j)),
            given,
            self.noise,
            self.allowance()[:, at] * unit,
            thorough=self.confirmed < THOROUGH,
        )
        self.expected[:, at] = reading.value / unit
        self.error[:, at] = reading.error / unit
        self.distance[:, at] = reading.distance(given) / unit
        self.confirmed += bool((self.distance[:, at] > self.tolerance()[:, at]).any())
        for i, kind in enumerate(reading.kind):
            self.note(kind, (i, j))
            if kind == "noise":
                self.noise[i] = max(self.noise[i], reading.noise[i])

    def look_at_entry(self, i: int, j: int, at: int, known: Place | None = None) -> None:
        """One entry from values; or from its mirror image, where that is `known`."""
        given = self.given[i, at]
        if known is not None:
            self.expected[i, at], self.error[i, at] = self.expected[known], self.error[known]
            self.distance[i, at] = abs(given - self.expected[known])
            return
        unit = self.unit[i] * self.unit[j]
        scaled = np.array([given * unit])
        allowance = self.allowance()[i : i + 1, at] * unit
        reading = measure(self.cross(self.axis(i), self.axis(j)), scaled, self.noise, allowance)
        self.expected[i, at] = reading.value[0] / unit
        self.error[i, at] = reading.error[0] / unit
        self.distance[i, at] = reading.distance(scaled)[0] / unit
        self.note(reading.kind[0], (i, j))

    def cross(self, u: Vector, v: Vector) -> Cross:
        return Cross(self.code.value_array, self.x, u, v, self.centre)

    def add_column(self, j: int, expected_too: bool) -> int:
        unit_vector = np.zeros(self.x.size)
        unit_vector[j] = 1.0
        self.columns.append(j)
        column = self.product(unit_vector)[:, None]
        self.given = np.hstack((self.given, column))
        unknown = np.full_like(column, np.nan)
        self.expected = np.hstack((self.expected, unknown))
        self.error = np.hstack((self.error, unknown))
        self.distance = np.hstack((self.distance, unknown))
        at = len(self.columns) - 1
        if expected_too:
            self.look_at_column(j, at)
        return at

    def look_along(self, direction: Vector) -> None:
        """Compare a product; where a component is wrong, find a column that is."""
        given = self.product(direction)
        if self.is_broken(given):
            return
        allowance = self.allowance_along(given)
        reading = measure(self.line(direction), given, self.noise, SCREENING * allowance)
        self.note(next(filter(None, reading.kind), ""), ())
        size = np.fmax(np.abs(given), np.abs(reading.value))
        if not np.isfinite(reading.value).any():
            return
        limit = SAFETY * reading.error + SCREENING * allowance
        i = int(np.nanargmax(reading.distance(given) / np.fmax(limit, 1e-300)))
        slope = self.add_slope(reading, i, float(given[i]), float(allowance[i]), float(size[i]))
        if not slope.suspicious or (self.distance > self.tolerance()).any():
            return

        def mistake(along: Vector) -> float:
            product = self.product(along)
            allowance = SCREENING * self.allowance_along(product)
            found = measure(self.line(along), product, self.noise, allowance, thorough=False)
            return float(product[i] - found.value[i])

        j = self.locate(direction, float(given[i] - reading.value[i]), mistake)
        self.add_column(j, expected_too=True)
        if (self.distance > self.tolerance()).any():
            for column in self.witnesses():
                if column != j:
                    self.add_column(column, expected_too=True)

    def is_broken(self, product: Vector) -> bool:
        """Note a product that is not finite: nothing can be compared with it."""
        finite = np.isfinite(product)
        if finite.all():
            return False
        i = int(finite.argmin())
        note = f"Component {i} of its product with a vector is {product[i]}."
        if note not in self.mistakes:
            self.mistakes.append(note)
        return True

    def allowance_along(self, product: Vector) -> Vector:
        """The terms of a product are not known: where they cancel, their rounding is left."""
        terms: Vector = float((np.abs(product) * self.unit).max()) / self.unit
        return self.rtol * np.abs(product) + 1e-10 * terms

    def look_along_pair(self) -> None:
        """Compare u' H v for two random directions; where it is wrong, find an entry that is."""
        u, v = self.random_direction(), self.random_direction()
        if self.is_broken(self.product(v)):
            return
        mistake, reading, given, size = self.mistake_between(u, v)
        self.note(reading.kind[0], ())
        slope = self.add_slope(reading, 0, given, self.rtol * size, size)
        if not slope.suspicious or (self.distance > self.tolerance()).any():
            return
        j = self.locate(v, mistake, lambda along: self.mistake_between(u, along)[0])
        axis = self.axis(j)
        mistake = self.mistake_between(u, axis)[0]
        i = self.locate(u, mistake, lambda along: self.mistake_between(along, axis)[0])
        self.look_at_entry(i, j, self.add_column(j, expected_too=False))

    def mistake_between(self, u: Vector, v: Vector) -> tuple[float, Reading, float, float]:
        """u' H v less what differences say, these, what was given, and the norm of its terms."""
        terms = u * self.product(v)
        given, size = float(terms.sum()), float(np.linalg.norm(terms))
        allowance = np.array([SCREENING * self.rtol * size])
        reading = measure(self.cross(u, v), np.array([given]), self.noise, allowance)
        return given - float(reading.value[0]), reading, given, size

    def judge_product(self) -> None:
        """Symmetry, of what is stored or between random vectors, and linearity."""
        stored = self.stored if self.stored is not None else self.matrix
        if stored is not None:
            self.judge_symmetry(stored)
        if self.what == "Hessian" and stored is not None:
            return
        u, v = self.random_direction(), self.random_direction()
        along_u, along_v, along_both = (self.product(p) for p in (u, v, u - 3.0 * v))
        if any(self.is_broken(product) for product in (along_u, along_v, along_both)):
            return
        limit = self.allowance_along(np.abs(along_u) + 3.0 * np.abs(along_v))
        apart = np.abs(along_both - (along_u - 3.0 * along_v))
        if not (apart <= limit).all():
            i = int(np.argmax(apart / np.fmax(limit, 1e-300)))
            self.mistakes.append(
                f"It is not linear: component {i} of the product with u - 3 v is "
                f"{shown(along_both[i], apart[i] / 100)}, but those of the single products make "
                f"{shown(along_u[i] - 3.0 * along_v[i], apart[i] / 100)}."
            )
        if stored is not None:
            return
        left, right = u * along_v, v * along_u
        limit_of_sum = self.rtol * float(np.linalg.norm(left) + np.linalg.norm(right))
        if abs(left.sum() - right.sum()) > limit_of_sum:
            self.mistakes.append(
                f"It is not symmetric: u'Hv is {shown(left.sum())} and v'Hu is "
                f"{shown(right.sum())} for two random directions."
            )

    def judge_symmetry(self, stored: Any) -> None:
        """Note the pair of entries whose difference is largest, if it is more than rounding."""
        if isinstance(stored, np.ndarray):
            rows, columns = np.nonzero(stored != stored.T)
            above = rows < columns
            rows, columns = rows[above], columns[above]
            upper, lower = stored[rows, columns], stored[columns, rows]
        else:
            apart = (stored - stored.T).tocoo()
            above = apart.row < apart.col
            rows, columns = apart.row[above], apart.col[above]
            upper = np.asarray(stored[rows, columns]).ravel()
            lower = np.asarray(stored[columns, rows]).ravel()
        if not rows.size:
            return
        diagonal = np.sqrt(np.abs(stored.diagonal()))
        largest = np.maximum(np.abs(upper), np.abs(lower))
        limit = self.rtol * largest + 1e3 * EPS * diagonal[rows] * diagonal[columns]
        apart = np.abs(upper - lower)
        if (apart <= limit).all():
            return
        k = int(np.argmax(apart / np.fmax(limit, 1e-300)))
        i, j = int(rows[k]), int(columns[k])
        self.mistakes.append(
            f"It is not symmetric: [{i}, {j}] is {shown(upper[k], apart[k] / 100)}, [{j}, {i}] is "
            f"{shown(lower[k], apart[k] / 100)}."
        )

    def verdict(self) -> DerivativeCheck:
        found = Comparison(self.given, self.expected, self.error, self.distance > self.tolerance())
        slope = self.worst_slope()
        vague = slope is not None and slope.wrong
        nothing = not np.isfinite(found.expected).any() and slope is None
        ok = not (found.wrong.any() or self.mistakes or vague or nothing)
        if found.wrong.any():
            at = _worst(found, self.distance, self.tolerance())
            message = _describe_entry(found, at, "Entry", (at[0], self.columns[at[1]]))
            mistake = name_hessian_mistake(found)
            entry = mistake or name_entry_mistake(found, at)
            message += f": {entry}." + _others(found, at, mistake, self.columns)
            message = " ".join([message, *self.mistakes])
        elif nothing and self.mistakes:
            message = f"The {self.what} looks wrong. " + " ".join(self.mistakes)
        elif nothing:
            message = f"Nothing could be compared: {self.source} is not finite around x."
        elif slope is not None and slope.wrong:
            message = (
                f"The {self.what} looks wrong along a random direction, but in no one entry that "
                f"could be found: {slope.described()}."
            )
            message = " ".join([message, *self.mistakes])
        elif self.mistakes:
            agreement = f"The {self.what} agrees with differences of {self.source}."
            message = " ".join([*self.mistakes, agreement])
        else:
            message = self.agreement()
        message += self.doubt_of_gradient()
        return _result(self, ok, found, message, None if found.wrong.any() else slope)

    def units_of_terms(self) -> Vector:
        units: Vector = self.unit[self.columns]
        return units

    def agreement(self) -> str:
        of = "in all entries" if self.every else f"along {self.directions} random directions"
        message = f"The {self.what} agrees with differences of {self.source} {of}."
        subject = self.source[0].upper() + self.source[1:]
        message += self.remark_on_noise(subject)
        for kind in ("kink", "jump"):
            for place in self.kinds.get(kind, [])[:1]:
                where = f"along component {place[1]}" if place else "along a random direction"
                message += f" {subject} has a {kind} at x {where}: it has no derivative there."
        return message

    def doubt_of_gradient(self) -> str:
        """A remark if the differences of the gradient are no Hessian themselves."""
        if self.by_values or not self.every:
            return ""
        apart = np.abs(self.expected - self.expected.T)
        size = np.maximum(np.abs(self.expected), np.abs(self.expected.T))
        limit = SAFETY * (self.error + self.error.T) + 10.0 * self.rtol * size
        if not (apart > limit).any():
            return ""
        i, j = (
            int(k)
            for k in np.unravel_index(
                np.argmax(np.where(apart > limit, apart / size, -1.0)), apart.shape
            )
        )
        return (
            " The differences are not symmetric, so the gradient itself looks wrong (check_grad): "
            f"[{i}, {j}] {shown(self.expected[i, j])}, [{j}, {i}] {shown(self.expected[j, i])}."
        )


def _unusable_value(value: float) -> tuple[str, Place | None, float] | None:
    if math.isfinite(value):
        return None
    return f"fun is {value} at x: choose a point where it is finite.", None, math.nan


def _unusable_derivative(given: Vector, what: str) -> tuple[str, Place | None, float] | None:
    finite = np.isfinite(given)
    if finite.all():
        return None
    at = tuple(int(i) for i in np.unravel_index(int(finite.argmin()), given.shape))
    place = f"Component {at[0]}" if len(at) == 1 else f"Entry [{at[0]}, {at[1]}]"
    return f"{place} of the {what} looks wrong: it is {given[at]}.", at, float(given[at])


def _unchecked(
    what: str, message: str, at: Place | None, given: float, code: _Code
) -> DerivativeCheck:
    """The verdict where there is nothing to take differences of."""
    index = at[0] if at is not None and len(at) == 1 else at
    nan = math.nan
    return DerivativeCheck(
        what, False, nan, nan, index, given, nan, None, None, code.nfev, code.njev, message
    )


def _result(
    check: _GradientCheck | _HessianCheck,
    ok: bool,
    found: Comparison,
    message: str,
    slope: _Slope | None,
) -> DerivativeCheck:
    """The verdict, at the worst component; where none was looked at, along the worst direction."""
    expected = found.expected
    index: int | Place | None = None
    error = tolerance = given = value = math.nan
    if np.isfinite(expected).any() and (slope is None or found.wrong.any()):
        at = _worst(found, check.distance, check.tolerance())
        given, value = float(found.given[at]), float(expected[at])
        size = max(abs(given), abs(value)) or 1.0
        error, tolerance = (
            float(values[at]) / size for values in (check.distance, check.tolerance())
        )
        index = at[0] if len(at) == 1 else (at[0], check.columns[at[1]])
    elif slope is not None:
        given, value = slope.given, slope.expected
        error, tolerance = slope.error, slope.tolerance
    whole = np.isfinite(expected).any() and expected.shape == (check.x.size,) * expected.ndim
    return DerivativeCheck(
        what=check.what,
        ok=bool(ok),
        error=error,
        tolerance=tolerance,
        index=index,
        given=given,
        expected=value,
        differences=expected if whole else None,
        uncertainty=found.error if whole else None,
        nfev=check.code.nfev,
        njev=check.code.njev,
        message=message,
    )


def _worst(found: Comparison, distance: Vector, tolerance: Vector) -> Place:
    """Where the relative disagreement is largest."""
    seen = np.isfinite(found.expected)
    size = np.maximum(np.abs(found.given), np.abs(found.expected))
    size = np.where(size > 0.0, size, 1.0)
    relative = distance / size
    choice = found.wrong
    if not choice.any():
        choice = seen & (tolerance < 0.01 * size)
    if not choice.any():
        choice = seen
    flat = int(np.argmax(np.where(choice, relative, -1.0)))
    return tuple(int(i) for i in np.unravel_index(flat, relative.shape))


def _describe_entry(found: Comparison, at: Place, word: str, place: Place | None = None) -> str:
    where = place or at
    resolution = max(
        float(found.error[at]), 1e-3 * abs(float(found.given[at] - found.expected[at]))
    )
    name = f"{word} {where[0]}" if len(where) == 1 else f"{word} [{where[0]}, {where[1]}]"
    return (
        f"{name} looks wrong: given {shown(found.given[at], resolution)}, differences say "
        f"{shown(found.expected[at], resolution)} +- {found.error[at]:.1g}"
    )


def _with_error(value: float, error: float) -> str:
    return f"{shown(value, error)} +- {error:.1g}"


def _others(
    found: Comparison, at: Place, mistake: str, columns: Iterable[int] | None = None
) -> str:
    """Which other components are wrong, if no one mistake explains them all."""
    if mistake:
        return ""
    names = list(columns) if columns is not None else []
    others = [tuple(int(i) for i in place) for place in np.argwhere(found.wrong)]
    others = [place for place in others if place != at]
    if not others:
        return ""
    first = [
        str(place[0]) if len(place) == 1 else f"[{place[0]}, {names[place[1]]}]"
        for place in others[:5]
    ]
    more = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return f" Wrong, too: {', '.join(first)}{more}."
