"""A kernel: Python source for one thread, the types of its arguments, and how it is launched.

Owns what a kernel is compiled from and when. Knows nothing of what kernels compute, and leaves to
:mod:`fastopt.device.driver` how a GPU is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from fastopt.core import _cuda
from fastopt.device import driver

__all__ = ["Kernel"]

# Of a grid's second and third numbers, on every GPU.
_MOST_ROWS = 65535


class Kernel:
    """A Python function that a GPU runs once for each thread of a grid of blocks.

    Parameters
    ----------
    function : callable
        The source, in the words of :mod:`fastopt.device.language`. A closure over numbers,
        types and functions made by ``inlined`` is compiled for just these.
    parameters : sequence of Numba types
        Of its arguments; pointers are given as addresses.
    threads : int
        Threads of a block, which is one-dimensional.
    blocks : int, default 1
        Blocks that a multiprocessor must be able to hold, which bounds the registers of each.

    Attributes
    ----------
    function, parameters, threads, blocks
        As given.
    """

    def __init__(
        self,
        function: Callable[..., None],
        parameters: Sequence[Any],
        threads: int,
        blocks: int = 1,
    ) -> None:
        self.function = function
        self.parameters = tuple(parameters)
        self.threads = threads
        self.blocks = blocks
        self._code: dict[_cuda.Capability, tuple[bytes, str]] = {}

    def launch(self, grid: tuple[int, ...], *arguments: Any) -> None:
        """Run it over a grid of blocks, on the current stream, and do not wait for it.

        Parameters
        ----------
        grid : tuple of one to three int
            Blocks in each dimension.
        *arguments : int or float
            Addresses where pointers are expected.
        """
        x, y, z = (*grid, 1, 1)[:3]
        if y > _MOST_ROWS or z > _MOST_ROWS:
            raise ValueError(
                f"arrays are too large for a GPU: {self} would take a grid of {x} x {y} x {z} "
                f"blocks, of which only the first number may exceed {_MOST_ROWS}"
            )
        if x and y and z:
            driver.current().launch(self, (x, y, z), arguments)

    def ptx(self, capability: _cuda.Capability) -> tuple[str, str]:
        """Its PTX, and its name in it."""
        return _cuda.compile_ptx(
            self.function, self.parameters, capability, self.threads, self.blocks
        )

    def machine_code(self, capability: _cuda.Capability) -> tuple[bytes, str]:
        """Its code for a GPU, compiled when it is first asked for, and its name in it."""
        if capability not in self._code:
            ptx, name = self.ptx(capability)
            self._code[capability] = _cuda.assemble(ptx, capability), name
        return self._code[capability]

    def __repr__(self) -> str:
        parameters = ", ".join(map(str, self.parameters))
        return f"<Kernel {self.function.__name__}({parameters}), {self.threads} threads>"
