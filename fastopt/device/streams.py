"""The stream that a thread's launches go to.

Owns how a caller names a stream. A stream is a queue of work: what is put on one is done in order.
"""

from __future__ import annotations

import threading
from typing import Any

__all__ = ["current_stream", "handle_of", "on_stream"]

_thread = threading.local()


def current_stream() -> int:
    """The handle of the stream that launches of this thread go to."""
    stream: int = getattr(_thread, "stream", 0)
    return stream


class on_stream:
    """Let launches of this thread go to a stream, given by its handle.

    A class, since a generator's `with` takes a microsecond more.
    """

    __slots__ = ("_before", "_stream")

    def __init__(self, stream: int) -> None:
        self._stream = stream

    def __enter__(self) -> None:
        self._before = current_stream()
        _thread.stream = self._stream

    def __exit__(self, *exception: object) -> None:
        _thread.stream = self._before


def handle_of(stream: Any) -> int:
    """The handle of a stream, whoever made it.

    Parameters
    ----------
    stream : int or object
        A handle, or a stream of PyTorch, CuPy, Numba or cuda.core.

    Returns
    -------
    int

    Raises
    ------
    TypeError
        If it is none of these.

    Examples
    --------
    >>> handle_of(0)
    0
    """
    handle = _handle_of(stream)
    if handle is None:
        raise TypeError(
            "`stream` must be a stream of PyTorch, CuPy or Numba, or its handle, got an object of "
            f"type {type(stream).__name__}"
        )
    # The default stream has two handles.
    return 0 if handle == 1 else handle


def _handle_of(stream: Any) -> int | None:
    if isinstance(stream, int) and not isinstance(stream, bool):
        return stream
    if hasattr(stream, "__cuda_stream__"):
        protocol = stream.__cuda_stream__
        return int((protocol() if callable(protocol) else protocol)[1])
    # PyTorch's, CuPy's and Numba's names for it.
    for name in ("cuda_stream", "ptr", "handle"):
        if hasattr(stream, name):
            handle = getattr(stream, name)
            return int(getattr(handle, "value", handle) or 0)
    return None
