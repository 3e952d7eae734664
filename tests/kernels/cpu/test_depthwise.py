"""Depthwise convolution, one plane at a time."""

import numpy as np
import pytest

from fastopt.kernels import reference
from fastopt.kernels.cpu.depthwise import Depthwise
from fastopt.kernels.geometry import ConvGeometry

SHAPES = [
    ConvGeometry(2, 3, 9, 11, 3, 3, 3, padding=((1, 1), (1, 1)), groups=3),
    ConvGeometry(2, 3, 19, 37, 6, 3, 5, padding=((1, 0), (1, 2)), groups=3),
    ConvGeometry(2, 3, 19, 38, 6, 3, 5, (2, 3), ((1, 0), (1, 2)), groups=3),
    ConvGeometry(1, 2, 19, 38, 2, 7, 5, (2, 1), ((1, 0), (1, 2)), (2, 3), groups=2),
    ConvGeometry(1, 2, 12, 17, 2, 3, 3, (1, 2), ((1, 1), (0, 1)), (1, 2), groups=2),
    ConvGeometry(1, 2, 19, 38, 2, 2, 2, (3, 4), ((5, 0), (3, 2)), groups=2),
    ConvGeometry(1, 2, 1, 1, 2, 1, 1, (2, 2), ((1, 1), (1, 1)), groups=2),
]


def relative_errors(geometry, dtype):
    rng = np.random.default_rng(0)
    x, weight, grad, bias = (
        rng.standard_normal(shape).astype(dtype)
        for shape in (
            geometry.input_shape,
            geometry.weight_shape,
            geometry.output_shape,
            geometry.K,
        )
    )
    options = {
        "stride": geometry.stride,
        "padding": geometry.padding,
        "dilation": geometry.dilation,
        "groups": geometry.groups,
    }
    plan = Depthwise(geometry, dtype)
    y, in_x, in_weight = (np.full_like(array, np.nan) for array in (grad, x, weight))
    workspace = np.full(plan.workspace, np.nan, dtype)
    plan.forward(x, weight, bias, y, workspace)
    plan.backward_data(grad, weight, in_x, workspace)
    plan.backward_weight(x, grad, in_weight, workspace)
    expected = (
        reference.conv2d(x, weight, bias, **options),
        reference.conv2d_backward_data(grad, weight, geometry.input_shape, **options),
        reference.conv2d_backward_weight(x, grad, geometry.weight_shape, **options),
    )
    return [
        np.linalg.norm(got - right) / (np.linalg.norm(right) or 1)
        for got, right in zip((y, in_x, in_weight), expected, strict=True)
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("geometry", SHAPES)
def test_all_passes_agree_with_the_reference(geometry, dtype):
    assert max(relative_errors(geometry, dtype)) <= 16 * np.finfo(dtype).eps
