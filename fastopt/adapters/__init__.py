"""Functions of other libraries as objectives of flat NumPy vectors.

Each adapter loads its library when it is called, and says what to install where there is none.
"""

from fastopt.adapters.jax import from_jax
from fastopt.adapters.torch import from_torch

__all__ = ["from_jax", "from_torch"]
