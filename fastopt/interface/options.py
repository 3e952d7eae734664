"""From what a caller passes as `tol` and `options` to what a solver and its driver read.

Owns the checks and defaults of options. Knows nothing of objectives or of running a solver.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeWarning

from fastopt.core.validate import Real, warn_caller
from fastopt.interface.methods import METHODS, Method, PerVariable, closest
from fastopt.interface.tuples import Options
from fastopt.rules.table import RULES

__all__ = ["Controls", "Settings", "check_tol", "read_options", "scipy_options"]

Settings = dict[str, Any]
Steps = float | NDArray[np.float64] | None

# What `SolverState` takes. Of the other options, a rule's hyperparameters travel as one tuple,
# and the rest are `Controls`.
_SOLVER_SETTINGS = frozenset(
    (
        "gtol",
        "ftol",
        "xtol",
        "norm",
        "stopval",
        "maxiter",
        "maxfev",
        "c1",
        "c2",
        "maxls",
        "line_search",
        "hess_inv0",
        "maxcor",
        "damping",
        "threads",
        "beta",
        "initial_trust_radius",
        "max_trust_radius",
        "eta",
        "l1",
    )
)
_TOL = Real(low=0.0)


def check_tol(tol: Any) -> float | None:
    return None if tol is None else _TOL("tol", tol, 1)


class Controls(NamedTuple):
    """The options that the driver of a solver reads, and those of the objective."""

    maxtime: float = math.inf
    trace: bool = False
    return_all: bool = False
    progress: bool = False
    disp: bool = False
    on_interrupt: str = "raise"
    eps: Steps = None
    finite_diff_rel_step: Steps = None
    workers: int | Callable[..., Any] | None = None
    compile: bool | str = "auto"
    preconditioner: Any = None


@dataclass(frozen=True)
class _Defaults:
    """A method's defaults, sorted once by who reads them."""

    settings: Settings
    per_variable: tuple[tuple[str, int], ...]
    hyperparameters: dict[str, float]
    controls: Controls


def _defaults(row: Method) -> _Defaults:
    plain = {name: option.default for name, option in row.options.items()}
    hyperparameters = {name: plain.pop(name) for name in _hyperparameter_names(row)}
    settings = {name: plain.pop(name) for name in list(plain) if name in _SOLVER_SETTINGS}
    per_variable = tuple(
        (name, default.factor)
        for name, default in settings.items()
        if isinstance(default, PerVariable)
    )
    if row.rule is not None:
        settings["rule"] = row.rule
        settings["hyperparameters"] = tuple(hyperparameters.values())
    controls = {name: plain[name] for name in Controls._fields if name in plain}
    return _Defaults(settings, per_variable, hyperparameters, Controls(**controls))


def _hyperparameter_names(row: Method) -> tuple[str, ...]:
    if row.rule is None:
        return ()
    return tuple(each.name for each in RULES[row.rule].hyperparameters)


def read_options(
    row: Method, options: Mapping[str, Any] | Options | None, tol: Any, n: int
) -> tuple[Settings, Controls]:
    """Check `tol` and `options` and complete them with the method's defaults.

    An option that the method does not have is an OptimizeWarning and is ignored, as in SciPy. An
    option given as None keeps its default.
    """
    defaults = _DEFAULTS[row.name]
    settings = defaults.settings.copy()
    for name, factor in defaults.per_variable:
        settings[name] = factor * n
    if not options and tol is None:
        return settings, defaults.controls

    given = _check_options(row, as_mapping(options), n)
    tol = check_tol(tol)
    if tol is not None:
        for name in row.tol_options:
            given.setdefault(name, tol)
    hyperparameters = None
    controls: dict[str, Any] = {}
    for name, value in given.items():
        if name in defaults.hyperparameters:
            hyperparameters = hyperparameters or dict(defaults.hyperparameters)
            hyperparameters[name] = value
        elif name in settings:
            settings[name] = value
        elif name in Controls._fields:
            controls[name] = value
    if hyperparameters is not None:
        settings["hyperparameters"] = tuple(hyperparameters.values())
    if "c1" in settings and settings["c1"] >= settings["c2"]:
        raise ValueError(
            f"`c1` must be less than `c2`, got c1={settings['c1']} and c2={settings['c2']}"
        )
    radius = settings.get("initial_trust_radius")
    if radius is not None and radius > settings["max_trust_radius"]:
        raise ValueError(
            "`initial_trust_radius` must be at most `max_trust_radius`, got "
            f"initial_trust_radius={radius} and max_trust_radius={settings['max_trust_radius']}"
        )
    return settings, defaults.controls._replace(**controls)


def _check_options(row: Method, options: Mapping[str, Any], n: int) -> dict[str, Any]:
    """The known ones of `options` that are not None, checked, under the row's names."""
    given: dict[str, Any] = {}
    written: dict[str, Any] = {}
    for key, value in options.items():
        name = row.option_aliases.get(key, key)
        option = row.options.get(name)
        if option is None:
            _warn_unknown(row, key)
            continue
        if name in written:
            raise ValueError(
                f"`options` must name an option once, got {written[name]!r} and {key!r}, "
                "which are one"
            )
        written[name] = key
        if value is not None:
            given[name] = option.check(key, value, n)
    return given


def _warn_unknown(row: Method, key: object) -> None:
    warn_caller(f"method {row.name} has no option {key!r}{_hint(row, key)}", OptimizeWarning)


def _hint(row: Method, key: object) -> str:
    """What is known of an option that a method does not have, to follow the news that it is not."""
    name, conversion = _FORMER_NAMES.get(key, (_ALIASES.get(key), ""))
    if name not in row.options:
        others = [
            repr(other.name)
            for other in METHODS.values()
            if key in other.options and other.unbounded is None
        ]
        if others:
            *first, last = others
            return f": it is one of {', '.join(first)}{' and ' if first else ''}{last}"
        name = closest(key, (*row.options, *row.option_aliases))
    return f"; did you mean {name!r}{conversion}?" if name else ""


def as_mapping(options: Mapping[str, Any] | Options | None) -> Mapping[str, Any]:
    """Options in either form, by name."""
    if options is None:
        return {}
    if isinstance(options, Options):
        return options.given()
    if not isinstance(options, Mapping):
        raise TypeError(f"`options` must be a dict, got {type(options).__name__}")
    return options


def scipy_options(
    row: Method | None, options: Mapping[str, Any] | Options | None
) -> dict[str, Any]:
    """`options` under SciPy's names, for a solve by SciPy; `row` is fastopt's equal method."""
    translated: dict[str, Any] = {}
    for key, value in as_mapping(options).items():
        if row is None:
            if key in _ONLY_FASTOPT:
                _refuse(key)
            translated[key] = value
            continue
        name = row.option_aliases.get(key, key)
        if name in row.options and name not in row.scipy_options:
            _refuse(key)
        translated[row.scipy_options.get(name, key)] = value
    return translated


def _refuse(key: str) -> NoReturn:
    raise ValueError(
        f"`{key}` must not be among the options here, since only fastopt knows it and SciPy "
        "solves this problem; leave it out, or choose one of fastopt's methods, without "
        "constraints"
    )


# The names that SciPy's fmin_l_bfgs_b and its older versions have for L-BFGS-B's options.
_FORMER_NAMES: dict[object, tuple[str, str]] = {
    "m": ("maxcor", ""),
    "pgtol": ("gtol", ""),
    "factr": ("ftol", " (= factr * 2.2e-16)"),
}
_ALIASES: dict[object, str] = {
    alias: name for row in METHODS.values() for alias, name in row.option_aliases.items()
}
# Known to no method of SciPy's, whatever it does.
_ONLY_FASTOPT = frozenset(
    ("maxtime", "stopval", "trace", "progress", "on_interrupt", "line_search", "compile")
)
_DEFAULTS = {name: _defaults(row) for name, row in METHODS.items()}
