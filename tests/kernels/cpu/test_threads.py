"""Parts of a kernel on several threads."""

import sys
import threading
import time
import weakref

import pytest

from fastopt.kernels import set_num_threads
from fastopt.kernels.cpu import threads

MUCH = 100 * threads.WORTH_A_THREAD


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("parts", [1, 2, 5, 100])
def test_each_part_is_done_once_and_no_slot_by_two_threads_at_once(count, parts):
    set_num_threads(count)
    done, at_work = [], [threading.Lock() for _ in range(count)]

    def kernel(first, last, slot):
        assert at_work[slot].acquire(blocking=False)
        done.extend(range(first, last))
        time.sleep(0.001)
        at_work[slot].release()

    threads.run(kernel, parts, MUCH)
    assert sorted(done) == list(range(parts))


def test_threads_take_part():
    set_num_threads(3)
    all_there = threading.Barrier(3, timeout=10)  # raises where one does not come
    threads.run(lambda first, last, slot: all_there.wait() if last < 4 else None, 6, MUCH)


def test_what_another_thread_raises_comes_out():
    set_num_threads(2)
    raised = threading.Event()

    def kernel(first, last, slot):
        if slot == 1:
            raised.set()
            raise ZeroDivisionError
        raised.wait()

    with pytest.raises(ZeroDivisionError):
        threads.run(kernel, 2, MUCH)


def test_an_interrupted_wait_goes_on_until_nothing_is_written_any_more(monkeypatch):
    set_num_threads(2)
    begun, finished = threading.Event(), threading.Event()
    interruptions = [KeyboardInterrupt(), KeyboardInterrupt()]

    class Interrupted(dict):
        """Of who takes part, asked for at the end as well."""

        def setdefault(self, slot, taker):
            if taker is threads._CALLER and interruptions:
                raise interruptions.pop()
            return super().setdefault(slot, taker)

    def kernel(first, last, slot):
        if slot == 0:
            begun.wait()
        else:
            begun.set()
            time.sleep(0.05)
            finished.set()

    init = threads._Job.__init__

    def begin(job, *args):
        init(job, *args)
        job.takers = Interrupted()

    monkeypatch.setattr(threads._Job, "__init__", begin)
    with pytest.raises(KeyboardInterrupt):
        threads.run(kernel, 2, MUCH)
    assert finished.is_set()


def test_a_thread_that_does_not_come_is_not_waited_for():
    set_num_threads(2)
    free, entered, done = threading.Event(), threading.Event(), []

    def occupy(first, last, slot):
        if slot == 1:
            entered.set()
            free.wait()
        else:
            entered.wait()

    other = threading.Thread(target=threads.run, args=(occupy, 2, MUCH))
    other.start()
    entered.wait()
    threads.run(lambda first, last, slot: done.append((first, last)), 2, MUCH)
    free.set()
    other.join()
    assert sorted(done) == [(0, 1), (1, 2)]


def test_arguments_are_not_kept_when_all_is_done():
    set_num_threads(2)

    class Argument:
        pass

    argument = Argument()
    gone = weakref.ref(argument)
    threads.run(lambda argument, first, last, slot: None, 2, MUCH, argument)
    del argument
    deadline = time.monotonic() + 10
    while gone() is not None and time.monotonic() < deadline:
        time.sleep(0.001)
    assert gone() is None


def test_the_number_of_threads_may_change_while_kernels_start():
    interval = sys.getswitchinterval()
    done = []

    def switch():
        while not done:
            set_num_threads(1)
            set_num_threads(2)

    sys.setswitchinterval(1e-6)
    other = threading.Thread(target=switch)
    other.start()
    try:
        for _ in range(2000):
            threads.run(lambda first, last, slot: None, 2, MUCH)
    finally:
        done.append(True)
        other.join()
        sys.setswitchinterval(interval)
