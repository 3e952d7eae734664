"""Networks on a GPU: what they compute there is what they compute on the CPU."""

import copy
import pickle

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

import fastopt
from fastopt import nn
from fastopt.device.arrays import describe
from fastopt.device.streams import current_stream
from fastopt.nn import places, plan
from tests.nn.conftest import NETWORKS, make_batch, make_model, somewhere

IMAGE = (2, 6, 6)
TINY = (
    nn.ReLU(),  # which must leave the samples alone
    nn.Conv2d(4, 3, padding=1, name="conv"),
    nn.BatchNorm2d(name="norm"),
    nn.ReLU(),
    nn.Residual(nn.Conv2d(4, 3, padding=1, bias=False), nn.BatchNorm2d()),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Dropout(0.3, name="drop"),
    nn.Linear(3, name="last"),
)
SMALL = (nn.Flatten(), nn.Linear(3), nn.BatchNorm1d(name="norm"), nn.Dropout(0.4, name="drop"))


@pytest.fixture
def launched(device, monkeypatch):
    """All that is launched, with arguments and stream, and what is read and made."""
    if not hasattr(device, "launches"):
        pytest.skip("a GPU does not tell what is launched")
    seen = Launched()
    for name in ("launch", "read", "write", "empty"):
        monkeypatch.setattr(device, name, seen.noting(name, getattr(device, name)))
    return seen


class Launched:
    def __init__(self):
        self.clear()

    def clear(self):
        self.calls = {name: [] for name in ("launch", "read", "write", "empty")}

    def noting(self, name, function):
        def call(*arguments):
            noted = [tuple(each) if isinstance(each, list | tuple) else each for each in arguments]
            self.calls[name].append((*noted, current_stream()))
            return function(*arguments)

        return call


def batch(N=4, seed=0, dtype="float32", shape=IMAGE):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, *shape)).astype(dtype), rng.integers(0, 3, N)


def tiny(dtype="float32", layers=TINY, **options):
    return make_model(layers, dtype, **({"input_shape": IMAGE} | options))


def close(actual, expected, dtype, factor=200):
    expected = np.asarray(expected)
    scale = abs(expected).max(initial=1e-3)
    tolerance = factor * np.finfo(dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * scale)


def same_buffers(model, expected, dtype):
    buffers = model.buffers
    assert [*buffers] == [*expected]
    for name, value in expected.items():
        close(buffers[name], value, dtype)


# --- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_steps_are_those_of_the_cpu(device, dtype):
    model, twin = tiny(dtype), tiny(dtype)
    theta = somewhere(twin)
    for step in range(2):
        x, y = batch(seed=step, dtype=dtype)
        arrays = [device.array(each) for each in (theta, x, y)]
        value, grad = model.value_and_grad(*arrays)
        expected, expected_grad = twin.value_and_grad(theta, x, y)
        assert type(value) is type(grad) is type(arrays[0])
        assert (value.shape, value.dtype) == ((), np.float64)
        close(value.get(), expected, dtype)
        close(grad.get(), expected_grad, dtype)
        assert grad.dtype == dtype
        assert np.array_equal(arrays[1].get(), x)
        theta = theta - 0.1 * expected_grad
    same_buffers(model, twin.buffers, dtype)
    assert model.buffers["drop.counter"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_training_steps_of_networks_with_all_layers_are_those_of_the_cpu(device, name):
    model, twin = make_model(NETWORKS[name]), make_model(NETWORKS[name])
    theta, (x, y) = somewhere(model), make_batch(3)
    for _ in range(2):
        value, grad = model.value_and_grad(*map(device.array, (theta, x, y)))
        expected, expected_grad = twin.value_and_grad(theta, x, y)
        close(value.get(), expected, "float64", 2000)
        close(grad.get(), expected_grad, "float64", 2000)
    same_buffers(model, twin.buffers, "float64")
    close(model.predict(*map(device.array, (theta, x))).get(), twin.predict(theta, x), "float64")


def test_inference_is_that_of_the_cpu_and_may_be_cut_into_batches(device):
    model, twin = tiny(), tiny()
    theta, (x, y) = somewhere(model), batch(7)
    there = [device.array(each) for each in (theta, x, y)]
    model.value_and_grad(*there)
    twin.value_and_grad(theta, x, y)
    close(model.value(*there).get(), twin.value(theta, x, y), "float32")
    expected = twin.predict(theta, x)
    for size in (None, 3, 7):
        found = model.predict(*there[:2], size)
        assert found.shape == (7, 3)
        close(found.get(), expected, "float32")
    assert np.array_equal(there[1].get(), x)
    same_buffers(model, twin.buffers, "float32")


def test_the_output_of_a_network_of_no_operations_is_a_copy(device):
    model = nn.Model(nn.Identity(), input_shape=(3,), loss="mse")
    x = device.array(np.arange(6, dtype="float32").reshape(2, 3))
    out = model.predict(device.empty((0,), "float32"), x)
    assert np.array_equal(out.get(), x.get())
    assert out is not x


LOSSES = {
    "softmax": (nn.SoftmaxCrossEntropy(), "int64"),
    "softmax of int32": (nn.SoftmaxCrossEntropy(label_smoothing=0.1), "int32"),
    "softmax of uint8": (nn.SoftmaxCrossEntropy(weight=[0.5, 1.0, 2.0]), "uint8"),
    "mse": (nn.MSE(), "float32"),
    "l1": (nn.L1(), "float32"),
    "smooth l1": (nn.SmoothL1(beta=0.5), "float32"),
    "binary": (nn.BinaryCrossEntropy(), "float32"),
    "binary of int": (nn.BinaryCrossEntropy(), "int64"),
    "multilabel of bool": (nn.MultiLabel(), "bool"),
}


@pytest.mark.parametrize(("loss", "kind"), LOSSES.values(), ids=LOSSES)
def test_losses_are_those_of_the_cpu(device, loss, kind):
    model = tiny(layers=(nn.Flatten(), nn.Linear(3)), loss=loss)
    theta, (x, y) = somewhere(model), batch(5)
    if not isinstance(loss, nn.SoftmaxCrossEntropy):
        y = np.random.default_rng(1).uniform(size=(5, 3)).round(0 if kind != "float32" else 9)
    y = y.astype(kind)
    there = [device.array(each) for each in (theta, x, y)]
    expected, expected_grad = model.value_and_grad(theta, x, y)
    value, grad = model.value_and_grad(*there)
    close(value.get(), expected, "float32")
    close(grad.get(), expected_grad, "float32")
    close(model.value(*there).get(), expected, "float32")


def test_targets_of_one_number_may_be_a_vector(device):
    model = tiny(layers=(nn.Flatten(), nn.Linear(1)), loss="mse")
    theta, (x, _) = somewhere(model), batch(5)
    y = np.arange(5, dtype="float32")
    value, _ = model.value_and_grad(*map(device.array, (theta, x, y)))
    close(value.get(), model.value_and_grad(theta, x, y)[0], "float32")


@pytest.mark.parametrize(("dtype", "precision"), [("float32", "float64"), ("float64", "float32")])
def test_theta_may_be_of_another_precision_and_the_gradient_is_of_the_same(
    device, dtype, precision
):
    model = tiny(dtype, SMALL)
    theta, (x, y) = somewhere(model).astype(precision), batch(dtype=dtype)
    with model.held():
        expected, expected_grad = model.value_and_grad(theta, x, y)
        value, grad = model.value_and_grad(*map(device.array, (theta, x, y)))
    assert grad.dtype == precision
    close(value.get(), expected, "float32")
    close(grad.get(), expected_grad, "float32")


def test_results_do_not_depend_on_where_arrays_begin(device):
    model = tiny(layers=SMALL)
    theta, (x, y) = somewhere(model), batch(5)

    def shifted(vector, by):
        return device.array(np.concatenate([vector[:by], vector]))[by:]

    rows = device.array(np.concatenate([x[:1], x]))
    with model.held():
        expected = model.value_and_grad(*map(device.array, (theta, x, y)))
        for by in (1, 2, 5):
            value, grad = model.value_and_grad(
                shifted(theta, by), rows[1:], shifted(y.astype("int32"), by % 3)
            )
            close(value.get(), expected[0].get(), "float32")
            close(grad.get(), expected[1].get(), "float32")


def test_the_gradient_goes_where_it_is_asked_for(device):
    model = tiny(layers=SMALL)
    there = [device.array(each) for each in (somewhere(model), *batch())]
    grad = device.empty((model.n,), "float32")
    with model.held():
        assert model.value_and_grad(*there, grad)[1] is grad
        close(grad.get(), model.value_and_grad(*there)[1].get(), "float32")


def test_samples_may_be_their_own_targets(device):
    model = tiny(layers=(nn.Tanh(),), loss="mse", input_shape=(4,))
    x = batch(3, shape=(4,))[0]
    theta, there, other = np.empty(0, "float32"), device.array(x), device.array(2 * x)
    for y, target in ((there, x), (other, 2 * x), (there, x)):
        value = model.value(device.array(theta), there, y)
        close(value.get(), model.value(theta, x, target), "float32")


def test_sizes_may_alternate_and_results_stay_the_same(device):
    model = tiny(layers=SMALL)
    theta = device.array(somewhere(model))
    batches = {N: [device.array(each) for each in batch(N, seed=N)] for N in (5, 2, 9)}

    def evaluate(N):
        x, y = batches[N]
        with model.held():
            found = model.value_and_grad(theta, x, y)
        found = *found, model.value(theta, x, y), model.predict(theta, x)
        return [each.get() for each in found]

    first = {N: evaluate(N) for N in batches}
    for N in (9, 2, 5, 5, 2):
        assert all(map(np.array_equal, evaluate(N), first[N]))


# --- buffers ---------------------------------------------------------------------------------


def test_a_model_used_on_both_places_has_one_set_of_buffers(device):
    model, twin = tiny(layers=SMALL), tiny(layers=SMALL)
    theta = somewhere(model)
    for step, on_gpu in enumerate([False, True, True, False, False, True, False]):
        x, y = batch(seed=step)
        arrays = (theta, x, y)
        value, _ = model.value_and_grad(*(map(device.array, arrays) if on_gpu else arrays))
        expected, _ = twin.value_and_grad(*arrays)
        close(value.get() if on_gpu else value, expected, "float32")
        close(model.predict(theta, x), twin.predict(theta, x), "float32")
        there = model.predict(device.array(theta), device.array(x))
        close(there.get(), twin.predict(theta, x), "float32")
        same_buffers(model, twin.buffers, "float32")


def test_held_evaluations_leave_no_trace_until_they_are_committed(device):
    model, twin = tiny(layers=SMALL), tiny(layers=SMALL)
    theta, (x, y) = somewhere(model), batch()
    there = [device.array(each) for each in (theta, x, y)]
    before = model.buffers
    with model.held():
        first = model.value_and_grad(*there)[0].get()
        assert model.value_and_grad(*there)[0].get() == first  # the same mask
        same_buffers(model, before, "float32")
        model.value_and_grad(*map(device.array, (theta, *batch(7))))
        model.value_and_grad(*there)
        model.predict(*there[:2])
        model.predict(theta, x)
        model.commit()
        model.commit()
    twin.value_and_grad(theta, x, y)
    same_buffers(model, twin.buffers, "float32")
    model.commit()
    same_buffers(model, twin.buffers, "float32")


def test_an_evaluation_held_on_the_cpu_is_committed_there_and_counts_everywhere(device):
    model, twin = tiny(layers=SMALL), tiny(layers=SMALL)
    theta, (x, y) = somewhere(model), batch()
    there = [device.array(each) for each in (theta, x, y)]
    model.value_and_grad(*there)
    with model.held():
        model.value_and_grad(theta, x, y)
        model.value(*there)
        model.commit()
    for _ in range(2):
        twin.value_and_grad(theta, x, y)
    close(model.value(*there).get(), twin.value(theta, x, y), "float32")
    same_buffers(model, twin.buffers, "float32")


def test_states_are_those_of_the_place_that_was_used_last_and_go_to_both(device):
    model, twin = tiny(layers=SMALL), tiny(layers=SMALL)
    theta, (x, y) = somewhere(model), batch()
    there = [device.array(each) for each in (theta, x, y)]
    model.value_and_grad(*there)
    state = model.state_dict()
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        same_buffers(again, state, "float32")
    model.value_and_grad(*there)
    assert model.load_state_dict(state) is None
    same_buffers(model, state, "float32")
    twin.load_state_dict(state)
    close(model.value_and_grad(*there)[0].get(), twin.value_and_grad(theta, x, y)[0], "float32")
    same_buffers(model, twin.buffers, "float32")


@pytest.mark.parametrize("at", [0, 3, -1])
def test_buffers_do_not_move_if_an_evaluation_is_interrupted(device, launched, monkeypatch, at):
    model = tiny(layers=SMALL)
    there = [device.array(each) for each in (somewhere(model), *batch())]
    expected = model.value_and_grad(*there)[0].get()
    before, count = model.buffers, len(launched.calls["launch"])
    launch, left = device.launch, [at % count]

    def interrupt(*arguments):
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        launch(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(device, "launch", interrupt)
        with pytest.raises(KeyboardInterrupt):
            model.value_and_grad(*there)
    same_buffers(model, before, "float32")
    model.load_state_dict(tiny(layers=SMALL).state_dict())
    assert model.value_and_grad(*there)[0].get() == expected


# --- launches --------------------------------------------------------------------------------


def test_later_evaluations_launch_the_same_and_read_write_and_allocate_nothing(device, launched):
    model = tiny()
    theta, x, y = (device.array(each) for each in (somewhere(model), *batch()))
    grad = device.empty((model.n,), "float32")
    seen = []
    for _ in range(3):
        launched.clear()
        value, _ = model.value_and_grad(theta, x, y, grad)
        address = value.__cuda_array_interface__["data"][0]
        seen.append(
            [
                (kernel, grid, *(None if each == address else each for each in arguments))
                for kernel, grid, arguments, _ in launched.calls["launch"]
            ]
        )
    assert len(seen[0]) > 20
    assert seen[0] == seen[1] == seen[2]
    assert launched.calls["read"] == launched.calls["write"] == []
    assert [shape for shape, *_ in launched.calls["empty"]] == [()]  # the value
    for evaluate, made in ((model.value, [()]), (model.predict, [(4, 3)])):
        arguments = (theta, x, y)[: 3 if evaluate == model.value else 2]
        evaluate(*arguments)
        launched.clear()
        evaluate(*arguments)
        assert [shape for shape, *_ in launched.calls["empty"]] == made
        assert launched.calls["read"] == launched.calls["write"] == []


def test_everything_is_launched_on_the_stream_that_is_given(device, launched):
    model = tiny()
    there = [device.array(each) for each in (somewhere(model), *batch())]
    with model.held():
        model.value_and_grad(*there, stream=7)
        model.commit()
    model.value(*there, stream=7)
    model.predict(*there[:2], stream=7)
    assert model.buffers["drop.counter"] == 1
    assert {call[-1] for call in launched.calls["launch"]} == {7}
    with pytest.raises(TypeError, match="`stream` must be None where no array is on a GPU"):
        model.predict(*(each.get() for each in there[:2]), stream=7)


def test_buffers_are_read_and_written_when_all_streams_are_done(device, launched, monkeypatch):
    model = tiny(layers=SMALL)
    model.value_and_grad(*(device.array(each) for each in (somewhere(model), *batch())), stream=7)
    asked = []
    for name in ("wait", "read", "write"):
        monkeypatch.setattr(device, name, _noting(asked, name, getattr(device, name)))
    state = model.state_dict()
    assert asked == ["wait", "read"]
    asked.clear()
    model.load_state_dict(state)
    assert asked == ["wait", "write", "wait"]


# By the stream of an evaluation: batches of so many, the last of which needs more memory, or the
# room of another plan.
LARGER = [(7, 4), (7, 4), (7, 8)]
LARGER_ELSEWHERE = [(7, 4), (8, 4), (8, 8)]
MANY = [(7, N) for N in range(40, 24, -1)]


@pytest.mark.parametrize(
    ("evaluations", "waits"),
    [
        (LARGER, 0),
        (LARGER_ELSEWHERE, 1),
        ([*MANY, (7, 2)], 0),
        ([*MANY, (8, 2)], 1),
        ([*MANY, (8, 2), (8, 3)], 1),
        ([*MANY, (8, 2), (8, 400)], 2),  # a plan, and the memory of all
    ],
)
def test_memory_that_other_streams_have_used_is_let_go_of_when_they_are_done(
    device, launched, monkeypatch, evaluations, waits
):
    model = tiny(layers=(nn.Flatten(), nn.Linear(3)))
    asked = []
    monkeypatch.setattr(device, "wait", _noting(asked, "wait", device.wait))
    for stream, N in evaluations:
        arrays = [device.array(each) for each in (somewhere(model), *batch(N))]
        asked.clear()
        model.value_and_grad(*arrays, stream=stream)
    assert len(asked) == waits


def _noting(asked, name, function):
    def call(*arguments):
        asked.append(name)
        return function(*arguments)

    return call


def test_programs_long_unused_are_dropped(device):
    model = tiny(layers=(nn.Flatten(), nn.Linear(3)))
    theta = device.array(model.init(0))
    for N in range(1, 40):
        model.predict(theta, device.array(batch(N)[0]))
    programs = model._on_gpu
    assert len(programs._plans) == 16
    assert programs._programs.keys() <= programs._plans.keys()


def test_networks_are_not_larger_than_kernels_can_count(device):
    model = nn.Model(nn.ReLU(), input_shape=(3,), loss="mse")
    place = places.GPU(describe(device.empty((1,))))
    with pytest.raises(ValueError, match="`x` must have fewer samples than 1073741824 on a GPU"):
        plan._Plan(model._graph, model.loss, model.dtype, place, "predict", 2**30)


# --- arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["theta", "x", "y", "grad"])
def test_arrays_must_all_be_on_the_gpu(device, name):
    model = tiny(layers=SMALL)
    on_cpu = {"theta": model.init(0), **dict(zip("xy", batch(), strict=True))}
    on_cpu["grad"] = np.empty(model.n, "float32")
    there = {each: device.array(value) for each, value in on_cpu.items()}
    for wrong in (on_cpu[name], on_cpu[name].tolist()):
        with pytest.raises(TypeError, match=f"`{name}` must be on the GPU"):
            model.value_and_grad(**(there | {name: wrong}))
    if name != "grad":
        with pytest.raises(TypeError, match="must be on the GPU"):
            model.value_and_grad(**(on_cpu | {name: there[name]}))


def test_arrays_of_the_wrong_shape_dtype_or_layout_are_refused(device):
    model = tiny(layers=SMALL)
    on_cpu = {"theta": model.init(0), **dict(zip("xy", batch(), strict=True))}
    there = {name: device.array(value) for name, value in on_cpu.items()}
    n = model.n
    wrong = [
        ("theta", np.zeros(3, "float32"), ValueError, "must be of shape"),
        ("theta", np.zeros(n, int), TypeError, "must be of float32 or float64, got int64"),
        ("x", np.zeros((4, 2, 6, 5), "float32"), ValueError, r"must be of shape \(N, 2, 6, 6\)"),
        ("x", np.zeros((4, *IMAGE)), TypeError, "must be of float32, as the model is, got float64"),
        ("x", np.zeros((4, *IMAGE), "float16"), TypeError, "must be of float32, .* got float16"),
        ("y", np.zeros(3, int), ValueError, r"must be of shape \(4,\)"),
        ("y", np.zeros(4), TypeError, "must be of an integer dtype"),
        ("grad", np.zeros(n), TypeError, "must be an array of float32, as `theta` is, got float64"),
        ("grad", np.zeros(n + 1, "float32"), ValueError, "must be of shape"),
    ]
    for name, value, error, message in wrong:
        with pytest.raises(error, match=f"`{name}` {message}"):
            model.value_and_grad(**(there | {name: device.array(value)}))
    twice = device.array(np.repeat(on_cpu["theta"], 2))
    with pytest.raises(ValueError, match="`theta` must be C-contiguous on a GPU"):
        model.value_and_grad(**(there | {"theta": twice[::2]}))
    with pytest.raises(ValueError, match="`grad` must not overlap `theta`"):
        model.value_and_grad(**there, grad=there["theta"])
    model.value_and_grad(**there)


def test_parameters_by_name_are_of_vectors_on_the_cpu(device):
    model = tiny(layers=SMALL)
    for evaluate in (model.parameters, model.state_dict):
        with pytest.raises(TypeError, match="`theta` must be a NumPy array, got"):
            evaluate(device.array(model.init(0)))


def test_minibatches_are_not_made_of_arrays_of_a_gpu(device):
    x, y = (device.array(each) for each in batch())
    for arrays in ((x, y), (x,), ([(x, y)],)):
        with pytest.raises(TypeError, match="must be on the CPU, got an array of a GPU"):
            next(iter(fastopt.Minibatches(*arrays)))
