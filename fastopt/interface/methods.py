"""METHODS: a row for each method that fastopt runs itself, as data.

Dispatch, option checks, the documentation's tables, tests and benchmarks iterate it, so a method
is added by adding a row. Knows no solver: a row names its solver, and nothing here is Numba's.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from fastopt.core.validate import (
    UNLIMITED,
    Callback,
    Check,
    Choice,
    CurvaturePairs,
    Flag,
    Integer,
    InverseHessian,
    NormOrder,
    Preconditioner,
    Real,
    Steps,
    StepSchedule,
    Switch,
    Weights,
    Workers,
)
from fastopt.rules.table import FLAVORS, RULES, Hyperparameter

__all__ = [
    "METHODS",
    "OPTIONS_OF_DATA",
    "SCIPY_METHODS",
    "Method",
    "Option",
    "PerVariable",
    "closest",
    "find_method",
    "unknown_method",
]


@dataclass(frozen=True)
class PerVariable:
    """A default that grows with the number of variables."""

    factor: int

    def __str__(self) -> str:
        return f"{self.factor} * n"


@dataclass(frozen=True)
class Option:
    """One entry of `options`."""

    default: Any
    check: Check
    description: str


@dataclass(frozen=True)
class Method:
    """How fastopt runs one method, and when a user should choose it.

    `solver` and `rule` name what runs it. `second_order` says that it uses second derivatives: the
    Hessian, or products with it, or for want of both differences of gradients. `bounded` names the
    method that solves this one's problems where there are bounds, and `unbounded` the one that does
    where there are none. The argument ``tol`` sets `tol_options`. `aliases` are other names of the
    method, and `option_aliases` maps other names of options to those in `options`. `scipy` is
    SciPy's name for the equal method, and `scipy_options` maps the options that it has as well to
    its names for them.
    """

    name: str
    title: str
    family: str
    solver: str
    rule: str | None
    scipy: str | None
    options: Mapping[str, Option]
    tol_options: tuple[str, ...]
    reference: str
    when: str
    aliases: tuple[str, ...] = ()
    second_order: bool = False
    bounded: str | None = None
    unbounded: str | None = None
    option_aliases: Mapping[str, str] = field(default_factory=dict)
    scipy_options: Mapping[str, str] = field(default_factory=dict)

    @property
    def takes_bounds(self) -> bool:
        """Whether fastopt solves problems with bounds that are given to this method."""
        return self.bounded is not None

    @property
    def has_absolute_step(self) -> bool:
        """Whether `eps` is the step of differences here, and not a rule's hyperparameter."""
        return "eps" in self.options and isinstance(self.options["eps"].check, Steps)


# SciPy 1.17's own; a name in neither table is tried with SciPy, which may know it by then.
SCIPY_METHODS = (
    "nelder-mead",
    "powell",
    "tnc",
    "cobyla",
    "cobyqa",
    "slsqp",
    "trust-constr",
    "trust-krylov",
)

_NONNEGATIVE = Real(low=0.0)
_LIMIT = Integer(low=0, unlimited=True)
_OPEN_UNIT = Real(0.0, 1.0, open_low=True, open_high=True)


def _stopping(
    *, ftol: float, maxiter: int | PerVariable, maxfev: int, gtol: float = 1e-5
) -> dict[str, Option]:
    return {
        "gtol": Option(
            gtol,
            _NONNEGATIVE,
            "Converged when the norm of the gradient is at most this.",
        ),
        "norm": Option(
            math.inf,
            NormOrder(),
            "Order of that norm: inf is the largest element, -inf the smallest.",
        ),
        "ftol": Option(
            ftol,
            _NONNEGATIVE,
            "Converged when an iteration lowers f by at most this times max(|f|, |f before|, 1); "
            "0 is off.",
        ),
        "xtol": Option(
            0.0,
            _NONNEGATIVE,
            "Converged when the Euclidean norm of a step is at most this times (this + that of "
            "x); 0 is off.",
        ),
        "stopval": Option(
            -math.inf,
            Real(),
            "Stop, successfully, when f is at most this; -inf is off.",
        ),
        "maxiter": Option(maxiter, _LIMIT, "Stop after so many iterations; inf is off."),
        "maxfev": Option(
            maxfev,
            _LIMIT,
            "Stop after so many evaluations of f, those for differences included, and no gradient "
            "half done; inf is off.",
        ),
        "maxtime": Option(
            math.inf, _NONNEGATIVE, "Stop after so many seconds of running; inf is off."
        ),
    }


def _differences(*, absolute_step: bool) -> dict[str, Option]:
    none = "" if absolute_step else "None, "
    options = {
        "finite_diff_rel_step": Option(
            None,
            Steps(),
            f"Step of the differences, relative to |x|, for jac={none}'2-point', '3-point' or "
            "'cs': one, or one for each variable; None suits the scheme.",
        ),
        "workers": Option(
            None,
            Workers(),
            "A map-like callable that evaluates the points of a difference, or a number of "
            "processes to share them (-1: one a core).",
        ),
    }
    if absolute_step:
        options["eps"] = Option(
            None,
            Steps(),
            "Absolute step of the forward differences that stand in for the gradient when jac is "
            "None: one, or one for each variable; None suits the size of each.",
        )
    return options


def _wolfe(c2: float = 0.9) -> dict[str, Option]:
    return {
        "c1": Option(
            1e-4,
            _OPEN_UNIT,
            "Line search: the least decrease, as a part of what the slope promises; below c2.",
        ),
        "c2": Option(
            c2, _OPEN_UNIT, "Line search: the most of the slope that may remain after a step."
        ),
        "maxls": Option(20, Integer(low=1), "Line search: the most trial steps in one iteration."),
        "line_search": Option(
            "hager-zhang",
            Choice(("hager-zhang", "more-thuente")),
            "The line search: 'hager-zhang' or 'more-thuente'.",
        ),
    }


_DAMPING = Option(
    False,
    Flag(),
    "Powell's damping: a pair of less curvature than a fifth of what is expected is moved towards "
    "that, and not taken as it is.",
)


_RUNNING = {
    "compile": Option(
        "auto",
        Switch(("auto",)),
        "Whether an @njit function is evaluated without the interpreter: True, False, or 'auto', "
        "when that pays for compiling it.",
    ),
    "disp": Option(False, Flag(), "Print a summary at the end."),
    "return_all": Option(
        False,
        Flag(),
        "Keep a copy of x at the start and after each iteration, in the result's allvecs.",
    ),
    "trace": Option(
        False,
        Flag(),
        "Keep a history in the result's trace: nit, nfev, njev, time, fun, gnorm and step at the "
        "start and after each iteration.",
    ),
    "progress": Option(False, Flag(), "Show a progress bar (needs tqdm)."),
    "on_interrupt": Option(
        "raise",
        Choice(("raise", "return")),
        "What Ctrl-C does: 'raise' KeyboardInterrupt, or 'return' the best point so far.",
    ),
}

# The options of methods that use gradients alone which SciPy's have under the same names,
_SHARED_WITH_SCIPY = (
    "gtol",
    "maxiter",
    "eps",
    "finite_diff_rel_step",
    "workers",
    "disp",
    "return_all",
)
# and those of trust-region methods.
_RADIUS_OPTIONS = ("initial_trust_radius", "max_trust_radius", "eta")


def _dense(
    name: str, title: str, reference: str, when: str, scipy: str | None = None, c2: float = 0.9
) -> Method:
    options = {
        **_stopping(ftol=0.0, maxiter=PerVariable(200), maxfev=UNLIMITED),
        **_wolfe(c2),
        "hess_inv0": Option(
            None,
            InverseHessian(),
            "Initial inverse Hessian, symmetric positive definite, of shape (n, n), as in the "
            "hess_inv of an earlier result. None is a multiple of the identity, chosen after the "
            "first step and in the first n updates.",
        ),
        "damping": _DAMPING,
        **_differences(absolute_step=True),
        **_RUNNING,
    }
    return Method(
        name=name,
        title=title,
        family="quasi-newton",
        solver=name,
        rule=None,
        scipy=scipy,
        options=options,
        tol_options=("gtol",),
        reference=reference,
        when=when,
        option_aliases={"maxfun": "maxfev", "xrtol": "xtol"},
        scipy_options={
            **{name: name for name in (*_SHARED_WITH_SCIPY, "norm", "c1", "c2", "hess_inv0")},
            "xtol": "xrtol",
        },
    )


def _lbfgs() -> Method:
    options = {
        **_stopping(ftol=2.2204460492503131e-09, maxiter=15000, maxfev=15000),
        **_wolfe(),
        "maxcor": Option(
            10,
            Integer(low=1),
            "How many pairs of steps and gradient changes to remember.",
        ),
        "hess_inv0": Option(
            None,
            CurvaturePairs(),
            "The hess_inv of an earlier result, whose pairs it begins with.",
        ),
        "damping": _DAMPING,
        "threads": Option(
            1,
            Integer(low=1),
            "How many threads share the solver's own work, from 100 000 variables on and without "
            "bounds. No bit of the result depends on it.",
        ),
        **_differences(absolute_step=True),
        **_RUNNING,
        "iprint": Option(-1, Integer(), "Accepted, as SciPy accepts it, and without effect."),
    }
    return Method(
        name="l-bfgs",
        title="L-BFGS",
        family="quasi-newton",
        solver="l-bfgs",
        rule=None,
        scipy="L-BFGS-B",
        options=options,
        tol_options=("ftol", "gtol"),
        reference=(
            "Nocedal & Wright, Numerical Optimization (2nd ed., 2006), algorithm 7.5; "
            "Liu & Nocedal, Math. Program. 45 (1989) 503-528"
        ),
        when="the function is smooth and has many variables: memory and work grow as n.",
        bounded="l-bfgs-b",
        option_aliases={"maxfun": "maxfev"},
        scipy_options={
            **{name: name for name in (*_SHARED_WITH_SCIPY, "ftol", "maxls", "maxcor", "iprint")},
            "maxfev": "maxfun",
        },
    )


def _lbfgsb() -> Method:
    return replace(
        _lbfgs(),
        name="l-bfgs-b",
        title="L-BFGS-B",
        solver="l-bfgs-b",
        reference=(
            "Byrd, Lu, Nocedal & Zhu, SIAM J. Sci. Comput. 16 (1995) 1190-1208; "
            "Morales & Nocedal, ACM Trans. Math. Softw. 38 (2011) 7:1-7:4"
        ),
        when="variables have bounds.",
        bounded="l-bfgs-b",
        unbounded="l-bfgs",
    )


def _cg() -> Method:
    options = {
        **_stopping(ftol=0.0, maxiter=PerVariable(200), maxfev=UNLIMITED),
        **_wolfe(0.4),
        "beta": Option(
            "hz",
            Choice(("hz", "pr+", "fr", "dy", "hs")),
            "How directions are conjugated: 'hz' (Hager & Zhang), 'pr+' (Polak & Ribière), 'fr' "
            "(Fletcher & Reeves), 'dy' (Dai & Yuan) or 'hs' (Hestenes & Stiefel).",
        ),
        "preconditioner": Option(
            None,
            Preconditioner(),
            "An approximate inverse Hessian: its diagonal, an array of shape (n,), or its product "
            "with a vector, a callable, LinearOperator or matrix.",
        ),
        **_differences(absolute_step=True),
        **_RUNNING,
    }
    return Method(
        name="cg",
        title="Nonlinear conjugate gradients",
        family="conjugate-gradient",
        solver="cg",
        rule=None,
        scipy="CG",
        options=options,
        tol_options=("gtol",),
        reference="Hager & Zhang, SIAM J. Optim. 16 (2005) 170-192",
        when="there are very many variables and memory for a few vectors alone.",
        option_aliases={"maxfun": "maxfev"},
        scipy_options={name: name for name in (*_SHARED_WITH_SCIPY, "norm", "c1", "c2")},
    )


def _newton(name: str, title: str, scipy: str | None, reference: str, when: str) -> Method:
    return Method(
        name=name,
        title=title,
        family="newton",
        solver=name,
        rule=None,
        scipy=scipy,
        options={
            **_stopping(ftol=0.0, maxiter=PerVariable(200), maxfev=UNLIMITED),
            **_wolfe(),
            **_differences(absolute_step=True),
            **_RUNNING,
        },
        tol_options=("gtol", "xtol"),
        reference=reference,
        when=when,
        second_order=True,
        option_aliases={"maxfun": "maxfev"},
        scipy_options={
            name: name
            for name in ("xtol", "eps", "maxiter", "disp", "return_all", "c1", "c2", "workers")
        },
    )


def _trust_region(
    name: str,
    title: str,
    scipy: str | None,
    reference: str,
    when: str,
    family: str = "trust-region",
) -> Method:
    return Method(
        name=name,
        title=title,
        family=family,
        solver=name,
        rule=None,
        scipy=scipy,
        options={
            **_stopping(ftol=0.0, maxiter=PerVariable(200), maxfev=UNLIMITED, gtol=1e-4),
            "initial_trust_radius": Option(
                None,
                Real(low=0.0, open_low=True),
                "The longest first step; None is max(1, |x0|).",
            ),
            "max_trust_radius": Option(
                math.inf, Real(low=0.0, open_low=True), "The longest step of all."
            ),
            "eta": Option(
                1e-4,
                Real(low=0.0, high=0.25, open_high=True),
                "A step is taken if it lowers f by more than this part of what was predicted.",
            ),
            **_differences(absolute_step=True),
            **_RUNNING,
        },
        tol_options=("gtol",),
        reference=reference,
        when=when,
        second_order=family == "trust-region",
        option_aliases={"maxfun": "maxfev"},
        scipy_options={
            name: name
            for name in (*_RADIUS_OPTIONS, "gtol", "maxiter", "disp", "return_all", "workers")
        },
    )


def _gradient(
    name: str,
    title: str,
    reference: str,
    when: str,
    solver: str = "accelerated",
    own: Mapping[str, Option] | None = None,
) -> Method:
    return Method(
        name=name,
        title=title,
        family="gradient",
        solver=solver,
        rule=None,
        scipy=None,
        options={
            **(own or {}),
            **_stopping(ftol=0.0, maxiter=10000, maxfev=UNLIMITED),
            **_differences(absolute_step=True),
            **_RUNNING,
        },
        tol_options=("gtol",),
        reference=reference,
        when=when,
        option_aliases={"maxfun": "maxfev"},
    )


def _first_order(name: str, title: str, when: str, aliases: tuple[str, ...] = ()) -> Method:
    flavors = FLAVORS[name]
    hyperparameters = {
        each.name: _hyperparameter(each, rule.flavor)
        for rule in reversed(flavors.values())
        for each in rule.hyperparameters
    }
    shaping = {} if "weight_decay" in hyperparameters else {"weight_decay": _WEIGHT_DECAY}
    return Method(
        name=name,
        title=title,
        family="first-order",
        solver="first-order",
        rule=name,
        scipy=None,
        options={
            # In the order of the textbook's form; what only others have is behind it.
            **{each.name: hyperparameters[each.name] for each in RULES[name].hyperparameters},
            **hyperparameters,
            "flavor": Option(
                "textbook",
                Choice(tuple(flavors)),
                f"Whose form of the rule, and whose defaults: {', '.join(map(repr, flavors))}.",
            ),
            "schedule": Option(
                None,
                StepSchedule(),
                "What multiplies the step length at each step: one of `fastopt.schedules`.",
            ),
            "clip_norm": _CLIP_NORM,
            "clip_value": _CLIP_VALUE,
            **shaping,
            **_EPOCHS,
            **_stopping(ftol=0.0, maxiter=10000, maxfev=UNLIMITED),
            **_differences(absolute_step=False),
            **_RUNNING,
        },
        tol_options=("gtol",),
        reference=RULES[name].reference,
        when=when,
        aliases=aliases,
        option_aliases={"maxfun": "maxfev"},
    )


def _hyperparameter(each: Hyperparameter, flavor: str) -> Option:
    """As an option; one that the textbook's form lacks has no default."""
    description = f"{each.description[0].upper()}{each.description[1:]}."
    return Option(
        each.default if flavor == "textbook" else None,
        Real(each.low, each.high, open_low=not each.low_included, open_high=True),
        description if flavor == "textbook" else f"{description} Not in the textbook's form.",
    )


_CLIP_NORM = Option(
    math.inf,
    Real(low=0.0, open_low=True),
    "Gradients longer than this are shortened to it; inf is off.",
)
_CLIP_VALUE = Option(
    math.inf,
    Real(low=0.0, open_low=True),
    "Entries of the gradient are clipped to this magnitude; inf is off.",
)
_WEIGHT_DECAY = Option(
    0.0,
    Real(low=0.0, open_high=True),
    "Times x, this is added to the gradient after clipping; with flavor='keras' x loses lr times "
    "as much of itself before the step.",
)


# For solves over minibatches alone.
_EPOCHS = {
    "epochs": Option(
        10,
        Integer(low=0, unlimited=True),
        "With `data`: how many epochs to run; inf is off.",
    ),
    "full_every": Option(
        0,
        Integer(low=0),
        "With `data`: after each so many epochs f is evaluated for all of the data, and gtol, ftol "
        "and stopval are tested there; 0 is never.",
    ),
    "validation": Option(
        None,
        Callback(),
        "With `data`: a function of x, evaluated after each epoch; the x of its lowest value is "
        "returned.",
    ),
    "patience": Option(
        UNLIMITED,
        Integer(low=1, unlimited=True),
        "With `data`: stop when so many epochs have not improved the validation.",
    ),
    "averaging": Option(
        None,
        Choice(("polyak", "ema")),
        "With `data`: return a mean of the iterates, 'polyak', or one that forgets, 'ema'.",
    ),
    "average_decay": Option(
        0.999,
        Real(0.0, 1.0, open_high=True),
        "With `data`: what the mean that forgets keeps of itself in each iteration.",
    ),
    "average_from": Option(
        0,
        Integer(low=0),
        "With `data`: the epochs whose iterates are left out of the mean.",
    ),
}
#: Those options, which mean nothing to a solve without data.
OPTIONS_OF_DATA = frozenset(_EPOCHS)


METHODS: dict[str, Method] = {
    row.name: row
    for row in (
        _dense(
            "bfgs",
            "BFGS",
            "Nocedal & Wright, Numerical Optimization (2nd ed., 2006), algorithm 6.1; "
            "Hager & Zhang, SIAM J. Optim. 16 (2005) 170-192",
            "the function is smooth and n x n numbers fit in memory: to a few thousand variables.",
            "BFGS",
        ),
        _lbfgs(),
        _lbfgsb(),
        _dense(
            "dfp",
            "DFP",
            "Nocedal & Wright, Numerical Optimization (2nd ed., 2006), equation 6.15",
            "BFGS's predecessor is to be studied; it needs more careful searches.",
            c2=0.1,
        ),
        _trust_region(
            "sr1",
            "SR1 in a trust region",
            None,
            "Nocedal & Wright, Numerical Optimization (2nd ed., 2006), algorithm 6.2; "
            "Lin & Moré, SIAM J. Optim. 9 (1999) 1100-1127",
            "the Hessian is indefinite on the way, and gradients are all there is.",
            "quasi-newton",
        ),
        _cg(),
        _newton(
            "newton",
            "Newton",
            None,
            "Nocedal & Wright, Numerical Optimization (2nd ed., 2006), section 3.4; "
            "Cheng & Higham, SIAM J. Matrix Anal. Appl. 19 (1998) 1097-1110",
            "there is a Hessian, of up to a few thousand variables, or a sparse one of many more.",
        ),
        _newton(
            "newton-cg",
            "Newton-CG",
            "Newton-CG",
            "Nocedal & Wright, Numerical Optimization (2nd ed., 2006), algorithm 7.1",
            "there are many variables and products with the Hessian are cheap.",
        ),
        _trust_region(
            "trust-exact",
            "Newton in a trust region, exact",
            "trust-exact",
            "Moré & Sorensen, SIAM J. Sci. Stat. Comput. 4 (1983) 553-572; "
            "Lin & Moré, SIAM J. Optim. 9 (1999) 1100-1127",
            "there is a Hessian and the function is difficult: the most robust, at n^3 a step.",
        ),
        _trust_region(
            "trust-ncg",
            "Newton-CG in a trust region",
            "trust-ncg",
            "Steihaug, SIAM J. Numer. Anal. 20 (1983) 626-637; "
            "Lin & Moré, SIAM J. Optim. 9 (1999) 1100-1127",
            "there are many variables, and the Hessian is indefinite on the way.",
        ),
        _trust_region(
            "dogleg",
            "Dogleg",
            "dogleg",
            "Powell, in Rabinowitz (ed.), Numerical Methods for Nonlinear Algebraic Equations "
            "(1970) 87-114; Nocedal & Wright, section 4.1",
            "the Hessian is positive definite nearly everywhere.",
        ),
        _gradient(
            "barzilai-borwein",
            "Barzilai-Borwein",
            "Raydan, SIAM J. Optim. 7 (1997) 26-33; "
            "Frassoldati, Zanni & Zanghirati, J. Ind. Manag. Optim. 4 (2008) 299-312",
            "there are very many variables, and memory and time for gradients alone.",
            solver="barzilai-borwein",
        ),
        _gradient(
            "nesterov-restart",
            "Accelerated gradient with restarts",
            "Beck & Teboulle, SIAM J. Imaging Sci. 2 (2009) 183-202; "
            "O'Donoghue & Candès, Found. Comput. Math. 15 (2015) 715-732",
            "the function is convex, and a bound on its distance from the minimum is wanted.",
        ),
        _gradient(
            "fista",
            "FISTA",
            "Beck & Teboulle, SIAM J. Imaging Sci. 2 (2009) 183-202; "
            "O'Donoghue & Candès, Found. Comput. Math. 15 (2015) 715-732",
            "an l1 term is to be added to the function, so that many variables become zero.",
            own={
                "l1": Option(
                    0.0,
                    Weights(),
                    "The weight of the sum of |x|, which is added to f: one, or one for each "
                    "variable.",
                )
            },
        ),
        _first_order(
            "gd",
            "Gradient descent",
            "a baseline is wanted, or the simplest method that there is.",
            aliases=("sgd",),
        ),
        _first_order(
            "momentum",
            "Gradient descent with momentum",
            "gradient descent zigzags in a ravine, and its step length is known.",
        ),
        _first_order(
            "nesterov",
            "Nesterov's momentum",
            "momentum overshoots: this looks ahead before it steps.",
        ),
        _first_order(
            "adagrad",
            "AdaGrad",
            "features are sparse: rare ones take longer steps.",
        ),
        _first_order(
            "adadelta",
            "AdaDelta",
            "no step length is to be chosen.",
        ),
        _first_order(
            "rmsprop",
            "RMSProp",
            "gradients are noisy and of sizes that change on the way.",
        ),
        _first_order(
            "rmsprop-momentum",
            "RMSProp with momentum",
            "RMSProp zigzags.",
        ),
        _first_order(
            "rmsprop-centered",
            "Centred RMSProp",
            "gradients have a mean far from zero beside their noise.",
        ),
        _first_order(
            "adam",
            "Adam",
            "gradients are noisy or of very different sizes, and a rough minimum will do.",
        ),
        _first_order(
            "nadam",
            "Nadam",
            "Adam is slow to turn: this is Adam with Nesterov's momentum.",
        ),
        _first_order(
            "adamw",
            "AdamW",
            "weights are to decay beside Adam's step, and not within it.",
        ),
        _first_order(
            "amsgrad",
            "AMSGrad",
            "Adam's steps grow where gradients are large but rare.",
        ),
        _first_order(
            "adamax",
            "AdaMax",
            "gradients have outliers, and each parameter's largest should set its step.",
        ),
        _first_order(
            "radam",
            "RAdam",
            "Adam needs a warm-up, and its length is not to be tuned.",
        ),
        _first_order(
            "lion",
            "Lion",
            "there are very many parameters: one number is remembered of each.",
        ),
        _first_order(
            "adan",
            "Adan",
            "long steps on large batches are to stay stable.",
        ),
    )
}

_ROWS = {name: row for row in METHODS.values() for name in (row.name, *row.aliases)}


def find_method(name: str) -> Method | None:
    """The row of a method by its name or alias in any case; None if fastopt has none."""
    return _ROWS.get(name) or _ROWS.get(name.lower())


def closest(name: object, known: Iterable[str]) -> str | None:
    """The one of `known` that `name` is most likely a misspelling of, if any is."""
    matches = difflib.get_close_matches(str(name).lower(), known, n=1)
    return matches[0] if matches else None


def unknown_method(name: str, known: Iterable[str]) -> ValueError:
    """What to raise for a method that is none of `known`."""
    known = [*known]
    names = f"one of {', '.join(map(repr, known))}"
    hint = closest(name, known)
    if hint is None:
        return ValueError(f"`method` must be {names}, got {name!r}")
    # First, because the list is long.
    return ValueError(f"`method`: did you mean {hint!r}? It must be {names}, got {name!r}")
