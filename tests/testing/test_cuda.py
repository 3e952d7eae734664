"""The emulator of a GPU: each kind of mistake in a kernel is found, and what is right passes."""

import doctest
import gc
import math

import numpy as np
import pytest

pytest.importorskip("numba_cuda")
pytest.importorskip("greenlet")

from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    cuda,
    float32,
    float64,
    inlined,
    int32,
    int64,
    load2,
    load4,
    pointer,
    store4,
    uint32,
)
from fastopt.testing import cuda as emulator
from fastopt.testing.cuda import EmulationError, emulated_device

ALL = 0xFFFFFFFF


@pytest.fixture
def device():
    with emulated_device() as emulated:
        yield emulated


def run(function, parameters, threads, *arguments, grid=(1,)):
    """Launch a kernel; arrays stand for their addresses."""
    Kernel(function, parameters, threads).launch(
        grid,
        *(
            address(each) if isinstance(each, emulator.EmulatedArray) else each
            for each in arguments
        ),
    )


def address(array):
    return array.__cuda_array_interface__["data"][0]


def find(message, function, threads, *arrays, number=float32):
    """Expect a kernel of arrays to be found wrong."""
    with pytest.raises(EmulationError, match=message):
        run(function, [pointer(number)] * len(arrays), threads, *arrays)


# --- memory ------------------------------------------------------------------------------------


def test_new_memory_holds_what_nobody_would_miss(device):
    assert np.all(np.isnan(device.empty((3, 4)).get()))
    assert np.all(np.isnan(device.empty((5,), np.float32).get()))
    np.testing.assert_array_equal(device.empty((2,), np.int32).get(), -1)


def test_arrays_are_copies_and_begin_where_those_of_a_gpu_do(device):
    numbers = np.arange(6.0).reshape(2, 3)
    array = device.array(numbers)
    numbers[:] = 0
    np.testing.assert_array_equal(array.get(), [[0, 1, 2], [3, 4, 5]])
    assert (array.shape, array.dtype) == ((2, 3), np.float64)
    for _ in range(5):
        assert address(device.empty((3,))) % 256 == 0
    np.testing.assert_array_equal(array[1:, ::2].get(), [[3, 5]])
    assert address(array[1:]) == address(array) + 24


def test_bytes_are_read_and_written(device):
    array = device.array(np.arange(4, dtype=np.int32))
    device.write(address(array) + 4, np.int32(7).tobytes())
    assert np.frombuffer(device.read(address(array), 8), np.int32).tolist() == [0, 7]
    with pytest.raises(EmulationError, match=r"20 bytes at 0x[0-9a-f]+ are in no array"):
        device.read(address(array), 20)


@pytest.mark.parametrize("place", [-1, 4, 100])
def test_access_outside_an_array_is_found(device, place):
    x = device.array(np.zeros(4, np.float32))

    def read(x):
        x[0] = x[place]

    def write(x):
        x[place] = x[0]

    for function in (read, write):
        find(f"1 numbers at {place} of an array that has 4", function, 1, x)


def test_access_to_memory_that_was_freed_is_found(device):
    def touch(x):
        x[0] = x[0]

    x = device.array(np.zeros(4, np.float32))
    place = address(x)
    part = x[1:]
    del x
    gc.collect()
    run(touch, [pointer(float32)], 1, place)  # a part keeps it
    del part
    gc.collect()
    with pytest.raises(EmulationError, match="are in no array"):
        run(touch, [pointer(float32)], 1, place)


def test_a_pointer_to_nothing_may_be_given_but_not_used(device):
    def unless(x, used):
        if used:
            x[0] = float32(1)

    parameters = [pointer(float32), int32]
    run(unless, parameters, 1, 0, 0)
    with pytest.raises(EmulationError, match="of an array that has 0"):
        run(unless, parameters, 1, 0, 1)


@pytest.mark.parametrize("start", [1, 2, 3])
def test_vectors_that_are_not_aligned_are_found(device, start):
    x = device.array(np.zeros(16, np.float32))

    def load(x):
        load4(x, start)

    def store(x):
        store4(x, start, (float32(0), float32(0), float32(0), float32(0)))

    for function in (load, store):
        find(f"4 numbers at {start}, which is no multiple of 4", function, 1, x)
    find("4 numbers at 1, which is no multiple of 4", lambda x: load4(x, 0), 1, x[1:])
    run(lambda x: load2(x, 2), [pointer(float32)], 1, x)
    run(lambda x: load4(x, 3), [pointer(float32)], 1, x[1:])


def test_vectors_that_end_outside_are_found(device):
    x = device.array(np.zeros(6, np.float32))
    find("4 numbers at 4 of an array that has 6", lambda x: load4(x, 4), 1, x)


def test_an_address_between_numbers_is_found(device):
    x = device.array(np.zeros(4, np.float32))
    with pytest.raises(EmulationError, match="is not the address of a float32"):
        run(lambda x: None, [pointer(float32)], 1, address(x) + 2)


def test_numbers_are_rounded_where_they_are_stored(device):
    x = device.array(np.zeros(2, np.float32))

    def store(x, number):
        x[0] = number
        x[1] = float32(1e30) * float32(1e30)

    run(store, [pointer(float32), float32], 1, x, 0.1)
    np.testing.assert_array_equal(x.get(), np.array([0.1, np.inf], np.float32))


# --- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [2**31, -(2**31) - 1])
def test_an_int32_that_does_not_fit_is_found(device, number):
    x = device.array(np.zeros(1, np.float32))

    def overflow(x):
        x[0] = float32(int32(number))

    find(f"{number} is no int32", overflow, 1, x)
    with pytest.raises(EmulationError, match=f"{number} is no int32"):
        run(lambda n: None, [int32], 1, number)
    run(lambda n: None, [int64], 1, number)


def test_arguments_have_the_precision_that_they_are_passed_in(device):
    x = device.array(np.zeros(2))

    def store(x, single, double):
        x[0] = single
        x[1] = double

    run(store, [pointer(float64), float32, float64], 1, x, 0.1, 0.1)
    assert x.get().tolist() == [float(np.float32(0.1)), 0.1]


def test_functions_give_infinities_and_nan_as_on_a_gpu(device):
    x = device.array(np.zeros(4))

    def compute(x):
        x[0] = math.exp(float64(1000))
        x[1] = math.log(float64(0))
        x[2] = math.sqrt(float64(-1))
        x[3] = math.pow(float64(2), float64(3))

    run(compute, [pointer(float64)], 1, x)
    np.testing.assert_array_equal(x.get(), [np.inf, -np.inf, np.nan, 8])


# --- shared memory -----------------------------------------------------------------------------


def test_shared_memory_that_nobody_wrote_to_is_nan(device):
    x = device.array(np.zeros(1, np.float32))

    def read(x):
        room = cuda.shared.array(8, float32)
        x[0] = room[3]

    run(read, [pointer(float32)], 1, x)
    assert np.isnan(x.get()[0])


def test_arrays_of_a_thread_that_nobody_wrote_to_are_nan(device):
    x = device.array(np.zeros(1, np.float32))

    def read(x):
        own = cuda.local.array(8, float32)
        x[0] = own[3]

    run(read, [pointer(float32)], 1, x)
    assert np.isnan(x.get()[0])


def test_shared_memory_is_that_of_one_block(device):
    x = device.array(np.zeros(2, np.float32))

    def keep(x):
        room = cuda.shared.array(1, float32)
        x[cuda.blockIdx.x] = room[0]
        room[0] = float32(5)

    run(keep, [pointer(float32)], 1, x, grid=(2,))
    assert np.all(np.isnan(x.get()))


def test_a_barrier_that_is_missing_between_write_and_read_is_found(device):
    x = device.array(np.zeros(64, np.float32))

    def reverse(x, waits):
        room = cuda.shared.array(64, float32)
        thread = int32(cuda.threadIdx.x)
        room[thread] = x[thread]
        if waits:
            cuda.syncthreads()
        x[thread] = room[int32(63 - thread)]

    parameters = [pointer(float32), int32]
    run(reverse, parameters, 64, x, 1)
    with pytest.raises(EmulationError, match=r"was (written|read) by thread \d+ and is used"):
        run(reverse, parameters, 64, x, 0)


def test_a_barrier_that_is_missing_between_read_and_write_is_found(device):
    x = device.array(np.zeros(64, np.float32))

    def rotate(x, waits):
        room = cuda.shared.array(64, float32)
        thread = int32(cuda.threadIdx.x)
        room[thread] = x[thread]
        cuda.syncthreads()
        number = room[int32((thread + 1) % 64)]
        if waits:
            cuda.syncthreads()
        room[thread] = number

    parameters = [pointer(float32), int32]
    run(rotate, parameters, 64, x, 1)
    with pytest.raises(EmulationError, match=r"was read by .* and is used by thread"):
        run(rotate, parameters, 64, x, 0)


def test_two_threads_that_write_one_number_are_found(device):
    x = device.array(np.zeros(1, np.float32))

    def collide(x):
        room = cuda.shared.array(1, float32)
        room[0] = float32(cuda.threadIdx.x)

    find("was written by thread 0 and is used by thread 1", collide, 2, x)
    run(collide, [pointer(float32)], 1, x)


def test_a_synchronised_warp_needs_no_barrier_of_the_block(device):
    x = device.array(np.arange(64, dtype=np.float32))

    def reverse(x, other):
        room = cuda.shared.array(64, float32)
        thread = int32(cuda.threadIdx.x)
        room[thread] = x[thread]
        cuda.syncwarp()
        x[thread] = room[int32(thread ^ other)]

    parameters = [pointer(float32), int32]
    run(reverse, parameters, 64, x, 31)
    np.testing.assert_array_equal(x.get(), np.arange(64) ^ 31)
    with pytest.raises(EmulationError, match="with no barrier between"):
        run(reverse, parameters, 64, x, 32)


@pytest.mark.parametrize("place", [-1, 8])
def test_access_outside_shared_memory_is_found(device, place):
    x = device.array(np.zeros(1, np.float32))

    def read(x):
        room = cuda.shared.array(8, float32)
        x[0] = room[place]

    find(f"a number at {place} of a shared array that has 8", read, 1, x)


def test_vectors_that_are_not_aligned_in_shared_memory_are_found(device):
    x = device.array(np.zeros(1, np.float32))

    def load(x):
        room = cuda.shared.array(8, float32, 16)
        load4(room, 2)

    find("4 numbers at 2, which is no multiple of 4", load, 1, x)


# --- barriers and shuffles ---------------------------------------------------------------------


def test_a_barrier_that_some_threads_never_reach_is_found(device):
    x = device.array(np.zeros(1, np.float32))

    def leave(x):
        if cuda.threadIdx.x < 10:
            return
        cuda.syncthreads()

    find("10 threads have ended, and 54 wait for them at a barrier", leave, 64, x)


def test_barriers_in_two_branches_are_found(device):
    x = device.array(np.zeros(1, np.float32))

    def diverge(x):
        if cuda.threadIdx.x < 32:
            cuda.syncthreads()
        else:
            cuda.syncthreads()

    find(r"threads have come to different barriers, on lines \[\d+, \d+\]", diverge, 64, x)


def test_shuffles_in_two_branches_are_found(device):
    x = device.array(np.zeros(32, np.float32))

    def diverge(x):
        thread = int32(cuda.threadIdx.x)
        if thread < 16:
            x[thread] = cuda.shfl_xor_sync(uint32(ALL), x[thread], int32(1))
        else:
            x[thread] = cuda.shfl_xor_sync(uint32(ALL), x[thread], int32(2))

    find(r"threads have come to different shuffles, on lines \[\d+, \d+\]", diverge, 32, x)


def test_a_shuffle_while_others_wait_for_the_block_is_found(device):
    x = device.array(np.zeros(32, np.float32))

    def diverge(x):
        thread = int32(cuda.threadIdx.x)
        if thread < 16:
            cuda.syncthreads()
        else:
            x[thread] = cuda.shfl_xor_sync(uint32(ALL), x[thread], int32(1))

    find("a shuffle, while threads of its warp wait at a barrier", diverge, 32, x)


@pytest.mark.parametrize("kind", ["xor", "lane"])
def test_a_shuffle_with_a_thread_that_has_ended_is_found(device, kind):
    x = device.array(np.zeros(32, np.float32))

    def from_other(x):
        thread = int32(cuda.threadIdx.x)
        if thread == 7:
            return
        x[thread] = cuda.shfl_xor_sync(uint32(ALL), x[thread], int32(1))

    def from_lane(x):
        thread = int32(cuda.threadIdx.x)
        if thread == 7:
            return
        x[thread] = cuda.shfl_sync(uint32(ALL), x[thread], int32(7))

    function = from_other if kind == "xor" else from_lane
    find("a shuffle with lane 7, which does not take part", function, 32, x)


def test_warps_go_on_without_each_other(device):
    x = device.array(np.arange(64, dtype=np.float32))

    def exchange(x):
        thread = int32(cuda.threadIdx.x)
        number = x[thread]
        if thread < 32:
            for _ in range(3):
                number = cuda.shfl_xor_sync(uint32(ALL), number, int32(1))
        x[thread] = cuda.shfl_sync(uint32(ALL), number, int32(4))

    run(exchange, [pointer(float32)], 64, x)
    np.testing.assert_array_equal(x.get(), np.repeat([5, 36], 32))


# --- launches ----------------------------------------------------------------------------------


def test_every_thread_of_every_block_runs_once(device):
    x = device.array(np.zeros(3 * 2 * 2 * 5, np.int32))

    def count(x):
        block = cuda.blockIdx.x + 3 * (cuda.blockIdx.y + 2 * cuda.blockIdx.z)
        x[block * 5 + cuda.threadIdx.x] += 1

    run(count, [pointer(int32)], 5, x, grid=(3, 2, 2))
    np.testing.assert_array_equal(x.get(), 1)
    (launch,) = device.launches
    assert launch[1] == (3, 2, 2)


def test_functions_that_a_kernel_calls_are_emulated_with_it(device):
    x = device.array(np.arange(40, dtype=np.float32))

    @inlined
    def place():
        return int32(cuda.threadIdx.x)

    @inlined
    def neighbour(x):
        return x[int32(place() ^ 1)]

    def exchange(x):
        number = neighbour(x)
        cuda.syncthreads()
        x[place()] = number

    run(exchange, [pointer(float32)], 40, x)
    np.testing.assert_array_equal(x.get(), np.arange(40) ^ 1)


def test_an_error_of_the_kernel_comes_out(device):
    x = device.array(np.zeros(1, np.float32))

    def fail(x):
        cuda.syncthreads()
        if cuda.threadIdx.x == 3:
            raise KeyError("it")

    with pytest.raises(KeyError, match="it"):
        run(fail, [pointer(float32)], 8, x)


def test_a_number_of_arguments_that_is_wrong_is_found(device):
    with pytest.raises(ValueError, match="zip"):
        run(lambda n: None, [int32], 1, 1, 2)


def test_devices_inside_one_another_have_memory_of_their_own():
    from fastopt import kernels

    with emulated_device() as outer:
        x = outer.array(np.array([-1.0, 1.0]))
        with emulated_device() as inner:
            assert kernels.relu(inner.array(np.array([-2.0]))).get() == 0
        np.testing.assert_array_equal(kernels.relu(x).get(), [0, 1])
    assert len(outer.launches) == len(inner.launches) == 1


def test_examples_hold():
    assert doctest.testmod(emulator).failed == 0
