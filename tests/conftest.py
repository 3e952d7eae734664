"""What every test may assume: no display, reproducible examples, nothing left behind."""

import os
import signal

import hypothesis
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")

# Examples are derived from the test itself, so that a red run is red again on the next machine;
# the nightly run draws fresh ones. No deadline: a test never measures time.
hypothesis.settings.register_profile("fastopt", derandomize=True, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=1000, deadline=None)
hypothesis.settings.load_profile("fastopt")


@pytest.fixture(autouse=True)
def interrupt_handler_is_restored():
    """A solve may borrow the handler of Ctrl-C; when it ends, however it ends, it gives it back."""
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before
