"""Bad data of a loss: what is wrong, by name, before anything is compiled."""

import numpy as np
import pytest
import scipy.sparse

from fastopt import losses

X = np.eye(3)
Y = [0.0, 1.0, 1.0]
ALL = [getattr(losses, name) for name in losses.__all__ if name != "LinearLoss"]
ONE_OUTPUT = [losses.squared, losses.absolute, losses.huber, losses.logistic, losses.poisson]


def with_entry(array, index, entry):
    array = np.array(array, dtype=float)
    array[index] = entry
    return array


def broken_csr(**arrays):
    matrix = scipy.sparse.csr_array(np.eye(3))
    for name, array in arrays.items():
        setattr(matrix, name, np.array(array, dtype=np.int32))
    return matrix


BROKEN = {
    "column too large": {"indices": [0, 3, 2]},
    "column negative": {"indices": [0, -1, 2]},
    "rows overlap": {"indptr": [0, 3, 1, 3]},
    "rows too long": {"indptr": [0, 1, 2, 4]},
    "first row starts late": {"indptr": [1, 1, 2, 3]},
    "rows are missing": {"indptr": [0, 1, 3]},
    "columns are missing": {"indices": [0, 1]},
}


@pytest.mark.parametrize("arrays", BROKEN.values(), ids=BROKEN)
def test_broken_sparse_matrix(arrays):
    message = "`X` must be a valid sparse matrix, got one with indices out of range"
    for make in ALL:
        with pytest.raises(ValueError, match=message):
            make(broken_csr(**arrays), Y)


def test_sparse_matrix_is_left_as_it_was():
    matrix = scipy.sparse.csr_array(np.eye(3))
    matrix.data, matrix.indices = np.arange(9.0), np.arange(9, dtype=np.int64) % 3
    before = matrix.data, matrix.indices, matrix.indptr
    losses.squared(matrix, Y)
    assert all(
        now is then
        for now, then in zip((matrix.data, matrix.indices, matrix.indptr), before, strict=True)
    )


BAD_MATRICES = {
    "vector": (np.ones(3), ValueError, r"`X` must be two-dimensional.*got shape \(3,\)"),
    "cube": (np.ones((3, 1, 1)), ValueError, r"`X` must be two-dimensional.*got shape \(3, 1, 1\)"),
    "no rows": (np.ones((0, 3)), ValueError, r"`X` must be two-dimensional.*got shape \(0, 3\)"),
    "no columns": (np.ones((3, 0)), ValueError, r"`X` must be .*got shape \(3, 0\)"),
    "nan": (with_entry(X, (1, 2), np.nan), ValueError, r"`X` must be finite, got nan .*\(1, 2\)"),
    "inf": (with_entry(X, (2, 0), -np.inf), ValueError, r"`X` must be finite, got -inf .*\(2, 0\)"),
    "complex": (X * 1j, TypeError, "`X` must be .*got dtype complex128"),
    "words": ([["a", "b"]], TypeError, "`X` must be a two-dimensional array of real numbers"),
    "ragged": ([[1.0], [1.0, 2.0]], ValueError, "`X` must be a two-dimensional array"),
    "masked": (np.ma.masked_array(X), TypeError, "`X` must be .*masked array"),
    "nothing": (None, TypeError, "`X` must be .*got None"),
    "sparse nan": (
        scipy.sparse.csr_array(with_entry(X, (1, 1), np.nan)),
        ValueError,
        "`X` must be finite, got nan among its elements",
    ),
    "sparse complex": (scipy.sparse.csr_array(X * 1j), TypeError, "`X` must be .*complex128"),
    "sparse empty": (scipy.sparse.csr_array((0, 3)), ValueError, r"`X` must be .*got shape \(0, 3"),
}


@pytest.mark.parametrize(("matrix", "error", "message"), BAD_MATRICES.values(), ids=BAD_MATRICES)
def test_bad_matrix(matrix, error, message):
    for make in ALL:
        with pytest.raises(error, match=message):
            make(matrix, Y)


@pytest.mark.parametrize("make", ONE_OUTPUT)
def test_bad_observations(make):
    for y, error, message in (
        ([0, 1], ValueError, r"`y` must be an array of 3 real numbers.*got .*shape \(2,\)"),
        (np.ones((3, 1)), ValueError, r"`y` must be an array of 3 .*got .*shape \(3, 1\)"),
        ([0, np.nan, 1], ValueError, "`y` must hold .*got nan at index 1"),
        ([0, 1, np.inf], ValueError, "`y` must hold .*got inf at index 2"),
        (["a", "b", "c"], TypeError, "`y` must be an array of 3 real numbers"),
        ([0, 1, 1j], TypeError, "`y` must be .*complex128"),
        (None, TypeError, "`y` must be .*got None"),
    ):
        with pytest.raises(error, match=message):
            make(X, y)


def test_labels_and_counts_out_of_range():
    for bad in (-1.0, 2.0, 1.5):
        with pytest.raises(ValueError, match=f"`y` must hold numbers from 0 to 1, got {bad}.* 1"):
            losses.logistic(X, [0, bad, 1])
        with pytest.raises(ValueError, match=rf"`y` must hold numbers .*got {bad}.*\(2, 0\)"):
            losses.multilabel(X, [[0, 1], [1, 1], [bad, 0]])
    with pytest.raises(ValueError, match="`y` must hold finite nonnegative numbers, got -1"):
        losses.poisson(X, [0, 3, -1])


@pytest.mark.parametrize("y", [[0, 1, 0], np.ones((2, 3)), np.ones((3, 0))])
def test_labels_of_a_wrong_shape(y):
    with pytest.raises(ValueError, match=r"`y` must be a two-dimensional .*with 3 rows as `X` has"):
        losses.multilabel(X, y)


@pytest.mark.parametrize(
    ("y", "n_classes", "error", "message"),
    [
        ([0, 1, 3], 3, ValueError, "`y` must hold .*from 0 to 2, got 3.0 at index 2"),
        ([0, -1, 1], None, ValueError, "`y` must hold .*from 0, got -1.0 at index 1"),
        ([0, 0.5, 1], None, ValueError, "`y` must hold .*got 0.5 at index 1"),
        ([0, np.nan, 1], None, ValueError, "`y` must hold .*got nan at index 1"),
        ([0, 1e300, 1], None, ValueError, "`y` must hold .*got 1e\\+300 at index 1"),
        ([0, 0, 0], None, ValueError, "`y` must hold at least two classes"),
        ([[0], [1], [2]], None, ValueError, r"`y` must be an array of 3 .*shape \(3, 1\)"),
        (["a", "b", "c"], None, TypeError, "`y` must be an array of 3"),
        ([0, 1, 1], 1, ValueError, "`n_classes` must be an integer of at least 2 or None, got 1"),
        ([0, 1, 1], 2.0, TypeError, "`n_classes` must be an integer .*got 2.0"),
        ([0, 1, 1], True, TypeError, "`n_classes` must be an integer .*got True"),
    ],
)
def test_bad_classes(y, n_classes, error, message):
    with pytest.raises(error, match=message):
        losses.softmax(X, y, n_classes)


def test_classes_of_any_integer_dtype():
    for dtype in (np.int8, np.uint64, np.int64, np.float64, bool):
        loss = losses.softmax(X, np.array([0, 1, 1], dtype=dtype), n_classes=4)
        assert loss.args[1].dtype == np.int64
        assert (loss.n_outputs, loss.args[-1]) == (4, 4)


@pytest.mark.parametrize("make", ALL)
def test_bad_weights_penalty_and_intercept(make):
    y = [[0], [1], [1]] if make is losses.multilabel else [0, 1, 1]
    for weights, error, message in (
        ([1, 2], ValueError, r"`sample_weight` must be None or an array of 3 .*shape \(2,\)"),
        (1.0, ValueError, r"`sample_weight` must be .*shape \(\)"),
        ([1, -1, 1], ValueError, "`sample_weight` must be finite and nonneg.*got -1.0 at index 1"),
        ([1, 1, np.nan], ValueError, "`sample_weight` must be finite .*got nan at index 2"),
        ([0, 0, 0], ValueError, "`sample_weight` must have a positive, finite sum, got one of 0"),
        ([1e308] * 3, ValueError, "`sample_weight` must have a positive, finite sum, got .* inf"),
        ("abc", TypeError, "`sample_weight` must be None or an array of 3 nonnegative numbers"),
    ):
        with pytest.raises(error, match=message):
            make(X, y, sample_weight=weights)
    for l2, error in ((-1.0, ValueError), (np.nan, ValueError), (np.inf, ValueError)):
        with pytest.raises(error, match=f"`l2` must be a finite nonnegative number, got {l2}"):
            make(X, y, l2=l2)
    with pytest.raises(TypeError, match="`l2` must be a finite nonnegative number, got 'a'"):
        make(X, y, l2="a")
    with pytest.raises(TypeError, match="`intercept` must be True or False, got 'yes'"):
        make(X, y, intercept="yes")


@pytest.mark.parametrize("delta", [0.0, -1.0, np.nan, np.inf])
def test_bad_delta(delta):
    with pytest.raises(ValueError, match=f"`delta` must be a finite positive number, got {delta}"):
        losses.huber(X, Y, delta)
