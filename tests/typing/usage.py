"""What a user's own type checker makes of fastopt: checked by `test_typing.py`, and never run."""

from collections.abc import Mapping
from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastopt
from fastopt import adapters, losses, nn, schedules
from fastopt.losses import LinearLoss
from fastopt.testing import DerivativeCheck

Vector = NDArray[np.float64]


def bowl(x: Vector, center: float = 1.0) -> float:
    return float(((x - center) ** 2).sum())


def slopes(x: Vector, center: float = 1.0) -> Vector:
    return 2.0 * (x - center)


assert_type(fastopt.__version__, str)

# SciPy has no annotations of its own, so its OptimizeResult is Any without scipy-stubs.
result = fastopt.minimize(bowl, [3.0, 4.0], args=(2.0,), jac=slopes, options={"gtol": 1e-8})
found: Vector = result.x
fastopt.minimize(bowl, np.zeros(2), bounds=[(0.0, None), (None, 1.0)], method="l-bfgs-b")
fastopt.minimize(bowl, 0.0, options=fastopt.Options(gtol=1e-8), callback=lambda x: None)
fastopt.multistart(bowl, [(-1.0, 1.0), (-1.0, 1.0)], starts=8, rng=1)

many = fastopt.minimize_many(bowl, np.zeros((5, 2)), args=(np.arange(5.0),), batched=True)
assert_type(many, fastopt.BatchResult)
assert_type(many.x, Vector)
assert_type(many.success, NDArray[np.bool_])
assert_type(many.best, int | None)
assert_type(many.message, NDArray[np.object_])

solver = fastopt.Solver(bowl, [3.0, 4.0], jac=slopes)
assert_type(solver.advance(5), bool)
assert_type(solver.x, Vector)
assert_type(solver.fun, float)
assert_type(solver.nit, int)

theta, views = fastopt.flatten({"weight": np.zeros((2, 3)), "bias": np.zeros(3)})
assert_type(theta, NDArray[Any])
layout = fastopt.flatten(np.zeros(3)).layout
assert_type(layout, fastopt.Layout)
assert_type(layout.slices, dict[str, slice])

optimizer = fastopt.Adam(theta, lr=1e-3, schedule=schedules.cosine(100))
assert_type(optimizer, fastopt.Adam)
assert_type(optimizer.t, int)
assert_type(optimizer.state_dict(), dict[str, Any])
optimizer.step(np.zeros(9))
optimizer.lr = 1e-4
assert_type(schedules.warmup(10).then(schedules.cosine(100)), schedules.Schedule)

batches = fastopt.Minibatches(np.zeros((6, 2)), np.zeros(6), batch_size=2)
assert_type(len(batches), int)
for batch in batches:
    assert_type(batch, tuple[Any, ...])

assert_type(fastopt.check_grad(bowl, [1.0, 2.0], slopes), DerivativeCheck)

loss = losses.logistic(np.zeros((4, 2)), np.array([0, 1, 0, 1]), intercept=True)
assert_type(loss, LinearLoss)
assert_type(loss.coef(loss.x0), Vector)

model = nn.Model(nn.Linear(3), loss=nn.SoftmaxCrossEntropy(), input_shape=(2,))
assert_type(model, nn.Model)

adapted = adapters.from_torch
settings: Mapping[str, float] = {"gtol": 1e-6}
