"""Convolution on the CPU, forward and by the input, against loops that are obviously right."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest

from fastopt.kernels import set_num_threads
from fastopt.kernels.cpu.convolution import Convolution
from fastopt.kernels.geometry import ConvGeometry

DTYPES = ["float32", "float64"]


def naive(x, weight, bias, shapes):
    """One product of a window with a filter for each output, in float64."""
    x, weight = x.astype(float), weight.astype(float)
    padded = np.pad(x, ((0, 0), (0, 0), *shapes.padding))
    out = np.zeros(shapes.output_shape)
    per_group = shapes.K // shapes.groups, shapes.C // shapes.groups
    for n, k, i, j in np.ndindex(out.shape):
        first = k // per_group[0] * per_group[1]
        top, left = i * shapes.stride[0], j * shapes.stride[1]
        window = padded[
            n,
            first : first + per_group[1],
            top : top + shapes.dilation[0] * (shapes.R - 1) + 1 : shapes.dilation[0],
            left : left + shapes.dilation[1] * (shapes.S - 1) + 1 : shapes.dilation[1],
        ]
        out[n, k, i, j] = np.sum(window * weight[k])
    return out if bias is None else out + bias[:, None, None]


def naive_backward_data(grad, weight, shapes):
    """Column by column of the matrix that `naive` is: the gradient of <grad, naive(x)>."""
    out = np.zeros(shapes.input_shape)
    padded = np.pad(out, ((0, 0), (0, 0), *shapes.padding))
    per_group = shapes.K // shapes.groups, shapes.C // shapes.groups
    for n, k, i, j in np.ndindex(grad.shape):
        first = k // per_group[0] * per_group[1]
        top, left = i * shapes.stride[0], j * shapes.stride[1]
        padded[
            n,
            first : first + per_group[1],
            top : top + shapes.dilation[0] * (shapes.R - 1) + 1 : shapes.dilation[0],
            left : left + shapes.dilation[1] * (shapes.S - 1) + 1 : shapes.dilation[1],
        ] += float(grad[n, k, i, j]) * weight[k].astype(float)
    (above, _), (before, _) = shapes.padding
    return padded[:, :, above : above + shapes.H, before : before + shapes.W]


def grid():
    """Every value of each axis with several of the others."""
    channels = [(1, 1, 1), (3, 6, 3), (3, 33, 1), (8, 16, 2), (16, 12, 1)]
    images = [(1, 5, 5), (5, 7, 9), (2, 17, 21), (3, 1, 4), (1, 34, 1)]
    windows = [(1, 1), (3, 3), (5, 5), (1, 7), (7, 1), (2, 3)]
    strides = [(1, 1), (2, 2), (3, 1), (2, 3)]
    paddings = [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 2), (3, 1)), ((6, 5), (6, 7))]
    dilations = [(1, 1), (2, 1), (3, 2)]
    everything = itertools.product(channels, images, windows, strides, paddings, dilations)
    fitting = []
    for (C, K, groups), (N, H, W), (R, S), stride, padding, dilation in everything:
        shapes = ConvGeometry(N, C, H, W, K, R, S, stride, padding, dilation, groups)
        if shapes.OH > 0 and shapes.OW > 0:
            fitting.append(shapes)
    return fitting[:: len(fitting) // 150]


def drawn(shapes, dtype):
    rng = np.random.default_rng(6)
    x = rng.standard_normal(shapes.input_shape).astype(dtype)
    weight = rng.standard_normal(shapes.weight_shape).astype(dtype)
    bias = rng.standard_normal(shapes.K).astype(dtype)
    grad = rng.standard_normal(shapes.output_shape).astype(dtype)
    return x, weight, bias, grad


def poisoned(shape, dtype):
    return np.full(shape, np.nan, dtype)


def assert_sums_equal(found, expected, terms):
    """Within the rounding of sums of so many terms of size 1."""
    bound = 8 * np.sqrt(terms) * np.finfo(found.dtype).eps
    np.testing.assert_allclose(found, expected, rtol=bound, atol=4 * bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shapes", grid(), ids=str)
def test_both_passes_are_the_naive_loops(shapes, dtype):
    x, weight, bias, grad = drawn(shapes, dtype)
    plan = Convolution(shapes, dtype)
    workspace = poisoned(plan.workspace, dtype)

    out = poisoned(shapes.output_shape, dtype)
    plan.forward(x, weight, bias, out, workspace)
    terms = weight[0].size
    assert_sums_equal(out, naive(x, weight, bias, shapes), terms)

    workspace[:] = np.nan
    grad_x = poisoned(shapes.input_shape, dtype)
    plan.backward_data(grad, weight, grad_x, workspace)
    terms = weight.size // shapes.C
    assert_sums_equal(grad_x, naive_backward_data(grad, weight, shapes), terms)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shapes",
    [
        ConvGeometry(4, 8, 14, 14, 16, 3, 3, padding=((1, 1), (1, 1))),  # images together
        ConvGeometry(5, 16, 4, 4, 8, 3, 3, padding=((1, 1), (1, 1))),
        ConvGeometry(33, 24, 1, 1, 9, 1, 1),
        ConvGeometry(3, 40, 28, 28, 24, 1, 1),  # no buffer at all
        ConvGeometry(1, 2, 70, 67, 8, 3, 3, padding=((1, 1), (1, 1))),  # several blocks
        ConvGeometry(2, 3, 60, 60, 16, 7, 7, (2, 2), ((3, 3), (3, 3))),
    ],
    ids=str,
)
def test_passes_are_adjoint(shapes, dtype):
    x, weight, _, grad = drawn(shapes, dtype)
    plan = Convolution(shapes, dtype)
    workspace = poisoned(plan.workspace, dtype)
    out, grad_x = poisoned(shapes.output_shape, dtype), poisoned(shapes.input_shape, dtype)
    plan.forward(x, weight, None, out, workspace)
    plan.backward_data(grad, weight, grad_x, workspace)
    there = np.vdot(grad.astype(float), out.astype(float))
    back = np.vdot(grad_x.astype(float), x.astype(float))
    scale = np.linalg.norm(grad.astype(float)) * np.linalg.norm(out.astype(float))
    assert abs(there - back) <= 10 * np.finfo(dtype).eps * scale
    assert_sums_equal(out, naive(x, weight, None, shapes), weight[0].size)


@pytest.mark.parametrize(
    "shapes",
    [
        ConvGeometry(7, 24, 28, 28, 40, 3, 3, padding=((1, 1), (1, 1))),
        ConvGeometry(1, 64, 28, 28, 64, 3, 3, (2, 2), ((1, 1), (1, 1))),
        ConvGeometry(3, 64, 30, 30, 128, 1, 1),
    ],
    ids=str,
)
def test_no_bit_depends_on_the_number_of_threads(shapes):
    x, weight, bias, grad = drawn(shapes, "float32")
    results = []
    for count in (1, 2, 3):
        set_num_threads(count)
        plan = Convolution(shapes, "float32")
        workspace = poisoned(plan.workspace, "float32")
        out = poisoned(shapes.output_shape, "float32")
        grad_x = poisoned(shapes.input_shape, "float32")
        grad_bias = poisoned(shapes.K, "float32")
        plan.forward(x, weight, bias, out, workspace)
        plan.backward_data(grad, weight, grad_x, workspace)
        plan.backward_bias(grad, grad_bias)
        results.append((out, grad_x, grad_bias))
    for others in results[1:]:
        for found, first in zip(others, results[0], strict=True):
            np.testing.assert_array_equal(found, first)


def test_a_workspace_made_for_fewer_threads_limits_them():
    shapes = ConvGeometry(7, 24, 28, 28, 40, 3, 3, padding=((1, 1), (1, 1)))
    x, weight, bias, _ = drawn(shapes, "float32")
    set_num_threads(1)
    plan = Convolution(shapes, "float32")
    guarded = poisoned(plan.workspace + 1000, "float32")
    set_num_threads(3)
    out = poisoned(shapes.output_shape, "float32")
    plan.forward(x, weight, bias, out, guarded[:-1000])
    assert np.isnan(guarded[-1000:]).all()
    assert_sums_equal(out, naive(x, weight, bias, shapes), weight[0].size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_outputs_are_written_and_nothing_beside_them(dtype):
    shapes = ConvGeometry(3, 4, 11, 13, 5, 3, 3, (2, 2), ((1, 0), (2, 1)))
    x, weight, bias, grad = drawn(shapes, dtype)
    plan = Convolution(shapes, dtype)
    workspace = poisoned(plan.workspace, dtype)
    for shape, run in (
        (shapes.output_shape, lambda out: plan.forward(x, weight, bias, out, workspace)),
        (shapes.input_shape, lambda out: plan.backward_data(grad, weight, out, workspace)),
    ):
        size = int(np.prod(shape))
        room = poisoned(size + 200, dtype)
        run(room[100 : 100 + size].reshape(shape))
        assert np.isnan(room[:100]).all()
        assert np.isnan(room[100 + size :]).all()
        assert np.isfinite(room[100 : 100 + size]).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_gradient_of_the_bias_sums_over_images_and_places(dtype):
    shapes = ConvGeometry(3, 4, 11, 13, 5, 3, 3)
    *_, grad = drawn(shapes, dtype)
    out = poisoned(shapes.K, dtype)
    Convolution(shapes, dtype).backward_bias(grad, out)
    assert_sums_equal(out, grad.astype(float).sum(axis=(0, 2, 3)), grad.size)


def test_a_not_a_number_spreads_to_the_outputs_that_see_it_and_no_further():
    shapes = ConvGeometry(2, 3, 9, 9, 4, 3, 3, padding=((1, 1), (1, 1)))
    x, weight, bias, _ = drawn(shapes, "float32")
    x[1, 2, 0, 8] = np.nan  # its neighbour in the flat buffer is the first of the next row
    plan = Convolution(shapes, "float32")
    out = poisoned(shapes.output_shape, "float32")
    plan.forward(x, weight, bias, out, poisoned(plan.workspace, "float32"))
    sees = np.zeros(out.shape, bool)
    sees[1, :, :2, 7:] = True
    np.testing.assert_array_equal(np.isnan(out), sees)


ELSEWHERE = """
import numpy as np
from fastopt.kernels.cpu import correlation, microkernel
from fastopt.kernels.cpu.convolution import Convolution
from fastopt.kernels.geometry import ConvGeometry

for dtype in ("float32", "float64"):
    shapes = ConvGeometry(2, 3, 9, 11, 13, 3, 3, (1, 2), ((1, 1), (1, 1)))
    rng = np.random.default_rng(0)
    x, weight, grad = (
        rng.standard_normal(shape).astype(dtype)
        for shape in (shapes.input_shape, shapes.weight_shape, shapes.output_shape)
    )
    plan = Convolution(shapes, dtype)
    workspace = np.full(plan.workspace, np.nan, dtype)
    out, grad_x = np.empty(shapes.output_shape, dtype), np.empty(shapes.input_shape, dtype)
    plan.forward(x, weight, None, out, workspace)
    plan.backward_data(grad, weight, grad_x, workspace)
    np.savez(f"{dtype}.npz", x=x, weight=weight, grad=grad, out=out, grad_x=grad_x)
    print(*microkernel.tile(dtype))
print(sum(correlation._correlate.stats.cache_misses.values()) if hasattr(
    correlation._correlate, "stats") else 0)
"""


def run_elsewhere(folder, **environment):
    """Both passes in a process of its own; (what it printed, the arrays by dtype)."""
    finished = subprocess.run(
        [sys.executable, "-c", ELSEWHERE],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            "NUMBA_CACHE_DIR": str(folder),
            **environment,
        },
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.split("\n"), {
        dtype: np.load(folder / f"{dtype}.npz") for dtype in DTYPES
    }


def assert_elsewhere_right(arrays):
    shapes = ConvGeometry(2, 3, 9, 11, 13, 3, 3, (1, 2), ((1, 1), (1, 1)))
    for found in arrays.values():
        expected = naive(found["x"], found["weight"], None, shapes)
        assert_sums_equal(found["out"], expected, 27)
        expected = naive_backward_data(found["grad"], found["weight"], shapes)
        assert_sums_equal(found["grad_x"], expected, 13 * 9)


@pytest.mark.parametrize(
    "environment",
    [
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_DISABLE_JIT": "1"},
    ],
    ids=["generic", "interpreted"],
)
def test_results_are_right_without_wide_vectors_and_without_compiler(environment, tmp_path):
    printed, arrays = run_elsewhere(tmp_path, **environment)
    assert_elsewhere_right(arrays)
    if "NUMBA_CPU_NAME" in environment:
        assert printed[0].split()[0] == "4"


def test_a_second_process_compiles_nothing(tmp_path):
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled at all")
    printed, arrays = run_elsewhere(tmp_path)
    assert printed[2] != "0"
    again, same = run_elsewhere(tmp_path)
    assert again[2] == "0"
    for dtype in DTYPES:
        np.testing.assert_array_equal(same[dtype]["out"], arrays[dtype]["out"])
