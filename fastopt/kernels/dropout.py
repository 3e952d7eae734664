"""Dropout: elements set to zero at random, reproducibly.

Owns the arguments; the work is done by the modules of this name for the CPU and for GPUs.
"""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastopt.core.validate import Real
from fastopt.kernels import arguments
from fastopt.kernels.dispatch import anywhere, kernels

__all__ = ["dropout"]

Array = NDArray[Any]

_kernels = kernels("dropout")
_PROBABILITY = Real(low=0.0, high=1.0, open_high=True)


@anywhere
def dropout(
    x: Array,
    p: float,
    seed: int,
    counter: int = 0,
    *,
    out: Array | None = None,
    stream: Any = None,
) -> Array:
    """Each element of x over ``1 - p``, or 0 with probability p.

    Which elements of x dropout [1]_ sets to zero depends on `seed`, `counter` and their place in
    the array, nothing else: not on their values, dtype, the number of threads, or whether they are
    on a GPU. So the derivative by x of a loss whose derivative by the output is ``grad`` is
    ``dropout(grad, p, seed, counter)``, and nothing has to be kept for it. In inference, leave the
    function out: the mean is that of x.

    The random numbers are those of SplitMix64 [2]_, 53 bits of each, which begin at a place in its
    sequence that is scrambled from `seed` and `counter`.

    Parameters
    ----------
    x : ndarray
        float32 or float64, of any shape.
    p : float
        The probability to be dropped, from 0 to below 1.
    seed : int
        From 0 to ``2**64 - 1``.
    counter : int, default 0
        From 0 to ``2**64 - 1``: the number of the step, for another mask in each with one seed.
    out : ndarray, optional
        Where the result goes; it may be x.
    stream : stream or int, optional
        Of a GPU; by default the one on which the arrays are made.

    Returns
    -------
    ndarray
        Like x.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above.

    References
    ----------
    .. [1] N. Srivastava et al., "Dropout: a simple way to prevent neural networks from
           overfitting", JMLR 15, 2014. Scaled in training, so that inference needs no scaling.
    .. [2] G. L. Steele, D. Lea & C. H. Flood, "Fast splittable pseudorandom number generators",
           OOPSLA 2014; its output function is variant 13 of D. Stafford's.

    Examples
    --------
    >>> import numpy as np
    >>> from fastopt import kernels
    >>> kernels.dropout(np.ones(8), 0.5, seed=1)
    array([0., 0., 0., 2., 2., 2., 0., 0.])
    >>> kernels.dropout(np.ones(8), 0.5, seed=1, counter=1)
    array([0., 2., 0., 0., 0., 2., 2., 0.])
    """
    arguments.array("x", x, getattr(x, "shape", ()))
    p = _PROBABILITY("p", p, 0)
    seed, counter = _word("seed", seed), _word("counter", counter)
    apart = [] if out is x else [("x", x)]
    out = arguments.output("out", out, x.shape, x, apart)
    with np.errstate(over="ignore"):  # under NUMBA_DISABLE_JIT=1 the products are NumPy's
        _kernels(out).dropout(x, p, seed, counter, out)
    return out


def _word(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"`{name}` must be an integer, got {value!r} ({type(value).__name__})")
    if not 0 <= (word := int(value)) < 2**64:
        raise ValueError(f"`{name}` must be an integer from 0 to 2**64 - 1, got {value}")
    return word
