"""Small networks, with every layer in at least one of them."""

import numpy as np
import pytest

from fastopt import nn

IMAGE = (3, 9, 9)


def basic_block(channels, stride=1):
    shortcut = None
    if stride > 1:
        shortcut = nn.Sequential(nn.Conv2d(channels, 1, stride=stride), nn.BatchNorm2d())
    return nn.Residual(
        nn.Conv2d(channels, 3, padding=1, stride=stride, bias=False),
        nn.BatchNorm2d(),
        nn.ReLU(),
        nn.Conv2d(channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(),
        shortcut=shortcut,
    )


def dense_layer():
    added = nn.Sequential(nn.BatchNorm2d(), nn.ReLU(), nn.Conv2d(3, 3, padding=1))
    return nn.Concat(nn.Identity(), added)


HEAD = (nn.GlobalAvgPool2d(), nn.Linear(3))
NETWORKS = {
    "a chain": (
        nn.Conv2d(4, 3, padding=1),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(5, 3),
        nn.Sigmoid(),
        nn.AvgPool2d(2, padding=1, count_include_pad=False),
        nn.Flatten(),
        nn.Linear(7, bias=False),
        nn.LeakyReLU(0.2),
        nn.Dropout(0.3),
        nn.Linear(3),
    ),
    "residual": (
        nn.Conv2d(4, 3, padding=1),
        nn.BatchNorm2d(),
        nn.ReLU(),
        basic_block(4),
        nn.ReLU(),
        basic_block(6, stride=2),
        nn.ReLU(),
        *HEAD,
    ),
    "before activation": (
        nn.Conv2d(4, 3, padding=1),
        nn.Residual(nn.BatchNorm2d(), nn.ReLU(), nn.Conv2d(4, 3, padding=1)),
        nn.Residual(nn.Identity()),
        nn.Residual(nn.ReLU()),
        nn.Residual(nn.Tanh(), shortcut=nn.Sigmoid()),
        *HEAD,
    ),
    "dense": (
        nn.Conv2d(4, 3, padding=1),
        *[dense_layer() for _ in range(3)],
        nn.Concat(nn.Identity(), nn.Identity(), nn.ReLU()),
        *HEAD,
    ),
    "windows of all kinds": (
        nn.Conv2d(4, (1, 3), padding="same"),
        nn.Conv2d(8, 3, groups=4, stride=2, dilation=2, padding=2),
        nn.MaxPool2d(3, stride=2, padding=((1, 0), (1, 1)), ceil_mode=True),
        nn.Flatten(),
        nn.BatchNorm1d(),
        nn.Linear(3),
    ),
    "the input itself is first": (
        nn.ReLU(),
        nn.Residual(nn.Conv2d(3, 3, padding=1)),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(3),
    ),
}


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param


def make_model(layers, dtype="float64", **options):
    return nn.Model(*layers, **({"input_shape": IMAGE, "dtype": dtype} | options))


def make_batch(N=5, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, *IMAGE)).astype(dtype), rng.integers(0, 3, N)


def somewhere(model, seed=0):
    """Parameters of which none is 0 or 1."""
    rng = np.random.default_rng(seed)
    return model.init(seed) + 0.1 * rng.normal(size=model.n).astype(model.dtype)


def differences(model, theta, x, y, indices, h=1e-6):
    """Central differences of the loss in training mode; buffers stay where they are."""
    slopes = []
    with model.held():
        for i in indices:
            unit = np.zeros(model.n)
            unit[i] = h
            up, down = (model.value_and_grad(theta + s * unit, x, y)[0] for s in (1, -1))
            slopes.append((up - down) / (2 * h))
    return np.array(slopes)
