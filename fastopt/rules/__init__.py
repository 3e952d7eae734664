"""First-order methods, each as one scalar function; `table` describes them, `steps` compiles them.

A rule is written once, for one parameter::

    new_x, *new_slots = rule(x, grad, *slots, *coefficients)
    coefficients = rule_coefficients(t, *hyperparameters)

``x`` is a parameter, ``grad`` its derivative, and the slots are what the method remembers of it
(zero before the first step). The coefficients are what the whole vector shares at step ``t`` (1 is
the first): they are computed once per step, in double precision, whatever the precision of ``x``.
A framework's form of a rule, a flavor, is another function for the coefficients.

To add a rule: a module with these two functions, decorated with ``RULE``, a row in
``table.FLAVORS``, and a line for type checkers below. The rule holds no number, so that float32
stays float32; numbers belong to the coefficients.

Each rule's step over whole vectors is here as well, for training loops of one's own:
``adam_step``, ``gd_step``, one for each rule in the textbook's form. The first that is asked for
loads Numba. :func:`fastopt.rules.steps.njit_step` has them in every flavor.

Of the same kind, but no methods, are the pointwise losses and their derivatives in `losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from fastopt.rules.table import RULES

# For type checkers: a line for each row of the table.
adadelta_step: Callable[..., None]
adagrad_step: Callable[..., None]
adam_step: Callable[..., None]
adamax_step: Callable[..., None]
adamw_step: Callable[..., None]
adan_step: Callable[..., None]
amsgrad_step: Callable[..., None]
gd_step: Callable[..., None]
lion_step: Callable[..., None]
momentum_step: Callable[..., None]
nadam_step: Callable[..., None]
nesterov_step: Callable[..., None]
radam_step: Callable[..., None]
rmsprop_step: Callable[..., None]
rmsprop_centered_step: Callable[..., None]
rmsprop_momentum_step: Callable[..., None]

_NAMES = {f"{rule.identifier}_step": name for name, rule in RULES.items()}

__all__ = [*_NAMES]

if not TYPE_CHECKING:  # or any name would pass for a step

    def __getattr__(name):
        if name not in _NAMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module("fastopt.rules.steps").njit_step(_NAMES[name])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
