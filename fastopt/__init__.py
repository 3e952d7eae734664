"""Minimization of functions of many variables: SciPy's interface, compiled solvers.

Importing fastopt loads nothing but this file. Each name below loads what it needs when it is first
asked for, so that a program pays only for what it uses.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastopt._version import __version__

if TYPE_CHECKING:
    from fastopt import adapters as adapters
    from fastopt import distributed as distributed
    from fastopt import kernels as kernels
    from fastopt import losses as losses
    from fastopt import nn as nn
    from fastopt import schedules as schedules
    from fastopt.interface.minimize import minimize
    from fastopt.interface.minimize_many import BatchResult, minimize_many
    from fastopt.interface.multistart import multistart
    from fastopt.interface.solver import Solver
    from fastopt.interface.tuples import Options
    from fastopt.objectives.minibatches import CSRBatch, Minibatches
    from fastopt.plotting import plot_convergence
    from fastopt.testing.derivatives import check_grad, check_hess, check_hessp
    from fastopt.training.flatten import Layout, flatten
    from fastopt.training.optimizers import (
        SGD,
        AdaDelta,
        AdaGrad,
        Adam,
        AdaMax,
        AdamW,
        Adan,
        AMSGrad,
        Lion,
        Momentum,
        Nadam,
        Nesterov,
        RAdam,
        RMSProp,
    )
    from fastopt.training.second_order import LBFGS, NewtonCG

__all__ = [
    "LBFGS",
    "SGD",
    "AMSGrad",
    "AdaDelta",
    "AdaGrad",
    "AdaMax",
    "Adam",
    "AdamW",
    "Adan",
    "BatchResult",
    "CSRBatch",
    "Layout",
    "Lion",
    "Minibatches",
    "Momentum",
    "Nadam",
    "Nesterov",
    "NewtonCG",
    "Options",
    "RAdam",
    "RMSProp",
    "Solver",
    "__version__",
    "check_grad",
    "check_hess",
    "check_hessp",
    "flatten",
    "minimize",
    "minimize_many",
    "multistart",
    "plot_convergence",
]

_HOMES = {
    "AMSGrad": "fastopt.training.optimizers",
    "AdaDelta": "fastopt.training.optimizers",
    "AdaGrad": "fastopt.training.optimizers",
    "AdaMax": "fastopt.training.optimizers",
    "Adam": "fastopt.training.optimizers",
    "AdamW": "fastopt.training.optimizers",
    "Adan": "fastopt.training.optimizers",
    "BatchResult": "fastopt.interface.minimize_many",
    "LBFGS": "fastopt.training.second_order",
    "Layout": "fastopt.training.flatten",
    "Lion": "fastopt.training.optimizers",
    "Momentum": "fastopt.training.optimizers",
    "Nadam": "fastopt.training.optimizers",
    "Nesterov": "fastopt.training.optimizers",
    "NewtonCG": "fastopt.training.second_order",
    "CSRBatch": "fastopt.objectives.minibatches",
    "Minibatches": "fastopt.objectives.minibatches",
    "Options": "fastopt.interface.tuples",
    "RAdam": "fastopt.training.optimizers",
    "RMSProp": "fastopt.training.optimizers",
    "SGD": "fastopt.training.optimizers",
    "Solver": "fastopt.interface.solver",
    "check_grad": "fastopt.testing.derivatives",
    "check_hess": "fastopt.testing.derivatives",
    "check_hessp": "fastopt.testing.derivatives",
    "flatten": "fastopt.training.flatten",
    "minimize": "fastopt.interface.minimize",
    "minimize_many": "fastopt.interface.minimize_many",
    "multistart": "fastopt.interface.multistart",
    "plot_convergence": "fastopt.plotting",
}

# Those that load more than most programs need.
_MODULES = ("adapters", "distributed", "kernels", "losses", "nn", "schedules")


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if "numba" in sys.modules:
        _meet_numba()
    globals()[name] = value  # the next access finds it without coming here
    return value


def _meet_numba() -> None:
    """Make what has been loaded and works in @njit code known to Numba, and the solver to LLVM.

    Numba calls this once, before it compiles or loads its first function: see the entry point in
    pyproject.toml. What is loaded later comes here by itself.
    """
    import_module("fastopt.interface.cached_code")
    if "fastopt.schedules" in sys.modules:
        import_module("fastopt.schedules.compiled")
    if "fastopt.interface.tuples" in sys.modules:
        import_module("fastopt.interface.numba_overloads")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
