"""The linear layer on a GPU: against the naive one, in each precision, and what it refuses."""

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

from fastopt import kernels
from fastopt.device.arrays import describe
from fastopt.kernels import reference
from fastopt.kernels.cuda import linear as ours
from fastopt.kernels.cuda.product import TILES
from tests.kernels.cuda.compilation import CAPABILITIES, machine_code

# Of the 2-norm of a result.
ERRORS = {"ieee": 1e-6, "3xtf32": 1e-6, "tf32": 1e-3}
WAYS = [(np.float32, precision) for precision in ERRORS] + [(np.float64, "ieee")]
# N, C, K: one of anything, skinny ones, odd ones, and multiples of what is read at once; with
# results of more than one block, and sums of more than one share.
SIZES = [(1, 1, 1), (1, 7, 3), (5, 300, 10), (70, 12, 10), (33, 37, 65), (24, 20, 132)]


def data(sizes, dtype):
    N, C, K = sizes
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape).astype(dtype) for shape in ((N, C), (K, C), K, (N, K))]


def assert_close(found, expected, dtype, precision="ieee"):
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert found.dtype == dtype
    assert error < (ERRORS[precision] if dtype == np.float32 else 1e-14)


def exact(function, *arrays):
    """What the naive layer makes of numbers taken as float64."""
    return function(*(each.astype(float) for each in arrays))


@pytest.mark.parametrize(("dtype", "precision"), WAYS)
@pytest.mark.parametrize("sizes", SIZES)
def test_layer_and_its_derivatives_are_the_naive_ones(on_device, sizes, dtype, precision):
    x, weight, bias, grad = data(sizes, dtype)
    found = on_device.linear(x, weight, bias, precision=precision)
    assert_close(found, exact(reference.linear, x, weight, bias), dtype, precision)
    found = on_device.linear_backward_data(grad, weight, precision=precision)
    assert_close(found, exact(reference.linear_backward_data, grad, weight), dtype, precision)
    found = on_device.linear_backward_weight(x, grad, precision=precision)
    assert_close(found, exact(reference.linear_backward_weight, x, grad), dtype, precision)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (200, 33)])
def test_derivative_by_the_bias_is_the_sum_over_examples(on_device, shape, dtype):
    grad = np.random.default_rng(0).normal(size=shape).astype(dtype)
    found = on_device.linear_backward_bias(grad)
    np.testing.assert_allclose(
        found, grad.sum(axis=0, dtype=float), rtol=0, atol=shape[0] * 4 * np.finfo(dtype).eps
    )


def test_layer_without_a_bias_adds_none(on_device):
    x, weight, _, _ = data((5, 300, 10), np.float32)
    found = on_device.linear(x, weight)
    assert_close(found, exact(reference.linear, x, weight), np.float32)


def at_one(device, values):
    """An array of a device that begins at an odd element."""
    flat = np.concatenate([[0], values.ravel()]).astype(values.dtype)
    return describe(device.array(flat)).part(1, values.shape)


@pytest.mark.parametrize("precision", ERRORS)
def test_arrays_may_begin_anywhere(device, precision):
    N, C, K = 20, 16, 12
    x, weight, bias, grad = data((N, C, K), np.float32)
    plan = ours.Linear(N, C, K, "float32", precision)
    there = {"x": x, "weight": weight, "bias": bias, "grad": grad}
    there = {name: at_one(device, values) for name, values in there.items()}
    for run, names, expected in (
        (plan.forward, ("x", "weight", "bias"), exact(reference.linear, x, weight, bias)),
        (
            plan.backward_data,
            ("grad", "weight"),
            exact(reference.linear_backward_data, grad, weight),
        ),
        (plan.backward_weight, ("x", "grad"), exact(reference.linear_backward_weight, x, grad)),
    ):
        out = device.empty((expected.size + 1,), np.float32)[1:]
        workspace = describe(device.empty((plan.workspace,), np.float32))
        run(*(there[name] for name in names), describe(out).reshape(expected.shape), workspace)
        assert_close(out.get().reshape(expected.shape), expected, np.float32, precision)


def test_results_go_where_they_are_asked_to(device):
    x, weight, bias, grad = map(device.array, data((4, 300, 3), np.float32))
    for call, shape in (
        (lambda out: kernels.linear(x, weight, bias, out=out), (4, 3)),
        (lambda out: kernels.linear_backward_data(grad, weight, out=out), (4, 300)),
        (lambda out: kernels.linear_backward_weight(x, grad, out=out), (3, 300)),
        (lambda out: kernels.linear_backward_bias(grad, out=out), (3,)),
    ):
        out = device.empty(shape, np.float32)
        assert call(out) is out
        np.testing.assert_array_equal(out.get(), call(None).get())


def test_sums_of_many_products_are_split_into_shares(device):
    N, C, K = 3, 1000, 5
    x, weight, bias, _ = data((N, C, K), np.float32)
    plan = ours.Linear(N, C, K, "float32")
    shares = plan.workspace // (N * K)
    assert shares > 1
    workspace = device.empty((plan.workspace,), np.float32)
    out = device.empty((N, K), np.float32)
    there = [describe(device.array(each)) for each in (x, weight, bias)]
    plan.forward(*there, describe(out), describe(workspace))
    partial = workspace.get().reshape(shares, N, K)
    share = plan._forward.share
    for k, found in enumerate(partial):
        part = slice(k * share, (k + 1) * share)
        added = bias if k == 0 else np.zeros_like(bias)
        expected = exact(reference.linear, x[:, part], weight[:, part], added)
        assert_close(found, expected, np.float32)
    bound = 4 * shares * np.finfo(np.float32).eps * np.abs(partial).max()
    np.testing.assert_allclose(out.get(), partial.sum(axis=0), rtol=0, atol=bound)


def test_results_are_the_same_bits_again(on_device):
    x, weight, bias, grad = data((6, 300, 5), np.float32)
    for call in (
        lambda: on_device.linear(x, weight, bias),
        lambda: on_device.linear_backward_weight(x, grad),
        lambda: on_device.linear_backward_bias(grad),
    ):
        np.testing.assert_array_equal(call(), call())


def test_a_large_layer_keeps_every_multiprocessor_of_a_gpu_busy():
    for sizes in ((128, 9216, 4096), (128, 512, 10), (64, 2048, 1000), (8192, 1024, 1024)):
        plan = ours.Linear(*sizes, "float32")
        blocks = np.prod(plan._forward.grid)
        assert blocks >= 132 or plan._forward.share <= 2 * ours._SHARE


def test_few_outputs_are_rows_of_small_tiles():
    plan = ours.Linear(4096, 512, 10, "float32")
    assert plan._forward.turned
    assert plan._forward.tile == TILES[-1]
    assert plan._backward_weight.tile == TILES[-1]


X, W, B, G = data((4, 5, 3), np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_only_float32_on_a_gpu_can_be_multiplied_otherwise(on_device, dtype):
    x, weight, _, grad = data((4, 5, 3), dtype)
    places = (kernels, on_device) if dtype == np.float64 else (kernels,)
    for place in places:
        for name, arrays in (
            ("linear", (x, weight)),
            ("linear_backward_data", (grad, weight)),
            ("linear_backward_weight", (x, grad)),
        ):
            with pytest.raises(ValueError, match=r"`precision` must be 'ieee' .*, got 'tf32'"):
                getattr(place, name)(*arrays, precision="tf32")


def test_an_unknown_precision_is_refused(on_device):
    with pytest.raises(ValueError, match="must be 'ieee', '3xtf32' or 'tf32', got 'fast'"):
        on_device.linear(X, W, precision="fast")


def test_arrays_of_the_cpu_among_others_are_refused(device):
    with pytest.raises(TypeError, match="`weight` must be on the GPU"):
        kernels.linear(device.array(X), W)
    with pytest.raises(TypeError, match="`out` must be on the GPU"):
        kernels.linear_backward_bias(device.array(G), out=np.empty(3, np.float32))


SIDES = [
    (ours._Side(left, wide), ours._Side(right, wide))
    for left, right, wide in (
        (True, True, True),
        (True, False, True),
        (False, False, True),
        (False, True, True),
        (True, True, False),
        (False, False, False),
    )
]


@pytest.mark.slow
@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("sides", SIDES)
@pytest.mark.parametrize("tile", TILES)
def test_machine_code_is_without_waste(tmp_path, tile, sides, capability):
    for precision, turned in (("ieee", False), ("ieee", True), ("3xtf32", False), ("tf32", True)):
        kernel = ours._product_kernel(
            tile, "float32", precision, *sides, True, turned, sides[0].wide and not turned, turned
        )
        code = machine_code(kernel, capability, tmp_path)
        assert not code.doubles
        assert (code.count("LDG.E.128") > 0) == sides[0].wide
        assert (code.count("HMMA") > 0) == (precision != "ieee")
        if precision == "ieee":
            assert code.count("FFMA") >= 8 * tile.sums
            assert code.registers <= 128 or tile.threads < 256
    machine_code(
        ours._product_kernel(tile, "float64", "ieee", *sides, True, False, sides[0].wide),
        capability, tmp_path,
    )  # fmt: skip


def test_most_of_a_tile_is_multiplication(tmp_path):
    """A thread has eight products of each of its 64 sums in a tile."""
    side = ours._Side(by_depth=True, wide=True)
    kernel = ours._product_kernel(TILES[0], "float32", "ieee", side, side, False, False, True)
    code = machine_code(kernel, (9, 0), tmp_path)
    assert code.count("FFMA") == 512
    assert code.count("LDS.128") == 32
    assert code.longest_loop() <= 512 / 0.8
