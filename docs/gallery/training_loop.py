"""
A training loop of your own, with a schedule
============================================

A small network learns to read handwritten digits in a loop that you write yourself: you choose
the batches, what is done to them, and when to look at images that are kept back. The step length
rises at first, while the network is far from anything, and then falls to zero along half a
cosine, so that the noise of the batches dies away. The data are the 1797 digits of 8 x 8 pixels
that come with scikit-learn. The picture shows step lengths, loss and errors, beside those of
fixed step lengths.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import fastopt
from fastopt import nn
from fastopt.schedules import constant, cosine, warmup

images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)
X, X_test, y, y_test = train_test_split(
    images, labels, test_size=400, random_state=0, stratify=labels
)
model = nn.Model(
    nn.Flatten(),
    nn.Linear(64),
    nn.ReLU(),
    nn.Linear(64),
    nn.ReLU(),
    nn.Linear(10),
    input_shape=(1, 8, 8),
)
print(f"{model.n} parameters, {len(y)} images to learn from, {len(y_test)} to be tested on")

# %%
# A network of ``fastopt.nn`` is a function of one flat vector; any other function that returns a
# value and a gradient would do. The optimizer changes the vector in place, and multiplies its
# ``lr`` by the schedule at each step. Every batch is disturbed anew, so that the network never
# sees an image twice.

EPOCHS, BATCH = 15, 32


def disturbed(x, rng):
    """Shifted by a pixel or not at all, in a direction at random, and noisy."""
    x = np.roll(x, rng.integers(-1, 2, size=2), axis=(2, 3))
    return x + np.float32(0.2) * rng.standard_normal(x.shape, np.float32)


def train(lr, schedule, seed):
    theta = model.init(seed)
    optimizer = fastopt.Adam(theta, lr=lr, schedule=schedule)
    batches = fastopt.Minibatches(X, y, batch_size=BATCH, seed=seed, drop_last=True)
    rng = np.random.default_rng(seed)
    losses, errors = [], []
    for _ in range(EPOCHS):
        for x_batch, y_batch in batches:
            value, gradient = model.value_and_grad(theta, disturbed(x_batch, rng), y_batch)
            optimizer.step(gradient)
            losses.append(value)
        wrong = model.predict(theta, X_test).argmax(axis=1) != y_test
        errors.append(100 * wrong.mean())
    return np.array(losses), np.array(errors)


# %%
# A schedule is a function of the step, which can be looked at before it is used.

steps = EPOCHS * (len(y) // BATCH)
schedule = warmup(60).then(cosine(steps - 60))
halfway = 60 + (steps - 60) // 2
by_formula = (1 + np.cos(np.pi * (halfway - 60) / (steps - 60))) / 2
print(f"{schedule!r}, {steps} steps")
at = {when: round(float(schedule(when)), 4) for when in (1, 61, halfway + 1)}
print(f"multipliers at some steps: {at}")
assert np.isclose(schedule(halfway + 1), by_formula)

runs = {
    "lr = 0.02, fixed": (0.02, constant(1.0), "#D55E00"),
    "lr = 0.005, fixed": (0.005, constant(1.0), "#E69F00"),
    "lr = 0.02, warm-up and cosine": (0.02, schedule, "#0072B2"),
}
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 4), layout="constrained")
window = np.full(40, 1 / 40)
t = np.arange(1, steps + 1)
for name, (lr, multiplier, colour) in runs.items():
    losses, errors = (
        np.mean(each, axis=0)
        for each in zip(*(train(lr, multiplier, seed) for seed in range(2)), strict=True)
    )
    print(f"{name}: {errors[-1]:.1f} % of the images kept back are misread")
    left.plot(t, lr * multiplier(t), color=colour, label=name)
    middle.plot(t[39:], np.convolve(losses, window, "valid"), color=colour)
    right.plot(np.arange(1, EPOCHS + 1), errors, "o-", ms=4, color=colour)
left.set(xlabel="step", ylabel="step length", ylim=(0, 0.028), title="Step length")
left.legend(frameon=False, fontsize=9, loc="upper right")
middle.set(xlabel="step", ylabel="cross-entropy, mean of 40 batches", title="Loss on the way")
middle.set_ylim(bottom=0)
right.set(xlabel="epoch", ylabel="misread (%)", ylim=(0, 50), title="400 images kept back")
right.set_xticks(range(0, EPOCHS + 1, 5))

# %%
# With the long fixed step length the loss soon falls no further than its own noise, and what the
# network makes of an image changes from epoch to epoch. With the schedule the same step length is
# long only where that helps.
