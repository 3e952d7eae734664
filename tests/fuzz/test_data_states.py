"""What a `Minibatches` serves and a `Model` computes does not depend on where it has been."""

import copy
import io
import pickle

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import fastopt
from fastopt import nn

FEW = settings(max_examples=25, stateful_step_count=12)
WAYS = st.sampled_from(["pickle", "deepcopy", "state_dict", "npz"])


def through_a_file(state):
    file = io.BytesIO()
    np.savez(file, **state)
    file.seek(0)
    return np.load(file)


class Serving(RuleBasedStateMachine):
    """Batches come as they would have come in one go."""

    @initialize(
        n=st.integers(1, 12),
        batch_size=st.one_of(st.none(), st.integers(1, 5)),
        shuffle=st.booleans(),
        seed=st.integers(0, 2**64 - 1),
        drop_last=st.booleans(),
    )
    def begin(self, n, batch_size, shuffle, seed, drop_last):
        self.given = {
            "batch_size": batch_size,
            "shuffle": shuffle,
            "seed": seed,
            "drop_last": drop_last and (batch_size or n) <= n,
        }
        self.arrays = np.arange(3 * n).reshape(n, 3).astype(np.float32), np.arange(n)
        self.data = fastopt.Minibatches(*self.arrays, **self.given)
        whole = fastopt.Minibatches(*self.arrays, **self.given)
        self.epochs = [[rows.tolist() for _, rows in whole] for _ in range(6)]
        self.place = (0, 0)

    def expected(self):
        epoch, batch = self.place
        self.place = (epoch, batch + 1) if batch + 1 < len(self.epochs[epoch]) else (epoch + 1, 0)
        return self.epochs[epoch][batch]

    @rule(count=st.integers(1, 7))
    def serve(self, count):
        """Some batches; the epoch is left in the middle, or ends."""
        if self.place[0] >= 5:
            return
        for (features, rows), _ in zip(self.data, range(count), strict=False):
            assert rows.tolist() == self.expected()
            assert (self.data.epoch, self.data.batch) == self.place
            np.testing.assert_array_equal(features, self.arrays[0][rows])
            if not np.shares_memory(features, self.data.arrays[0]):
                features.fill(-1)
        # `zip` has asked for one batch more, if there was one.
        if self.place != (self.data.epoch, self.data.batch):
            self.expected()

    @rule(epoch=st.integers(0, 4), batch=st.integers(0, 11))
    def seek(self, epoch, batch):
        batch %= len(self.data)
        self.data.seek(epoch, batch)
        self.place = epoch, batch

    @rule(how=WAYS)
    def put_away_and_take_up(self, how):
        if how == "pickle":
            self.data = pickle.loads(pickle.dumps(self.data))
        elif how == "deepcopy":
            self.data = copy.deepcopy(self.data)
        else:
            state = self.data.state_dict()
            if how == "npz":
                state = through_a_file(state)
            self.data = fastopt.Minibatches(*self.arrays, **self.given | {"seed": 1})
            self.data.load_state_dict(state)

    @rule()
    def a_copy_goes_its_own_way(self):
        for _ in copy.copy(self.data):
            pass

    @invariant()
    def is_where_it_ought_to_be(self):
        if hasattr(self, "data"):
            assert (self.data.epoch, self.data.batch) == self.place


Serving.TestCase.settings = FEW


class Networks(RuleBasedStateMachine):
    """A model that is put away has the buffers, and the bits, of one that is not."""

    @initialize(dtype=st.sampled_from(["float32", "float64"]))
    def begin(self, dtype):
        self.dtype = dtype
        self.model, self.twin = self.make(), self.make()
        self.theta = self.model.init(3)

    def make(self):
        layers = nn.Linear(4), nn.BatchNorm1d(), nn.Dropout(0.25), nn.Tanh(), nn.Linear(2)
        return nn.Model(*layers, input_shape=(3,), dtype=self.dtype)

    def batch(self, seed, size):
        generator = np.random.default_rng(seed)
        return generator.normal(size=(size, 3)).astype(self.dtype), np.arange(size) % 2

    @rule(seed=st.integers(0, 99), size=st.integers(2, 6), held=st.booleans())
    def train(self, seed, size, held):
        x, y = self.batch(seed, size)
        found = []
        for each in (self.model, self.twin):
            if held:
                with each.held():
                    found.append(each.value_and_grad(self.theta, x, y))
                    each.commit()
            else:
                found.append(each.value_and_grad(self.theta, x, y))
        (value, grad), (other, expected) = found
        np.testing.assert_equal(value, other)
        assert grad.tobytes() == expected.tobytes()
        assert grad.dtype == self.theta.dtype

    @rule(seed=st.integers(0, 99), size=st.integers(1, 6))
    def predict(self, seed, size):
        x, y = self.batch(seed, size)
        one, other = (each.predict(self.theta, x) for each in (self.model, self.twin))
        assert one.tobytes() == other.tobytes()
        np.testing.assert_equal(*(each.value(self.theta, x, y) for each in (self.model, self.twin)))

    @rule(seed=st.integers(0, 9))
    def draw_parameters(self, seed):
        self.theta = self.model.init(seed)
        assert self.theta.tobytes() == self.twin.init(seed).tobytes()
        parts = self.model.parameters(self.theta)
        assert np.concatenate([part.ravel() for part in parts.values()]).tobytes() == (
            self.theta.tobytes()
        )

    @rule(how=WAYS)
    def put_away_and_take_up(self, how):
        if how == "pickle":
            self.model = pickle.loads(pickle.dumps(self.model))
        elif how == "deepcopy":
            self.model = copy.deepcopy(self.model)
        else:
            state = self.model.state_dict(self.theta)
            if how == "npz":
                state = through_a_file(state)
            self.model = self.make()
            assert self.model.load_state_dict(state).tobytes() == self.theta.tobytes()

    @rule()
    def a_copy_goes_its_own_way(self):
        copy.copy(self.model).value_and_grad(self.theta, *self.batch(0, 3))

    @rule()
    def write_to_all_that_is_returned(self):
        for value in (*self.model.buffers.values(), *self.model.state_dict(self.theta).values()):
            value.fill(7)

    @invariant()
    def has_the_same_buffers(self):
        if hasattr(self, "model"):
            for name, value in self.model.buffers.items():
                assert value.tobytes() == self.twin.buffers[name].tobytes()
                assert np.isfinite(value).all()


Networks.TestCase.settings = FEW


def test_batches_come_as_they_would_have_come_in_one_go(explore):
    explore(Serving)


def test_networks_are_what_they_were_before_they_were_put_away(explore):
    explore(Networks)
