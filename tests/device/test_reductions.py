"""Totals of warps and blocks: known to each thread, in one order, by shuffles."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, int32, number_type, pointer
from fastopt.device.reductions import WARP, block_total, larger, plus, warp_total


def of_warps(dtype, threads, *options):
    real, total = number_type(dtype), warp_total(*options)

    def totals(x, out):
        thread = int32(cuda.threadIdx.x)
        out[thread] = total(x[thread])

    return Kernel(totals, [pointer(real), pointer(real)], threads)


def of_blocks(dtype, threads, *options):
    real, total, warps = number_type(dtype), block_total(threads, *options), threads // WARP

    def totals(x, out):
        room = cuda.shared.array(warps, real)
        thread = int32(cuda.threadIdx.x)
        at = cuda.blockIdx.x * threads + thread
        out[at] = total(x[at], room, thread)

    return Kernel(totals, [pointer(real), pointer(real)], threads)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
@pytest.mark.parametrize("lanes", [1, 2, 8, 32])
def test_each_thread_knows_the_total_of_its_part_of_a_warp(run, lanes, dtype):
    x = np.random.default_rng(0).integers(-99, 99, 64).astype(dtype)
    for combine, combined in ((plus, np.sum), (larger, np.max)):
        kernel = of_warps(dtype, 64, combine, lanes)
        _, out = run(kernel, x, np.zeros_like(x))
        expected = combined(x.reshape(-1, lanes), axis=1).repeat(lanes)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("threads", [32, 96, 256])
def test_each_thread_knows_the_total_of_its_block(run, threads, dtype):
    x = np.random.default_rng(0).integers(-99, 99, 2 * threads).astype(dtype)
    for combine, combined in ((plus, np.sum), (larger, np.max)):
        kernel = of_blocks(dtype, threads, combine)
        _, out = run(kernel, x, np.zeros_like(x), grid=(2,))
        expected = combined(x.reshape(2, threads), axis=1).repeat(threads)
        np.testing.assert_array_equal(out, expected)


def test_numbers_are_added_as_a_tree(run):
    """Pairs half a group apart first, then warps one after the other."""
    x = np.random.default_rng(0).normal(size=64)
    _, out = run(of_blocks("float64", 64), x, np.zeros_like(x))
    sums = x.reshape(2, 32)
    while sums.shape[1] > 1:
        sums = sums[:, : sums.shape[1] // 2] + sums[:, sums.shape[1] // 2 :]
    assert set(out) == {sums[0, 0] + sums[1, 0]}


def test_functions_are_made_once():
    assert warp_total() is warp_total()
    assert block_total(64, larger) is block_total(64, larger)
    assert block_total(64) is not block_total(32)


@pytest.mark.parametrize(("lanes", "shuffles"), [(1, 0), (4, 2), (32, 5)])
def test_a_warp_takes_a_shuffle_for_each_doubling(lanes, shuffles):
    text, _ = of_warps("float32", 32, plus, lanes).ptx((9, 0))
    assert text.count("shfl.sync.bfly.b32") == shuffles
    assert "bar.sync" not in text


def test_a_block_takes_one_barrier():
    text, _ = of_blocks("float32", 256).ptx((9, 0))
    assert text.count("shfl.sync.bfly.b32") == 5
    assert text.count("bar.sync") + text.count("barrier.sync") == 1
    assert ".f64" not in text


def test_numbers_of_double_precision_are_shuffled_in_two_halves():
    text, _ = of_warps("float64", 32).ptx((9, 0))
    assert text.count("shfl.sync.bfly.b32") == 10
