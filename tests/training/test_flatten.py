"""Nested arrays are parts of one vector: nothing is copied afterwards, and places have names."""

import pickle
from collections import OrderedDict, defaultdict
from copy import deepcopy
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastopt


class Affine(NamedTuple):
    weight: object
    bias: object


def network(dtype=np.float64):
    return {
        "layers": [
            Affine(np.arange(6, dtype=dtype).reshape(2, 3), np.full(2, 10, dtype)),
            Affine(np.arange(2, dtype=dtype).reshape(1, 2) - 5, np.full(1, 20, dtype)),
        ],
        "empty": np.zeros((0, 4), dtype),
        "scale": (np.array(7, dtype), 3),
    }


ORDER = [0, 1, 2, 3, 4, 5, 10, 10, -5, -4, 20, 7, 3]


def arrays_of(tree):
    if isinstance(tree, dict):
        return [array for value in tree.values() for array in arrays_of(value)]
    if isinstance(tree, list | tuple):
        return [array for value in tree for array in arrays_of(value)]
    return [tree]


def depth_first(tree, function):
    if isinstance(tree, dict):
        return type(tree)((key, depth_first(value, function)) for key, value in tree.items())
    if isinstance(tree, list | tuple):
        items = [depth_first(value, function) for value in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return function(tree)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_vector_holds_the_arrays_in_the_order_given(dtype):
    theta, params = fastopt.flatten(network(dtype))
    assert theta.dtype == dtype
    assert theta.flags.c_contiguous
    assert theta.tolist() == ORDER
    assert [array.dtype for array in arrays_of(params)] == [theta.dtype] * 7


def test_views_are_nested_as_the_arrays_were():
    given_tree = network()
    _, params = fastopt.flatten(given_tree)
    assert list(params) == list(given_tree)
    assert type(params["layers"]) is list
    assert type(params["layers"][0]) is Affine
    assert type(params["scale"]) is tuple
    for view, array in zip(arrays_of(params), arrays_of(given_tree), strict=True):
        np.testing.assert_array_equal(view, array, strict=isinstance(array, np.ndarray))
    ordered = fastopt.flatten(OrderedDict(b=1.0, a=2.0))
    assert type(ordered.views) is OrderedDict
    assert ordered.vector.tolist() == [1.0, 2.0]


def test_views_see_what_happens_to_the_vector_and_the_vector_what_happens_to_them():
    theta, params = fastopt.flatten(network())
    theta -= 1
    assert params["layers"][0].bias.tolist() == [9, 9]
    params["layers"][0].bias[1] = 50
    params["scale"][1][...] = 60
    assert theta[[6, 7, 12]].tolist() == [9, 50, 60]
    for view in arrays_of(params):
        assert view.base is not None
        assert view.size == 0 or np.shares_memory(view, theta)


def test_arrays_that_were_given_are_copied():
    weight = np.ones(3)
    theta, _ = fastopt.flatten([weight])
    theta += 1
    assert weight.tolist() == [1, 1, 1]


def test_order_of_elements_is_that_of_rows_whatever_the_memory():
    array = np.arange(24.0).reshape(2, 3, 4)
    for other in (np.asfortranarray(array), array[::-1, :, ::2], array.T):
        theta, view = fastopt.flatten(other)
        np.testing.assert_array_equal(theta, other.ravel())
        np.testing.assert_array_equal(view, other, strict=True)


TREES = st.recursive(
    st.lists(st.integers(0, 3), max_size=3).map(lambda shape: np.ones(shape)),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.tuples(inner, inner).map(lambda pair: Affine(*pair))
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(TREES)
def test_any_tree_comes_back(tree):
    numbered = depth_first(
        tree, lambda array: np.arange(array.size, dtype=float).reshape(array.shape)
    )
    flat = fastopt.flatten(numbered)
    assert flat.vector.size == sum(array.size for array in arrays_of(tree))
    assert repr(flat.views) == repr(numbered)
    copy = np.full(flat.layout.size, np.nan)
    assert flat.layout.flatten_into(numbered, copy) is copy
    np.testing.assert_array_equal(copy, flat.vector)
    assert pickle.loads(pickle.dumps(flat.layout)) == flat.layout


def test_numbers_take_the_dtype_of_the_arrays():
    assert fastopt.flatten([1, np.zeros(2, np.float32), 0.5]).vector.dtype == np.float32
    assert fastopt.flatten([1, 0.5]).vector.dtype == np.float64
    with pytest.raises(TypeError, match=r"`params\[1\]` must be an array of float32, as `params"):
        fastopt.flatten([np.zeros(2, np.float32), np.float64(0.5)])


@pytest.mark.parametrize("dtype", ["float32", np.float64])
def test_arrays_are_converted_on_request(dtype):
    flat = fastopt.flatten([np.zeros(1, np.float32), np.ones(1), np.arange(2), 4], dtype=dtype)
    assert flat.vector.dtype == flat.layout.dtype == np.dtype(dtype)
    assert flat.vector.tolist() == [0, 1, 0, 1, 4]


class Refusing:
    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("it lives elsewhere")


NAMED = {
    "an integer array": (
        {"a": {"b": np.arange(3)}},
        r"`params\['a'\]\['b'\]` must be an array of float32 or float64, got one of int64; pass",
    ),
    "half precision": ([np.zeros(2, np.float16)], r"`params\[0\]` .* got one of float16; pass"),
    "complex numbers": (np.zeros(2, complex), r"`params` .* got one of complex128$"),
    "bytes of the other order": ([np.zeros(2, ">f8")], r"`params\[0\]` .* got one of >f8; pass"),
    "a mixture": (
        {"layers": [Affine(np.zeros(2), np.zeros(2, np.float32))]},
        r"`params\['layers'\]\[0\]\.bias` must be an array of float64, as "
        r"`params\['layers'\]\[0\]\.weight` is, got one of float32; pass `dtype` to convert it",
    ),
    "None": ({"a": [1.0, None]}, r"`params\['a'\]\[1\]` must be an array, .* got None"),
    "a string": ({1: "x"}, r"`params\[1\]` must be .* got an object of type str"),
    "a truth value": ([True], r"`params\[0\]` must be .* got an object of type bool"),
    "an integer beyond floats": (
        [10**400],
        r"`params\[0\]` must be a number that a float can hold",
    ),
    "a set": ({1.0}, "`params` must be .* got an object of type set"),
    "another kind of dict": (defaultdict(list), "`params` must be .* type defaultdict"),
    "a masked array": ([np.ma.zeros(2)], r"`params\[0\]` must not be a masked array"),
    "what becomes no array": (
        [Refusing()],
        r"`params\[0\]` .* type Refusing .* it lives elsewhere",
    ),
}


@pytest.mark.parametrize(("tree", "message"), NAMED.values(), ids=NAMED)
def test_what_is_no_parameter_is_named_by_its_place(tree, message):
    with pytest.raises(TypeError, match=message):
        fastopt.flatten(tree)


@pytest.mark.parametrize("bad", [np.array([1j]), np.array([True]), np.array(["x"])])
def test_what_is_no_real_number_is_not_converted(bad):
    with pytest.raises(TypeError, match=r"`params\[0\]` must be an array of real numbers, got one"):
        fastopt.flatten([bad], dtype=float)


@pytest.mark.parametrize("dtype", ["int64", np.float16, ">f8", "no such", "2-point"])
def test_vector_is_of_single_or_double_precision(dtype):
    with pytest.raises(ValueError, match="`dtype` must be float32 or float64, got"):
        fastopt.flatten([1.0], dtype=dtype)


# --- layouts ---------------------------------------------------------------------------------


def test_layout_finds_the_views_of_other_vectors():
    flat = fastopt.flatten(network(np.float32))
    grad = np.zeros(flat.layout.size)
    grads = flat.layout.unflatten(grad)
    grads["layers"][1].weight[:] = 1
    assert grad.dtype == np.float64
    assert np.flatnonzero(grad).tolist() == [8, 9]


def test_slices_are_found_by_name():
    flat = fastopt.flatten(network())
    slices = flat.layout.slices
    assert list(slices) == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.1.bias",
        "empty",
        "scale.0",
        "scale.1",
    ]
    assert flat.vector[slices["layers.1.weight"]].tolist() == [-5, -4]
    assert [place.start for place in slices.values()] == [0, 6, 8, 10, 11, 11, 12]
    assert [place.stop for place in slices.values()] == [6, 8, 10, 11, 11, 12, 13]


def test_two_arrays_of_one_name_are_reported():
    layout = fastopt.flatten({"a.b": 1.0, "a": {"b": 2.0}}).layout
    with pytest.raises(
        ValueError, match=r"'a.b' for both params\['a.b'\] and params\['a'\]\['b'\]"
    ):
        _ = layout.slices


def test_dicts_are_matched_by_key():
    layout = fastopt.flatten({"a": 1.0, "b": 2.0}).layout
    assert layout.flatten_into({"b": 20.0, "a": 10.0}, np.empty(2)).tolist() == [10, 20]


MISMATCHES = {
    "keys": (
        {"layers": [1.0, 2.0]},
        ValueError,
        r"`tree` must have the keys 'layers', 'empty', 'scale', got 'layers'",
    ),
    "a length": (
        {**network(), "layers": []},
        ValueError,
        r"`tree\['layers'\]` must have length 2, got 0",
    ),
    "a container": (
        {**network(), "scale": [1.0, 2.0]},
        TypeError,
        r"`tree\['scale'\]` must be a tuple, got an object of type list",
    ),
    "a shape": (
        {**network(), "empty": np.zeros((4, 0))},
        ValueError,
        r"`tree\['empty'\]` must be of shape \(0, 4\), got an array of shape \(4, 0\)",
    ),
    "a dtype": (
        network(np.float32),
        TypeError,
        r"`tree\['layers'\]\[0\]\.weight` must be an array of float64, as `out` is, got one of flo",
    ),
    "a container for an array": (
        {**network(), "empty": []},
        TypeError,
        r"`tree\['empty'\]` must be an array of shape \(0, 4\), got an object of type list",
    ),
}


@pytest.mark.parametrize(("tree", "error", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_a_tree_of_another_layout_is_refused_before_anything_is_written(tree, error, message):
    layout = fastopt.flatten(network()).layout
    out = np.full(layout.size, 99.0)
    with pytest.raises(error, match=message):
        layout.flatten_into(tree, out)
    assert set(out) == {99}


def read_only(n):
    array = np.zeros(n)
    array.flags.writeable = False
    return array


def test_vectors_of_another_layout_are_refused():
    layout = fastopt.flatten([np.zeros((2, 2)), 1.0]).layout
    tree = [np.zeros((2, 2)), 1.0]
    for take, name in (
        (layout.unflatten, "vector"),
        (lambda vector: layout.flatten_into(tree, vector), "out"),
    ):
        with pytest.raises(
            TypeError, match=rf"`{name}` must be an array of shape \(5,\), got an ob"
        ):
            take([0.0] * 5)
        with pytest.raises(ValueError, match=rf"`{name}` must be of shape \(5,\), got an array of"):
            take(np.zeros((5, 1)))
        with pytest.raises(
            ValueError, match=rf"`{name}` must be contiguous, got an array with str"
        ):
            take(np.zeros(10)[::2])
    with pytest.raises(
        TypeError, match="`out` must be an array of float32 or float64, got one of i"
    ):
        layout.flatten_into(tree, np.zeros(5, int))
    with pytest.raises(ValueError, match="`out` must be writeable, got a read-only array"):
        layout.flatten_into(tree, read_only(5))
    assert not layout.unflatten(read_only(5))[0].flags.writeable


def test_layouts_are_equal_if_types_names_shapes_and_dtype_are():
    layout = fastopt.flatten(network()).layout
    assert layout == fastopt.flatten(network()).layout
    assert {layout: 1}[fastopt.flatten(network()).layout] == 1
    others = [
        network(np.float32),
        {**network(), "more": np.zeros(0)},
        {**network(), "scale": [1.0, 2.0]},
        {key: network()[key] for key in ("scale", "empty", "layers")},
    ]
    assert layout not in [fastopt.flatten(other).layout for other in others]
    assert layout != "layout"
    assert fastopt.flatten((1.0, 2.0)).layout != fastopt.flatten(Affine(1.0, 2.0)).layout


@pytest.mark.parametrize("copy", [deepcopy, lambda flat: pickle.loads(pickle.dumps(flat))])
def test_a_copy_has_views_of_its_own_vector(copy):
    flat = fastopt.flatten(network())
    theta, params = copied = copy(flat)
    assert copied.layout == flat.layout
    theta += 1
    assert params["layers"][0].bias.tolist() == [11, 11]
    assert flat.views["layers"][0].bias.tolist() == [10, 10]


def test_layout_says_what_it_holds():
    assert repr(fastopt.flatten([1.0]).layout) == "<Layout: 1 number of float64 in 1 array>"
    assert repr(fastopt.flatten({}).layout) == "<Layout: 0 numbers of float64 in 0 arrays>"
