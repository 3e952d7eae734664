import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastopt
from fastopt import nn

images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
order = np.random.default_rng(0).permutation(len(labels))
train, test = order[:1200], order[1200:]
epochs, seeds = 12, 3
shape = (1, 8, 8)
networks = {
    "ResNet": (nn.models.resnet_small(8, width=4, input_shape=shape), "#0072B2"),
    "DenseNet": (nn.models.densenet_small((2, 2, 2), growth=4, input_shape=shape), "#D55E00"),
}


def learn(model, seed):
    """Mean loss of each epoch's batches, and errors on the test images after it."""
    theta = model.init(seed)
    optimizer = fastopt.Adam(theta, lr=5e-3)
    batches = fastopt.Minibatches(images[train], labels[train], batch_size=48, seed=seed)
    losses, errors = [], []
    for epoch in range(epochs):
        optimizer.lr = 5e-3 * (1 - epoch / epochs)
        values = []
        for x, y in batches:
            value, gradient = model.value_and_grad(theta, x, y)
            optimizer.step(gradient)
            values.append(value)
        found = model.predict(theta, images[test]).argmax(axis=1)
        losses.append(np.mean(values))
        errors.append(100 * (found != labels[test]).mean())
    return losses, errors


figure, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
for name, (model, color) in networks.items():
    runs = np.array([learn(model, seed) for seed in range(seeds)])
    flops = model.summary().split()[-1]
    for ax, values in zip(axes, runs.transpose(1, 2, 0), strict=True):
        ax.semilogy(range(1, epochs + 1), values, color=color, alpha=0.3)
        label = f"{name}: {model.n} parameters, {flops} FLOPs"
        ax.semilogy(range(1, epochs + 1), values.mean(axis=1), "o-", color=color, label=label)
axes[0].set(xlabel="epoch", ylabel="mean cross-entropy of batches")
axes[1].set(xlabel="epoch", ylabel="errors on 597 test images, per cent")
axes[0].legend(frameon=False)
