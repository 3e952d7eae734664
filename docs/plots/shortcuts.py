import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastopt
from fastopt import nn

images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
width, steps = 8, 100
colors = {8: "#009E73", 20: "#0072B2", 56: "#D55E00"}


def network(depth, shortcuts):
    """Blocks of two convolutions, all of one size, with or without sums; `depth` layers."""

    def block():
        layers = []
        for _ in range(2):
            layers += [nn.Conv2d(width, 3, padding=1, bias=False), nn.BatchNorm2d(), nn.ReLU()]
        *main, last = layers
        return nn.Sequential(nn.Residual(*main) if shortcuts else nn.Sequential(*main), last)

    blocks = (block() for _ in range((depth - 2) // 2))
    return nn.Model(
        nn.Conv2d(width, 3, padding=1, bias=False),
        nn.BatchNorm2d(),
        nn.ReLU(),
        nn.MaxPool2d(2),
        *blocks,
        nn.GlobalAvgPool2d(),
        nn.Linear(10),
        input_shape=(1, 8, 8),
    )


def gradient_norms(model):
    """Of each 3 x 3 convolution's weights at the start, first layer first."""
    theta = model.init(seed=0)
    _, gradient = model.value_and_grad(theta, images[:256], labels[:256])
    parts = model.parameters(gradient).values()
    return [np.linalg.norm(part) for part in parts if part.ndim == 4]


def losses(model):
    theta = model.init(seed=0)
    optimizer = fastopt.Momentum(theta, lr=0.05)
    found = []
    batches = fastopt.Minibatches(images, labels, batch_size=64, drop_last=True)
    while len(found) < steps:
        for x, y in batches:
            value, gradient = model.value_and_grad(theta, x, y)
            optimizer.step(gradient)
            found.append(value)
    return np.convolve(found, np.full(10, 0.1), "valid")


figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for depth, color in colors.items():
    for shortcuts, line in ((True, "-"), (False, ":")):
        norms = gradient_norms(network(depth, shortcuts))
        name = f"{depth} layers, {'shortcuts' if shortcuts else 'plain'}"
        left.semilogy(range(1, len(norms) + 1), norms, line, color=color, label=name)
        right.plot(losses(network(depth, shortcuts)), line, color=color, label=name)
left.set(xlabel="layer", ylabel="norm of the gradient at the start")
right.set(xlabel="step", ylabel="cross-entropy of batches, mean of ten", ylim=(0, 2.5))
figure.legend(*left.get_legend_handles_labels(), loc="outside right center", frameon=False)
