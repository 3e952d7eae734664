"""Streams: by whatever name a library has for one, and one for each thread of the CPU."""

import doctest
import threading
from types import SimpleNamespace

import pytest

from fastopt.device import streams
from fastopt.device.streams import current_stream, handle_of, on_stream


class OfCore:
    """As cuda.core has it: a method that gives the protocol's version and the handle."""

    def __cuda_stream__(self):
        return 0, 55


@pytest.mark.parametrize(
    ("stream", "handle"),
    [
        (0, 0),
        (1, 0),  # the default stream, by its other handle
        (2, 2),
        (2**40, 2**40),
        (OfCore(), 55),
        (SimpleNamespace(__cuda_stream__=(0, 56)), 56),
        (SimpleNamespace(cuda_stream=57), 57),  # PyTorch
        (SimpleNamespace(ptr=58), 58),  # CuPy
        (SimpleNamespace(ptr=0), 0),
        (SimpleNamespace(handle=SimpleNamespace(value=59)), 59),  # Numba
        (SimpleNamespace(handle=SimpleNamespace(value=None)), 0),
    ],
)
def test_handle_is_found_whoever_made_the_stream(stream, handle):
    assert handle_of(stream) == handle


@pytest.mark.parametrize("stream", ["0", 1.5, True, object(), [0]])
def test_what_is_no_stream_is_refused(stream):
    message = rf"`stream` must be a stream of .*, got an object of type {type(stream).__name__}"
    with pytest.raises(TypeError, match=message):
        handle_of(stream)


def test_launches_go_to_the_default_stream_but_inside_a_block():
    assert current_stream() == 0
    with on_stream(3):
        assert current_stream() == 3
        with on_stream(4):
            assert current_stream() == 4
        assert current_stream() == 3
    assert current_stream() == 0


def test_stream_is_as_before_after_an_error():
    with pytest.raises(ValueError, match="x"), on_stream(3):
        raise ValueError("x")
    assert current_stream() == 0


def test_each_thread_has_its_own():
    seen = []
    with on_stream(7):
        thread = threading.Thread(target=lambda: seen.append(current_stream()))
        thread.start()
        thread.join()
    assert seen == [0]


def test_examples_hold():
    assert doctest.testmod(streams).failed == 0
