"""Where training starts."""

import math

import numpy as np
import pytest

from fastopt import nn


def weights(init, layer=nn.Linear, shape=(400,), **options):
    made = layer(300, init=init, **options)
    model = nn.Model(made, input_shape=shape, loss="mse", dtype="float64")
    return model.parameters(model.init(0))["0.weight"]


@pytest.mark.parametrize(
    ("init", "variance"), [("he", 2 / 400), ("lecun", 1 / 400), ("glorot", 2 / 700)]
)
def test_weights_have_the_variance_of_the_formula(init, variance):
    drawn = weights(init)
    # The mean of as many squares is that close to their expectation, four times in a standard
    # deviation of it.
    assert (drawn**2).mean() == pytest.approx(variance, rel=4 * math.sqrt(2 / drawn.size))
    assert abs(drawn.mean()) < 4 * math.sqrt(variance / drawn.size)


def test_glorot_is_uniform():
    drawn = weights("glorot")
    limit = math.sqrt(6 / 700)
    assert np.abs(drawn).max() < limit
    assert np.histogram(drawn, 4, (-limit, limit))[0] == pytest.approx(drawn.size / 4, rel=0.02)


def test_fans_of_windows_count_their_elements_and_groups():
    drawn = weights("he", nn.Conv2d, (30, 4, 4), kernel_size=3, groups=10)
    assert drawn.shape == (300, 3, 3, 3)
    assert (drawn**2).mean() == pytest.approx(2 / 27, rel=4 * math.sqrt(2 / drawn.size))


def test_biases_are_0_and_normalizations_do_nothing():
    model = nn.Model(nn.Conv2d(4, 3), nn.BatchNorm2d(), input_shape=(3, 9, 9), loss="mse")
    parameters = model.parameters(model.init(0))
    assert not parameters["0.bias"].any()
    assert not parameters["1.bias"].any()
    assert (parameters["1.weight"] == 1).all()


def test_draws_depend_on_seed_and_name_alone():
    def drawn(*before, seed=0, dtype="float64"):
        layers = *before, nn.Linear(4, name="last")
        model = nn.Model(*layers, input_shape=(6,), dtype=dtype)
        return model.parameters(model.init(seed))["last.weight"]

    alone = drawn()
    assert np.array_equal(alone, drawn())
    assert np.array_equal(alone, drawn(nn.Linear(6), nn.Tanh()))
    assert not np.array_equal(alone, drawn(seed=1))
    assert np.array_equal(alone.astype("float32"), drawn(dtype="float32"))


def test_layers_side_by_side_differ():
    model = nn.Model(nn.Linear(6), nn.Linear(6), input_shape=(6,))
    first, _, second, _ = model.parameters(model.init(0)).values()
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("seed", [-1, 0.5])
def test_seed_is_a_nonnegative_integer(seed):
    with pytest.raises(ValueError, match="`seed` must be a nonnegative integer"):
        nn.Model(nn.Linear(6), input_shape=(6,)).init(seed)
