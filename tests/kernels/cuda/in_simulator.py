"""Kernels in numba-cuda's simulator: a program, for it has to be chosen before Numba is loaded.

    NUMBA_ENABLE_CUDASIM=1 python in_simulator.py CASE ...

It prints ``{"CASE": error}`` for each: the largest difference to the reference, relative to the
largest number. The simulator runs a thread of the CPU for each of a GPU. It knows neither shuffles
nor vectors nor aligned shared memory, so that the words of ``fastopt.device.language`` get their
meanings here. A shuffle is one of the whole block.
"""

import json
import sys
import threading
from types import ModuleType

import numpy as np
from numba import cuda as simulator
from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray
from numba.cuda.simulator.kernel import _get_kernel_context

# --- the words of kernels ----------------------------------------------------------------------


class Pointer:
    def __init__(self, number):
        self.dtype = np.dtype(number)


class Shared:
    """Arrays of a block, told apart by where the source names them.

    The simulator's own are made twice if two threads come at once.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self._launch, self._arrays = None, {}

    def array(self, size, number, alignment=None):
        frame = sys._getframe(1)
        place = frame.f_code, frame.f_lineno
        with self._lock:
            if self._launch is not _get_kernel_context():
                self._launch, self._arrays = _get_kernel_context(), {}
            if place not in self._arrays:
                self._arrays[place] = np.full(size, np.nan, number)
            return self._arrays[place]


class Local:
    @staticmethod
    def array(size, number, alignment=None):
        return np.full(size, np.nan, number)


class Cuda:
    """What kernels call ``cuda``: the simulator's, and what that has not."""

    shared, local = Shared(), Local()

    def __init__(self):
        self._said = {}

    def __getattr__(self, name):
        return getattr(_get_kernel_context(), name)

    def shfl_xor_sync(self, mask, number, lanes):
        thread = threading.current_thread()
        self._said[thread.thread_id] = number
        thread.syncthreads()
        heard = self._said[thread.thread_id ^ lanes]
        thread.syncthreads()
        return heard


def load(count):
    return lambda where, index: tuple(where[index + k] for k in range(count))


def store(where, index, numbers):
    for k, number in enumerate(numbers):
        where[index + k] = number


def unknown(name):
    """A word that the simulator has no meaning for, and that no kernel here uses."""
    if name.startswith("__"):
        raise AttributeError(name)

    def refuse(*arguments):
        raise NotImplementedError(f"the simulator does not have {name}")

    return refuse


language = ModuleType("fastopt.device.language")
language.__dict__.update(
    cuda=Cuda(),
    int32=int,
    int64=int,
    uint32=int,
    uint64=int,
    float32=np.float32,
    float64=np.float64,
    number_type=lambda dtype: np.dtype(dtype).type,
    pointer=Pointer,
    pointer_to=lambda dtype: Pointer(np.dtype(dtype).type),
    inlined=lambda function: function,
    quotient=lambda number, divisor: number // divisor,
    load2=load(2),
    load4=load(4),
    store2=store,
    store4=store,
    __getattr__=unknown,
)
sys.modules[language.__name__] = language

# Only now: they import the words.
from fastopt import kernels
from fastopt.device import driver
from fastopt.device.kernel import Kernel
from fastopt.device.reductions import block_total
from fastopt.kernels import reference
from fastopt.testing.cuda import EmulatedDevice


class SimulatedDevice(EmulatedDevice):
    """The emulator's memory, with the simulator's threads."""

    def launch(self, kernel, grid, arguments):
        values = [
            self._view(value, kind.dtype) if isinstance(kind, Pointer) else kind(value)
            for kind, value in zip(kernel.parameters, arguments, strict=True)
        ]
        simulator.jit(kernel.function)[grid, kernel.threads](*values)

    def _view(self, address, dtype):
        if address == 0:
            return FakeCUDAArray(np.empty(0, dtype))
        memory, offset = self._find(address)
        count = (memory.size - offset) // dtype.itemsize
        return FakeCUDAArray(memory[offset : offset + count * dtype.itemsize].view(dtype))


# --- cases -------------------------------------------------------------------------------------

generator = np.random.default_rng(0)


def numbers(*shape):
    return generator.normal(0, 3, shape).astype(np.float32)


def relu(device):
    for n in (5, 1024, 1030):
        x = numbers(n)
        yield kernels.relu(device.array(x)).get(), reference.relu(x)


def leaky_relu_in_place(device):
    x = numbers(300)
    array = device.array(x)
    kernels.leaky_relu(array, 0.25, out=array)
    yield array.get(), np.where(x > 0, x, 0.25 * x)


def total_of_a_block(device):
    cuda, real = language.cuda, language.float32
    total = block_total(64)

    def totals(x, out):
        room = cuda.shared.array(2, real)
        thread = cuda.threadIdx.x
        at = 64 * cuda.blockIdx.x + thread
        out[at] = total(x[at], room, thread)

    x, out = numbers(128), device.empty((128,), np.float32)
    array = device.array(x)
    pointers = [each.__cuda_array_interface__["data"][0] for each in (array, out)]
    Kernel(totals, [Pointer(np.float32)] * 2, 64).launch((2,), *pointers)
    yield out.get(), np.sum(x.reshape(2, 64).astype(float), axis=1).repeat(64)


def losses(name):
    def compare(device):
        for shape in ((3, 5), (2, 1030)):
            x, y = numbers(*shape), generator.uniform(0, 1, shape).astype(np.float32)
            found = getattr(kernels, name)(device.array(x), device.array(y))
            expected = getattr(reference, name)(x, y)
            for each, naive in zip(found, expected, strict=True):
                yield each.get(), naive

    return compare


def softmax_cross_entropy(device):
    for shape in ((7, 10), (1, 1100)):
        x, labels = numbers(*shape), generator.integers(0, shape[1], shape[0])
        weight = generator.uniform(0.5, 2, shape[1]).astype(np.float32)
        for options in ({}, {"label_smoothing": 0.1, "weight": weight}):
            found = kernels.softmax_cross_entropy(
                device.array(x),
                device.array(labels),
                **{
                    name: device.array(value) if name == "weight" else value
                    for name, value in options.items()
                },
            )
            expected = reference.softmax_cross_entropy(x, labels, **options)
            for each, naive in zip(found, expected, strict=True):
                yield each.get(), naive


CASES = {
    "relu": relu,
    "leaky_relu in place": leaky_relu_in_place,
    "total of a block": total_of_a_block,
    "smooth_l1_loss": losses("smooth_l1_loss"),
    "binary_cross_entropy": losses("binary_cross_entropy"),
    "softmax_cross_entropy": softmax_cross_entropy,
}


def error_of(case):
    with driver.use(device := SimulatedDevice()):
        return max(
            float(np.max(np.abs(found - expected)) / np.max(np.abs(expected)))
            for found, expected in case(device)
        )


if __name__ == "__main__":
    print(json.dumps({name: error_of(CASES[name]) for name in sys.argv[1:]}))
