"""The rules as data: names, hyperparameters with their ranges, and where the functions are.

Knows nothing of Numba, so that documentation, option checks and ``import fastopt`` can read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


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
    """A first-order method: a row of :data:`RULES`.

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
        The module and, in it, the scalar function and the function for its coefficients.
    """

    name: str
    slot_names: tuple[str, ...]
    hyperparameters: tuple[Hyperparameter, ...]
    reference: str
    module: str
    function: str
    coefficients: str

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


_ROWS = (
    Rule(
        name="gd",
        slot_names=(),
        hyperparameters=(Hyperparameter("lr", 0.01, 0.0, math.inf, "step length"),),
        reference="Cauchy, Comptes rendus 25 (1847) 536-538",
        module="fastopt.rules.gd",
        function="gd",
        coefficients="gd_coefficients",
    ),
    Rule(
        name="adam",
        slot_names=("mean", "square"),
        hyperparameters=(
            Hyperparameter("lr", 0.001, 0.0, math.inf, "step length"),
            Hyperparameter("beta1", 0.9, 0.0, 1.0, "decay rate of the mean of the gradient"),
            Hyperparameter("beta2", 0.999, 0.0, 1.0, "decay rate of the mean of its square"),
            Hyperparameter(
                "eps",
                1e-8,
                0.0,
                math.inf,
                "added to the root of the mean square",
                low_included=False,  # with 0, a parameter whose gradient is zero becomes 0/0
            ),
        ),
        reference="Kingma & Ba, ICLR 2015, arXiv:1412.6980, algorithm 1",
        module="fastopt.rules.adam",
        function="adam",
        coefficients="adam_coefficients",
    ),
)

#: Every rule by name.
RULES: dict[str, Rule] = {rule.name: rule for rule in _ROWS}
