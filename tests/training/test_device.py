"""Optimizers whose parameters are on a GPU: the CPU's steps, none of which waits."""

import copy

import numpy as np
import pytest

pytest.importorskip("numba_cuda")

import fastopt
from fastopt import schedules
from fastopt.device import driver
from tests.training.test_optimizers import ALL, CLASSES, DTYPES, FORMS, make, problem

N = 23
GROUPS = [(slice(2, 7), {"lr": 0.05}), (slice(11, 12), {"lr": 0.25, "weight_decay": 0.1})]


def vectors(opt):
    """`theta` and the slots, on the CPU, wherever they are."""
    arrays = [opt.theta, *opt.slots.values()]
    return np.array([each if isinstance(each, np.ndarray) else each.get() for each in arrays])


def assert_same_steps(device, make_one, dtype=np.float64, n=N, steps=6, ulps=32):
    """An optimizer on the CPU and one on a device, made in the same way, step alike."""
    theta, grads = problem(n, dtype, steps)
    there = make_one(device.array(theta))
    here = make_one(theta)
    for grad in grads:
        here.step(grad)
        there.step(device.array(grad))
        expected = vectors(here)
        scale = np.abs(expected).max(axis=1, keepdims=True)
        assert (np.abs(vectors(there) - expected) <= ulps * np.finfo(dtype).eps * scale).all()
    assert there.t == here.t == steps
    return there


class Watched:
    """A device that tells what was asked of it, and can do its launches again."""

    def __init__(self, device):
        self._device = device
        self.launches = []

    def launch(self, kernel, grid, arguments):
        self.launches.append((kernel, grid, arguments))
        self._device.launch(kernel, grid, arguments)

    def read(self, address, size):
        raise AssertionError("it waits for the device")

    def write(self, address, data):
        raise AssertionError("it writes to the device")

    def replay(self):
        for launch in self.launches:
            self._device.launch(*launch)


# --- steps ----------------------------------------------------------------------------------------


@DTYPES
@FORMS
def test_steps_are_those_of_the_cpu(name, flavor, dtype, device):
    assert_same_steps(device, lambda theta: make(name, theta, flavor=flavor), dtype, steps=3)


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("flavor", ["textbook", "keras"])
@pytest.mark.parametrize("rule", ["gd", "adam", "adamw"])
def test_all_that_shapes_a_step_does_so_on_a_device(rule, flavor, capturable, device):
    def make_one(theta):
        return CLASSES[rule](
            theta,
            weight_decay=0.05,
            flavor=flavor,
            clip_norm=3.0,
            clip_value=0.75,
            schedule=schedules.warmup(3),
            groups=GROUPS,
            **({} if isinstance(theta, np.ndarray) else {"capturable": capturable}),
        )

    assert_same_steps(device, make_one)


@pytest.mark.parametrize("capturable", [False, True])
def test_vector_that_is_not_aligned_is_stepped(capturable, device):
    theta, (grad, *_) = problem(N)
    there = fastopt.Adam(device.array(theta)[1:], capturable=capturable)
    there.step(device.array(grad)[1:])
    here = fastopt.Adam(theta[1:])
    here.step(grad[1:])
    np.testing.assert_allclose(vectors(there), vectors(here), rtol=1e-14)


@pytest.mark.parametrize("capturable", [False, True])
def test_hyperparameters_that_are_set_reach_the_next_step(capturable, device):
    opt = fastopt.SGD(
        device.array(np.zeros(6)),
        lr=1.0,
        groups=[(slice(0, 2), {"lr": 0.5})],
        capturable=capturable,
    )
    grad = device.array(np.ones(6))
    opt.step(grad)
    opt.lr = 0.25
    opt.weight_decay = 0.5
    opt.groups[0]["lr"] = 2.0
    opt.step(grad)
    # -1 - 0.25*(1 - 0.5*1), and -0.5 - 2*(1 - 0.5*0.5)
    assert opt.theta.get().tolist() == [-2.0, -2.0, -1.125, -1.125, -1.125, -1.125]


def test_arrays_are_the_ones_that_were_given_and_of_their_library(device):
    theta = device.array(np.zeros(5, np.float32))
    opt = fastopt.Adam(theta)
    assert opt.theta is theta
    assert {*opt.slots} == {"mean", "square"}
    for slot in opt.slots.values():
        assert type(slot) is type(theta)
        assert slot.shape == (5,)
        assert slot.dtype == np.float32
        assert not slot.get().any()
    assert repr(opt).startswith("<Adam: 5 parameters of float32, t=0, lr=0.001")


@pytest.mark.parametrize("capturable", [False, True])
def test_gradient_is_not_written_to_and_nothing_beside_theta_is(capturable, device):
    whole = device.array(np.ones(12))
    grad = device.array(np.full(9, 2.0))
    opt = fastopt.Momentum(whole[1:10], lr=0.5, clip_norm=1.0, capturable=capturable)
    opt.step(grad)
    assert (whole.get()[[0, 10, 11]] == 1).all()
    assert (grad.get() == 2).all()


# --- what never waits -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"clip_norm": 1.0, "groups": GROUPS, "schedule": schedules.linear(9)},
        {"nonfinite": "skip"},
        {"capturable": True, "clip_norm": 1.0, "schedule": schedules.linear(9)},
    ],
)
def test_no_step_waits_for_the_device_or_makes_an_array(settings, device, monkeypatch):
    theta, grads = problem(N)
    opt = fastopt.Adam(device.array(theta), **settings)
    grads = [device.array(grad) for grad in grads]
    opt.step(grads[0])
    monkeypatch.setattr("fastopt.device.arrays.DeviceArray.empty", None)
    with driver.use(Watched(driver.current())):
        for grad in grads[1:]:
            opt.step(grad)
    assert opt.t == len(grads)


def test_launches_are_few(device):
    theta = np.zeros(N)
    for settings, count in (
        ({}, 1),
        ({"clip_norm": 1.0}, 3),
        ({"capturable": True}, 2),
        ({"nonfinite": "skip"}, 4),
        ({"groups": GROUPS}, 5),
    ):
        opt = fastopt.Adam(device.array(theta), **settings)
        watched = Watched(driver.current())
        with driver.use(watched):
            opt.step(device.array(theta))
        assert len(watched.launches) == count


def test_launches_of_a_capturable_step_can_be_repeated(device):
    theta, _ = problem(N)

    def make_one(theta, **settings):
        return fastopt.Nadam(
            theta, lr=0.1, clip_norm=1.0, schedule=schedules.cosine(9), groups=GROUPS, **settings
        )

    there = make_one(device.array(theta), capturable=True)
    here = make_one(theta.copy())
    grad = device.array(theta)
    there.step(grad)
    here.step(theta)
    watched = Watched(driver.current())
    with driver.use(watched):
        there.step(grad)
    here.step(theta)
    for lr in (0.1, 0.2):
        there.lr = here.lr = lr
        watched.replay()
        here.step(theta)
    assert there.t == here.t == 4
    np.testing.assert_allclose(vectors(there), vectors(here), rtol=1e-13)


def test_numbers_of_capturable_steps_are_read_and_set_when_all_streams_are_done(device):
    theta, _ = problem(N)
    opt = fastopt.Adam(device.array(theta), capturable=True)
    opt.step(device.array(theta), stream=0)
    asked = Asked(driver.current())
    with driver.use(asked):
        assert opt.t == 1
        opt.lr = 0.5
    assert asked.names == ["wait", "read", "wait", "write", "wait"]


class Asked:
    """A device that tells what is asked of it."""

    def __init__(self, device):
        self._device = device
        self.names = []

    def __getattr__(self, name):
        self.names.append(name)
        return getattr(self._device, name)


@pytest.mark.gpu
def test_cuda_graph_repeats_a_step_on_another_stream():
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("there is no GPU")
    theta, _ = problem(1000, np.float32)
    here, other = fastopt.Adam(theta.copy()), cupy.cuda.Stream(non_blocking=True)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        there = fastopt.Adam(cupy.asarray(theta), capturable=True)
        grad = cupy.asarray(theta)
        there.step(grad)
        stream.begin_capture()
        there.step(grad)
        graph = stream.end_capture()
        stream.synchronize()
    for _ in range(3):
        graph.launch(other)
    there.lr = 0.01
    graph.launch(other)
    assert there.t == 5
    for step in range(5):
        here.lr = 0.01 if step == 4 else 0.001
        here.step(theta)
    np.testing.assert_allclose(vectors(there), vectors(here), rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_cuda_graph_repeats_a_step():
    cupy = pytest.importorskip("cupy")
    if not cupy.cuda.is_available():
        pytest.skip("there is no GPU")
    theta, _ = problem(1000, np.float32)
    here = fastopt.Adam(theta.copy(), clip_norm=1.0, schedule=schedules.cosine(9))
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        there = fastopt.Adam(
            cupy.asarray(theta), clip_norm=1.0, schedule=schedules.cosine(9), capturable=True
        )
        grad = cupy.asarray(theta)
        there.step(grad)
        stream.begin_capture()
        there.step(grad)
        graph = stream.end_capture()
        for _ in range(3):
            graph.launch(stream)
        stream.synchronize()
    for _ in range(4):
        here.step(theta)
    assert there.t == 4
    np.testing.assert_allclose(vectors(there), vectors(here), rtol=1e-5, atol=1e-6)


# --- gradients that are not finite ----------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_gradient_that_is_not_finite(bad, dtype, device):
    theta, (good, *_) = problem(N, dtype)
    grad = good.copy()
    grad[7] = bad
    there = device.array(theta)

    opt = fastopt.Adam(there, nonfinite="skip", clip_norm=1.0)
    opt.step(device.array(grad))
    assert (opt.t, opt.skipped) == (0, 1)
    assert (vectors(opt) == [theta, 0 * theta, 0 * theta]).all()
    opt.step(device.array(good))
    assert (opt.t, opt.skipped) == (1, 1)

    here = fastopt.Adam(theta.copy(), clip_norm=1.0)
    here.step(good)
    np.testing.assert_allclose(vectors(opt), vectors(here), rtol=16 * np.finfo(dtype).eps)

    before = there.get()
    opt = fastopt.Adam(there, nonfinite="raise")
    with pytest.raises(FloatingPointError, match=r"`grad` must be finite, got .* at index 7"):
        opt.step(device.array(grad))
    assert (there.get() == before).all()
    assert opt.t == 0
    opt.step(device.array(good))
    assert opt.t == 1

    opt = fastopt.Adam(there)
    opt.step(device.array(grad))
    assert np.flatnonzero(~np.isfinite(there.get())).tolist() == [7]


def test_beta_that_is_1_in_single_precision_is_no_exception(device):
    """The CPU's compiled code divides by zero."""
    theta = device.array(np.ones(3, np.float32))
    fastopt.Adam(theta, beta2=1 - 1e-12, beta1=1 - 1e-12, flavor="keras").step(theta)
    assert np.isnan(theta.get()).all()


# --- saving ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"nonfinite": "skip"}, {"capturable": True}])
def test_state_goes_from_a_device_to_the_cpu_and_back(settings, device):
    theta, grads = problem(N)
    opt = fastopt.Adam(device.array(theta), lr=0.1, groups=GROUPS, **settings)
    opt.step(device.array(grads[0]))
    state = opt.state_dict()
    assert all(not hasattr(each, "__cuda_array_interface__") for each in state.values())
    assert state["mean"].shape == (N,)

    here = fastopt.Adam(opt.theta.get(), groups=GROUPS)
    here.load_state_dict(state)
    assert (here.t, here.lr) == (1, 0.1)
    here.step(grads[1])
    again = fastopt.Adam(device.array(opt.theta.get()), groups=GROUPS, **settings)
    again.load_state_dict(state)
    for each in (opt, again):
        each.step(device.array(grads[1]))
        np.testing.assert_allclose(vectors(each), vectors(here), rtol=1e-13)
    again.load_state_dict({**here.state_dict(), "t": 41, "skipped": 5})
    assert (again.t, again.skipped) == (41, 5)


@ALL
def test_state_of_every_optimizer_can_be_loaded(optimizer, device):
    theta, grads = problem(N, np.float32)
    opt, other = (optimizer(device.array(theta)) for _ in range(2))
    opt.step(device.array(grads[0]))
    other.load_state_dict(opt.state_dict())
    assert (vectors(other)[1:] == vectors(opt)[1:]).all()


def test_copy_shares_theta_and_has_slots_of_its_own(device):
    theta = device.array(np.ones(4))
    opt = fastopt.Momentum(theta, lr=0.5)
    opt.step(device.array(np.ones(4)))
    other = copy.copy(opt)
    other.step(device.array(np.ones(4)))
    assert other.theta is theta
    assert (other.t, opt.t) == (2, 1)
    assert (opt.slots["velocity"].get() == 0.5).all()


# --- wrong arguments ------------------------------------------------------------------------------


def test_mix_of_cpu_and_gpu_is_refused(device):
    theta = np.zeros(4)
    with pytest.raises(TypeError, match=r"`grad` must be a contiguous array on the GPU .*ndarray"):
        fastopt.Adam(device.array(theta)).step(theta)
    with pytest.raises(TypeError, match="`grad` must be a contiguous array of shape"):
        fastopt.Adam(theta).step(device.array(theta))
    with pytest.raises(TypeError, match="`stream` must be None where `theta` is on the CPU"):
        fastopt.Adam(theta).step(theta, stream=0)


@pytest.mark.parametrize(
    ("grad", "error", "message"),
    [
        (np.zeros(4, np.float32), TypeError, "got dtype float32"),
        (np.zeros(5), ValueError, r"got shape \(5,\)"),
        (np.zeros((4, 1)), ValueError, r"got shape \(4, 1\)"),
    ],
)
def test_gradient_that_does_not_fit_is_refused(grad, error, message, device):
    opt = fastopt.Adam(device.array(np.zeros(4)))
    with pytest.raises(error, match=message):
        opt.step(device.array(grad))
    assert opt.t == 0


def test_gradient_with_gaps_is_refused(device):
    opt = fastopt.Adam(device.array(np.zeros(4)))
    with pytest.raises(ValueError, match=r"got strides \(16,\)"):
        opt.step(device.array(np.zeros(8))[::2])


@pytest.mark.parametrize(
    ("theta", "error", "message"),
    [
        (np.zeros(4, np.int64), TypeError, "`theta` must be an array of float32 or float64"),
        (np.zeros(4, np.float16), TypeError, "float32 or float64, got dtype float16"),
        (np.zeros((2, 2)), ValueError, "`theta` must be one-dimensional"),
        (np.zeros(0), ValueError, "`theta` must be one-dimensional with at least one element"),
    ],
)
def test_theta_that_cannot_be_stepped_is_refused(theta, error, message, device):
    with pytest.raises(error, match=message):
        fastopt.Adam(device.array(theta))


def test_settings_that_contradict_each_other_are_refused(device):
    theta = np.zeros(4)
    with pytest.raises(ValueError, match="`theta` must be contiguous"):
        fastopt.Adam(device.array(theta)[::2])
    with pytest.raises(ValueError, match="`capturable` must be False where `theta` is on the CPU"):
        fastopt.Adam(theta, capturable=True)
    with pytest.raises(ValueError, match="`nonfinite` must be 'propagate' or 'skip'"):
        fastopt.Adam(device.array(theta), capturable=True, nonfinite="raise")
    with pytest.raises(TypeError, match="`capturable` must be True or False"):
        fastopt.Adam(device.array(theta), capturable="yes")


@pytest.mark.parametrize("optimizer", [fastopt.LBFGS, fastopt.NewtonCG])
def test_optimizers_that_evaluate_themselves_are_for_the_cpu(optimizer, device):
    with pytest.raises(TypeError, match=r"`theta` must be .* on the CPU.* first-order"):
        optimizer(device.array(np.zeros(4)))
