"""What a process pays before its first result. Each measurement runs in a fresh interpreter."""

from fastopt.interface.methods import METHODS

from . import installed
from .libraries import LIBRARIES, minimizer

IMPORTS = {
    "fastopt": "from fastopt import minimize",
    "scipy": "from scipy.optimize import minimize",
    "nlopt": "import nlopt",
    "torch": "import torch",
    "jaxopt": "import jaxopt",
    "optimistix": "import optimistix",
    "optax": "import optax",
}
# One of each family, which is compiled or loaded alike.
FAMILIES = tuple({row.family: name for name, row in reversed(METHODS.items())}.values())

CALL = """
minimize(
    lambda x: (x @ x, 2.0 * x), np.ones(3), jac=True, method={method!r}, options={options!r}
)
"""


class Import:
    params = (list(IMPORTS),)
    param_names = ("library",)
    number = 1

    def setup(self, library: str) -> None:
        installed.find(library)

    def timeraw_import(self, library: str) -> str:
        return IMPORTS[library]


class FirstCall:
    """The first solve of a process that has imported its library."""

    params = (LIBRARIES, FAMILIES)
    param_names = ("library", "method")
    number = 1

    def setup(self, library: str, method: str) -> None:
        minimizer(library, method)

    def timeraw_first_call(self, library: str, method: str) -> tuple[str, str]:
        name = METHODS[method].scipy if library == "scipy" else method
        options = {"maxiter": 10}
        return CALL.format(method=name, options=options), f"import numpy as np\n{IMPORTS[library]}"


JITTED = """
import numpy as np
from numba import njit

def define():
    @njit
    def fun(x):
        value, slopes = 0.0, np.zeros(x.size)
        for i in range(x.size - 1):
            ahead, left = x[i + 1] - x[i] * x[i], 1.0 - x[i]
            value += 100.0 * ahead * ahead + left * left
            slopes[i] -= 400.0 * ahead * x[i] + 2.0 * left
            slopes[i + 1] += 200.0 * ahead
        return value, slopes
    return fun

{imports}
x0 = np.resize([-1.2, 1.0], {n})
fun = define()
fun(x0)
"""


class FirstCallOfAJittedFunction:
    """One solve in a fresh process, of an @njit function that has been called before."""

    params = (LIBRARIES, ("bfgs", "l-bfgs"), (2, 100))
    param_names = ("library", "method", "n")
    number = 1

    def timeraw_first_call(self, library: str, method: str, n: int) -> tuple[str, str]:
        name = METHODS[method].scipy if library == "scipy" else method
        setup = JITTED.format(imports=IMPORTS[library], n=n)
        return f"minimize(fun, x0, jac=True, method={name!r}, options={{'maxiter': 1000}})", setup


class CompileAWrapper:
    """What ``compile=True`` adds to the first call of a new function, in a process that has
    compiled one before."""

    params = (("joint", "inplace", "2-point"),)
    param_names = ("form",)
    number = 1

    def timeraw_compile(self, form: str) -> tuple[str, str]:
        setup = JITTED.format(imports=IMPORTS["fastopt"], n=2) + WRAPPERS
        return "compile_wrapper(fun, jac, ())", setup + f"fun, jac = forms({form!r})\n"


WRAPPERS = """
from fastopt.objectives.wrappers import compile_wrapper

def forms(form):
    joint = define()

    @njit
    def fun(x):
        return (x * x).sum()

    @njit
    def jac(x):
        return 2.0 * x

    @njit
    def fill(x, grad):
        grad[:] = 2.0 * x
        return (x * x).sum()

    x, z = np.ones(2), np.ones(2, complex)
    joint(x), fun(x), fun(z), jac(x), fill(x, x)      # all but the wrapper is compiled here
    pairs = {"joint": (joint, True), "separate": (fun, jac), "inplace": (fill, "inplace")}
    return pairs.get(form, (fun, form))

for form in ("joint", "separate"):
    compile_wrapper(*forms(form), ())
"""
