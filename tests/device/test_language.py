"""The words of kernels: what each does in the emulator, and what it becomes."""

import math

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device import language
from fastopt.device.kernel import Kernel
from fastopt.device.language import (
    as_float,
    bits_of,
    cuda,
    dtype_behind,
    float32,
    float64,
    inlined,
    int32,
    int64,
    load2,
    load4,
    multiply_tf32,
    number_type,
    pointer,
    pointer_to,
    put,
    quotient,
    rounded_tf32,
    split_tf32,
    store2,
    store4,
    uint32,
    uint64,
)


def ptx_of(kernel):
    return kernel.ptx((9, 0))[0]


def test_every_word_is_tested_here():
    source = set(globals())
    assert set(language.__all__) <= source


@pytest.mark.parametrize(
    "dtype", ["int8", "uint16", "int32", "int64", "uint32", "uint64", "float32", "float64"]
)
def test_number_has_the_width_of_its_dtype(dtype):
    number = number_type(dtype)
    assert str(number) == dtype
    assert number.bitwidth == 8 * np.dtype(dtype).itemsize
    assert number_type(np.dtype(dtype)) is number


def test_pointer_is_to_numbers_of_a_type():
    assert pointer(float32).dtype is float32
    assert str(pointer(int64)) == "int64*"


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float16", "float32", "float64"])
def test_pointer_to_a_dtype_says_what_is_behind_it(dtype):
    where = pointer_to(dtype)
    assert str(where) == f"{dtype}*"
    assert dtype_behind(where) == dtype
    assert where.dtype is number_type(dtype)


# --- float16 -----------------------------------------------------------------------------------


def test_number_of_float16_is_float32_in_kernels():
    assert number_type("float16") is float32
    assert pointer_to("float16") != pointer_to("float32")


# Ties go to even; beyond half a unit past the greatest there is infinity only.
ROUNDED = [
    (1 + 2.0**-11, 1),
    (1 + 3 * 2.0**-11, 1 + 2.0**-9),
    (1 + 2.0**-11 + 2.0**-20, 1 + 2.0**-10),
    (2.0**-25, 0),
    (3 * 2.0**-25, 2.0**-23),
    (65519.0, 65504),
    (65520.0, np.inf),
    (-1e30, -np.inf),
    (np.nan, np.nan),
]


def test_float16_is_rounded_where_it_is_stored(run):
    def convert(x, singly, by_fours, n):
        i = int32(4 * cuda.threadIdx.x)
        store4(by_fours, i, load4(x, i))
        for k in range(4):
            singly[i + k] = x[i + k]

    kernel = Kernel(convert, [pointer(float32), *[pointer_to("float16")] * 2, int32], 3)
    x = np.zeros(12, np.float32)
    x[: len(ROUNDED)] = [number for number, _ in ROUNDED]
    _, singly, by_fours = run(kernel, x, np.zeros(12, np.float16), np.zeros(12, np.float16), 12)
    for out in (singly, by_fours):
        np.testing.assert_array_equal(out[: len(ROUNDED)], [expected for _, expected in ROUNDED])
    text = ptx_of(kernel)
    assert "st.global.v4.u16" in text
    assert "cvt.rn.f16.f32" in text


def test_float16_is_computed_with_as_float32(run):
    def square(x, out):
        i = int32(4 * cuda.threadIdx.x)
        a, b, c, d = load4(x, i)
        store4(out, i, (a * a / a, b * b / b, c * c / c, x[i + 3] * d / d))

    kernel = Kernel(square, [pointer_to("float16")] * 2, 2)
    # Squares that overflow, or vanish, in float16.
    x = np.array([300, 65504, 2.0**-14, 2.0**-24] * 2, np.float16)
    _, out = run(kernel, x, np.zeros_like(x))
    np.testing.assert_array_equal(out, x)
    text = ptx_of(kernel)
    assert "ld.global.v4.u16" in text
    assert "mul.f32" in text
    assert "mul.f16" not in text


@pytest.mark.parametrize("index", [1, 8])
def test_four_float16_have_to_be_aligned_and_there(run, index):
    from fastopt.testing.cuda import EmulationError

    def read(x, n):
        store4(x, int32(0), load4(x, n))

    with pytest.raises(EmulationError, match=r"no multiple of 4|of an array that has 8"):
        run(Kernel(read, [pointer_to("float16"), int32], 1), np.zeros(8, np.float16), index)


# --- numbers -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "dtype", "value", "expected"),
    [
        (int32, "int32", -7.9, -7),
        (int64, "int64", 2**33, 2**33),
        (uint32, "uint32", -1, 2**32 - 1),
        (uint64, "uint64", -1, 2**64 - 1),
        (float32, "float32", 0.1, float(np.float32(0.1))),
        (float64, "float64", 0.1, 0.1),
    ],
)
def test_number_is_converted(run, word, dtype, value, expected):
    def convert(out):
        out[0] = word(value)

    (out,) = run(Kernel(convert, [pointer(word)], 1), np.zeros(1, dtype))
    assert out[0] == expected


def test_numbers_of_single_precision_stay_single(run):
    def compute(x, out):
        out[0] = math.sqrt(x[0] * float32(2)) + math.exp(x[0])

    kernel = Kernel(compute, [pointer(float32), pointer(float32)], 1)
    assert ".f64" not in ptx_of(kernel)
    _, out = run(kernel, np.array([2], np.float32), np.zeros(1, np.float32))
    assert out[0] == pytest.approx(2 + math.exp(2), rel=1e-6)


@pytest.mark.parametrize(("number", "divisor"), [(0, 3), (7, 1), (2**31 - 1, 7), (5, 9)])
def test_quotient_is_rounded_down_and_has_32_bits(run, number, divisor):
    def divide(out, a, b):
        out[0] = quotient(a, b)

    kernel = Kernel(divide, [pointer(int32), int32, int32], 1)
    assert "div.u32" in ptx_of(kernel)
    assert ".s64" not in ptx_of(kernel).replace("cvta.to.global.u64", "")
    (out,) = run(kernel, np.zeros(1, np.int32), number, divisor)
    assert out[0] == number // divisor


def test_inlined_function_leaves_no_call(run):
    @inlined
    def scaled(x, factor):
        return x * factor

    def scale(x):
        x[cuda.threadIdx.x] = scaled(x[cuda.threadIdx.x], float32(3))

    kernel = Kernel(scale, [pointer(float32)], 4)
    assert "call." not in ptx_of(kernel)
    (x,) = run(kernel, np.arange(4, dtype=np.float32))
    np.testing.assert_array_equal(x, [0, 3, 6, 9])


# --- several numbers at once -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize(("load", "store", "count"), [(load2, store2, 2), (load4, store4, 4)])
def test_several_numbers_are_moved_at_once(run, load, store, count, dtype):
    def reverse(x, out):
        i = count * cuda.threadIdx.x
        numbers = load(x, i)
        store(out, i, numbers[::-1])

    real = number_type(dtype)
    kernel = Kernel(reverse, [pointer(real), pointer(real)], 3)
    x = np.arange(3 * count, dtype=dtype)
    _, out = run(kernel, x, np.zeros_like(x))
    np.testing.assert_array_equal(out, x.reshape(3, count)[:, ::-1].ravel())
    text = ptx_of(kernel)
    at_most = min(count, 128 // real.bitwidth)
    for move in ("ld", "st"):
        assert text.count(f"{move}.global.v{at_most}.") == count // at_most


def test_a_number_is_put_beyond_an_index(run):
    def fill(out):
        room = cuda.shared.array(8, float32)
        thread = int32(cuda.threadIdx.x)
        put(room, thread, int32(4), float32(1) + thread)
        put(room, thread, int32(0), float32(5) + thread)
        cuda.syncthreads()
        out[thread] = room[int32(thread + 4)]
        put(out, thread, int32(4), room[thread])

    (out,) = run(Kernel(fill, [pointer(float32)], 4), np.zeros(8, np.float32))
    np.testing.assert_array_equal(out, [1, 2, 3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize(("load", "store", "count"), [(load2, store2, 2), (load4, store4, 4)])
def test_several_numbers_are_moved_in_shared_memory(run, load, store, count):
    size = 2 * count

    def swap(x):
        room = cuda.shared.array(size, float32, 16)
        thread = cuda.threadIdx.x
        store(room, count * thread, load(x, count * thread))
        cuda.syncthreads()
        store(x, count * thread, load(room, count * (1 - thread)))

    kernel = Kernel(swap, [pointer(float32)], 2)
    text = ptx_of(kernel)
    assert f"ld.shared.v{count}" in text
    assert f"st.shared.v{count}" in text
    (x,) = run(kernel, np.arange(size, dtype=np.float32))
    np.testing.assert_array_equal(x, np.roll(np.arange(size), count))


# --- threads -----------------------------------------------------------------------------------


def test_threads_know_their_place(run):
    def place(out):
        block = cuda.blockIdx.x + cuda.gridDim.x * (
            cuda.blockIdx.y + cuda.gridDim.y * cuda.blockIdx.z
        )
        out[block * cuda.blockDim.x + cuda.threadIdx.x] = 100 * block + cuda.threadIdx.x

    kernel = Kernel(place, [pointer(int32)], 3)
    (out,) = run(kernel, np.zeros(3 * 24, np.int32), grid=(4, 3, 2))
    np.testing.assert_array_equal(
        out.reshape(24, 3), 100 * np.arange(24)[:, np.newaxis] + np.arange(3)
    )


def test_barriers_and_shuffles_are_instructions(run):
    def exchange(x):
        room = cuda.shared.array(64, float32)
        thread = int32(cuda.threadIdx.x)
        room[thread] = cuda.shfl_xor_sync(uint32(0xFFFFFFFF), x[thread], int32(1))
        cuda.syncthreads()
        x[thread] = room[int32(63 - thread)]

    kernel = Kernel(exchange, [pointer(float32)], 64)
    text = ptx_of(kernel)
    assert "bar.sync" in text or "barrier.sync" in text
    assert "shfl.sync.bfly.b32" in text
    (x,) = run(kernel, np.arange(64, dtype=np.float32))
    np.testing.assert_array_equal(x, np.arange(64)[::-1] ^ 1)


# --- tensor cores ------------------------------------------------------------------------------


def test_tf32_has_ten_bits_rounded_to_the_nearest(run):
    def rounded(x, out):
        out[0] = as_float(rounded_tf32(x[0]))

    kernel = Kernel(rounded, [pointer(float32), pointer(float32)], 1)
    assert "cvt.rna.tf32.f32" in ptx_of(kernel)
    for value, expected in (
        (1.0, 1.0),
        (1 + 2**-11, 1 + 2**-10),  # a tie goes away from zero
        (-1 - 2**-11, -1 - 2**-10),
        (1 + 2**-12, 1.0),
        (1 + 3 * 2**-11, 1 + 2**-9),
    ):
        _, out = run(kernel, np.array([value], np.float32), np.zeros(1, np.float32))
        assert out[0] == expected


def test_bits_are_taken_for_a_number(run):
    def number(bits, out):
        out[0] = as_float(bits[0])

    kernel = Kernel(number, [pointer(uint32), pointer(float32)], 1)
    _, out = run(kernel, np.array([0x40490FDB], np.uint32), np.zeros(1, np.float32))
    assert out[0] == np.float32(np.pi)


def test_bits_of_a_number_are_taken(run):
    def bits(x, out):
        out[0] = bits_of(x[0])

    kernel = Kernel(bits, [pointer(float32), pointer(uint32)], 1)
    _, out = run(kernel, np.array([np.pi], np.float32), np.zeros(1, np.uint32))
    assert out[0] == 0x40490FDB


def test_a_number_is_the_sum_of_two_tf32(run):
    def split(x, out):
        high, low = split_tf32(x[0])
        out[0] = as_float(high)
        out[1] = as_float(low)

    kernel = Kernel(split, [pointer(float32), pointer(float32)], 1)
    for value in np.random.default_rng(0).normal(size=20).astype(np.float32):
        _, out = run(kernel, np.array([value]), np.zeros(2, np.float32))
        assert out[0] + out[1] == value
        assert out[:1].view(np.uint32) % 2**13 == 0
        assert abs(out[1]) <= 2.0**-11 * abs(out[0])


def test_a_warp_multiplies_matrices(run):
    def multiply(left, right, out):
        lane = int32(cuda.threadIdx.x)
        g, q = lane // 4, lane % 4
        a = (
            rounded_tf32(left[8 * g + q]),
            rounded_tf32(left[8 * (g + 8) + q]),
            rounded_tf32(left[8 * g + q + 4]),
            rounded_tf32(left[8 * (g + 8) + q + 4]),
        )
        b = rounded_tf32(right[8 * q + g]), rounded_tf32(right[8 * (q + 4) + g])
        c = float32(1), float32(2), float32(3), float32(4)
        c = multiply_tf32(c, a, b)
        out[8 * g + 2 * q] = c[0]
        out[8 * g + 2 * q + 1] = c[1]
        out[8 * (g + 8) + 2 * q] = c[2]
        out[8 * (g + 8) + 2 * q + 1] = c[3]

    kernel = Kernel(multiply, [pointer(float32)] * 3, 32)
    assert "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32" in ptx_of(kernel)
    generator = np.random.default_rng(0)
    left = generator.integers(-9, 9, (16, 8)).astype(np.float32)
    right = generator.integers(-9, 9, (8, 8)).astype(np.float32)
    *_, out = run(kernel, left, right, np.zeros((16, 8), np.float32))
    before = np.kron([[1], [3]], np.ones((8, 8))) + np.tile([0, 1], 4)
    np.testing.assert_array_equal(out, before + left @ right)
