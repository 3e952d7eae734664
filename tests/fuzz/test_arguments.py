"""Wrong arguments of all but `minimize` and its kin: kernels, losses, networks, training."""

import math

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastopt
from fastopt import kernels, losses, nn, schedules
from fastopt.training import optimizers
from tests.fuzz.promise import keep_promise, mine, odd_values, replaced

FEW = settings(max_examples=100, suppress_health_check=list(HealthCheck))


def numbers(*shape, dtype=np.float32):
    """What makes an array."""

    def make():
        size = int(np.prod(shape))
        return (np.arange(size, dtype=dtype) / max(1, size) - 0.5).reshape(shape).astype(dtype)

    return make


def integers(*entries, dtype=np.int64):
    return lambda: np.array(entries, dtype)


def the(value):
    return lambda: value


IMAGE = numbers(2, 4, 5, 6)
CONV = {"stride": the(1), "padding": the(1), "dilation": the(1), "groups": the(2)}
POOL = {"kernel_size": the(2), "stride": the(2), "padding": the(0), "ceil_mode": the(False)}
LOSS = {"prediction": numbers(3, 2), "target": numbers(3, 2), "reduction": the("mean")}
LOGITS = {"logits": numbers(3, 2), "reduction": the("mean")}

# Each with arguments that it takes.
KERNELS = {
    "relu": {"x": IMAGE},
    "relu_backward": {"grad": IMAGE, "y": IMAGE},
    "leaky_relu": {"x": IMAGE, "slope": the(0.1)},
    "leaky_relu_backward": {"grad": IMAGE, "y": IMAGE, "slope": the(0.1)},
    "sigmoid": {"x": IMAGE},
    "sigmoid_backward": {"grad": IMAGE, "y": IMAGE},
    "tanh": {"x": IMAGE},
    "tanh_backward": {"grad": IMAGE, "y": IMAGE},
    "softmax": {"x": numbers(3, 4)},
    "softmax_backward": {"grad": numbers(3, 4), "y": numbers(3, 4)},
    "add": {"a": IMAGE, "b": IMAGE},
    "add_relu": {"a": IMAGE, "b": IMAGE},
    "concatenate": {"arrays": lambda: [IMAGE(), numbers(2, 1, 5, 6)()]},
    "split": {"x": IMAGE, "channels": lambda: [1, 3]},
    "batchnorm_forward": {
        "x": IMAGE,
        **dict.fromkeys(("weight", "bias", "running_mean", "running_var"), numbers(4)),
        "training": the(True),
        "momentum": the(0.1),
        "eps": the(1e-5),
        "relu": the(False),
    },
    "batchnorm_backward": {
        "grad": IMAGE,
        "x": IMAGE,
        "weight": numbers(4),
        "saved": lambda: kernels.batchnorm_forward(IMAGE())[1],
        "eps": the(1e-5),
    },
    "conv2d": {"x": IMAGE, "weight": numbers(6, 2, 3, 3), "bias": numbers(6), **CONV},
    "conv2d_backward_data": {
        "grad": numbers(2, 6, 5, 6),
        "weight": numbers(6, 2, 3, 3),
        "input_shape": the((2, 4, 5, 6)),
        **CONV,
    },
    "conv2d_backward_weight": {
        "x": IMAGE,
        "grad": numbers(2, 6, 5, 6),
        "weight_shape": the((6, 2, 3, 3)),
        **CONV,
    },
    "conv2d_backward_bias": {"grad": IMAGE},
    "conv2d_workspace": {
        "input_shape": the((2, 4, 5, 6)),
        "weight_shape": the((6, 2, 3, 3)),
        **CONV,
        "dtype": the(np.float32),
    },
    "conv1d": {"x": numbers(2, 4, 6), "weight": numbers(6, 2, 3), "bias": numbers(6), **CONV},
    "conv1d_backward_data": {
        "grad": numbers(2, 6, 6),
        "weight": numbers(6, 2, 3),
        "input_shape": the((2, 4, 6)),
        **CONV,
    },
    "conv1d_backward_weight": {
        "x": numbers(2, 4, 6),
        "grad": numbers(2, 6, 6),
        "weight_shape": the((6, 2, 3)),
        **CONV,
    },
    "conv1d_backward_bias": {"grad": numbers(2, 4, 6)},
    "dropout": {"x": IMAGE, "p": the(0.5), "seed": the(1), "counter": the(0)},
    "linear": {"x": numbers(3, 4), "weight": numbers(2, 4), "bias": numbers(2)},
    "linear_backward_data": {"grad": numbers(3, 2), "weight": numbers(2, 4)},
    "linear_backward_weight": {"x": numbers(3, 4), "grad": numbers(3, 2)},
    "linear_backward_bias": {"grad": numbers(3, 2)},
    "l1_loss": LOSS,
    "mse_loss": LOSS,
    "smooth_l1_loss": LOSS | {"beta": the(1.0)},
    "binary_cross_entropy": LOGITS | {"target": lambda: numbers(3, 2)() + np.float32(0.5)},
    "multilabel": LOGITS | {"target": lambda: np.ones((3, 2), np.float32)},
    "softmax_cross_entropy": LOGITS
    | {
        "labels": integers(0, 1, 1),
        "label_smoothing": the(0.1),
        "weight": lambda: np.ones(2, np.float32),
    },
    "max_pool2d": {"x": IMAGE, **POOL},
    "max_pool2d_backward": {
        "grad": numbers(2, 4, 2, 3),
        "where": lambda: kernels.max_pool2d(IMAGE(), 2)[1],
        "input_shape": the((2, 4, 5, 6)),
    },
    "avg_pool2d": {"x": IMAGE, **POOL, "count_include_pad": the(True)},
    "avg_pool2d_backward": {
        "grad": numbers(2, 4, 2, 3),
        "input_shape": the((2, 4, 5, 6)),
        **POOL,
        "count_include_pad": the(True),
    },
    "global_avg_pool2d": {"x": IMAGE},
    "global_avg_pool2d_backward": {"grad": numbers(2, 4), "input_shape": the((2, 4, 5, 6))},
}
ALL = {name for name in kernels.__all__ if not name.endswith("num_threads")}


def outs():
    return st.one_of(
        st.sampled_from([(2, 4, 5, 6), (2, 6, 5, 6), (2, 4, 2, 3), (3, 2), (3, 4), (6,)]).map(
            lambda shape: np.empty(shape, np.float32)
        ),
        odd_values(),
    )


@st.composite
def calls_of_kernels(draw):
    name = draw(st.sampled_from(sorted(KERNELS)))
    valid = KERNELS[name]
    odd = {"stream": odd_values()}
    if name not in ("split", "conv2d_workspace"):
        odd["out"] = outs()
    return name, draw(replaced(valid, odd))


def test_there_is_a_row_for_every_kernel():
    assert KERNELS.keys() == ALL


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_rows_are_what_a_kernel_takes(name):
    getattr(kernels, name)(**{key: make() for key, make in KERNELS[name].items()})


@FEW
@given(calls_of_kernels())
def test_kernels_answer_or_name_what_is_wrong(call):
    name, arguments = call
    written = ("out", "running_mean", "running_var", "saved", "workspace", "where")
    keep_promise(getattr(kernels, name), arguments, written)


# --- losses of linear models ---

X = numbers(4, 2, dtype=np.float64)
LINEAR = {
    name: {"X": X, "y": y, "sample_weight": lambda: np.ones(4), "l2": the(0.1)} | more
    for name, y, more in (
        ("squared", numbers(4, dtype=np.float64), {}),
        ("absolute", numbers(4, dtype=np.float64), {}),
        ("huber", numbers(4, dtype=np.float64), {"delta": the(1.0)}),
        ("logistic", integers(0, 1, 1, 0), {}),
        ("softmax", integers(0, 1, 2, 0), {"n_classes": the(3)}),
        ("multilabel", lambda: np.eye(4)[:, :2].copy(), {}),
        ("poisson", integers(0, 1, 2, 0), {}),
    )
}


def matrices():
    def broken(attribute, entry):
        matrix = scipy.sparse.csr_array(X())
        getattr(matrix, attribute)[-1] = entry
        return matrix

    return st.one_of(
        st.builds(
            broken, st.sampled_from(["indices", "indptr", "data"]), st.sampled_from([-1, 3, 2**30])
        ),
        st.sampled_from(["csr", "csc", "coo", "bsr", "dok", "lil", "dia"]).map(
            lambda kind: scipy.sparse.csr_array(X()).asformat(kind)
        ),
        odd_values(),
    )


@st.composite
def calls_of_losses(draw):
    name = draw(st.sampled_from(sorted(LINEAR)))
    odd = {"X": matrices(), "intercept": st.booleans()}
    return name, draw(replaced(LINEAR[name], odd)), draw(odd_values())


@FEW
@given(calls_of_losses())
def test_losses_answer_or_name_what_is_wrong(call):
    name, arguments, theta = call
    loss = keep_promise(getattr(losses, name), arguments)
    if loss is None:
        return
    for function in (loss.coef, loss.intercept):
        keep_promise(function, {"theta": theta})
    keep_promise(loss.decision, {"theta": theta, "X": arguments["X"]})
    keep_promise(loss.decision, {"theta": loss.x0, "X": theta})
    gradient = np.full(loss.n + 2, -7.0)
    value = loss.fun(loss.x0, gradient[1:-1], *loss.args)
    assert np.isfinite(value)
    assert (gradient[0], gradient[-1]) == (-7.0, -7.0)


# --- networks ---

LAYERS = {
    "Linear": {"out_features": the(3), "bias": the(True)},
    "Conv2d": {"out_channels": the(3), "kernel_size": the(3), "padding": the(1)},
    "BatchNorm2d": {"momentum": the(0.1), "eps": the(1e-5)},
    "BatchNorm1d": {"momentum": the(0.1), "eps": the(1e-5)},
    "MaxPool2d": {"kernel_size": the(2)},
    "AvgPool2d": {"kernel_size": the(2), "stride": the(1)},
    "GlobalAvgPool2d": {},
    "Dropout": {"p": the(0.25)},
    "LeakyReLU": {"slope": the(0.1)},
    "ReLU": {},
    "Flatten": {},
}
SHAPES = [(4,), (3, 6, 6), (2, 5), 4]


@st.composite
def calls_of_layers(draw):
    name = draw(st.sampled_from(sorted(LAYERS)))
    odd = {"name": odd_values()}
    arguments = draw(replaced(LAYERS[name], odd))
    model = draw(
        replaced(
            {"input_shape": the(draw(st.sampled_from(SHAPES))), "dtype": the("float64")},
            {"loss": st.sampled_from(["mse", "l1", "multilabel"]), "name": odd_values()},
        )
    )
    return name, arguments, model


@FEW
@given(calls_of_layers(), st.data())
def test_networks_answer_or_name_what_is_wrong(call, data):
    name, arguments, given_to_model = call
    layer = keep_promise(getattr(nn, name), arguments)
    if layer is None:
        return
    given_to_model.setdefault("loss", "mse")
    model = keep_promise(lambda **given: nn.Model(layer, **given), given_to_model)
    if model is None:
        return
    sizes = model.n, math.prod(model.input_shape), math.prod(model.output_shape)
    if max(sizes) > 10**5:
        return
    theta = model.init(0)
    valid = {
        "theta": theta.copy,
        "x": numbers(2, *model.input_shape, dtype=model.dtype),
        "y": numbers(2, *model.output_shape, dtype=model.dtype),
    }
    arguments = data.draw(replaced(valid, {"grad": st.just(np.empty_like(theta))}))
    found = keep_promise(model.value_and_grad, arguments, written=["grad"])
    if found is not None:
        assert found[1].shape == (model.n,)
    arguments = data.draw(replaced({name: valid[name] for name in ("theta", "x")}))
    keep_promise(model.predict, arguments)
    keep_promise(model.init, {"seed": data.draw(odd_values())})
    keep_promise(model.load_state_dict, data.draw(replaced({"state": model.state_dict})))


# --- schedules, optimizers, data ---

SCHEDULES = {
    "constant": {"value": the(0.5)},
    "linear": {"steps": the(5), "start": the(1.0), "end": the(0.0)},
    "warmup": {"steps": the(5), "start": the(0.1)},
    "polynomial": {"steps": the(5), "power": the(2.0)},
    "cosine": {"steps": the(5)},
    "cosine_restarts": {"steps": the(5), "growth": the(2)},
    "one_cycle": {"steps": the(5), "rise": the(2), "shape": the("cosine")},
    "step": {"gamma": the(0.5), "every": the(2)},
    "exponential": {"gamma": the(0.5), "every": the(2)},
    "inverse_sqrt": {"steps": the(5)},
    "piecewise": {"boundaries": lambda: [2, 4], "values": lambda: [1.0, 0.5, 0.25]},
    "Plateau": {"factor": the(0.5), "patience": the(2), "threshold": the(0.1), "cooldown": the(1)},
}


@st.composite
def calls_of_schedules(draw):
    name = draw(st.sampled_from(sorted(SCHEDULES)))
    return name, draw(replaced(SCHEDULES[name]))


@FEW
@given(calls_of_schedules(), odd_values(), st.integers(1, 2**53))
def test_schedules_answer_or_name_what_is_wrong(call, value, t):
    name, arguments = call
    schedule = keep_promise(getattr(schedules, name), arguments)
    if schedule is None:
        return
    if name == "Plateau":
        keep_promise(schedule.report, {"metric": value})
        keep_promise(schedule.load_state_dict, {"state": value})
        return
    assert not math.isnan(schedule(t))
    for call in (schedule, schedule.then):
        keep_promise(lambda value, call=call: call(value), {"value": value})
    keep_promise(schedules.Schedule.from_table, {"table": value})


OPTIMIZERS = (*optimizers.__all__, "LBFGS", "NewtonCG")


@st.composite
def calls_of_optimizers(draw):
    name = draw(st.sampled_from(OPTIMIZERS))
    odd = {"lr": st.floats(), "flavor": st.sampled_from(["torch", "keras", "optax"])}
    odd |= dict.fromkeys(("weight_decay", "schedule", "clip_norm", "groups"), odd_values())
    odd |= dict.fromkeys(("nonfinite", "capturable", "eps", "beta1"), odd_values())
    if name in ("LBFGS", "NewtonCG"):
        odd = dict.fromkeys(("gtol", "c1", "c2", "maxls", "line_search"), odd_values())
        odd["deterministic"] = odd_values()
    return name, draw(replaced({"theta": numbers(3, dtype=np.float64)}, odd))


@FEW
@given(calls_of_optimizers(), st.data())
def test_optimizers_answer_or_name_what_is_wrong(call, data):
    name, arguments = call

    optimizer = keep_promise(getattr(fastopt, name), arguments)
    if optimizer is None:
        return
    if name in ("LBFGS", "NewtonCG"):
        theta = optimizer.theta
        answer = data.draw(
            replaced({"loss": the(1.0), "grad": lambda: np.ones(theta.size)}, None)
        ).values()
        step = {"closure": lambda: tuple(answer), "iterations": data.draw(st.just(1))}
        keep_promise(optimizer.step, data.draw(replaced({k: the(v) for k, v in step.items()})))
    else:
        grad = data.draw(replaced({"grad": lambda: np.ones_like(optimizer.theta)}))
        keep_promise(optimizer.step, grad, own=[FloatingPointError])
    keep_promise(optimizer.load_state_dict, data.draw(replaced({"state": optimizer.state_dict})))


@FEW
@given(
    replaced(
        {
            "a": numbers(5, 2),
            "b": integers(1, 2, 3, 4, 5),
            "batch_size": the(2),
            "seed": the(3),
            "shuffle": the(True),
            "drop_last": the(False),
        },
        {"a": matrices()},
    ),
    odd_values(),
    odd_values(),
)
def test_data_answer_or_name_what_is_wrong(arguments, value, other):
    def make(a, b, **given):
        return fastopt.Minibatches(a, b, **given)

    data = keep_promise(make, arguments)
    if data is None:
        return
    if data.n_samples < 100:
        rows = [batch[1] for batch in data]
        assert data.drop_last or sum(map(len, rows)) == data.n_samples
    keep_promise(data.seek, {"epoch": value, "batch": other})
    keep_promise(data.load_state_dict, {"state": value})


@FEW
@given(replaced({"params": lambda: {"w": numbers(2, 3)(), "b": [numbers(2)()]}}), odd_values())
def test_flattening_answers_or_names_what_is_wrong(arguments, value):
    keep_promise(lambda params: fastopt.flatten(params, value), arguments)
    keep_promise(lambda value: fastopt.flatten([value, mine]), {"value": value})
    flat = keep_promise(fastopt.flatten, arguments)
    if flat is not None:
        assert np.isin(flat.vector.dtype, [np.float32, np.float64])
