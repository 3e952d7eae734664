"""Networks where nothing is compiled."""

import os
import subprocess
import sys

import numpy as np

SCRIPT = """
import numpy as np
from fastopt import nn

model = nn.Model(
    nn.Conv2d(2, 3, padding=1), nn.BatchNorm2d(), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2),
    nn.Residual(nn.Conv2d(2, 3, padding=1, groups=2)), nn.LeakyReLU(),
    nn.Concat(nn.AvgPool2d(2), nn.Sequential(nn.AvgPool2d(2), nn.Sigmoid())), nn.Flatten(),
    nn.Tanh(), nn.Linear(3), input_shape=(2, 5, 5), dtype="float64",
)
theta = model.init(0)
x = np.random.default_rng(0).normal(size=(3, 2, 5, 5))
value, grad = model.value_and_grad(theta, x, np.array([0, 1, 2]))
print(value, *grad, *model.predict(theta, x).ravel())
"""


def run(**environment):
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return np.array(done.stdout.split(), float)


def test_a_network_computes_the_same_in_the_interpreter():
    interpreted, compiled = run(NUMBA_DISABLE_JIT="1"), run(NUMBA_DISABLE_JIT="0")
    np.testing.assert_allclose(interpreted, compiled, rtol=0, atol=1e-13)
