"""Optimizers of training loops: the rules' bits, and what surrounds them."""

import copy
import inspect
import pickle
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import fastopt
from fastopt import schedules
from fastopt.rules.steps import njit_step
from fastopt.rules.table import FLAVORS, RULES, find_rule
from fastopt.training import optimizer as optimizer_base
from fastopt.training import optimizers
from tests.rules import golden
from tests.rules.ours import slot, translate

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
CLASSES = {getattr(optimizers, name).rule: getattr(optimizers, name) for name in optimizers.__all__}
ALL = pytest.mark.parametrize("optimizer", CLASSES.values(), ids=lambda each: each.__name__)
FORMS = pytest.mark.parametrize(
    ("name", "flavor"), [(name, flavor) for name in FLAVORS for flavor in FLAVORS[name]]
)
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def make(rule, theta, **arguments):
    """The class's object for a rule of the table."""
    if rule.startswith("rmsprop-"):
        momentum = arguments.pop("momentum", RULES[rule].hyperparameters[2].default)
        centered = rule == "rmsprop-centered"
        return fastopt.RMSProp(theta, momentum=momentum, centered=centered, **arguments)
    return CLASSES[rule](theta, **arguments)


def problem(n, dtype=np.float64, steps=5):
    generator = np.random.default_rng(5)
    return generator.normal(size=n).astype(dtype), generator.normal(size=(steps, n)).astype(dtype)


def run(opt, grads):
    for grad in grads:
        opt.step(grad)
    return np.vstack([opt.theta, *opt.slots.values()])


def test_every_rule_has_a_class_and_every_class_is_public():
    assert {*CLASSES} == {name for name in RULES if "-" not in name}
    assert all(getattr(fastopt, each.__name__) is each for each in CLASSES.values())


@ALL
def test_arguments_are_the_hyperparameters_of_all_flavors(optimizer):
    parameters = inspect.signature(optimizer).parameters
    extra = {"theta", "weight_decay", *optimizer_base.Settings.__annotations__}
    if optimizer is fastopt.RMSProp:
        extra |= {"centered", "momentum"}
    hyperparameters = {
        each.name for rule in FLAVORS[optimizer.rule].values() for each in rule.hyperparameters
    }
    assert {*parameters} == hyperparameters | extra
    assert all(isinstance(each.annotation, str) for each in parameters.values())
    # What may be given by its place is the textbook's, in the table's order.
    by_place = [
        name for name, each in parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD
    ]
    assert by_place == ["theta", *(each.name for each in RULES[optimizer.rule].hyperparameters)]


@DTYPES
@FORMS
def test_step_has_the_bits_of_the_step_in_njit_code(name, flavor, dtype):
    rule = find_rule(name, flavor)
    theta, grads = problem(1003, dtype)
    x, slots = theta.copy(), np.zeros((rule.slots, theta.size), dtype)
    for t, grad in enumerate(grads, start=1):
        njit_step(name, flavor)(x, grad, slots, rule.defaults, t)
    assert np.array_equal(run(make(name, theta, flavor=flavor), grads), np.vstack([x, slots]))


CASES = [(case, ours) for case in golden.cases() if (ours := translate(case)) is not None]


@pytest.mark.parametrize(("case", "ours"), CASES, ids=[str(case) for case, _ in CASES])
def test_follows_its_framework_with_weight_decay(case, ours):
    theta = golden.start(case.dtype)
    if ours.rule.flavor == "optax" and ours.weight_decay:
        pytest.skip("optax's users chain it themselves")
    decay = {"weight_decay": ours.weight_decay} if ours.weight_decay else {}
    opt = make(ours.rule.name, theta, flavor=case.peer, **ours.hyperparameters, **decay)
    for t, grad in enumerate(golden.gradients(case.dtype), start=1):
        opt.step(grad)
        if t in golden.CHECKPOINTS:
            recorded = case.checkpoints[t]
            compared = {"theta": (theta, recorded.parameters)}
            for name, values in recorded.slots.items():
                known, sign = slot(case, name)
                if known is not None:
                    compared[known] = (sign * opt.slots[known], values)
            for name, (found, expected) in compared.items():
                off = np.linalg.norm(found - expected)
                assert off <= TOLERANCE[case.dtype] * np.linalg.norm(expected), (t, name)


@ALL
def test_a_step_changes_theta_and_slots_alone(optimizer):
    theta, (grad, *_) = problem(9)
    before = grad.copy()
    opt = optimizer(theta)
    assert opt.theta is theta
    assert opt.step(grad) is None
    assert np.array_equal(grad, before)
    assert opt.t == 1


def test_slots_are_views_that_see_every_step():
    theta, grads = problem(4)
    opt = fastopt.Adam(theta)
    slots = opt.slots
    run(opt, grads)
    assert np.array_equal(slots["mean"], opt.slots["mean"])
    assert slots["mean"].any()


# --- hyperparameters ---------------------------------------------------------------------------


def test_hyperparameter_can_be_set_between_steps():
    theta = np.zeros(2)
    opt = fastopt.SGD(theta, lr=1.0)
    opt.step(np.ones(2))
    opt.lr /= 4
    opt.step(np.ones(2))
    assert theta.tolist() == [-1.25, -1.25]
    assert opt.lr == 0.25
    with pytest.raises(ValueError, match="`lr` must be a finite nonnegative number, got -1"):
        opt.lr = -1.0
    assert opt.lr == 0.25


def test_flavor_has_its_own_defaults_and_names():
    theta = np.zeros(2)
    assert fastopt.Nadam(theta, flavor="torch").lr == 0.002
    assert fastopt.Nadam(theta, flavor="torch", momentum_decay=0.5).momentum_decay == 0.5
    with pytest.raises(TypeError, match="`momentum_decay` must not be given to Nadam with flavor="):
        fastopt.Nadam(theta, momentum_decay=0.5)
    with pytest.raises(AttributeError, match="has no 'momentum_decay'"):
        _ = fastopt.Nadam(theta).momentum_decay


def test_groups_have_hyperparameters_of_their_own():
    theta, grads = problem(10)
    parts = {"lr": 0.5}, {"beta1": 0.5, "weight_decay": 0.1}, {}
    places = slice(2, 4), slice(7, None), slice(4, 7)
    whole = theta.copy()
    opt = fastopt.Adam(whole, lr=0.01, groups=list(zip(places[:2], parts[:2], strict=True)))
    run(opt, grads)
    for place, own in zip((*places, slice(0, 2)), (*parts, {}), strict=True):
        part = theta[place].copy()
        run(fastopt.Adam(part, **{"lr": 0.01, **own}), grads[:, place].copy())
        assert np.array_equal(whole[place], part)


def test_setting_a_hyperparameter_reaches_all_groups_but_those_with_their_own():
    opt = fastopt.Adam(np.zeros(6), groups=[(slice(0, 2), {"lr": 0.5}), (slice(2, 3), {})])
    opt.lr = 0.25
    assert [group["lr"] for group in opt.groups] == [0.5, 0.25, 0.25]
    opt.groups[0]["lr"] = 0.125
    assert [group["lr"] for group in opt.groups] == [0.125, 0.25, 0.25]
    assert {*opt.groups[0]} == {"lr", "beta1", "beta2", "eps", "weight_decay"}
    with pytest.raises(KeyError, match="no hyperparameter is called 'momentum'"):
        opt.groups[0]["momentum"] = 0.5
    with pytest.raises(ValueError, match="`beta1` must be"):
        opt.groups[0]["beta1"] = 1.0


def test_groups_may_cover_everything():
    theta = np.zeros(4)
    opt = fastopt.SGD(theta, groups=[(slice(2, 4), {"lr": 2.0}), (slice(0, 2), {"lr": 1.0})])
    opt.step(np.ones(4))
    assert theta.tolist() == [-1.0, -1.0, -2.0, -2.0]


# --- what is done to the gradient --------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("n", [3, 1024, 4096, 5000])  # around the blocks in which it is done
def test_gradient_is_clipped_by_length_then_by_value_then_decays(n, dtype):
    theta, (grad, *_) = problem(n, dtype)
    # Powers of two: nothing is rounded but the scale.
    norm, limit, decay, lr = 0.25 * np.linalg.norm(grad), 0.5, 0.125, 0.5
    shaped = np.clip(grad.astype(float) * norm / np.linalg.norm(grad.astype(float)), -limit, limit)
    expected = theta - lr * (shaped + decay * theta.astype(float))
    opt = fastopt.SGD(theta, lr=lr, clip_norm=norm, clip_value=limit, weight_decay=decay)
    opt.step(grad)
    np.testing.assert_allclose(theta, expected, rtol=0, atol=8 * np.finfo(dtype).eps)


def test_gradient_within_the_limits_is_left_alone():
    theta, grads = problem(100)
    plain, clipped = theta.copy(), theta.copy()
    run(fastopt.Adam(plain), grads)
    run(fastopt.Adam(clipped, clip_norm=1e3, clip_value=1e3), grads)
    assert np.array_equal(plain, clipped)


def test_norm_is_that_of_all_groups():
    theta = np.zeros(2)
    opt = fastopt.SGD(theta, lr=1.0, clip_norm=1.0, groups=[(slice(0, 1), {})])
    opt.step(np.array([3.0, 4.0]))
    np.testing.assert_allclose(theta, [-0.6, -0.8], rtol=1e-15)


def test_weight_decay_of_keras_is_decoupled():
    theta = np.array([1.0, 2.0])
    opt = fastopt.Momentum(theta, lr=0.5, weight_decay=0.25, flavor="keras")
    opt.step(np.zeros(2))
    assert theta.tolist() == [0.875, 1.75]
    assert not opt.slots["velocity"].any()


def test_schedule_multiplies_the_step_length():
    theta, steps = np.zeros(1), []
    opt = fastopt.SGD(theta, lr=0.5, schedule=schedules.piecewise([2, 4], [1.0, 0.5, 0.25]))
    for _ in range(6):
        before = theta.copy()
        opt.step(np.ones(1))
        steps.append(float(before[0] - theta[0]))
    assert steps == [0.5 * opt_multiplier for opt_multiplier in multipliers(6)]
    assert opt.lr == 0.5


def multipliers(count):
    schedule = schedules.piecewise([2, 4], [1.0, 0.5, 0.25])
    return [schedule(t) for t in range(1, count + 1)]


def test_schedule_of_adamw_multiplies_its_decay():
    theta = np.ones(1)
    half = schedules.constant(0.5)
    fastopt.AdamW(theta, weight_decay=0.25, schedule=half).step(np.zeros(1))
    assert theta[0] == 0.875
    theta = np.ones(1)
    fastopt.AdamW(theta, lr=0.5, weight_decay=0.25, schedule=half, flavor="torch").step(np.zeros(1))
    assert theta[0] == 1 - 0.5 * 0.5 * 0.25


@DTYPES
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("n", "at"), [(17, 0), (17, 16), (43, 0), (43, 31), (43, 42)])
def test_gradient_that_is_not_finite(bad, n, at, dtype):
    theta, (grad, *_) = problem(n, dtype)
    before, good = theta.copy(), grad.copy()
    grad[at] = bad

    opt = fastopt.Adam(theta, nonfinite="skip")
    opt.step(grad)
    assert np.array_equal(theta, before)
    assert (opt.t, opt.skipped) == (0, 1)
    assert not any(slot.any() for slot in opt.slots.values())
    opt.step(good)
    assert (opt.t, opt.skipped) == (1, 1)

    theta[:] = before
    opt = fastopt.Adam(theta, nonfinite="raise")
    with pytest.raises(FloatingPointError, match=f"`grad` must be finite, got .* at index {at}"):
        opt.step(grad)
    assert np.array_equal(theta, before)
    assert opt.t == 0

    opt = fastopt.Adam(theta)
    opt.step(grad)
    assert np.flatnonzero(~np.isfinite(theta)).tolist() == [at]


# --- wrong arguments ---------------------------------------------------------------------------

THETA = np.zeros(4)
READ_ONLY = np.zeros(4)
READ_ONLY.flags.writeable = False


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"theta": [0.0, 1.0]}, TypeError, "`theta` must be an array of float32 or float64"),
        ({"theta": np.zeros(4, int)}, TypeError, "`theta` must be an array of float32 or float64"),
        ({"theta": np.zeros((2, 2))}, ValueError, "`theta` must be one-dimensional"),
        ({"theta": np.zeros(8)[::2]}, ValueError, "`theta` must be contiguous"),
        ({"theta": READ_ONLY}, ValueError, "`theta` must be writeable"),
        ({"lr": -0.1}, ValueError, "`lr` must be a finite nonnegative number, got -0.1"),
        ({"lr": "fast"}, TypeError, "`lr` must be"),
        ({"beta1": 1.0}, ValueError, "`beta1` must be"),
        ({"beta2": np.nan}, ValueError, "`beta2` must be"),
        ({"eps": 0.0}, ValueError, "`eps` must be"),
        ({"weight_decay": -1.0}, ValueError, "`weight_decay` must be"),
        ({"weight_decay": np.inf}, ValueError, "`weight_decay` must be a finite nonneg"),
        ({"clip_norm": 0.0}, ValueError, "`clip_norm` must be"),
        ({"clip_value": -1.0}, ValueError, "`clip_value` must be"),
        ({"flavor": "jax"}, ValueError, "`flavor` must be one of .*'optax', .*, got 'jax'"),
        ({"nonfinite": "ignore"}, ValueError, "`nonfinite` must be one of"),
        ({"schedule": 0.5}, TypeError, "`schedule` must be one of fastopt.schedules"),
        ({"learning_rate": 0.1}, TypeError, "`learning_rate` is no argument of Adam; those are"),
        ({"groups": 3}, TypeError, "`groups` must be a sequence of"),
        ({"groups": [(0, {})]}, TypeError, "`groups` must be a sequence of"),
        ({"groups": [(slice(0, 4, 2), {})]}, ValueError, "`groups` must have slices of neigh"),
        ({"groups": [(slice(2, 2), {})]}, ValueError, "`groups` must have slices of neigh"),
        ({"groups": [(slice(0, 2), {}), (slice(1, 3), {})]}, ValueError, "must not overlap, got 0"),
        ({"groups": [(slice(0, 2), {"lr": -1})]}, ValueError, "`lr` must be"),
        ({"groups": [(slice(0, 2), {"rho": 1})]}, TypeError, "`rho` must not be given to Adam"),
    ],
)
def test_wrong_argument_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        fastopt.Adam(**{"theta": THETA, **arguments})
    assert not THETA.any()


@ALL
@pytest.mark.parametrize("name", ["learning_rate", "clip_norm", "schedule", "groop"])
def test_what_is_no_attribute_cannot_be_set(optimizer, name):
    opt = optimizer(np.zeros(2))
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        setattr(opt, name, 0.5)


def test_a_rule_without_a_step_length_refuses_a_schedule():
    half = schedules.constant(0.5)
    with pytest.raises(ValueError, match="`schedule` must be None for AdaDelta with flavor='text"):
        fastopt.AdaDelta(np.zeros(2), schedule=half)
    fastopt.AdaDelta(np.zeros(2), schedule=half, flavor="torch")
    with pytest.raises(
        TypeError, match="`lr` must not be given to AdaDelta with flavor='textbook'"
    ):
        fastopt.AdaDelta(np.zeros(2), lr=0.1)


@pytest.mark.parametrize("nonfinite", ["propagate", "skip", "raise"])
@pytest.mark.parametrize(
    ("grad", "error", "message"),
    [
        ([1.0] * 4, TypeError, "got an object of type list"),
        (np.ones(4, np.float32), TypeError, "got dtype float32"),
        (np.ones(4, int), TypeError, "got dtype int64"),
        (np.ones(3), ValueError, r"of shape \(4,\) and dtype float64, got shape \(3,\)"),
        (np.ones((4, 1)), ValueError, r"got shape \(4, 1\)"),
        (np.ones(8)[::2], ValueError, r"got strides \(16,\)"),
        (None, TypeError, "got an object of type NoneType"),
    ],
)
def test_gradient_that_does_not_fit_is_named_and_nothing_is_changed(
    grad, error, message, nonfinite
):
    theta = np.ones(4)
    opt = fastopt.Adam(theta, nonfinite=nonfinite)
    with pytest.raises(error, match=f"^`grad` must be a contiguous array .*{message}"):
        opt.step(grad)
    assert (theta == 1).all()
    assert opt.t == 0


# --- saving ------------------------------------------------------------------------------------


@DTYPES
@FORMS
def test_loaded_state_goes_on_with_the_same_bits(name, flavor, dtype, tmp_path):
    theta, grads = problem(33, dtype, steps=9)
    opt = make(name, theta, flavor=flavor)
    run(opt, grads[:4])
    np.savez(tmp_path / "state.npz", theta=theta, **opt.state_dict())
    expected = run(opt, grads[4:])
    with np.load(tmp_path / "state.npz") as saved:
        other = make(name, saved["theta"], flavor=flavor)
        other.load_state_dict(saved)
    assert other.t == 4
    assert np.array_equal(run(other, grads[4:]), expected)


@pytest.mark.parametrize("copy", [copy.deepcopy, lambda opt: pickle.loads(pickle.dumps(opt))])
@pytest.mark.parametrize("name", RULES)
def test_copies_and_pickles_go_on_with_the_same_bits(name, copy):
    theta, grads = problem(33, steps=9)
    groups = [(slice(0, 5), {"eps": 0.5})] if "eps" in names_of(name) else []
    schedule = schedules.cosine(20) if RULES[name].scheduled else None
    opt = make(name, theta, groups=groups, schedule=schedule, clip_norm=3.0)
    run(opt, grads[:4])
    other = copy(opt)
    assert other.theta is not theta
    assert type(other) is type(opt)
    assert np.array_equal(run(opt, grads[4:]), run(other, grads[4:]))
    assert (other.t, repr(other.groups)) == (opt.t, repr(opt.groups))


def names_of(rule):
    return [each.name for each in RULES[rule].hyperparameters]


SAVE_AND_LOAD = """
    import sys
    import numpy as np
    import fastopt

    first, last, place = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    theta = np.linspace(-1.0, 1.0, 9)
    groups = [(slice(0, 3), {"lr": 0.5})]
    opt = fastopt.Adam(theta, lr=0.25, groups=groups, clip_norm=1.0)
    if first:
        saved = np.load(place)
        theta[:] = saved["theta"]
        opt.load_state_dict(saved)
    for t in range(first, last):
        opt.step(np.cos(theta + t))
        opt.lr *= 0.99
    np.savez(place, theta=theta, **opt.state_dict())
    print(theta.tobytes().hex())
"""


def test_interrupted_training_goes_on_in_another_process_with_the_same_bits(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-c", textwrap.dedent(SAVE_AND_LOAD), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    place = tmp_path / "state.npz"
    run(0, 7, place)
    assert run(7, 20, place) == run(0, 20, tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"rule": "nadam"},
            "`state` must be that of adam with flavor='textbook', got rule='nadam'",
        ),
        ({"flavor": "keras"}, "got flavor='keras'"),
        ({"mean": np.zeros(3)}, r"`state\['mean'\]` must be of shape \(4,\)"),
        ({"mean": np.zeros(4, np.float32)}, "dtype float64, got .* dtype float32"),
        ({"lr": np.zeros(2)}, r"`state\['lr'\]` must be of shape \(1,\)"),
        ({"beta1": np.array([2.0])}, "`beta1` must be"),
        ({"t": -1}, r"`state\['t'\]` must be a nonnegative integer, got -1"),
        ({"t": 1.5}, r"`state\['t'\]` must be a nonnegative integer, got 1.5"),
        ({"skipped": np.nan}, r"`state\['skipped'\]` must be a nonnegative integer, got nan"),
        ({"square": None}, "has no 'square'"),
    ],
)
def test_state_of_another_optimizer_is_refused_and_nothing_is_changed(change, message):
    theta, grads = problem(4)
    opt = fastopt.Adam(theta)
    run(opt, grads)
    before = opt.state_dict()
    state = {name: value for name, value in {**before, **change}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        opt.load_state_dict(state)
    after = opt.state_dict()
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (None, "`state` must be what state_dict.* got None"),
        ({"t": "x"}, r"`state\['t'\]` must be a nonnegative integer, got 'x'"),
    ],
)
def test_what_is_no_state_is_refused(change, message):
    opt = fastopt.Adam(np.zeros(2))
    with pytest.raises(TypeError, match=message):
        opt.load_state_dict(None if change is None else {**opt.state_dict(), **change})


def test_a_count_of_steps_beyond_all_bounds_does_not_wrap_around():
    theta = np.ones(2)
    opt = fastopt.Adam(theta)
    opt.load_state_dict({**opt.state_dict(), "t": 2**63 - 1})
    opt.step(np.ones(2))
    assert opt.t > 0
    assert np.isfinite(theta).all()


def test_repr_says_what_it_is():
    opt = fastopt.Adam(np.zeros(3, np.float32), lr=0.5)
    assert repr(opt) == (
        "<Adam: 3 parameters of float32, t=0, lr=0.5, beta1=0.9, beta2=0.999, eps=1e-08, "
        "weight_decay=0>"
    )


def test_large_vector_is_stepped_without_the_gil():
    """Another thread gets on while a step runs: see `MANY` in stepper.pyx."""
    import threading

    theta, (grad, *_) = problem(1_000_000, steps=1)
    opt = fastopt.Adam(theta)
    counted, done = [], threading.Event()

    def count():
        while not done.is_set():
            counted.append(None)

    thread = threading.Thread(target=count)
    switch = sys.getswitchinterval()
    sys.setswitchinterval(10.0)  # so that only who lets go of the GIL lets another have it
    try:
        thread.start()
        while not counted:
            opt.step(grad)
    finally:
        sys.setswitchinterval(switch)
        done.set()
        thread.join()
    assert counted
