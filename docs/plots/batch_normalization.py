import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastopt
from fastopt import nn

images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
depth, width, steps, seeds = 6, 8, 130, 2
rates = {0.01: "#009E73", 0.1: "#0072B2", 1.0: "#D55E00"}


def network(normalized):
    layers = []
    for index in range(depth):
        if index == 2:
            layers.append(nn.MaxPool2d(2))
        layers.append(nn.Conv2d(width, 3, padding=1, bias=not normalized))
        layers += [nn.BatchNorm2d(), nn.ReLU()] if normalized else [nn.ReLU()]
    return nn.Model(*layers, nn.Flatten(), nn.Linear(10), input_shape=(1, 8, 8))


def losses(normalized, lr, seed):
    """Of each batch, as a running mean of ten."""
    model = network(normalized)
    theta = model.init(seed)
    optimizer = fastopt.SGD(theta, lr=lr)
    batches = fastopt.Minibatches(images, labels, batch_size=64, seed=seed, drop_last=True)
    found = []
    while len(found) < steps:
        for x, y in batches:
            value, gradient = model.value_and_grad(theta, x, y)
            optimizer.step(gradient)
            found.append(value)
    return np.convolve(found[:steps], np.full(10, 0.1), "valid")


figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
for ax, normalized in zip(axes, (False, True), strict=True):
    for lr, color in rates.items():
        curves = np.mean([losses(normalized, lr, seed) for seed in range(seeds)], axis=0)
        ax.plot(np.arange(10, steps + 1), curves, color=color, label=f"step length {lr:g}")
    ax.axhline(np.log(10), color="0.7", lw=1, zorder=0)
    ax.set(title=f"{'with' if normalized else 'without'} batch normalization", xlabel="step")
axes[0].set(ylabel="cross-entropy of batches, mean of ten", ylim=(0, 3))
axes[1].legend(frameon=False)
