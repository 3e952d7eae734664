"""The rules as data: names, flavors, hyperparameters with their ranges, where the functions are.

Knows nothing of Numba, so that documentation, option checks and ``import fastopt`` can read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Hyperparameter:
    """A number that the user of a rule may choose.

    Attributes
    ----------
    name : str
        As the user writes it, and as the rule's coefficient function names its argument.
    default : float
        Used when the user gives none.
    low, high : float
        ``low <= value < high``; with `low_included` false, ``low < value < high``.
    description : str
        What it does, in a phrase.
    low_included : bool, default True
        Whether `low` itself is allowed.
    """

    name: str
    default: float
    low: float
    high: float
    description: str
    low_included: bool = True

    def allows(self, value: float) -> bool:
        """Whether `value` lies in the range; NaN does not.

        Examples
        --------
        >>> beta = Hyperparameter("beta", 0.9, 0.0, 1.0, "decay rate")
        >>> beta.allows(0.0), beta.allows(1.0), beta.allows(float("nan"))
        (True, False, False)
        """
        return self.low < value < self.high or (self.low_included and value == self.low)

    @property
    def interval(self) -> str:
        """The range for messages and tables.

        Examples
        --------
        >>> Hyperparameter("beta", 0.9, 0.0, 1.0, "decay rate").interval
        '[0, 1)'
        """
        return f"{'[' if self.low_included else '('}{self.low:g}, {self.high:g})"


@dataclass(frozen=True)
class Rule:
    """A first-order method in one of its flavors: a row of :data:`RULES` or :data:`FLAVORS`.

    Attributes
    ----------
    name : str
        Its key in :data:`RULES`.
    slot_names : tuple of str
        What it remembers of each parameter, in the order of the function's arguments. All of them
        are zero before the first step.
    hyperparameters : tuple of Hyperparameter
        In the order in which the coefficient function takes them, after ``t``.
    reference : str
        Where the method is published.
    module, function, coefficients : str
        The module and, in it, the scalar function and the function for its coefficients, of which
        the latter may have its module before it.
    flavor : str
        Whose form of the method it is: the textbook's, or a framework's.
    differs : str
        What is different in it from the textbook's form, in a phrase; empty if that is nothing but
        defaults.
    scheduled : tuple of str
        The hyperparameters that a schedule of the step length multiplies.
    single : bool
        Whether the bias corrections of float32 parameters are computed in float32, as the framework
        computes them. In ``1 - 0.999**t`` that shows in the fifth digit.
    """

    name: str
    slot_names: tuple[str, ...]
    hyperparameters: tuple[Hyperparameter, ...]
    reference: str
    module: str
    function: str
    coefficients: str
    flavor: str = "textbook"
    differs: str = ""
    scheduled: tuple[str, ...] = ("lr",)
    single: bool = False

    @property
    def identifier(self) -> str:
        """The name as Python can have it.

        Examples
        --------
        >>> RULES["rmsprop-centered"].identifier
        'rmsprop_centered'
        """
        return self.name.replace("-", "_")

    @property
    def slots(self) -> int:
        """Number of state vectors, each as long as the parameters.

        Examples
        --------
        >>> RULES["gd"].slots, RULES["adam"].slots
        (0, 2)
        """
        return len(self.slot_names)

    @property
    def defaults(self) -> tuple[float, ...]:
        """The hyperparameters' defaults, in order.

        Examples
        --------
        >>> RULES["adam"].defaults
        (0.001, 0.9, 0.999, 1e-08)
        """
        return tuple(hyperparameter.default for hyperparameter in self.hyperparameters)


def find_rule(name: str, flavor: str = "textbook") -> Rule:
    """The row of a rule in a flavor.

    Raises
    ------
    ValueError
        There is no such rule, or it has no such flavor.

    Examples
    --------
    >>> find_rule("adam", "keras").differs
    'eps is added to the root before its correction'
    """
    try:
        flavors = FLAVORS[name]
    except KeyError:
        raise ValueError(f"`name` must be one of {', '.join(RULES)}, got {name!r}") from None
    try:
        return flavors[flavor]
    except KeyError:
        raise ValueError(
            f"`flavor` must be one of {', '.join(flavors)} for {name}, got {flavor!r}"
        ) from None


def _lr(default: float) -> Hyperparameter:
    return Hyperparameter("lr", default, 0.0, math.inf, "step length")


def _rate(name: str, default: float, what: str) -> Hyperparameter:
    return Hyperparameter(name, default, 0.0, 1.0, what)


def _eps(default: float, what: str = "added to the root of the mean square") -> Hyperparameter:
    # With 0, a parameter whose gradient is zero becomes 0/0.
    return Hyperparameter("eps", default, 0.0, math.inf, what, low_included=False)


def _weight_decay(default: float) -> Hyperparameter:
    what = "the part of each parameter that decays in a step"
    return Hyperparameter("weight_decay", default, 0.0, math.inf, what)


_MOMENTUM = _rate("momentum", 0.9, "the part of the velocity that is kept")
_NO_MOMENTUM = replace(_MOMENTUM, default=0.0)
_DECAY = _rate("decay", 0.9, "decay rate of the mean square")
_BETA1 = _rate("beta1", 0.9, "decay rate of the mean of the gradient")
_BETA2 = _rate("beta2", 0.999, "decay rate of the mean of its square")
_ACCUMULATOR = Hyperparameter(
    "initial_accumulator", 0.1, 0.0, math.inf, "what the sum of squares begins with"
)
_EPS_ROOT = Hyperparameter("eps_root", 0.0, 0.0, math.inf, "added under the root")
_EPS_IN_ROOT = "added to the mean square, under the root"


def _textbook(
    name: str,
    slot_names: tuple[str, ...],
    hyperparameters: tuple[Hyperparameter, ...],
    reference: str,
    module: str | None = None,
    coefficients: str | None = None,
    scheduled: tuple[str, ...] = ("lr",),
) -> Rule:
    return Rule(
        name=name,
        slot_names=slot_names,
        hyperparameters=hyperparameters,
        reference=reference,
        module=f"fastopt.rules.{module or name}",
        function=name.replace("-", "_"),
        coefficients=coefficients or f"{name}_coefficients",
        scheduled=scheduled,
    )


@dataclass(frozen=True)
class _Form:
    """A framework's form of a rule, as far as it differs from the textbook's.

    `defaults` are those of hyperparameters that differ in nothing else.
    """

    hyperparameters: tuple[Hyperparameter, ...] | None = None
    coefficients: str | None = None
    differs: str = ""
    defaults: Mapping[str, float] = field(default_factory=dict)


def _flavors(textbook: Rule, **others: _Form) -> dict[str, Rule]:
    """The rule in all its flavors."""
    flavors = {"textbook": textbook}
    names = [each.name for each in textbook.hyperparameters]
    for flavor, form in others.items():
        flavors[flavor] = replace(
            textbook,
            hyperparameters=tuple(
                replace(each, default=form.defaults.get(each.name, each.default))
                for each in form.hyperparameters or textbook.hyperparameters
            ),
            coefficients=form.coefficients or textbook.coefficients,
            flavor=flavor,
            differs=form.differs,
            scheduled=("lr",),
            # Of rules without bias corrections there is one form, then.
            single=flavor in ("optax", "keras") and _BETA1.name in names,
        )
    return flavors


_ADAM = (_lr(0.001), _BETA1, _BETA2, _eps(1e-8))
_ADAM_OPTAX = (*_ADAM[:3], _EPS_ROOT, _ADAM[3])
_VELOCITY_IS_A_GRADIENT = "lr multiplies the velocity, and is not part of it"
_EPS_OUTSIDE = "eps is added to the root, not under it"
_EPS_BEFORE_CORRECTION = "eps is added to the root before its correction"

#: Every rule by name, each by flavor.
FLAVORS: dict[str, dict[str, Rule]] = {
    "gd": _flavors(
        _textbook("gd", (), (_lr(0.01),), "Cauchy, Comptes rendus 25 (1847) 536-538"),
        torch=_Form(defaults={"lr": 0.001}),
        optax=_Form(),
        keras=_Form(),
    ),
    "momentum": _flavors(
        _textbook(
            "momentum",
            ("velocity",),
            (_lr(0.01), _MOMENTUM),
            "Polyak, USSR Comput. Math. Math. Phys. 4 (1964) 1-17, equation 9",
        ),
        torch=_Form(
            hyperparameters=(
                _lr(0.001),
                _MOMENTUM,
                _rate("dampening", 0.0, "the part of the gradient that the velocity leaves out"),
            ),
            coefficients="momentum_torch_coefficients",
            differs=f"{_VELOCITY_IS_A_GRADIENT}; it can be damped, but for the first",
        ),
        optax=_Form(
            coefficients="momentum_outside_coefficients",
            differs=_VELOCITY_IS_A_GRADIENT,
        ),
        keras=_Form(),
    ),
    "nesterov": _flavors(
        _textbook(
            "nesterov",
            ("velocity",),
            (_lr(0.01), _MOMENTUM),
            "Nesterov, Dokl. Akad. Nauk SSSR 269 (1983) 543-547; "
            "Sutskever et al., ICML 2013, equations 3 and 4",
            coefficients="fastopt.rules.momentum.momentum_coefficients",
        ),
        torch=_Form(
            coefficients="fastopt.rules.momentum.momentum_outside_coefficients",
            defaults={"lr": 0.001},
            differs=_VELOCITY_IS_A_GRADIENT,
        ),
        optax=_Form(
            coefficients="fastopt.rules.momentum.momentum_outside_coefficients",
            differs=_VELOCITY_IS_A_GRADIENT,
        ),
        keras=_Form(),
    ),
    "adagrad": _flavors(
        _textbook(
            "adagrad",
            ("total",),
            (_lr(0.01), _eps(1e-8, "added to the sum of squares, under the root")),
            "Duchi, Hazan & Singer, J. Mach. Learn. Res. 12 (2011) 2121-2159, figure 1",
        ),
        torch=_Form(
            hyperparameters=(
                _lr(0.01),
                Hyperparameter("lr_decay", 0.0, 0.0, math.inf, "how fast lr falls, as 1/t"),
                replace(_ACCUMULATOR, default=0.0),
                _eps(1e-10, "added to the root of the sum of squares"),
            ),
            coefficients="adagrad_torch_coefficients",
            differs=f"{_EPS_OUTSIDE}; lr may fall as 1/t",
        ),
        optax=_Form(
            hyperparameters=(
                _lr(0.01),
                _ACCUMULATOR,
                _eps(1e-7, "added to the sum of squares, under the root"),
            ),
            coefficients="adagrad_started_coefficients",
            differs="the sum of squares begins with 0.1",
        ),
        keras=_Form(
            hyperparameters=(
                _lr(0.001),
                _ACCUMULATOR,
                _eps(1e-7, "added to the sum of squares, under the root"),
            ),
            coefficients="adagrad_started_coefficients",
            differs="the sum of squares begins with 0.1",
        ),
    ),
    "adadelta": _flavors(
        _textbook(
            "adadelta",
            ("square", "change"),
            (_DECAY, _eps(1e-6, "added to both mean squares, under the roots")),
            "Zeiler, arXiv:1212.5701 (2012), algorithm 1",
            scheduled=(),
        ),
        **{
            flavor: _Form(
                hyperparameters=(
                    _lr(lr),
                    replace(_DECAY, default=decay),
                    _eps(eps, "added to both mean squares, under the roots"),
                ),
                coefficients="adadelta_scaled_coefficients",
                differs="lr multiplies the step, but not what is remembered of it",
            )
            for flavor, lr, decay, eps in (
                ("torch", 1.0, 0.9, 1e-6),
                ("optax", 1.0, 0.9, 1e-6),
                ("keras", 0.001, 0.95, 1e-7),
            )
        },
    ),
    "rmsprop": _flavors(
        _textbook(
            "rmsprop",
            ("square",),
            (_lr(0.001), _DECAY, _eps(1e-8, _EPS_IN_ROOT)),
            "Tieleman & Hinton, Neural networks for machine learning (2012), lecture 6.5, slide 29",
        ),
        torch=_Form(
            hyperparameters=(_lr(0.01), replace(_DECAY, default=0.99), _eps(1e-8)),
            coefficients="rmsprop_torch_coefficients",
            differs=_EPS_OUTSIDE,
        ),
        optax=_Form(),
        keras=_Form(defaults={"eps": 1e-7}),
    ),
    **{
        f"rmsprop-{variant}": _flavors(
            _textbook(
                f"rmsprop-{variant}",
                slot_names,
                (_lr(0.001), _DECAY, momentum, _eps(1e-8, _EPS_IN_ROOT)),
                reference,
                module="rmsprop",
                coefficients="rmsprop_momentum_coefficients",
            ),
            torch=_Form(
                hyperparameters=(
                    _lr(0.01),
                    replace(_DECAY, default=0.99),
                    momentum,
                    _eps(1e-8),
                ),
                coefficients="rmsprop_momentum_torch_coefficients",
                differs=f"{_EPS_OUTSIDE}; {_VELOCITY_IS_A_GRADIENT}",
            ),
            optax=_Form(),
            keras=_Form(defaults={"eps": 1e-7}),
        )
        for variant, slot_names, momentum, reference in (
            (
                "momentum",
                ("square", "velocity"),
                _MOMENTUM,
                "Tieleman & Hinton, Neural networks for machine learning (2012), lecture 6.5; "
                "momentum as in Graves, arXiv:1308.0850 (2013)",
            ),
            (
                "centered",
                ("square", "mean", "velocity"),
                _NO_MOMENTUM,
                "Graves, arXiv:1308.0850 (2013), equations 38-41",
            ),
        )
    },
    "adam": _flavors(
        _textbook(
            "adam",
            ("mean", "square"),
            _ADAM,
            "Kingma & Ba, ICLR 2015, arXiv:1412.6980, algorithm 1",
        ),
        torch=_Form(),
        optax=_Form(
            hyperparameters=_ADAM_OPTAX,
            coefficients="adam_optax_coefficients",
            differs="eps_root may be added under the root",
        ),
        keras=_Form(
            coefficients="adam_keras_coefficients",
            defaults={"eps": 1e-7},
            differs=_EPS_BEFORE_CORRECTION,
        ),
    ),
    "nadam": _flavors(
        _textbook(
            "nadam",
            ("mean", "square"),
            _ADAM,
            "Dozat, ICLR 2016 workshop, Incorporating Nesterov momentum into Adam, algorithm 2",
        ),
        torch=_Form(
            hyperparameters=(
                _lr(0.002),
                _BETA1,
                _BETA2,
                Hyperparameter(
                    "momentum_decay", 0.004, 0.0, math.inf, "how fast the momentum nears beta1"
                ),
                _eps(1e-8),
            ),
            coefficients="nadam_torch_coefficients",
            differs="the mean decays by beta1, not by the schedule of the momentum",
        ),
        optax=_Form(
            hyperparameters=_ADAM_OPTAX,
            coefficients="nadam_optax_coefficients",
            differs="the momentum is beta1, without a schedule",
        ),
        keras=_Form(
            coefficients="nadam_keras_coefficients",
            defaults={"eps": 1e-7},
            differs="the mean decays by beta1; the momentum nears beta1 250 times as fast",
        ),
    ),
    "adamw": _flavors(
        _textbook(
            "adamw",
            ("mean", "square"),
            (*_ADAM, _weight_decay(0.01)),
            "Loshchilov & Hutter, ICLR 2019, arXiv:1711.05101, algorithm 2",
            scheduled=("lr", "weight_decay"),
        ),
        torch=_Form(
            coefficients="adamw_torch_coefficients",
            differs="the decay is lr times weight_decay",
        ),
        optax=_Form(
            hyperparameters=(*_ADAM_OPTAX, _weight_decay(1e-4)),
            coefficients="adamw_optax_coefficients",
            differs="the decay is lr times weight_decay; eps_root may be added under the root",
        ),
        keras=_Form(
            hyperparameters=(*_ADAM, _weight_decay(0.004)),
            coefficients="adamw_keras_coefficients",
            defaults={"eps": 1e-7},
            differs=f"the decay is lr times weight_decay; {_EPS_BEFORE_CORRECTION}",
        ),
    ),
    "amsgrad": _flavors(
        _textbook(
            "amsgrad",
            ("mean", "square", "largest"),
            _ADAM,
            "Reddi, Kale & Kumar, ICLR 2018, arXiv:1904.09237, algorithm 2",
        ),
        torch=_Form(
            coefficients="amsgrad_torch_coefficients",
            differs="the averages are corrected, the largest after it is taken",
        ),
        optax=_Form(
            hyperparameters=_ADAM_OPTAX,
            coefficients="amsgrad_optax_coefficients",
            differs="the averages are corrected, the largest before it is taken",
        ),
        keras=_Form(
            coefficients="amsgrad_keras_coefficients",
            defaults={"eps": 1e-7},
            differs="the averages are corrected, the largest after it is taken; "
            f"{_EPS_BEFORE_CORRECTION}",
        ),
    ),
    "adamax": _flavors(
        _textbook(
            "adamax",
            ("mean", "norm"),
            (
                _lr(0.002),
                _BETA1,
                replace(_BETA2, description="decay rate of the largest magnitude"),
                _eps(1e-8, "added to the largest magnitude"),
            ),
            "Kingma & Ba, ICLR 2015, arXiv:1412.6980, algorithm 2",
        ),
        torch=_Form(
            coefficients="adamax_inside_coefficients",
            differs="eps is added to each magnitude, and remembered",
        ),
        optax=_Form(
            coefficients="adamax_inside_coefficients",
            differs="eps is added to each magnitude, and remembered",
        ),
        keras=_Form(defaults={"lr": 0.001, "eps": 1e-7}),
    ),
    "radam": _flavors(
        _textbook(
            "radam",
            ("mean", "square"),
            _ADAM,
            "Liu et al., ICLR 2020, arXiv:1908.03265, algorithm 2",
        ),
        torch=_Form(
            coefficients="radam_torch_coefficients",
            differs="adaptive where rho is above 5, not 4",
        ),
        optax=_Form(
            hyperparameters=(
                *_ADAM_OPTAX[:4],
                Hyperparameter("threshold", 5.0, 4.0, math.inf, "adaptive from this rho on"),
                _eps(1e-8),
            ),
            coefficients="radam_optax_coefficients",
            differs="adaptive from rho = 5 on, not above 4; eps is added to the corrected root",
        ),
    ),
    "lion": _flavors(
        _textbook(
            "lion",
            ("mean",),
            (
                _lr(1e-4),
                replace(_BETA1, description="the part of the mean in what decides the direction"),
                _rate("beta2", 0.99, "decay rate of the mean of the gradient"),
                _weight_decay(0.0),
            ),
            "Chen et al., NeurIPS 2023, arXiv:2302.06675, algorithm 2",
        ),
        optax=_Form(defaults={"weight_decay": 1e-3}),
        keras=_Form(coefficients="lion_keras_coefficients", defaults={"lr": 0.001}),
    ),
    "adan": _flavors(
        _textbook(
            "adan",
            ("mean", "change", "square", "previous"),
            (
                _lr(0.001),
                _rate("beta1", 0.98, "decay rate of the mean of the gradient"),
                _rate("beta2", 0.92, "decay rate of the mean of its change"),
                _rate("beta3", 0.99, "decay rate of the mean square"),
                _eps(1e-8),
                _weight_decay(0.0),
            ),
            "Xie et al., IEEE Trans. Pattern Anal. Mach. Intell. 46 (2024) 9508-9520, "
            "arXiv:2208.06677, algorithm 1",
        ),
        optax=_Form(
            hyperparameters=(
                _lr(0.001),
                _rate("beta1", 0.98, "decay rate of the mean of the gradient"),
                _rate("beta2", 0.92, "decay rate of the mean of its change"),
                _rate("beta3", 0.99, "decay rate of the mean square"),
                replace(_EPS_ROOT, default=1e-8),
                _eps(1e-8),
                _weight_decay(0.0),
            ),
            coefficients="adan_optax_coefficients",
            differs="bias corrections; AdamW's decay; 1 - beta2 where the paper has beta2",
        ),
    ),
}

#: The textbook's form of every rule by name.
RULES: dict[str, Rule] = {name: flavors["textbook"] for name, flavors in FLAVORS.items()}
