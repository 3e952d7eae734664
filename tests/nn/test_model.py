"""The model as objective and as keeper of buffers."""

import copy
import pickle
import threading

import numpy as np
import pytest

import fastopt
from fastopt import nn

from .conftest import NETWORKS, make_batch, make_model, somewhere

EPS = np.finfo(float).eps


def same_buffers(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


# --- buffers ---------------------------------------------------------------------------------


def normalizing(momentum=0.1, dtype="float64"):
    layers = nn.BatchNorm2d(name="norm", momentum=momentum), nn.GlobalAvgPool2d(), nn.Linear(3)
    return make_model(layers, dtype)


def test_running_statistics_move_as_pytorch_has_it():
    model = normalizing(momentum=0.2)
    mean, var = np.zeros(3), np.ones(3)
    for seed in range(4):
        x, y = make_batch(seed=seed)
        model.value_and_grad(model.init(0), x, y)
        mean += 0.2 * (x.mean(axis=(0, 2, 3)) - mean)
        var += 0.2 * (x.var(axis=(0, 2, 3), ddof=1) - var)
        np.testing.assert_allclose(model.buffers["norm.running_mean"], mean, rtol=0, atol=1e-14)
        np.testing.assert_allclose(model.buffers["norm.running_var"], var, rtol=1e-13)


def test_inference_normalizes_with_running_statistics_and_leaves_them():
    model = normalizing()
    theta, (x, y) = somewhere(model), make_batch()
    model.value_and_grad(theta, x, y)
    before = model.buffers
    mean, var = (each[:, None, None] for each in before.values())
    weight, bias = (model.parameters(theta)[f"norm.{each}"] for each in ("weight", "bias"))
    normalized = (x - mean) / np.sqrt(var + 1e-5)
    means = normalized.mean(axis=(2, 3)) * weight + bias
    expected = means @ model.parameters(theta)["2.weight"].T + model.parameters(theta)["2.bias"]
    np.testing.assert_allclose(model.predict(theta, x), expected, rtol=1e-12)
    model.value(theta, x, y)
    assert same_buffers(model.buffers, before)


def test_dropout_drops_anew_in_each_training_evaluation_and_not_in_inference():
    model = make_model((nn.Flatten(), nn.Dropout(0.5, name="drop"), nn.Linear(3)))
    theta, (x, y) = somewhere(model), make_batch()
    values = [model.value_and_grad(theta, x, y)[0] for _ in range(3)]
    assert len({*values, model.value(theta, x, y)}) == 4
    assert model.buffers["drop.counter"] == 3
    model.load_state_dict({"drop.counter": np.array(1)})
    assert model.value_and_grad(theta, x, y)[0] == values[1]


def test_dropout_keeps_the_mean_and_differs_between_layers_and_seeds():
    def output(*layers):
        model = nn.Model(*layers, input_shape=(4000,), loss="mse", dtype="float64")
        with model.held():
            model.value_and_grad(np.empty(0), np.ones((1, 4000)), np.zeros((1, 4000)))
        return model._programs.get("train", 1).output.copy()

    once = output(nn.Dropout(0.25))
    assert {*np.unique(once)} == {0.0, 1 / 0.75}
    assert (once == 0).mean() == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 4000))
    assert not np.array_equal(once, output(nn.Dropout(0.25, seed=1)))
    # Two layers that dropped the same would leave three quarters.
    twice = output(nn.Dropout(0.25), nn.Dropout(0.25))
    assert (twice != 0).mean() == pytest.approx(0.5625, abs=0.04)


def test_held_evaluations_leave_no_trace():
    model = make_model(
        (nn.Conv2d(4, 3), nn.BatchNorm2d(), nn.Dropout(), nn.Flatten(), nn.Linear(3))
    )
    theta, (x, y) = somewhere(model), make_batch()
    before = model.buffers
    with model.held():
        first, _ = model.value_and_grad(theta, x, y)
        with model.held():
            assert model.value_and_grad(theta, x, y)[0] == first  # the same mask
        model.value_and_grad(2 * theta, x, y)
    assert same_buffers(model.buffers, before)
    model.commit()  # of nothing: the context has ended
    assert same_buffers(model.buffers, before)


def test_commit_makes_the_last_held_evaluation_count_once():
    layers = nn.Conv2d(4, 3), nn.BatchNorm2d(), nn.Dropout(), nn.Flatten(), nn.Linear(3)
    model, twin = make_model(layers), make_model(layers)
    theta, (x, y) = somewhere(model), make_batch()
    with model.held():
        model.value_and_grad(3 * theta, *make_batch(7))
        model.value_and_grad(theta, x, y)
        model.predict(theta, x)  # does not come between
        model.commit()
        model.commit()
    twin.value_and_grad(theta, x, y)
    assert same_buffers(model.buffers, twin.buffers)


def test_buffers_are_copies():
    model = normalizing()
    before = model.buffers
    before["norm.running_mean"][:] = 7.0
    assert not model.buffers["norm.running_mean"].any()


# --- when something is raised ----------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("held", [False, True])
def test_an_interrupted_evaluation_leaves_buffers_as_they_were(error, held):
    model = make_model(NETWORKS["residual"])
    theta, (x, y) = somewhere(model), make_batch()
    expected = model.value_and_grad(theta, x, y)
    before = model.buffers
    program = model._programs.get("train", len(x))
    grad = np.full(model.n, 7.0)

    def interrupt():
        raise error

    for calls, at in ((program.forward, 5), (program.backward, 3), (program.backward, -1)):
        kept, calls[at] = calls[at], interrupt
        if held:
            with model.held():
                model.value_and_grad(theta, x[:2], y[:2])
                with pytest.raises(error):
                    model.value_and_grad(theta, x, y, grad)
                model.commit()
        else:
            with pytest.raises(error):
                model.value_and_grad(theta, x, y, grad)
        calls[at] = kept
        assert same_buffers(model.buffers, before)
        assert (grad == 7.0).all()
    value, grad = model.value_and_grad(theta, x, y)
    assert value == expected[0]
    assert np.array_equal(grad, expected[1])


# --- arguments -------------------------------------------------------------------------------


def small(**options):
    return make_model((nn.Conv2d(4, 3), nn.GlobalAvgPool2d(), nn.Linear(3)), **options)


def test_theta_may_be_of_either_precision_and_the_gradient_is_of_the_same():
    model = small(dtype="float32")
    theta, (x, y) = model.init(0), make_batch(dtype="float32")
    value, grad = model.value_and_grad(theta, x, y)
    value64, grad64 = model.value_and_grad(theta.astype(float), x, y)
    assert (grad.dtype, grad64.dtype) == (np.float32, np.float64)
    assert value64 == value
    assert np.array_equal(grad64, grad)
    strided = np.repeat(theta, 2)[::2]
    assert model.value_and_grad(strided, x, y)[0] == value
    assert theta.dtype == model.predict(theta.astype(float), x).dtype == np.float32


def test_numbers_too_large_for_the_model_are_infinite_there():
    model = small(dtype="float32")
    value, grad = model.value_and_grad(np.full(model.n, 1e300), *make_batch(dtype="float32"))
    assert np.isnan(value)
    assert grad.shape == (model.n,)


def test_numbers_that_become_too_large_are_no_error_and_no_warning():
    model = nn.Model(nn.Linear(2), nn.Linear(1), input_shape=3, loss="mse")
    x, y = np.full((4, 3), 1e30, "float32"), np.zeros(4, "float32")
    value, grad = model.value_and_grad(np.full(model.n, 1e30), x, y)
    assert not np.isfinite(value)
    assert not np.isfinite(grad).any()
    # Of these the sums are finite, but not the gradient in the precision of theta.
    model = nn.Model(nn.Linear(1), input_shape=3, loss="mse", dtype="float64")
    theta, out = np.full(4, 1e38, "float32"), np.empty(4, "float32")
    value, grad = model.value_and_grad(theta, x.astype(float), y.astype(float))
    assert np.isfinite(value)
    assert np.isinf(grad[:3]).all()
    assert model.value_and_grad(theta, x.astype(float), y.astype(float), out)[1] is out
    assert np.array_equal(out, grad)


def test_a_step_that_is_too_large_ends_a_training_and_raises_nothing():
    x, y = stripes()
    model = nn.Model(*STRIPED, input_shape=(1, 8, 8))
    options = {"lr": 1e30, "maxiter": 9}
    res = fastopt.minimize(
        model.value_and_grad, model.init(0), args=(x, y), jac=True, method="gd", options=options
    )
    assert not res.success
    assert np.isfinite(res.fun)


@pytest.mark.parametrize("name", ["theta", "x", "y"])
def test_masked_arrays_are_refused(name):
    model = small()
    x, y = make_batch()
    arguments = {"theta": model.init(0), "x": x, "y": y}
    arguments[name] = np.ma.masked_less(arguments[name], 0)
    for evaluate in (model.value_and_grad, model.value):
        with pytest.raises(TypeError, match=f"`{name}` must not be a masked array, whose mask"):
            evaluate(**arguments)


def test_gradient_goes_where_it_is_asked_for():
    model = small()
    theta, (x, y) = somewhere(model), make_batch()
    out = np.empty(model.n)
    _, grad = model.value_and_grad(theta, x, y, out)
    assert grad is out
    assert np.array_equal(model.value_and_grad(theta, x, y)[1], out)


def test_arguments_are_not_written_to_and_need_not_be_contiguous():
    model = small()
    theta, (x, y) = somewhere(model), make_batch()
    expected = model.value_and_grad(theta, x, y)[1]
    for each in (theta, x, y):
        each.setflags(write=False)
    assert np.array_equal(model.value_and_grad(theta, np.asfortranarray(x), y)[1], expected)


REFUSED = {
    r"`theta` must be of shape \(127,\), the model's parameters, got .* \(5,\)": {
        "theta": np.zeros(5)
    },
    r"`x` must be of shape \(N, 3, 9, 9\), as `input_shape` says, got .* \(5, 9, 9, 3\)": {
        "x": np.zeros((5, 9, 9, 3))
    },
    r"`x` must be of shape \(N, 3, 9, 9\), .* \(3, 9, 9\)": {"x": np.zeros((3, 9, 9))},
    "`x` must have at least one sample": {"x": np.zeros((0, 3, 9, 9)), "y": np.zeros(0, int)},
    r"`y` must be of shape \(5,\)": {"y": np.zeros(4, int)},
    r"`grad` must be of shape \(127,\)": {"grad": np.zeros(3)},
}


@pytest.mark.parametrize(("message", "changed"), REFUSED.items(), ids=REFUSED)
def test_arrays_of_the_wrong_shape_are_refused(message, changed):
    model = small()
    x, y = make_batch()
    arguments = {"theta": model.init(0), "x": x, "y": y} | changed
    with pytest.raises(ValueError, match=message):
        model.value_and_grad(**arguments)


WRONG = {
    "`theta` must be of float32 or float64, got int64": {"theta": np.zeros(127, int)},
    "`x` must be of float64, as the model is, got float32": {
        "x": np.zeros((5, 3, 9, 9), "float32")
    },
    "`x` must be of float64, as the model is, got uint8": {"x": np.zeros((5, 3, 9, 9), "uint8")},
    "`grad` must be an array of float64, as `theta` is, got float32": {
        "grad": np.zeros(127, "float32")
    },
    "`grad` must be an array of float64, as `theta` is, got a list": {"grad": [0.0]},
}


@pytest.mark.parametrize(("message", "changed"), WRONG.items(), ids=WRONG)
def test_arrays_of_the_wrong_dtype_are_refused(message, changed):
    model = small()
    x, y = make_batch()
    arguments = {"theta": model.init(0), "x": x, "y": y} | changed
    with pytest.raises(TypeError, match=message):
        model.value_and_grad(**arguments)


def test_a_gradient_that_cannot_be_written_to_is_refused():
    model = small()
    frozen = np.zeros(model.n)
    frozen.setflags(write=False)
    with pytest.raises(ValueError, match="`grad` must be writeable"):
        model.value_and_grad(model.init(0), *make_batch(), frozen)


def test_shape_and_dtype_of_a_model_are_checked():
    for shape in ("28", (), (1, 2, 3, 4), None):
        with pytest.raises(ValueError, match="`input_shape` must be the shape of one sample"):
            nn.Model(nn.Linear(3), input_shape=shape)
    with pytest.raises(ValueError, match="`input_shape` must be a positive integer, got 0"):
        nn.Model(nn.Linear(3), input_shape=(0,))
    with pytest.raises(ValueError, match="`dtype` must be float32 or float64, got float16"):
        nn.Model(nn.Linear(3), input_shape=3, dtype="float16")
    with pytest.raises(TypeError, match="`dtype` must be float32 or float64, got 'single precis"):
        nn.Model(nn.Linear(3), input_shape=3, dtype="single precision")
    with pytest.raises(TypeError, match="`dtype` must be float32 or float64, got None"):
        nn.Model(nn.Linear(3), input_shape=3, dtype=None)


def test_sequences_are_normalized_by_channel():
    model = nn.Model(
        nn.BatchNorm1d(), nn.Flatten(), nn.Linear(2), input_shape=(3, 5), dtype="float64"
    )
    x = np.random.default_rng(0).normal(size=(4, 3, 5))
    model.value_and_grad(model.init(0), x, np.array([0, 1, 0, 1]))
    np.testing.assert_allclose(
        model.buffers["0.running_mean"], 0.1 * x.mean(axis=(0, 2)), rtol=1e-12
    )


# --- prediction ------------------------------------------------------------------------------


def test_predictions_do_not_depend_on_how_samples_are_cut():
    model = make_model(NETWORKS["residual"])
    theta, (x, y) = somewhere(model), make_batch(11)
    model.value_and_grad(theta, x, y)
    whole = model.predict(theta, x)
    assert whole.shape == (11, 3)
    for size in (1, 4, 11, 20):
        np.testing.assert_allclose(model.predict(theta, x, batch_size=size), whole, rtol=1e-13)
    with pytest.raises(ValueError, match="`batch_size` must be a positive integer, got 0"):
        model.predict(theta, x, batch_size=0)


# --- parameters and states -------------------------------------------------------------------


def test_parameters_are_views_of_any_vector():
    model = small()
    theta = model.init(0)
    parameters = model.parameters(theta)
    assert np.concatenate([value.ravel() for value in parameters.values()]).tolist() == [*theta]
    parameters["2.bias"][:] = 3.0
    assert (theta[-3:] == 3.0).all()
    for wrong, error in (
        ([1.0], TypeError),
        (theta[:-1], ValueError),
        (np.repeat(theta, 2)[::2], ValueError),
    ):
        with pytest.raises(error, match="`theta` must be"):
            model.parameters(wrong)


def test_a_state_is_saved_and_loaded(tmp_path):
    model = make_model(NETWORKS["residual"])
    theta, (x, y) = somewhere(model), make_batch()
    model.value_and_grad(theta, x, y)
    np.savez(tmp_path / "state.npz", **model.state_dict(theta))
    twin = make_model(NETWORKS["residual"])
    with np.load(tmp_path / "state.npz") as state:
        loaded = twin.load_state_dict(state)
    assert np.array_equal(loaded, theta)
    assert np.array_equal(twin.predict(loaded, x), model.predict(theta, x))
    assert twin.load_state_dict(model.state_dict()) is None


def test_a_state_of_another_network_changes_nothing():
    model = normalizing()
    state = model.state_dict(model.init(0))
    before = model.buffers
    changes = {
        "must have 'norm.running_var'": {"norm.running_var": None},
        "must have '2.bias'": {"2.bias": None},
        "has 'other', which the model does not": {"other": np.zeros(3)},
        r"an array of shape \(3,\) for 'norm.weight', got one of shape \(4,\)": {
            "norm.weight": np.zeros(4)
        },
    }
    for message, change in changes.items():
        changed = {**state, "norm.running_mean": np.ones(3)} | change
        with pytest.raises(ValueError, match=message):
            model.load_state_dict({k: v for k, v in changed.items() if v is not None})
    with pytest.raises(TypeError, match=r"numbers for 'norm\.running_mean'"):
        model.load_state_dict({**state, "norm.running_mean": np.array(["a"] * 3)})
    dropping = make_model((nn.Dropout(name="drop"), nn.Flatten(), nn.Linear(3)))
    with pytest.raises(TypeError, match=r"must have integers for 'drop\.counter', got dtype float"):
        dropping.load_state_dict({"drop.counter": 3.5})
    for wrong in (None, "state.npz", [*state]):
        with pytest.raises(TypeError, match="`state` must be a mapping of names to arrays, got a "):
            model.load_state_dict(wrong)
    assert same_buffers(model.buffers, before)


@pytest.mark.parametrize(
    "twin_of", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))]
)
def test_copies_have_buffers_of_their_own(twin_of):
    model = make_model(NETWORKS["residual"], name="net", loss=nn.SoftmaxCrossEntropy())
    theta, (x, y) = somewhere(model), make_batch()
    model.value_and_grad(theta, x, y)
    twin = twin_of(model)
    assert repr(twin) == repr(model)
    assert twin.loss == model.loss
    assert twin.layers == model.layers
    assert same_buffers(twin.buffers, model.buffers)
    expected = model.value_and_grad(theta, x, y)
    assert not same_buffers(twin.buffers, model.buffers)
    value, grad = twin.value_and_grad(theta, x, y)
    assert value == expected[0]
    assert np.array_equal(grad, expected[1])
    assert same_buffers(twin.buffers, model.buffers)


# --- text ------------------------------------------------------------------------------------


def test_summary_has_a_line_for_each_layer_and_their_sum():
    model = make_model(NETWORKS["residual"], name="net")
    lines = model.summary().splitlines()
    assert lines[0] == "net"
    total = lines[-1].split()
    assert total[0] == "total"
    assert int(total[-2].replace(",", "")) == model.n
    rows = [line.split() for line in lines[3:-2]]
    assert sum(int(row[-2].replace(",", "")) for row in rows) == model.n
    assert sum(int(row[-1].replace(",", "")) for row in rows) == int(total[-1].replace(",", ""))
    assert rows[0][:4] == ["0", "Conv2d(4,", "3,", "padding=1)"]
    assert rows[0][-1] == f"{2 * 4 * 81 * 27:,}"
    assert "5.shortcut.0" in [row[0] for row in rows]
    assert repr(model) == f"<Model 'net': {model.n} parameters, (3, 9, 9) -> (3,), float64>"


# --- threads and solvers ---------------------------------------------------------------------


def test_threads_may_call_one_model_at_once():
    model = make_model(NETWORKS["residual"])
    theta = somewhere(model)
    batches = [make_batch(N, seed=N) for N in (4, 6)]
    with model.held():
        expected = [model.value_and_grad(theta, *batch) for batch in batches]
        wrong = []

        def work(batch, wanted):
            for _ in range(50):
                value, grad = model.value_and_grad(theta, *batch)
                if value != wanted[0] or not np.array_equal(grad, wanted[1]):
                    wrong.append(value)

        threads = [
            threading.Thread(target=work, args=each) for each in zip(batches, expected, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def stripes(N=120):
    """Images whose class is which way their stripes go."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, N)
    waves = np.sin(np.arange(8) * np.pi / 2 + rng.uniform(0, 6, (N, 1)))[:, None, :, None]
    images = np.where(y[:, None, None, None], waves, waves.swapaxes(2, 3))
    return (images * np.ones((8, 8)) + 0.3 * rng.normal(size=(N, 1, 8, 8))).astype("float32"), y


STRIPED = (
    nn.Conv2d(4, 3),
    nn.BatchNorm2d(),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(2),
)


def test_minimize_trains_on_minibatches():
    x, y = stripes()
    model = nn.Model(*STRIPED, input_shape=(1, 8, 8))
    theta = model.init(0)
    before = model.value(theta, x, y)
    res = fastopt.minimize(
        model.value_and_grad,
        theta.astype(float),
        jac=True,
        data=fastopt.Minibatches(x, y, batch_size=24),
        method="adam",
        options={"lr": 0.01, "maxiter": 100},
    )
    assert model.value(res.x, x, y) < 0.1 * before
    assert (model.predict(res.x, x).argmax(axis=1) == y).mean() > 0.95


def test_minimize_trains_with_second_order_methods():
    x, y = stripes()
    model = nn.Model(*STRIPED, input_shape=(1, 8, 8), dtype="float64")
    res = fastopt.minimize(
        model.value_and_grad,
        model.init(0),
        args=(x.astype(float), y),
        jac=True,
        method="l-bfgs",
        options={"maxiter": 30},
    )
    assert res.fun < 1e-3


def test_optimizers_of_training_loops_take_the_gradient_in_place():
    x, y = stripes()
    model = nn.Model(*STRIPED, input_shape=(1, 8, 8))
    theta = model.init(0)
    grad = np.empty_like(theta)
    optimizer = fastopt.Adam(theta, lr=0.01)
    first, _ = model.value_and_grad(theta, x, y, grad)
    for _ in range(40):
        model.value_and_grad(theta, x, y, grad)
        optimizer.step(grad)
    assert model.value_and_grad(theta, x, y, grad)[0] < 0.1 * first
