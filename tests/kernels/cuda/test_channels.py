"""How channels are shared out among blocks: all of them, once, and among enough blocks."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt.device.kernel import Kernel
from fastopt.device.language import cuda, float64, int32, pointer
from fastopt.kernels.cuda import channels
from fastopt.kernels.cuda.channels import access, gathering, placing, shared, whole

SHAPES = [
    (1, 1, 1),
    (3, 5, 1),
    (300, 37, 1),
    (70, 3, 1),
    (40, 9, 5),
    (2, 1, 15),
    (3, 2, 16),
    (2, 3, 30),
    (1, 2, 2200),
]


def visits(device, shape, width, count, how, threads):
    """How often each number is fetched and put, and sums over channels of its place."""
    place, (fetch, put), (gather, _) = (
        placing(threads, width),
        access(width, count),
        gathering(threads),
    )
    held = width * count

    def visit(x, seen, totals, C, length, run, together, units, share, shares):
        left, right = cuda.shared.array(threads, float64), cuda.shared.array(threads, float64)
        numbers = cuda.local.array(held, float64)
        thread, block = int32(cuda.threadIdx.x), int32(cuda.blockIdx.x)
        how = C, length, run, together, units, share, shares
        first, part, channel, columns, unit, end, at, walk = place(thread, block, how)
        total, many = float64(0), float64(0)
        depth = walk[1]
        while unit < end:
            next_at, next_walk = fetch(x, numbers, unit, end, at, walk)
            u = unit
            for k in range(count):
                if u < end:
                    for j in range(width):
                        total += numbers[k * width + j]
                        many += float64(1)
                        numbers[k * width + j] = float64(channel)
                u = int32(u + depth)
            put(numbers, seen, unit, end, at, walk)
            unit = int32(unit + count * depth)
            at, walk = next_at, next_walk
        total, many = gather(total, many, (left, right), thread, columns)
        if thread < together and first + thread < C:
            k = int32(2 * (part * C + first + thread))
            totals[k] = total
            totals[int32(k + 1)] = many

    numbers = pointer(float64)
    kernel = Kernel(visit, [numbers, numbers, numbers] + [int32] * 7, threads)
    C = shape[1]
    x = np.random.default_rng(0).integers(0, 1000, shape).astype(float)
    there, seen, totals = device.array(x), device.empty(shape), device.empty((how.shares, C, 2))
    addresses = [each.__cuda_array_interface__["data"][0] for each in (there, seen, totals)]
    kernel.launch((how.blocks,), *addresses, *how)
    return x, seen.get(), totals.get().sum(0)


@pytest.mark.parametrize(
    ("shape", "width", "count"),
    [(shape, 1, 2) for shape in SHAPES] + [((3, 2, 16), 4, 1), ((1, 2, 2200), 4, 1)],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_each_number_belongs_to_its_channel_and_is_counted_once(
    at_once, width, count, shape, device
):
    fit = whole(shape, width, count)
    how, threads = fit if at_once and fit else (shared(shape, width, count), channels.THREADS)
    x, seen, totals = visits(device, shape, width, count, how, threads)
    N, C, L = shape
    np.testing.assert_array_equal(seen, np.broadcast_to(np.arange(C)[:, None], shape))
    np.testing.assert_array_equal(totals[:, 0], x.sum((0, 2)))
    np.testing.assert_array_equal(totals[:, 1], N * L)


@pytest.mark.parametrize(
    ("shape", "width"),
    [
        ((32, 256, 3136), 4),
        ((256, 64, 784), 4),
        ((128, 64, 55 * 55), 1),
        ((65536, 128, 1), 1),
        ((1, 1, 1 << 30), 4),
        ((1 << 20, 7, 9), 1),
    ],
)
def test_large_arrays_are_shared_out_among_a_thousand_blocks_and_not_many_more(shape, width):
    how = shared(shape, width, 4)
    assert 1000 <= how.blocks <= 2 * channels.BLOCKS
    assert (how.shares - 1) * how.share < how.units <= how.shares * how.share


def test_small_channels_are_whole_in_one_block():
    for shape, width in (((32, 512, 49), 1), ((32, 256, 196), 4), ((256, 1000, 1), 1)):
        fit = whole(shape, width, 16 // width)
        assert fit is not None
        assert fit[0].shares == 1
    assert whole((32, 64, 3136), 4, 4) is None
