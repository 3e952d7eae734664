"""What every kernel says of an argument that it cannot take."""

import doctest

import numpy as np
import pytest

from fastopt.device.arrays import DeviceArray
from fastopt.kernels import arguments, conv2d
from fastopt.kernels.arguments import (
    array,
    output,
    padding,
    pair,
    positive,
    precision,
    products,
    scratch,
    shape_of,
    sides,
)

X = np.zeros((2, 3, 4, 5), np.float32)


def test_examples_in_docstrings_hold():
    assert doctest.testmod(arguments).failed == 0


def test_an_array_comes_back_as_it_is():
    assert array("x", X, ("N", 3, "H", "W")) is X
    assert array("x", X, X.shape, np.float32) is X


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (None, TypeError, r"`x` must be a NumPy array, got None"),
        ([1.0, 2.0], TypeError, r"`x` must be a NumPy array, got \[1.0, 2.0\] \(list\)"),
        (np.ma.zeros(X.shape), TypeError, r"`x` must be a NumPy array, got an object of type Mask"),
        (X.astype(int), TypeError, r"`x` must be of dtype float32 or float64, got int64"),
        (X.astype(np.float16), TypeError, r"got float16, which is for .*inference on a GPU"),
        (X.astype(">f4"), TypeError, r"float32 or float64, got >f4"),
        (X.astype(np.float64), TypeError, r"`x` must be of dtype float32 as `w` is, got float64"),
        (X[0], ValueError, r"`x` must be of shape \(N, 3, H, W\), got shape \(3, 4, 5\)"),
        (X[:, :2], ValueError, r"`x` must be of shape \(N, 3, H, W\), got shape \(2, 2, 4, 5\)"),
        (X[:0], ValueError, r"`x` must not be empty, got shape \(0, 3, 4, 5\)"),
        (X[..., ::2], ValueError, r"`x` must be C-contiguous, got strides \(240, 80, 20, 8\)"),
    ],
)
def test_an_array_that_a_kernel_cannot_read_is_refused(value, error, message):
    with pytest.raises(error, match=message):
        array("x", value, ("N", 3, "H", "W"), np.float32, like="w")


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_matrices_are_refused():
    with pytest.raises(TypeError, match="`x` must be a NumPy array, got an object of type matrix"):
        array("x", np.asmatrix(X[0, 0]), ("N", "C"))


def test_unaligned_arrays_are_refused():
    bytes_ = np.zeros(4 * 6 + 1, np.uint8)
    with pytest.raises(ValueError, match="`x` must be C-contiguous"):
        array("x", bytes_[1:].view(np.float32), ("n",))


def test_an_output_is_made_or_taken():
    made = output("out", None, (2, 3), X)
    assert made.shape == (2, 3)
    assert made.dtype == np.float32
    assert output("out", made, (2, 3), X, apart=[("x", X), ("bias", None)]) is made
    assert output("out", None, (2, 3), X, dtype=np.float64).dtype == np.float64


def test_an_output_that_cannot_be_written_is_refused():
    frozen = np.zeros((2, 3), np.float32)
    frozen.flags.writeable = False
    with pytest.raises(ValueError, match="`out` must be writeable, got a read-only array"):
        output("out", frozen, (2, 3), X)
    with pytest.raises(ValueError, match=r"`out` must be of shape \(3, 2\), got shape \(2, 3\)"):
        output("out", np.zeros((2, 3), np.float32), (3, 2), X)
    with pytest.raises(ValueError, match="`out` must not overlap `x`, which is still read"):
        output("out", X[0], X[0].shape, X, apart=[("x", X)])


def test_a_workspace_is_made_or_taken():
    assert scratch(None, 7, X).shape == (7,)
    assert scratch(None, 0, X).shape == (0,)
    room = np.empty(9, np.float32)
    assert scratch(room, 7, X) is room
    empty = np.empty(0, np.float32)
    assert scratch(empty, 0, X) is empty


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (np.empty(6, np.float32), ValueError, "`workspace` must have at least 7 elements, got 6"),
        (np.empty(7), TypeError, "`workspace` must be of dtype float32"),
        (np.empty((7, 1), np.float32), ValueError, r"must be of shape \(n,\), got shape \(7, 1\)"),
        (X.reshape(-1), ValueError, "`workspace` must not overlap `x`"),
    ],
)
def test_a_workspace_that_does_not_serve_is_refused(value, error, message):
    with pytest.raises(error, match=message):
        scratch(value, 7, X, apart=[("x", X)])


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (4, TypeError, r"`input_shape` must be a tuple \(N, 3, H, W\) of positive .*, got 4 \(int"),
        ((2, 3, 4), TypeError, r"of positive integers, got \(2, 3, 4\) \(tuple\)"),
        ((2, 3, 0, 5), ValueError, "`input_shape` must be a positive integer, got 0"),
        ((2, 4, 4, 5), ValueError, r"must be \(N, 3, H, W\), got \(2, 4, 4, 5\)"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(value, error, message):
    with pytest.raises(error, match=message):
        shape_of("input_shape", value, ("N", 3, "H", "W"))


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (0, ValueError, "`stride` must be a positive integer, got 0"),
        ((1, 0), ValueError, "`stride` must be a positive integer, got 0"),
        (1.5, TypeError, r"`stride` must be .* pair \(height, width\) of them, got 1.5 \(float\)"),
        ((1, 2, 3), TypeError, r"got \(1, 2, 3\) \(tuple\)"),
        (True, TypeError, r"got True \(bool\)"),
        ("2", TypeError, r"got '2' \(str\)"),
    ],
)
def test_a_pair_is_one_or_two_integers(value, error, message):
    assert pair("stride", np.int64(3)) == (3, 3)
    assert pair("stride", [2, 1]) == (2, 1)
    with pytest.raises(error, match=message):
        pair("stride", value)


def test_a_number_of_groups_is_positive():
    assert positive("groups", 3) == 3
    with pytest.raises(ValueError, match="`groups` must be a positive integer, got -1"):
        positive("groups", -1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, ((2, 2), (2, 2))),
        ((1, 0), ((1, 1), (0, 0))),
        (((1, 0), [2, 3]), ((1, 0), (2, 3))),
        ((1, (2, 3)), ((1, 1), (2, 3))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((2, 2), (1, 2))),
    ],
)
def test_padding_is_spelled_in_several_ways(value, expected):
    assert padding("padding", value, (3, 4), dilation=(2, 1)) == expected


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (-1, ValueError, "`padding` must be a nonnegative integer, got -1"),
        ((0, (1, -2)), ValueError, "`padding` must be a nonnegative integer, got -2"),
        ("full", ValueError, "`padding` must be 'same' or 'valid' if it is a word, got 'full'"),
        ("same", ValueError, "can be 'same' only with stride 1, got a stride of 2"),
        (None, TypeError, r"\(\(top, bottom\), \(left, right\)\), 'same' or 'valid', got None"),
        ((1, (2, 3, 4)), TypeError, r"got \(1, \(2, 3, 4\)\)"),
        (0.5, TypeError, "got 0.5"),
    ],
)
def test_padding_that_means_nothing_is_refused(value, error, message):
    with pytest.raises(error, match=message):
        padding("padding", value, (3, 3), stride=(2, 1))


def test_padding_along_one_axis_is_a_number_a_pair_or_a_word():
    assert sides("padding", [1, 2], 3) == (1, 2)
    assert sides("padding", "same", 3, dilation=2) == (2, 2)
    message = (
        r"`padding` must be a nonnegative integer, \(before, after\), 'same' or 'valid', got 1.5"
    )
    with pytest.raises(TypeError, match=message):
        sides("padding", 1.5, 3)
    with pytest.raises(ValueError, match="`padding` must be a nonnegative integer, got -1"):
        sides("padding", (0, -1), 3)


@pytest.mark.parametrize("value", [np.float16, "int", None, "nothing"])
def test_a_precision_is_one_of_two(value):
    assert precision("dtype", np.float32) == np.dtype("float32")
    with pytest.raises(TypeError, match="`dtype` must be float32 or float64, got "):
        precision("dtype", value)


def test_a_result_that_kernels_of_a_gpu_cannot_count_is_refused():
    x = DeviceArray(None, 4096, (3,), np.dtype(np.float32))
    with pytest.raises(ValueError, match="`out` must have at most 2146435072 elements on a GPU"):
        output("out", None, (2**16, 2**15), x)


@pytest.mark.parametrize("padding", [2**40, 2**62, 2**63 - 1])
def test_a_result_that_no_memory_holds_is_refused(padding):
    x = np.zeros((1, 1, 4, 4), np.float32)
    with pytest.raises(ValueError, match=r"`out` must have at most 1125899906842624 elements"):
        conv2d(x, x, padding=padding)


def test_float16_is_allowed_on_a_gpu_alone_where_it_is_asked_for():
    half = DeviceArray(None, 4096, (3,), np.dtype(np.float16))
    assert array("x", half, ("N",), half=True) is half
    assert array("weight", half, ("N",), half.dtype) is half
    for refused in (
        lambda: array("x", half, ("N",)),
        lambda: array("x", np.zeros(3, np.float16), ("N",), half=True),
    ):
        with pytest.raises(TypeError, match=r"got float16, which is for .*inference on a GPU"):
            refused()
    assert precision("dtype", "float16", half=True) == np.float16
    assert products("precision", "tf32", half) == "tf32"
    with pytest.raises(ValueError, match="must be 'ieee' or 'tf32' for float16, got '3xtf32'"):
        products("precision", "3xtf32", half)
