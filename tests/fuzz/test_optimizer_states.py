"""Whatever happens to an optimizer between two steps, the next step has the bits it would have had.

Each machine has two optimizers of the same arguments. To one of them nothing happens but steps and
what a user sets; the other is put away, copied, loaded and given gradients that it must refuse.
"""

import contextlib
import copy
import io
import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import fastopt
from fastopt import schedules
from fastopt.rules.table import FLAVORS
from fastopt.training import optimizers

CLASSES = [getattr(optimizers, name) for name in optimizers.__all__]
FEW = settings(
    max_examples=30, stateful_step_count=12, suppress_health_check=[HealthCheck.filter_too_much]
)
# A state may have been in a file.
WAYS = ("pickle", "deepcopy", "state_dict", "npz")
FACTORS = (0.0, 0.5, 3.0)


class Mine(Exception):
    """What the user's own code raises."""


def through_a_file(state):
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    return np.load(file)


def same(one, other):
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


@st.composite
def settings_of_optimizers(draw):
    optimizer = draw(st.sampled_from(CLASSES))
    flavor = draw(st.sampled_from(sorted(FLAVORS[optimizer.rule])))
    n = draw(st.integers(1, 40))
    given = {
        "flavor": flavor,
        "nonfinite": draw(st.sampled_from(["propagate", "skip", "raise"])),
        "clip_norm": draw(st.sampled_from([math.inf, 1.0])),
        "clip_value": draw(st.sampled_from([math.inf, 0.25])),
    }
    if optimizer.rule != "adadelta":
        given["schedule"] = draw(
            st.sampled_from(
                [None, schedules.cosine(5), schedules.warmup(2).then(schedules.exponential(0.5))]
            )
        )
    if draw(st.booleans()):
        given["weight_decay"] = 0.125
    cuts = sorted(draw(st.lists(st.integers(0, n), max_size=4, unique=True)))
    given["groups"] = [
        (slice(low, high), {"weight_decay": 0.5} if low % 2 else {})
        for low, high in itertools.pairwise(cuts)
    ]
    if optimizer is fastopt.RMSProp:
        given["centered"] = draw(st.booleans())
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    theta = np.array(draw(st.lists(st.integers(-9, 9), min_size=n, max_size=n)), dtype=dtype)
    return optimizer, theta, given


class Steps(RuleBasedStateMachine):
    """An optimizer that follows a rule."""

    @initialize(arguments=settings_of_optimizers())
    def begin(self, arguments):
        self.optimizer, theta, self.given = arguments
        # Between two walls, which no step must touch.
        self.room = np.full(theta.size + 8, -77, theta.dtype)
        self.room[4:-4] = theta
        self.twin = self.optimizer(theta.copy(), **self.given)
        self.opt = self.optimizer(self.room[4:-4], **self.given)

    def gradient(self, seed):
        generator = np.random.default_rng(seed)
        return generator.normal(size=self.twin.theta.size).astype(self.twin.theta.dtype)

    @rule(seed=st.integers(0, 10**6), scale=st.sampled_from([0.0, 1.0, 1e-30, 1e30]))
    def step(self, seed, scale):
        with np.errstate(all="ignore"):
            grad = self.gradient(seed) * self.twin.theta.dtype.type(scale)
        grad.flags.writeable = False
        before = grad.copy()
        t = self.opt.t
        for each in (self.opt, self.twin):
            each.step(grad)
        assert same(grad, before)
        assert self.opt.t == t + 1

    @rule(count=st.integers(2, 9))
    def step_along_theta_itself(self, count):
        """As where the function is half of its square."""
        assume(np.isfinite(self.twin.theta).all())
        for _ in range(count):
            grad = self.twin.theta.copy()
            if not np.isfinite(grad).all():
                break
            self.opt.step(self.opt.theta)
            self.twin.step(grad)

    @rule(at=st.integers(0, 39), bad=st.sampled_from([math.nan, math.inf, -math.inf]))
    def step_along_what_is_not_finite(self, at, bad):
        assume(self.given["nonfinite"] != "propagate")
        grad = self.gradient(at)
        grad[at % grad.size] = bad
        skipped = self.opt.skipped
        for each in (self.opt, self.twin):
            if self.given["nonfinite"] == "raise":
                with pytest.raises(FloatingPointError, match=r"^`grad` must be finite"):
                    each.step(grad)
            else:
                each.step(grad)
        assert self.opt.skipped == skipped + (self.given["nonfinite"] == "skip")

    @rule(how=st.sampled_from(["shape", "longer", "dtype", "strides", "list", "none", "byteorder"]))
    def step_along_what_is_no_gradient(self, how):
        grad = self.gradient(1)
        other = np.float64 if grad.dtype == np.float32 else np.float32
        unfit = {
            "shape": grad[None],
            "longer": np.append(grad, grad[:1]),
            "dtype": grad.astype(other),
            "strides": np.repeat(grad, 2)[::2],
            "list": grad.tolist(),
            "none": None,
            "byteorder": grad.astype(grad.dtype.newbyteorder()),
        }[how]
        if how == "strides" and grad.size == 1:
            return
        with pytest.raises((TypeError, ValueError), match=r"^`grad` must be"):
            self.opt.step(unfit)

    @rule(how=st.sampled_from(WAYS))
    def put_away_and_take_up(self, how):
        if how == "pickle":
            self.opt = pickle.loads(pickle.dumps(self.opt))
        elif how == "deepcopy":
            self.opt = copy.deepcopy(self.opt)
        else:
            state = self.opt.state_dict()
            if how == "npz":
                state = through_a_file(state)
            old, self.opt = self.opt, self.optimizer(self.opt.theta.copy(), **self.given)
            self.opt.load_state_dict(state)
            old.theta.fill(-1)
            for slot in old.slots.values():
                slot.fill(-1)
            return
        self.room = None  # it has a vector of its own

    @rule()
    def write_to_a_state(self):
        for value in self.opt.state_dict().values():
            if isinstance(value, np.ndarray):
                value.fill(-1)

    @rule(factor=st.sampled_from(FACTORS), of_group=st.booleans())
    def set_a_hyperparameter(self, factor, of_group):
        for each in (self.opt, self.twin):
            if of_group:
                each.groups[0]["weight_decay"] = factor
            elif self.optimizer.rule != "adadelta":
                each.lr = factor * 0.01

    @rule(value=st.sampled_from([math.nan, -1.0, "1", None, 1j, math.inf]))
    def set_a_hyperparameter_to_nonsense(self, value):
        with pytest.raises((TypeError, ValueError), match=r"^`weight_decay` must be"):
            self.opt.weight_decay = value

    @rule(change=st.sampled_from(["rule", "t", "dtype", "shape", "missing", "number", "none"]))
    def load_nonsense(self, change):
        state = self.opt.state_dict()
        if change == "none":
            state = None
        elif change == "missing":
            del state["t"]
        elif change == "dtype":
            state["weight_decay"] = state["weight_decay"].astype(object)
        elif change == "shape":
            state["weight_decay"] = np.zeros((9, 9))
        else:
            key, value = {"rule": ("rule", "x"), "t": ("t", -1), "number": ("skipped", 0.5)}[change]
            state[key] = value
        with pytest.raises((TypeError, ValueError), match=r"^`state"):
            self.opt.load_state_dict(state)

    @invariant()
    def is_the_twin(self):
        if not hasattr(self, "opt"):
            return
        opt, twin = self.opt, self.twin
        assert same(opt.theta, twin.theta)
        assert opt.theta.shape == twin.theta.shape
        assert (opt.t, opt.skipped, opt.flavor) == (twin.t, twin.skipped, twin.flavor)
        assert [dict(each) for each in opt.groups] == [dict(each) for each in twin.groups]
        assert opt.slots.keys() == twin.slots.keys()
        for name, slot in opt.slots.items():
            assert same(slot, twin.slots[name])
            assert not np.shares_memory(slot, opt.theta)
        if self.room is not None:
            assert (self.room[:4] == -77).all()
            assert (self.room[-4:] == -77).all()


Steps.TestCase.settings = FEW


class Closures(RuleBasedStateMachine):
    """L-BFGS and Newton-CG, which evaluate the function themselves."""

    @initialize(
        make=st.sampled_from([fastopt.LBFGS, fastopt.NewtonCG]),
        start=st.lists(st.integers(-6, 6), min_size=2, max_size=5),
        dtype=st.sampled_from([np.float32, np.float64]),
        deterministic=st.booleans(),
    )
    def begin(self, make, start, dtype, deterministic):
        self.make, self.given = make, {"deterministic": deterministic}
        if make is fastopt.LBFGS:
            self.given["maxcor"] = 3
        self.opt = make(np.array(start, dtype), **self.given)
        self.twin = make(np.array(start, dtype), **self.given)
        self.was_disturbed = False

    def closure(self, opt, shift, raising=math.inf, error=Mine):
        calls = 0

        def evaluate():
            nonlocal calls
            calls += 1
            if calls >= raising:
                raise error("mine")
            theta = opt.theta.astype(np.float64)
            residual = theta - shift
            value = 0.25 * (residual**4).sum() + 0.5 * (theta[1:] - theta[:-1]) @ np.diff(theta)
            grad = residual**3
            grad[1:] += np.diff(theta)
            grad[:-1] -= np.diff(theta)
            return value, grad.astype(opt.theta.dtype)

        return evaluate

    @rule(iterations=st.integers(1, 4), shift=st.sampled_from([0.0, 1.0]))
    def step(self, iterations, shift):
        if self.given["deterministic"]:
            shift = 0.5
        nit = self.opt.nit
        losses = [
            each.step(self.closure(each, shift), iterations) for each in (self.opt, self.twin)
        ]
        np.testing.assert_equal(*losses)
        assert nit <= self.opt.nit <= nit + iterations

    @rule(at=st.integers(1, 3), error=st.sampled_from([Mine, KeyboardInterrupt]))
    def raise_in_the_closure(self, at, error):
        """Of the same function as before: then no step is lost."""
        assume(self.given["deterministic"])
        closure = self.closure(self.opt, 0.5, at, error)
        before = self.opt.nit
        with contextlib.suppress(error):
            self.opt.step(closure, 1)
        self.was_disturbed = True
        if self.opt.nit > before:
            self.twin.step(self.closure(self.twin, 0.5), 1)

    @rule(answer=st.sampled_from([None, 1.0, (1.0,), (1.0, None), (1.0, "x"), (1j, 2), "ab"]))
    def answer_nonsense(self, answer):
        assume(not self.opt.converged)
        with pytest.raises((TypeError, ValueError), match="`closure` must return"):
            self.opt.step(lambda: answer)
        self.was_disturbed = True

    @rule(how=st.sampled_from(WAYS))
    def put_away_and_take_up(self, how):
        if how == "pickle":
            self.opt = pickle.loads(pickle.dumps(self.opt))
        elif how == "deepcopy":
            self.opt = copy.deepcopy(self.opt)
        else:
            state = self.opt.state_dict()
            if how == "npz":
                state = through_a_file(state)
            self.opt = self.make(self.opt.theta.copy(), **self.given)
            self.opt.load_state_dict(state)

    @rule()
    def a_copy_goes_its_own_way(self):
        other = copy.copy(self.opt)
        theta = self.opt.theta.copy()
        other.step(self.closure(other, -3.0), 2)
        self.opt.theta[:] = theta  # which the two share

    @precondition(lambda self: not self.given["deterministic"])
    @rule(value=st.integers(-4, 4))
    def set_theta(self, value):
        for each in (self.opt, self.twin):
            each.theta[0] = value

    @rule()
    def write_to_a_state(self):
        for value in self.opt.state_dict().values():
            if isinstance(value, np.ndarray) and value.flags.writeable:
                value.fill(1)

    @rule(name=st.sampled_from(["solver", "nfev", "layout", "header", "vectors", "checksum"]))
    def load_nonsense(self, name):
        state = self.opt.state_dict()
        state[name] = -3
        with pytest.raises((TypeError, ValueError), match=r"^`state"):
            self.opt.load_state_dict(state)

    @invariant()
    def is_the_twin(self):
        if not hasattr(self, "opt"):
            return
        assert same(self.opt.theta, self.twin.theta)
        assert np.isfinite(self.opt.theta).all()
        assert (self.opt.nit, self.opt.status) == (self.twin.nit, self.twin.status)
        assert self.was_disturbed or self.opt.nfev == self.twin.nfev


Closures.TestCase.settings = FEW


def test_optimizers_are_what_they_were_before_they_were_put_away(explore):
    explore(Steps)


def test_optimizers_with_closures_are_what_they_were_before_they_were_put_away(explore):
    explore(Closures)
