"""A call in a thread of its own is never lost sight of."""

import threading

import pytest

from fastopt.interface.errand import Errand


def test_a_call_is_made_and_waited_for():
    calls = []
    errand = Errand(lambda: calls.append(threading.current_thread()))
    errand.start()
    assert errand.wait(60)
    assert calls != [threading.main_thread()]


def test_the_end_is_waited_for():
    begin, done = threading.Event(), []

    def call():
        begin.wait()
        done.append(True)

    errand = Errand(call)
    errand.start()
    assert not errand.wait(0.0)
    threading.Timer(0.05, begin.set).start()
    errand.end()
    assert done == [True]


def test_what_has_not_begun_never_will():
    calls = []
    errand = Errand(lambda: calls.append(True))
    errand.end()
    errand.start()
    assert errand.wait(60)
    assert calls == []


def test_an_interrupt_does_not_end_the_waiting(monkeypatch):
    begin, done = threading.Event(), []

    def call():
        begin.wait()
        done.append(True)

    errand = Errand(call)
    errand.start()
    interrupts = iter([KeyboardInterrupt, KeyboardInterrupt])
    wait = errand._ended.wait

    def interrupted():
        for interrupt in interrupts:
            begin.set()
            raise interrupt
        return wait()

    monkeypatch.setattr(errand._ended, "wait", interrupted)
    errand.end()
    assert done == [True]


@pytest.mark.parametrize("created", [False, True])
def test_an_interrupt_of_the_start_leaves_nothing_running(monkeypatch, created):
    """It may come before or after the thread has been created."""
    calls = []
    start = threading.Thread.start

    def interrupted(thread):
        if created:
            start(thread)
        raise KeyboardInterrupt

    errand = Errand(lambda: calls.append(True))
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        errand.start()
    errand.end()
    before = len(calls)
    assert before <= created
    assert errand.wait(0.1) == created
    assert len(calls) == before
