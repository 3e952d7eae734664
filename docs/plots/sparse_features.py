import matplotlib.pyplot as plt
import numpy as np
from numba import njit

from fastopt.rules import adagrad_step, gd_step

# Words of texts: the k-th most frequent is in every k-th of them, or in 1 of 2 at the most.
rng = np.random.default_rng(0)
texts, words = 20_000, 1000
frequency = np.minimum(0.5, 1 / np.arange(1, words + 1))
X = (rng.random((texts, words)) < frequency).astype(float)
truth = rng.standard_normal(words)
y = (X @ truth + 0.3 * rng.logistic(size=texts) > 0).astype(float)


@njit
def online(step, slots, lr, more, falling, X, y):
    """One pass, a text at a time; how well each was predicted before it was learned from."""
    w, losses = np.zeros(X.shape[1]), np.empty(len(y))
    for t in range(1, len(y) + 1):
        score = X[t - 1] @ w
        losses[t - 1] = np.log1p(np.exp(-abs(score))) + max(score, 0.0) - y[t - 1] * score
        slope = (1 / (1 + np.exp(-score)) - y[t - 1]) * X[t - 1]
        step(w, slope, slots, (lr / np.sqrt(t) if falling else lr, *more), t)
    return losses, w


def tuned(step, slots, more=(), falling=False):
    """The best of the step lengths 0.01, 0.02, 0.04, ... by the mean loss of the pass."""
    runs = {}
    for lr in 0.01 * 2.0 ** np.arange(12):
        losses, w = online(step, np.zeros((slots, words)), lr, more, falling, X, y)
        runs[lr] = losses, w
    lr = min(runs, key=lambda lr: runs[lr][0].mean())
    return lr, *runs[lr]


runs = {
    "SGD": tuned(gd_step, 0),
    "SGD, lr / sqrt(t)": tuned(gd_step, 0, falling=True),
    "AdaGrad": tuned(adagrad_step, 1, (1e-8,)),
}
colours = ("#000000", "#D55E00", "#0072B2")
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
groups = np.geomspace(1, words, 16).astype(int)
for (label, (lr, losses, w)), colour in zip(runs.items(), colours, strict=True):
    mean = np.cumsum(losses) / np.arange(1, texts + 1)
    left.semilogx(np.arange(1, texts + 1), mean, color=colour, label=f"{label} (lr = {lr:g})")
    alike = [
        np.corrcoef(w[low:high], truth[low:high])[0, 1]
        for low, high in zip(groups[4:-1] - 1, groups[5:] - 1, strict=True)
    ]
    right.semilogx(np.sqrt(groups[4:-1] * groups[5:]), alike, "o-", ms=4, color=colour, label=label)
left.set(xlabel="texts seen", ylabel="mean loss so far", xlim=(100, texts), ylim=(0.25, 0.75))
left.legend(frameon=False)
left.set_title("Learning to predict")
right.set(xlabel="a word in how many texts", ylabel="correlation with the true weights")
right.set_title("What was learned of rare words")
for ax in (left, right):
    ax.grid(alpha=0.3)
