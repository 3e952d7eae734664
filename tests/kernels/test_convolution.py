"""Convolution and its gradients, as users call them."""

import doctest

import numpy as np
import pytest

from fastopt import kernels
from fastopt.kernels import convolution, reference
from fastopt.kernels.cpu.convolution import Convolution
from fastopt.kernels.geometry import ConvGeometry

PRECISIONS = (np.float32, np.float64)

# input shape, weight shape, options
CASES = {
    "3x3": ((2, 5, 9, 11), (7, 5, 3, 3), {"padding": 1}),
    "one image": ((1, 3, 8, 8), (4, 3, 3, 3), {}),
    "one of all": ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    "1x1": ((3, 20, 7, 7), (17, 20, 1, 1), {}),
    "1x1 stride": ((2, 20, 7, 8), (33, 20, 1, 1), {"stride": 2}),
    "1x7": ((2, 6, 9, 10), (8, 6, 1, 7), {"padding": (0, 3)}),
    "7x1": ((2, 6, 9, 10), (8, 6, 7, 1), {"padding": (3, 0)}),
    "window of the image's size": ((2, 4, 5, 6), (3, 4, 5, 6), {}),
    "stride": ((2, 4, 11, 12), (6, 4, 3, 3), {"stride": (2, 3), "padding": (1, 0)}),
    "stride beyond the window": ((2, 4, 11, 12), (6, 4, 2, 2), {"stride": (3, 4)}),
    "dilation": ((2, 4, 12, 11), (6, 4, 3, 3), {"dilation": (2, 3), "padding": 2}),
    "stride and dilation": ((1, 4, 15, 13), (6, 4, 3, 3), {"dilation": 2, "stride": 2}),
    "uneven padding": ((2, 3, 7, 8), (4, 3, 3, 3), {"padding": ((2, 0), (1, 3))}),
    "padding alone is seen": ((1, 2, 2, 2), (3, 2, 2, 2), {"padding": 3, "stride": 2}),
    "same": ((2, 3, 7, 8), (4, 3, 4, 5), {"padding": "same", "dilation": (1, 2)}),
    "valid": ((2, 3, 7, 8), (4, 3, 4, 5), {"padding": "valid"}),
    "large window": ((2, 3, 31, 29), (16, 3, 11, 11), {"stride": 4, "padding": 2}),
    "one channel": ((4, 1, 14, 14), (6, 1, 5, 5), {"padding": 2}),
    "one channel, many kernels": ((2, 1, 12, 13), (37, 1, 5, 5), {"stride": 2}),
    "many channels": ((3, 40, 9, 9), (70, 40, 3, 3), {"padding": 1}),
    "groups": ((2, 12, 9, 9), (8, 6, 3, 3), {"groups": 2, "padding": 1}),
    "many groups": ((2, 32, 7, 7), (64, 4, 3, 3), {"groups": 8, "padding": 1, "stride": 2}),
    "large groups": ((2, 48, 8, 8), (70, 24, 3, 3), {"groups": 2, "padding": 1}),
    "depthwise": ((2, 6, 9, 17), (6, 1, 3, 3), {"groups": 6, "padding": 1}),
    "depthwise, several kernels": ((2, 3, 9, 8), (9, 1, 3, 5), {"groups": 3, "stride": (2, 1)}),
}
SERIES = {
    "plain": ((3, 4, 17), (5, 4, 3), {}),
    "all options": ((2, 4, 19), (6, 2, 3), {"stride": 2, "padding": (2, 1), "dilation": 2,
                                             "groups": 2}),
    "same": ((1, 2, 9), (3, 2, 4), {"padding": "same"}),
    "depthwise": ((2, 4, 40), (4, 1, 5), {"groups": 4, "padding": 2}),
}  # fmt: skip


def arrays(case, dtype, seed=0):
    """x, weight, bias and a gradient in the result."""
    input_shape, weight_shape, options = case
    rng = np.random.default_rng(seed)
    x, weight = (rng.standard_normal(shape) for shape in (input_shape, weight_shape))
    bias = rng.standard_normal(weight_shape[0])
    convolve = reference.conv2d if x.ndim == 4 else reference.conv1d
    grad = rng.standard_normal(convolve(x, weight, **options).shape)
    return [array.astype(dtype) for array in (x, weight, bias, grad)]


def poisoned(shape, dtype):
    return np.full(shape, np.nan, dtype)


def assert_close(got, function, *operands, **options):
    """To some roundings of the sum of all terms' sizes."""
    dtype = got.dtype
    expected = function(*operands, **options)
    sizes = function(*(abs(a) if isinstance(a, np.ndarray) else a for a in operands), **options)
    assert got.shape == expected.shape
    assert (abs(got - expected) <= 16 * np.finfo(dtype).eps * sizes).all()


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_images_agree_with_the_reference(case, dtype):
    input_shape, weight_shape, options = case
    x, weight, bias, grad = arrays(case, dtype)
    size = kernels.conv2d_workspace(input_shape, weight_shape, dtype=dtype, **options)

    def given(shape):
        return {"out": poisoned(shape, dtype), "workspace": poisoned(size, dtype)}

    got = kernels.conv2d(x, weight, bias, **options, **given(grad.shape))
    assert_close(got, reference.conv2d, x, weight, bias, **options)
    got = kernels.conv2d(x, weight, **options, **given(grad.shape))
    assert_close(got, reference.conv2d, x, weight, **options)
    got = kernels.conv2d_backward_data(grad, weight, input_shape, **options, **given(x.shape))
    assert_close(got, reference.conv2d_backward_data, grad, weight, input_shape, **options)
    got = kernels.conv2d_backward_weight(x, grad, weight_shape, **options, **given(weight.shape))
    assert_close(got, reference.conv2d_backward_weight, x, grad, weight_shape, **options)
    got = kernels.conv2d_backward_bias(grad, out=poisoned(bias.shape, dtype))
    assert_close(got, reference.conv2d_backward_bias, grad)


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("case", SERIES.values(), ids=SERIES)
def test_series_agree_with_the_reference(case, dtype):
    input_shape, weight_shape, options = case
    x, weight, bias, grad = arrays(case, dtype)
    got = kernels.conv1d(x, weight, bias, **options, out=poisoned(grad.shape, dtype))
    assert_close(got, reference.conv1d, x, weight, bias, **options)
    got = kernels.conv1d_backward_data(grad, weight, input_shape, **options)
    assert_close(got, reference.conv1d_backward_data, grad, weight, input_shape, **options)
    got = kernels.conv1d_backward_weight(x, grad, weight_shape, **options)
    assert_close(got, reference.conv1d_backward_weight, x, grad, weight_shape, **options)
    got = kernels.conv1d_backward_bias(grad)
    assert_close(got, reference.conv1d_backward_bias, grad)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gradients_agree_with_differences(case):
    """Of a loss that is not linear, in a random direction."""
    input_shape, weight_shape, options = case
    x, weight, bias, _ = arrays(case, np.float64)
    grad = np.cos(kernels.conv2d(x, weight, bias, **options))
    gradients = (
        kernels.conv2d_backward_data(grad, weight, input_shape, **options),
        kernels.conv2d_backward_weight(x, grad, weight_shape, **options),
        kernels.conv2d_backward_bias(grad),
    )
    operands, step = (x, weight, bias), 1e-5
    rng = np.random.default_rng(1)
    for k, gradient in enumerate(gradients):
        direction = rng.standard_normal(operands[k].shape)

        def loss(t, k=k, direction=direction):
            moved = [a + t * direction if i == k else a for i, a in enumerate(operands)]
            return np.sin(kernels.conv2d(*moved, **options)).sum()

        slope = (loss(step) - loss(-step)) / (2 * step)
        size = np.linalg.norm(gradient) * np.linalg.norm(direction)
        assert abs(slope - np.vdot(gradient, direction)) <= 1e-6 * size


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_gradients_are_adjoint_to_the_convolution(case):
    input_shape, weight_shape, options = case
    x, weight, _, grad = arrays(case, np.float64, seed=2)
    product = np.vdot(kernels.conv2d(x, weight, **options), grad)
    in_x = kernels.conv2d_backward_data(grad, weight, input_shape, **options)
    in_weight = kernels.conv2d_backward_weight(x, grad, weight_shape, **options)
    tolerance = 1e-13 * np.linalg.norm(grad) * np.linalg.norm(in_weight) * np.linalg.norm(weight)
    assert abs(np.vdot(in_x, x) - product) <= tolerance
    assert abs(np.vdot(in_weight, weight) - product) <= tolerance


def test_examples_in_docstrings_hold():
    assert doctest.testmod(convolution).failed == 0


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_no_bit_depends_on_the_number_of_threads(case, dtype):
    input_shape, weight_shape, options = case
    x, weight, bias, grad = arrays(case, dtype)
    results = []
    for count in (1, 2, 3):
        kernels.set_num_threads(count)
        convolution._kept_plan.cache_clear()  # a plan has as many slots as there were threads
        results.append(
            (
                kernels.conv2d(x, weight, bias, **options),
                kernels.conv2d_backward_data(grad, weight, input_shape, **options),
                kernels.conv2d_backward_weight(x, grad, weight_shape, **options),
                kernels.conv2d_backward_bias(grad),
            )
        )
    for others in results[1:]:
        for one, other in zip(results[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_more_threads_than_a_plan_was_made_for_do_not_leave_its_workspace():
    shape, weight_shape, options = CASES["many channels"]
    x, weight, _, grad = arrays(CASES["many channels"], np.float32)
    kernels.set_num_threads(1)
    geometry = ConvGeometry(*shape, 70, 3, 3, padding=((1, 1), (1, 1)))
    plan = Convolution(geometry, np.dtype(np.float32))
    size = plan.workspace
    workspace = poisoned(size + 1000, np.float32)
    out = np.empty_like(weight)
    kernels.set_num_threads(3)
    plan.backward_weight(x, grad, out, workspace[:size])
    assert np.isnan(workspace[size:]).all()
    assert_close(out, reference.conv2d_backward_weight, x, grad, weight_shape, **options)


def test_lists_serve_as_tuples():
    x, weight, _, _ = arrays(CASES["uneven padding"], np.float64)
    expected = kernels.conv2d(x, weight, stride=(2, 1), padding=((2, 0), (1, 3)))
    got = kernels.conv2d(x, weight, stride=[2, 1], padding=[[2, 0], [1, 3]])
    np.testing.assert_array_equal(got, expected)


def test_what_is_read_is_not_written():
    x, weight, bias, grad = arrays(CASES["3x3"], np.float32)
    for array in (x, weight, bias, grad):
        array.flags.writeable = False
    kernels.conv2d(x, weight, bias, padding=1)
    kernels.conv2d_backward_data(grad, weight, x.shape, padding=1)
    kernels.conv2d_backward_weight(x, grad, weight.shape, padding=1)
    kernels.conv2d_backward_bias(grad)


X, WEIGHT = np.zeros((2, 4, 5, 6), np.float32), np.zeros((6, 4, 3, 3), np.float32)
GRAD = np.zeros((2, 6, 3, 4), np.float32)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: kernels.conv2d(X.tolist(), WEIGHT), TypeError, "`x` must be a NumPy array"),
        (lambda: kernels.conv2d(X[0], WEIGHT), ValueError, r"`x` must be of shape \(N, C, H, W\)"),
        (lambda: kernels.conv2d(X[:0], WEIGHT), ValueError, "`x` must not be empty"),
        (
            lambda: kernels.conv2d(X, WEIGHT.astype(float)),
            TypeError,
            "`weight` must be of dtype float32 as `x` is, got float64",
        ),
        (
            lambda: kernels.conv2d(X, WEIGHT[:, :3].copy()),
            ValueError,
            r"`weight` must be of shape \(K, 4, R, S\), got shape \(6, 3, 3, 3\)",
        ),
        (
            lambda: kernels.conv2d(X, WEIGHT, X[0, 0, 0, :5]),
            ValueError,
            r"`bias` must be of shape \(6,\), got shape \(5,\)",
        ),
        (
            lambda: kernels.conv2d(X, WEIGHT, groups=3),
            ValueError,
            "`groups` must divide the channels of `x`, got 3 groups for 4 channels",
        ),
        (
            lambda: kernels.conv2d(X, WEIGHT[:5, :2].copy(), groups=2),
            ValueError,
            "`groups` must divide the kernels of `weight`, got 2 groups for 5 kernels",
        ),
        (lambda: kernels.conv2d(X, WEIGHT, groups=0), ValueError, "`groups` must be a positive"),
        (lambda: kernels.conv2d(X, WEIGHT, stride=0), ValueError, "`stride` must be a positive"),
        (lambda: kernels.conv2d(X, WEIGHT, dilation="1"), TypeError, "`dilation` must be a pos"),
        (lambda: kernels.conv2d(X, WEIGHT, stride={2}), TypeError, "`stride` must be a positive"),
        (lambda: kernels.conv2d(X, WEIGHT, padding="full"), ValueError, "`padding` must be 'same'"),
        (
            lambda: kernels.conv2d(X, WEIGHT, dilation=(1, 3)),
            ValueError,
            r"windows that fit the padded input, got 3 x 3 with dilation \(1, 3\) on 5 x 6 with "
            r"padding \(\(0, 0\), \(0, 0\)\)",
        ),
        (
            lambda: kernels.conv2d(X, WEIGHT, out=GRAD[:1]),
            ValueError,
            r"`out` must be of shape \(2, 6, 3, 4\), got shape \(1, 6, 3, 4\)",
        ),
        (
            lambda: kernels.conv2d(X, WEIGHT, padding=1, workspace=np.empty(1, np.float32)),
            ValueError,
            "`workspace` must have at least .* elements, got 1",
        ),
        (
            lambda: kernels.conv2d(X, np.zeros((4, 4, 1, 1), np.float32), out=X),
            ValueError,
            "`out` must not overlap `x`, which is still read",
        ),
        (
            lambda: kernels.conv2d_backward_data(GRAD, WEIGHT, (2, 4, 6)),
            TypeError,
            r"`input_shape` must be a tuple \(N, C, H, W\)",
        ),
        (
            lambda: kernels.conv2d_backward_data(GRAD, WEIGHT, (2, 4, 5, 7)),
            ValueError,
            r"`grad` must be of shape \(2, 6, 3, 5\), got shape \(2, 6, 3, 4\)",
        ),
        (
            lambda: kernels.conv2d_backward_data(GRAD.astype(float), WEIGHT, X.shape),
            TypeError,
            "`weight` must be of dtype float64 as `grad` is, got float32",
        ),
        (
            lambda: kernels.conv2d_backward_weight(X, GRAD, (6, 3, 3, 3)),
            ValueError,
            r"`weight_shape` must be \(K, 4, R, S\), got \(6, 3, 3, 3\)",
        ),
        (
            lambda: kernels.conv2d_backward_weight(X, GRAD, (6, 4, 3, 2)),
            ValueError,
            r"`grad` must be of shape \(2, 6, 3, 5\), got shape \(2, 6, 3, 4\)",
        ),
        (
            lambda: kernels.conv2d_backward_bias(X[0]),
            ValueError,
            r"`grad` must be of shape \(N, K, OH, OW\), got shape \(4, 5, 6\)",
        ),
        (
            lambda: kernels.conv2d_workspace(X.shape, WEIGHT.shape, dtype=np.float16),
            TypeError,
            "`dtype` must be float32 or float64, got <class 'numpy.float16'>",
        ),
        (
            lambda: kernels.conv1d(X, WEIGHT),
            ValueError,
            r"`x` must be of shape \(N, C, L\), got shape \(2, 4, 5, 6\)",
        ),
        (
            lambda: kernels.conv1d(X[0], WEIGHT[0, :, :2].copy()),
            ValueError,
            r"`weight` must be of shape \(K, 5, S\), got shape \(4, 2, 3\)",
        ),
        (
            lambda: kernels.conv1d(X[0], np.zeros((1, 5, 7), np.float32), padding=(0, 0)),
            ValueError,
            r"got 7 with dilation 1 on 6 with padding \(0, 0\)",
        ),
        (
            lambda: kernels.conv1d(X[0], np.zeros((1, 5, 2), np.float32), stride=(1, 1)),
            TypeError,
            "`stride` must be a positive integer",
        ),
    ],
)
def test_arguments_that_do_not_fit_are_refused_with_a_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()
