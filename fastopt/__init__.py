"""Minimization of functions of many variables: SciPy's interface, compiled solvers.

Importing fastopt loads nothing but this file. Each name below loads what it needs when it is first
asked for, so that a program pays only for what it uses.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastopt._version import __version__

if TYPE_CHECKING:
    from fastopt import losses as losses
    from fastopt.interface.minimize import minimize
    from fastopt.interface.minimize_many import BatchResult, minimize_many
    from fastopt.interface.multistart import multistart
    from fastopt.interface.solver import Solver
    from fastopt.interface.tuples import Options
    from fastopt.objectives.minibatches import CSRBatch, Minibatches
    from fastopt.plotting import plot_convergence
    from fastopt.testing.derivatives import check_grad, check_hess, check_hessp

__all__ = [
    "BatchResult",
    "CSRBatch",
    "Minibatches",
    "Options",
    "Solver",
    "__version__",
    "check_grad",
    "check_hess",
    "check_hessp",
    "minimize",
    "minimize_many",
    "multistart",
    "plot_convergence",
]

_HOMES = {
    "BatchResult": "fastopt.interface.minimize_many",
    "CSRBatch": "fastopt.objectives.minibatches",
    "Minibatches": "fastopt.objectives.minibatches",
    "Options": "fastopt.interface.tuples",
    "Solver": "fastopt.interface.solver",
    "check_grad": "fastopt.testing.derivatives",
    "check_hess": "fastopt.testing.derivatives",
    "check_hessp": "fastopt.testing.derivatives",
    "minimize": "fastopt.interface.minimize",
    "minimize_many": "fastopt.interface.minimize_many",
    "multistart": "fastopt.interface.multistart",
    "plot_convergence": "fastopt.plotting",
}

# Those that load more than most programs need.
_MODULES = ("losses",)


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
    if "fastopt.interface.tuples" in sys.modules:
        import_module("fastopt.interface.numba_overloads")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
