"""What the tests of the interface share: a function that remembers where it was asked for."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der


class Recorder:
    """Rosenbrock's function and its gradient, with the points of every call."""

    def __init__(self):
        self.points = []

    @property
    def calls(self):
        return len(self.points)

    def fun(self, x):
        self.points.append(x.copy())
        return rosen(x) if np.isrealobj(x) else 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2

    def pair(self, x):
        return self.fun(x), rosen_der(x)

    def filling(self, x, grad):
        grad[:] = rosen_der(x)
        return self.fun(x)


@pytest.fixture
def recorder():
    return Recorder()
