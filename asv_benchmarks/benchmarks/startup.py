"""What a process pays before its first result. Each measurement runs in a fresh interpreter."""

from fastopt.interface.methods import METHODS

from .libraries import LIBRARIES, minimizer

IMPORTS = {
    "fastopt": "from fastopt import minimize",
    "scipy": "from scipy.optimize import minimize",
}

CALL = """
minimize(
    lambda x: (x @ x, 2.0 * x), np.ones(3), jac=True, method={method!r}, options={options!r}
)
"""


class Import:
    params = (LIBRARIES,)
    param_names = ("library",)
    number = 1

    def timeraw_import(self, library: str) -> str:
        return IMPORTS[library]


class FirstCall:
    """The first solve of a process that has imported its library."""

    params = (LIBRARIES, list(METHODS))
    param_names = ("library", "method")
    number = 1

    def setup(self, library: str, method: str) -> None:
        minimizer(library, method)

    def timeraw_first_call(self, library: str, method: str) -> tuple[str, str]:
        name = METHODS[method].scipy if library == "scipy" else method
        options = {"maxiter": 10}
        return CALL.format(method=name, options=options), f"import numpy as np\n{IMPORTS[library]}"
