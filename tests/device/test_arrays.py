"""Arrays of a GPU: how they are recognised and described, and who makes new ones."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from fastopt.device import arrays
from fastopt.device.arrays import (
    ALLOCATORS,
    DeviceArray,
    describe,
    is_aligned,
    is_device_array,
)
from fastopt.device.streams import on_stream


class Foreign:
    """An array of a library that fastopt does not know."""

    def __init__(self, shape=(2, 3), typestr="<f4", strides=None, address=4096, **more):
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": typestr,
            "data": (address, more.pop("readonly", False)),
            "strides": strides,
            "version": 3,
            **more,
        }


def of_library(name, **attributes):
    """An array whose class lives in a module of a library."""
    kind = type("Array", (Foreign,), {"__module__": f"{name}.core", **attributes})
    return kind()


def test_arrays_of_a_gpu_are_told_by_their_interface():
    assert is_device_array(Foreign())
    assert is_device_array(describe(Foreign()))
    for other in (np.zeros(3), np.float64(1.0), 1.0, None, [Foreign()], "x"):
        assert not is_device_array(other)


def test_an_attribute_that_raises_as_that_of_a_tensor_on_the_cpu_does_is_none():
    class Tensor:
        @property
        def __cuda_array_interface__(self):
            raise AttributeError("a tensor on the CPU has none")

    assert not is_device_array(Tensor())


def test_description_has_what_the_interface_says():
    array = Foreign((2, 3), "<f8", address=8192)
    described = describe(array)
    assert described.owner is array
    assert described.address == 8192
    assert (described.shape, described.ndim, described.size) == ((2, 3), 2, 6)
    assert (described.dtype, described.nbytes) == (np.float64, 48)
    assert described.strides is None
    assert described.writeable
    assert described.stream is None
    assert describe(described) is described


def test_a_readonly_array_is_not_writeable():
    assert not describe(Foreign(readonly=True)).writeable


@pytest.mark.parametrize(
    ("shape", "strides", "contiguous"),
    [
        ((2, 3), None, True),
        ((2, 3), (12, 4), True),
        ((2, 3), (4, 8), False),
        ((2, 3), (24, 4), False),
        ((1, 3), (999, 4), True),  # of one row, the step to the next does not count
        ((2, 1), (4, 999), True),
        ((3,), (-4,), False),
        ((0, 3), (999, 999), True),
        ((), (), True),
    ],
)
def test_strides_are_none_if_the_array_is_contiguous(shape, strides, contiguous):
    assert (describe(Foreign(shape, strides=strides)).strides is None) == contiguous


@pytest.mark.parametrize("shape", [(0,), (3, 0)])
def test_an_array_without_elements_may_have_no_address(shape):
    described = describe(Foreign(shape, address=None))
    assert (described.address, described.size, described.nbytes) == (0, 0, 0)


@pytest.mark.parametrize(("stream", "handle"), [(None, None), (1, 0), (2, 2), (77, 77)])
def test_stream_is_that_of_the_interface(stream, handle):
    assert describe(Foreign(stream=stream)).stream == handle


def test_an_array_of_pytorch_is_made_on_its_current_stream(monkeypatch):
    assert describe(Tensor()).stream == 123
    handles = SimpleNamespace(_cuda_getCurrentRawStream={1: 456}.__getitem__)
    monkeypatch.setattr(sys.modules["torch"], "_C", handles, raising=False)
    assert describe(Tensor()).stream == 456


class Tensor:
    """What is looked at of PyTorch's."""

    __module__ = "torch"
    dtype, shape, device = "torch.float32", (4, 6), "cuda:1"
    is_cuda, requires_grad = True, False

    def is_contiguous(self):
        return self.stride() == (6, 1)

    def stride(self):
        return (6, 1)

    def data_ptr(self):
        return 4096

    def get_device(self):
        return 1


@pytest.fixture(autouse=True)
def torch(monkeypatch):
    """What is looked at of PyTorch, whose current GPU is the second."""
    streams = {"cuda:1": SimpleNamespace(cuda_stream=123)}
    cuda = SimpleNamespace(current_stream=streams.__getitem__, current_device=lambda: 1)
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))


def test_a_tensor_of_another_gpu_is_refused():
    tensor = Tensor()
    tensor.get_device = lambda: 0
    with pytest.raises(ValueError, match="on the current GPU, 1"):
        describe(tensor)


def test_tensors_are_described_by_their_own_names():
    assert is_device_array(Tensor())
    array = describe(Tensor())
    assert (array.address, array.shape, array.dtype) == (4096, (4, 6), np.float32)
    assert array.strides is None
    columns = Tensor()
    columns.stride = lambda: (1, 4)
    assert describe(columns).strides == (4, 16)


def test_a_tensor_of_the_cpu_is_no_array_of_a_gpu():
    tensor = Tensor()
    tensor.is_cuda = False
    assert not is_device_array(tensor)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [("requires_grad", True, "detach"), ("dtype", "torch.bfloat16", "torch.bfloat16")],
)
def test_tensors_that_cannot_be_used_are_refused(name, value, message):
    tensor = Tensor()
    setattr(tensor, name, value)
    with pytest.raises(TypeError, match=message):
        describe(tensor)


def test_other_shapes_and_parts_are_of_the_same_memory():
    array = describe(Foreign((4, 6), stream=5))
    for other, shape in (
        (array.reshape(24), (24,)),
        (array.reshape((3, 8)), (3, 8)),
        (array.reshape(2, -1), (2, 12)),
        (array.reshape(-1), (24,)),
    ):
        assert (other.address, other.shape, other.stream) == (4096, shape, 5)
        assert other.owner is array.owner
    part = array.part(6, (2, 3))
    assert (part.address, part.shape, part.dtype) == (4096 + 24, (2, 3), np.float32)
    assert part.part(3, (3,)).address == 4096 + 36


# --- new arrays --------------------------------------------------------------------------------


def test_new_arrays_are_of_the_library_that_made_the_given_one(monkeypatch):
    given = of_library("somewhere")
    calls = []

    def allocate(like, shape, dtype):
        calls.append((like, shape, dtype))
        return Foreign(shape, dtype.str, address=512)

    monkeypatch.setitem(ALLOCATORS, "somewhere", allocate)
    new = describe(given).empty((5, 2))
    assert isinstance(new, DeviceArray)
    assert (new.shape, new.dtype, new.address) == ((5, 2), np.float32, 512)
    assert describe(given).empty((), np.float64).dtype == np.float64
    assert calls == [(given, (5, 2), np.float32), (given, (), np.float64)]


def test_numbers_of_the_cpu_are_put_into_new_arrays(device):
    like = describe(device.empty((1,), np.float32))
    for values in (np.arange(6.0).reshape(2, 3), np.array(7, np.int64), np.zeros(0, np.float32)):
        held = like.holding(values)
        assert (held.shape, held.dtype) == (values.shape, values.dtype)
        np.testing.assert_array_equal(held.owner.get(), values)


@pytest.mark.parametrize(
    ("dtype", "offset", "aligned"),
    [
        ("float32", 0, True),
        ("float32", 8, False),
        ("float64", 16, False),
        ("float64", 32, True),
        ("float16", 8, True),
        ("float16", 2, False),
    ],
)
def test_arrays_are_aligned_where_four_numbers_can_be_read(dtype, offset, aligned):
    array = DeviceArray(None, 4096 + offset, (9,), np.dtype(dtype))
    other = DeviceArray(None, 4096, (9,), np.dtype("float64"))
    assert is_aligned(array) == is_aligned(array, other) == is_aligned(other, array) == aligned


def test_in_a_library_that_is_not_known_the_output_has_to_be_given():
    with pytest.raises(TypeError, match="`out` must be given for arrays of anywhere, in which"):
        describe(of_library("anywhere")).empty((3,))


class _Streams:
    """What PyTorch and CuPy have: a current stream, and blocks in which it is another one."""

    def __init__(self, name):
        self.name, self.now = name, 0
        self.made = []

    def empty(self, shape, dtype, **where):
        self.made.append((shape, dtype, self.now, where))
        return Foreign(shape)

    def current(self, *device):
        return SimpleNamespace(**{self.name: self.now})

    def block(self, stream):
        streams = self

        class Block:
            def __enter__(self):
                self.before, streams.now = streams.now, stream

            def __exit__(self, *error):
                streams.now = self.before

        return Block()


def test_arrays_of_pytorch_belong_to_the_stream_of_the_launches(monkeypatch):
    streams = _Streams("cuda_stream")
    torch = SimpleNamespace(
        empty=streams.empty,
        float32="float32 of torch",
        cuda=SimpleNamespace(
            current_stream=streams.current,
            stream=streams.block,
            ExternalStream=lambda handle, device: handle,
        ),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    like = SimpleNamespace(device="cuda:0")
    for handle in (0, 9):
        with on_stream(handle):
            arrays._by_torch(like, (3,), np.dtype(np.float32))
    where = {"device": "cuda:0"}
    assert streams.made == [
        ((3,), "float32 of torch", 0, where),
        ((3,), "float32 of torch", 9, where),
    ]
    assert streams.now == 0


def test_arrays_of_cupy_belong_to_the_stream_of_the_launches(monkeypatch):
    streams = _Streams("ptr")
    cuda = SimpleNamespace(
        get_current_stream=streams.current,
        ExternalStream=streams.block,
    )
    monkeypatch.setitem(sys.modules, "cupy", SimpleNamespace(empty=streams.empty, cuda=cuda))
    like = SimpleNamespace(device=streams.block(0))
    for handle in (0, 9):
        with on_stream(handle):
            arrays._by_cupy(like, (3,), np.float32)
    assert [made[2] for made in streams.made] == [0, 9]
    assert streams.now == 0


def test_arrays_of_numba_are_made_by_numba(monkeypatch):
    made = SimpleNamespace(device_array=lambda shape, dtype: (shape, dtype))
    monkeypatch.setitem(sys.modules, "numba.cuda", made)
    assert ALLOCATORS["numba"](None, (3,), np.float32) == ((3,), np.float32)
