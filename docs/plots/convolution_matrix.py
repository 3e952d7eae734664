import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastopt
from fastopt import kernels, nn

# A convolution is linear, so its matrix is what it makes of images with one pixel each.
window = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
pixels = np.eye(64).reshape(64, 1, 8, 8)
matrix = kernels.conv2d(pixels, window, padding=1).reshape(64, 64).T

# Digits in the middle of 12 x 12 pixels, to learn from, and elsewhere, to be tested on.
images, labels = load_digits(return_X_y=True)
images = np.pad(images.reshape(-1, 1, 8, 8) / 16, ((0, 0), (0, 0), (2, 2), (2, 2)))
images = images.astype(np.float32)
order = np.random.default_rng(0).permutation(len(labels))
train, test = order[:1437], order[1437:]
networks = {
    "convolutions": (
        nn.Conv2d(64, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 3, padding=1),
        nn.ReLU(),
        nn.GlobalAvgPool2d(),
        nn.Linear(10),
    ),
    "dense layers": (
        nn.Flatten(),
        nn.Linear(64),
        nn.ReLU(),
        nn.Linear(32),
        nn.ReLU(),
        nn.Linear(10),
    ),
}


def accuracies(layers):
    """On digits that are shifted to the right by 0, 1 and 2 pixels."""
    model = nn.Model(*layers, input_shape=(1, 12, 12))
    theta = model.init(seed=0)
    optimizer = fastopt.Adam(theta, lr=3e-3)
    batches = fastopt.Minibatches(images[train], labels[train], batch_size=32)
    for _ in range(12):
        for x, y in batches:
            optimizer.step(model.value_and_grad(theta, x, y)[1])
    shifted = (np.roll(images[test], shift, axis=3) for shift in range(3))
    return [100 * (model.predict(theta, x).argmax(axis=1) == labels[test]).mean() for x in shifted]


figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
left.imshow(np.where(matrix == 0, np.nan, matrix), cmap="tab10", interpolation="nearest")
left.set(xlabel="input pixel", ylabel="output pixel", title="3 x 3 convolution of 8 x 8")
sides = np.array([8, 16, 32, 64, 128, 224])
middle.loglog(sides, sides.astype(float) ** 4, "o-", color="#0072B2", label="dense layers")
middle.loglog(sides, np.full(sides.size, 9.0), "o-", color="#D55E00", label="convolutions")
middle.set(xlabel="side of the image, pixels", title="weights from one channel to one")
for (name, layers), color in zip(networks.items(), ("#D55E00", "#0072B2"), strict=True):
    right.plot(range(3), accuracies(layers), "o-", label=name, color=color)
right.set(
    xlabel="shift, pixels", ylabel="right, per cent", ylim=(0, 100), title="digits where none were"
)
right.set_xticks(range(3))
right.legend(frameon=False)
