"""Parts of a kernel on several threads."""

import sys
import threading
import time

import pytest

from fastopt.kernels import set_num_threads
from fastopt.kernels.cpu import threads

MUCH = 100 * threads.WORTH_A_THREAD


@pytest.mark.parametrize("count", [1, 2, 3, 8])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_each_part_is_done_once_and_no_slot_is_used_twice(count, parts):
    set_num_threads(count)
    done, used = [], []

    def kernel(first, last, slot):
        done.extend(range(first, last))
        used.append(slot)

    threads.run(kernel, parts, MUCH)
    assert sorted(done) == list(range(parts))
    assert sorted(used) == list(range(min(count, parts)))


def test_what_another_thread_raises_comes_out():
    set_num_threads(2)

    def kernel(first, last, slot):
        if slot == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        threads.run(kernel, 2, MUCH)


def test_an_interrupted_wait_goes_on_until_nothing_is_written_any_more(monkeypatch):
    set_num_threads(2)
    finished = threading.Event()
    interruptions = [KeyboardInterrupt(), KeyboardInterrupt()]
    wait = threads.wait

    def interrupted(others):
        if interruptions:
            raise interruptions.pop()
        return wait(others)

    def kernel(first, last, slot):
        if slot == 1:
            time.sleep(0.05)
            finished.set()

    monkeypatch.setattr(threads, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        threads.run(kernel, 2, MUCH)
    assert finished.is_set()


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
