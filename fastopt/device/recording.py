"""Launches that are put down once, and made as often as wanted, with other arrays.

Which kernels a computation launches, and with which numbers, follows from shapes and from how
addresses are aligned. So the Python that works it out need run but once: a recording takes the
place of the device meanwhile, and makes a list of launches. Arrays that differ each time have
addresses that no memory has, by which they are found again.

Owns the list, and the scratch arrays that its launches use. Knows nothing of what they compute.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

from fastopt.core import _cuda

__all__ = ["ALIGNMENT", "Launch", "Recording", "current_recording"]

# A kernel, its grid, and its arguments.
Launch = tuple[Any, tuple[int, int, int], tuple[Any, ...]]

# Bytes: nothing that is read at once is longer, so that no kernel asks for more.
ALIGNMENT = 32
# Addresses of memory have fewer bits.
_BITS = 56

_thread = threading.local()


def current_recording() -> Recording | None:
    """What launches of this thread are put down by, if anything."""
    recording: Recording | None = getattr(_thread, "recording", None)
    return recording


class Recording:
    """Launches, some of whose arguments are addresses in arrays that come later.

    Examples
    --------
    >>> recording = Recording()
    >>> address = recording.stand_in(4096)
    >>> with recording.recorded():
    ...     pass  # here kernels are called, with an array at that address
    >>> recording.launches([8192])
    []
    """

    def __init__(self) -> None:
        self._launches: list[Launch] = []
        self._scratch: list[Any] = []
        self._stand_ins: list[int] = []  # by slot
        # Of launches, by their place in the list: the place of an argument, the slot of its array,
        # and where in the array it points, in bytes.
        self._later: dict[int, list[tuple[int, int, int]]] = {}
        self._addresses: tuple[int, ...] = ()

    def stand_in(self, address: int) -> int:
        """The address of an array that comes later, in a slot of its own, aligned as this one.

        All arrays that come must be aligned so, up to `ALIGNMENT`.
        """
        self._stand_ins.append((len(self._stand_ins) + 1 << _BITS) + address % ALIGNMENT)
        return self._stand_ins[-1]

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """A context in which this thread launches nothing, but puts it down here."""
        _thread.recording = self
        try:
            yield
        finally:
            _thread.recording = None

    # --- as kernels see it: a device

    def launch(self, kernel: Any, grid: tuple[int, int, int], arguments: tuple[Any, ...]) -> None:
        """Put a launch down."""
        for place in _pointers(kernel):
            slot = (arguments[place] >> _BITS) - 1
            if slot >= 0:
                offset = arguments[place] - self._stand_ins[slot]
                later = self._later.setdefault(len(self._launches), [])
                later.append((place, slot, offset))
        self._launches.append((kernel, grid, arguments))

    def read(self, address: int, size: int) -> NoReturn:
        """Refuse: nothing has been computed."""
        raise RuntimeError("memory of a GPU cannot be read while launches are recorded")

    def write(self, address: int, data: bytes) -> NoReturn:
        """Refuse: it would be written once, and not again with each of the launches."""
        raise RuntimeError("memory of a GPU cannot be written to while launches are recorded")

    def wait(self) -> NoReturn:
        """Refuse: nothing has been launched."""
        raise RuntimeError("a GPU cannot be waited for while launches are recorded")

    def keep(self, array: Any) -> None:
        """Hold an array that a kernel has made for itself, as long as the launches may be made."""
        self._scratch.append(array)

    # --- as its owner sees it

    def replace(self, address: int) -> None:
        """Give a slot to an array that a kernel has made and returned."""
        slot = len(self._stand_ins)
        self._stand_ins.append(address)
        for k, (kernel, _, arguments) in enumerate(self._launches):
            for place in _pointers(kernel):
                if arguments[place] == address:
                    self._later.setdefault(k, []).append((place, slot, 0))

    def launches(self, addresses: Sequence[int]) -> list[Launch]:
        """The launches, with the addresses of the arrays of all slots, in their order."""
        addresses = tuple(addresses)
        if addresses != self._addresses:
            for k, later in self._later.items():
                kernel, grid, arguments = self._launches[k]
                changed = [*arguments]
                for place, slot, offset in later:
                    changed[place] = addresses[slot] + offset
                self._launches[k] = kernel, grid, tuple(changed)
            self._addresses = addresses
        return self._launches


def _pointers(kernel: Any) -> list[int]:
    """The places of arguments that are addresses."""
    pointer = _cuda.load().types.CPointer
    return [k for k, kind in enumerate(kernel.parameters) if isinstance(kind, pointer)]
