"""The gradient of a convolution in its weight, where images are packed in pieces."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastopt.kernels import reference
from fastopt.kernels.cpu import weight_gradient
from fastopt.kernels.cpu.weight_gradient import WeightGradient
from fastopt.kernels.geometry import ConvGeometry

SAME = ((1, 1), (1, 1))
SHAPES = [
    ConvGeometry(5, 6, 9, 10, 20, 3, 3, padding=SAME),
    ConvGeometry(2, 3, 17, 10, 40, 5, 3, (2, 1), ((3, 1), (0, 2)), (1, 2)),
    ConvGeometry(3, 8, 6, 7, 36, 3, 1, (3, 2), ((2, 2), (0, 0)), (2, 1), groups=2),
]


def relative_error(geometry, dtype):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(geometry.input_shape).astype(dtype)
    grad = rng.standard_normal(geometry.output_shape).astype(dtype)
    plan = WeightGradient(geometry, dtype)
    out = np.full(geometry.weight_shape, np.nan, dtype)
    plan.backward_weight(x, grad, out, np.full(plan.workspace, np.nan, dtype))
    options = {
        "stride": geometry.stride,
        "padding": geometry.padding,
        "dilation": geometry.dilation,
        "groups": geometry.groups,
    }
    expected = reference.conv2d_backward_weight(x, grad, geometry.weight_shape, **options)
    return np.linalg.norm(out - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("room", [1, 5000, 12000, 30000])
@pytest.mark.parametrize("geometry", SHAPES)
def test_pieces_of_images_and_several_images_add_up(geometry, room, dtype, monkeypatch):
    monkeypatch.setattr(weight_gradient, "_PACKED_BYTES", room)
    assert relative_error(geometry, dtype) <= 16 * np.finfo(dtype).eps


def test_infinite_pixels_spoil_only_what_sees_them():
    geometry = ConvGeometry(2, 3, 8, 8, 4, 3, 3)
    x = np.ones(geometry.input_shape, np.float32)
    x[1, 2, 0, 0] = np.inf  # the first tap sees it, and no other
    plan = WeightGradient(geometry, np.float32)
    out = np.empty(geometry.weight_shape, np.float32)
    grad = np.ones(geometry.output_shape, np.float32)
    plan.backward_weight(x, grad, out, np.empty(plan.workspace, np.float32))
    spoilt = np.zeros(geometry.weight_shape, bool)
    spoilt[:, 2, 0, 0] = True
    np.testing.assert_array_equal(~np.isfinite(out), spoilt)


CHECK = """
import sys
import numpy as np
sys.path.insert(0, {here!r})
from test_depthwise import SHAPES as DEPTHWISE, relative_errors
from test_weight_gradient import SHAPES, relative_error
for dtype in (np.float32, np.float64):
    for geometry in SHAPES:
        assert relative_error(geometry, dtype) <= 16 * np.finfo(dtype).eps
    for geometry in DEPTHWISE:
        assert max(relative_errors(geometry, dtype)) <= 16 * np.finfo(dtype).eps
"""


@pytest.mark.parametrize(
    "settings",
    [
        {"NUMBA_DISABLE_JIT": "1"},
        pytest.param({"NUMBA_CPU_NAME": "generic"}, marks=pytest.mark.slow),
        pytest.param(
            {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "+avx2,+fma"},
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda settings: "-".join(settings.values()),
)
def test_other_processors_and_the_interpreter_agree(settings):
    """And depthwise convolution, for which a process need not be started once more."""
    check = CHECK.format(here=str(Path(__file__).parent))
    subprocess.run([sys.executable, "-c", check], env=os.environ | settings, check=True)
