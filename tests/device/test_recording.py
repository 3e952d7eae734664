"""Launches that are put down, and made with other arrays."""

import threading

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device import driver
from fastopt.device.arrays import DeviceArray, describe
from fastopt.device.recording import ALIGNMENT, Recording
from fastopt.kernels.cuda import activations, copies


def standing_in(recording, array):
    like = describe(array)
    return DeviceArray(like.owner, recording.stand_in(like.address), like.shape, like.dtype)


def make(recording, *arrays):
    for launch in recording.launches([describe(each).address for each in arrays]):
        driver.current().launch(*launch)


def numbers(seed, size=70):
    return np.random.default_rng(seed).normal(size=size).astype("float32")


def test_launches_are_made_with_the_arrays_that_come(device):
    recording = Recording()
    x, out = (standing_in(recording, device.empty((70,), "float32")) for _ in range(2))
    with recording.recorded():
        activations.relu(x.part(4, (66,)), out.part(4, (66,)))
        copies.copy(x.part(0, (4,)), out.part(0, (4,)))
    for seed in range(3):
        x, out = numbers(seed), device.empty((70,), "float32")
        make(recording, device.array(x), out)
        assert np.array_equal(out.get(), np.concatenate([x[:4], np.maximum(x[4:], 0)]))


def test_one_array_may_come_in_two_slots_and_then_no_more(device):
    recording = Recording()
    slots = [standing_in(recording, device.empty((70,), "float32")) for _ in range(3)]
    with recording.recorded():
        activations.relu_backward(*slots)
    same, other, out = (device.array(numbers(seed)) for seed in range(3))
    make(recording, same, same, out)
    assert np.array_equal(out.get(), np.maximum(same.get(), 0))
    make(recording, same, other, out)
    assert np.array_equal(out.get(), np.where(other.get() > 0, same.get(), 0))


def test_arrays_that_are_aligned_otherwise_are_stood_in_for_as_they_are(device):
    x, out = device.array(numbers(0))[1:], device.empty((69,), "float32")
    recording = Recording()
    slots = [standing_in(recording, each) for each in (x, out)]
    assert [each.address % ALIGNMENT for each in slots] == [4, 0]
    with recording.recorded():
        activations.relu(*slots)
    make(recording, x, out)
    assert np.array_equal(out.get(), np.maximum(x.get(), 0))


def test_what_a_kernel_makes_for_itself_is_kept_and_what_it_returns_can_be_replaced(device):
    def kernel(x):
        half, result = x.empty(x.shape), x.empty(x.shape, np.float64)
        activations.relu(x, half)
        copies.copy(half, result)
        return result

    recording = Recording()
    x = standing_in(recording, device.empty((70,), "float32"))
    with recording.recorded():
        made = kernel(x)
    recording.replace(made.address)
    assert [each.dtype for each in recording._scratch] == [np.float32, np.float64]
    for seed in range(2):
        x, out = device.array(numbers(seed)), device.empty((70,))
        make(recording, x, out)
        assert np.array_equal(out.get(), np.maximum(x.get(), 0))


def test_nothing_is_launched_read_or_written_while_launches_are_recorded(device):
    x, out = (describe(device.array(numbers(seed))) for seed in range(2))
    recording = Recording()
    with recording.recorded():
        activations.relu(x, out)
        with pytest.raises(RuntimeError, match="cannot be read while launches are recorded"):
            driver.current().read(x.address, 4)
        with pytest.raises(RuntimeError, match="cannot be written to while launches"):
            driver.current().write(x.address, b"1234")
        with pytest.raises(RuntimeError, match="cannot be waited for while launches are recorded"):
            driver.current().wait()
    assert np.array_equal(out.owner.get(), numbers(1))
    activations.relu(x, out)
    assert np.array_equal(out.owner.get(), np.maximum(numbers(0), 0))


def test_other_threads_launch_as_ever(device):
    x, out = (describe(device.array(numbers(seed))) for seed in range(2))
    with Recording().recorded():
        other = threading.Thread(target=activations.relu, args=(x, out))
        other.start()
        other.join()
    assert np.array_equal(out.owner.get(), np.maximum(numbers(0), 0))
