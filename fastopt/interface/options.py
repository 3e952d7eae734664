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

from fastopt.core.validate import UNLIMITED, Real, warn_caller
from fastopt.interface.methods import METHODS, OPTIONS_OF_DATA, Method, PerVariable, closest
from fastopt.interface.tuples import Options
from fastopt.rules.table import FLAVORS, find_rule

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
        "flavor",
        "schedule",
        "clip_norm",
        "clip_value",
        "weight_decay",
        "averaging",
        "average_decay",
        "average_from",
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
    epochs: int = 0
    full_every: int = 0
    validation: Callable[..., Any] | None = None
    patience: int = UNLIMITED


@dataclass(frozen=True)
class _Defaults:
    """A method's defaults, sorted once by who reads them."""

    settings: Settings
    per_variable: tuple[tuple[str, int], ...]
    hyperparameters: dict[str, dict[str, float]]  # by flavor
    controls: Controls


def _defaults(row: Method) -> _Defaults:
    hyperparameters = {
        flavor: {each.name: each.default for each in rule.hyperparameters}
        for flavor, rule in (FLAVORS[row.rule] if row.rule else {}).items()
    }
    names = {name for defaults in hyperparameters.values() for name in defaults}
    plain = {name: option.default for name, option in row.options.items() if name not in names}
    settings = {name: plain.pop(name) for name in list(plain) if name in _SOLVER_SETTINGS}
    per_variable = tuple(
        (name, default.factor)
        for name, default in settings.items()
        if isinstance(default, PerVariable)
    )
    if row.rule is not None:
        settings["rule"] = row.rule
        settings["hyperparameters"] = tuple(hyperparameters["textbook"].values())
    controls = {name: plain[name] for name in Controls._fields if name in plain}
    return _Defaults(settings, per_variable, hyperparameters, Controls(**controls))


def read_options(
    row: Method,
    options: Mapping[str, Any] | Options | None,
    tol: Any,
    n: int,
    with_data: bool = False,
) -> tuple[Settings, Controls]:
    """Check `tol` and `options` and complete them with the method's defaults.

    An option that the method does not have is an OptimizeWarning and is ignored, as in SciPy. An
    option given as None keeps its default.
    """
    defaults = _DEFAULTS[row.name]
    settings = defaults.settings.copy()
    for name, factor in defaults.per_variable:
        settings[name] = factor * n
    if with_data:
        settings["maxiter"] = UNLIMITED  # epochs are what is counted
    by_name = as_mapping(options)
    if not by_name and tol is None:
        return settings, defaults.controls

    given = _check_options(row, by_name, n)
    for name in given:
        if name in OPTIONS_OF_DATA and not with_data:
            raise ValueError(
                f"`{name}` must not be among the options without `data`, got {name}={given[name]!r}"
            )
    if with_data and not given.get("full_every"):
        _warn_untested([*given, *([] if tol is None else ["tol"])])
    tol = check_tol(tol)
    if tol is not None:
        for name in row.tol_options:
            given.setdefault(name, tol)
    if row.rule is not None:
        settings["hyperparameters"] = _take_hyperparameters(row, given)
    controls: dict[str, Any] = {}
    for name, value in given.items():
        if name in settings:
            settings[name] = value
        elif name in Controls._fields:
            controls[name] = value
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


def _warn_untested(names: list[str]) -> None:
    """Warn of tests that are asked for, of all of the data, which are not evaluated."""
    for name in names:
        if name in ("tol", "gtol", "ftol", "stopval"):
            warn_caller(
                f"`{name}` is tested on all of the data, where `full_every` says so: set that to 1 "
                "for a test after each epoch",
                OptimizeWarning,
            )


def _take_hyperparameters(row: Method, given: dict[str, Any]) -> tuple[float, ...]:
    """Those of the rule, complete, in the order of its flavor; they are removed from `given`."""
    flavors = _DEFAULTS[row.name].hyperparameters
    flavor = given.get("flavor", "textbook")
    hyperparameters = dict(flavors[flavor])
    for name in list(given):
        if name in hyperparameters:
            hyperparameters[name] = given.pop(name)
            continue
        others = [repr(other) for other, defaults in flavors.items() if name in defaults]
        if others:
            warn_caller(
                f"method {row.name} has no option {name!r} with flavor={flavor!r}: "
                f"it is one of {_and(others)}",
                OptimizeWarning,
            )
            del given[name]
    schedule = given.get("schedule")
    if schedule is not None and not find_rule(row.name, flavor).scheduled:
        raise ValueError(
            f"`schedule` must be None for {row.name} with flavor={flavor!r}, which has no step "
            f"length, got {schedule!r}"
        )
    return tuple(hyperparameters.values())


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
            return f": it is one of {_and(others)}"
        name = closest(key, (*row.options, *row.option_aliases))
    return f"; did you mean {name!r}{conversion}?" if name else ""


def _and(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)}{' and ' if first else ''}{last}"


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
