from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from numba import njit
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

import fastopt

X, y = load_digits(return_X_y=True)
order = np.random.default_rng(0).permutation(len(y))
X, y = X[order] / 16, y[order]
X, X_test, y, y_test = X[:1437], X[1437:], y[:1437], y[1437:]
hidden, size, lr, epochs = 64, 32, 0.01, 30
a, b, c = (int(cut) for cut in np.cumsum([64 * hidden, hidden, hidden * 10]))


@njit
def forward(theta, X):
    """A layer of rectifiers and a linear one: what leaves the first, and the scores."""
    inner = np.maximum(X @ theta[:a].reshape(64, hidden) + theta[a:b], 0)
    return inner, inner @ theta[b:c].reshape(hidden, 10) + theta[c:]


@njit
def network(theta, X, y):
    """Mean cross-entropy of a batch, and its gradient."""
    inner, slopes = forward(theta, X)
    value = 0.0
    for i in range(y.size):
        slopes[i] -= slopes[i].max()
        value -= slopes[i, y[i]]
        slopes[i] = np.exp(slopes[i])
        mass = slopes[i].sum()
        value += np.log(mass)
        slopes[i] /= mass
        slopes[i, y[i]] -= 1
    slopes /= y.size
    back = (slopes @ theta[b:c].reshape(hidden, 10).T) * np.sign(inner)
    grad = np.empty_like(theta)
    grad[:a], grad[a:b] = (X.T @ back).ravel(), back.sum(axis=0)
    grad[b:c], grad[c:] = (inner.T @ slopes).ravel(), slopes.sum(axis=0)
    return value / y.size, grad


def by_fastopt(theta):
    data = fastopt.Minibatches(X, y, batch_size=size)
    options = {"lr": lr, "epochs": epochs, "trace": True, "return_all": True, "compile": True}
    fit = fastopt.minimize(network, theta, method="adam", jac=True, data=data, options=options)
    return fit.trace["time"], fit.allvecs


def by_scikit_learn(theta):
    state = np.random.RandomState(0)  # a number would give all epochs one order
    net = MLPClassifier(
        (hidden,), alpha=0, batch_size=size, learning_rate_init=lr, random_state=state
    )
    times, points = [], []
    for _ in range(epochs):
        begun = perf_counter()
        net.partial_fit(X, y, classes=np.arange(10))
        times.append(perf_counter() - begun)
        layers = zip(net.coefs_, net.intercepts_, strict=True)
        points.append(np.concatenate([each.ravel() for layer in layers for each in layer]))
    return np.cumsum(times), points


def by_torch(theta):
    torch.set_num_threads(1)
    inner, outer = torch.nn.Linear(64, hidden), torch.nn.Linear(hidden, 10)
    net = torch.nn.Sequential(inner, torch.nn.ReLU(), outer)
    parts = theta[:a].reshape(64, -1).T, theta[a:b], theta[b:c].reshape(hidden, -1).T, theta[c:]
    for parameter, part in zip(net.parameters(), parts, strict=True):
        parameter.data = torch.tensor(part.copy(), dtype=torch.float32)
    opt = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    loss = torch.nn.CrossEntropyLoss()
    inputs, targets = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    rows_of = fastopt.Minibatches(np.arange(len(y)), batch_size=size)
    times, points = [], []
    for _ in range(epochs):
        begun = perf_counter()
        for (rows,) in rows_of:
            chosen = torch.from_numpy(rows)
            opt.zero_grad()
            loss(net(inputs[chosen]), targets[chosen]).backward()
            opt.step()
        times.append(perf_counter() - begun)
        found = [each.detach().numpy().T.ravel() for each in net.parameters()]
        points.append(np.concatenate(found).astype(float))
    return np.cumsum(times), points


rows = {"fastopt": (by_fastopt, "#D55E00"), "scikit-learn": (by_scikit_learn, "#009E73")}
try:
    import torch

    rows["PyTorch"] = by_torch, "#0072B2"
except ImportError:
    pass

rng = np.random.default_rng(1)
theta = np.zeros(c + 10)
theta[:a] = rng.uniform(-1, 1, a) * np.sqrt(6 / (64 + hidden))
theta[b:c] = rng.uniform(-1, 1, c - b) * np.sqrt(6 / (hidden + 10))

figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
for name, (train, color) in rows.items():
    train(theta)  # compiles, and fills caches
    times, points = train(theta)
    losses = [network(point, X, y)[0] for point in points]
    errors = [(forward(point, X_test)[1].argmax(axis=1) != y_test).mean() for point in points]
    for ax, values in zip(axes, (losses, 100 * np.array(errors)), strict=True):
        ax.plot(1e3 * np.array(times), values, "o-", ms=3, label=name, color=color)
axes[0].set(ylabel="mean cross-entropy of the training data", yscale="log")
axes[1].set(ylabel="errors on the test data, per cent", ylim=(0, 12))
for ax in axes:
    ax.set(xlabel="milliseconds; a dot for each of 30 epochs", xscale="log")
    ax.grid(alpha=0.3)
axes[0].legend()
