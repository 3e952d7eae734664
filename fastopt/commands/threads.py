"""How many threads may work while something is timed: one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module

__all__ = ["one_blas_thread", "one_kernel_thread"]


def one_blas_thread() -> AbstractContextManager[object]:
    """Beside other load, threads that wait for one another cost SciPy's L-BFGS-B 100 times."""
    limits: AbstractContextManager[object] = import_module("threadpoolctl").threadpool_limits(
        1, user_api="blas"
    )
    return limits


@contextmanager
def one_kernel_thread() -> Iterator[None]:
    """Of fastopt's own."""
    from fastopt import kernels

    before = kernels.get_num_threads()
    kernels.set_num_threads(1)
    try:
        yield
    finally:
        kernels.set_num_threads(before)
