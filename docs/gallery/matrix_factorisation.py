"""
Half of a photograph: matrix factorisation
==========================================

Half of the pixels of a photograph are lost, and are to be guessed from the rest. What rows of an
image have in common, and columns, is captured by two thin matrices: pixel (i, j) is the product
of a few numbers of row i with a few of column j. A recommender fills its table of users and
films in just this way. The photograph comes with scikit-learn. The picture shows what was given,
what was found, and the truth.
"""

import matplotlib.pyplot as plt
import numpy as np
from numba import njit
from sklearn.datasets import load_sample_image

import fastopt

truth = load_sample_image("china.jpg").mean(axis=2) / 255
truth = truth[:426].reshape(213, 2, 320, 2).mean(axis=(1, 3))  # every four pixels are one
rng = np.random.default_rng(0)
known = rng.random(truth.shape) < 1 / 2
rows, columns = np.nonzero(known)
m, n = truth.shape
print(f"{rows.size} of {truth.size} pixels are known")

# %%
# All numbers are one flat vector, rows first. The objective goes through the known pixels only,
# as ``@njit`` code that would be slow in Python and needs no clever indexing here. ``l2`` keeps
# the factors small where few pixels speak.


@njit
def misfit(theta, rows, columns, pixels, m, n, l2):
    """Half the sum of squares over the known pixels, plus the penalty; and the gradient."""
    rank = theta.size // (m + n)
    factors = theta.reshape(m + n, rank)
    slopes = l2 * factors
    value = l2 / 2 * (theta @ theta)
    for k in range(pixels.size):
        left, right = factors[rows[k]], factors[m + columns[k]]
        residual = -pixels[k]
        for r in range(rank):
            residual += left[r] * right[r]
        value += residual**2 / 2
        for r in range(rank):
            slopes[rows[k], r] += residual * right[r]
            slopes[m + columns[k], r] += residual * left[r]
    return value, slopes.ravel()


def factorise(rows, columns, pixels, rank, l2, **options):
    start = 0.1 * np.random.default_rng(1).standard_normal((m + n) * rank)
    args = rows, columns, pixels, m, n, l2
    fit = fastopt.minimize(misfit, start, args, "l-bfgs", jac=True, options=options)
    factors = fit.x.reshape(m + n, rank)
    return fit, factors[:m] @ factors[m:].T


# %%
# First a case with a known answer. If every pixel is known and there is no penalty, the best
# approximation is the truncated singular value decomposition (Eckart and Young, 1936), although
# the objective is not convex.

everywhere = np.indices(truth.shape).reshape(2, -1)
whole, _ = factorise(*everywhere, truth.ravel(), rank=10, l2=0.0, maxiter=2000, ftol=1e-12)
left_out = np.linalg.svd(truth, compute_uv=False)[10:]
print(f"rank 10, all pixels: {whole.fun:.6f}, by singular values {(left_out**2).sum() / 2:.6f}")
assert abs(whole.fun / ((left_out**2).sum() / 2) - 1) < 1e-5

# %%
# Now with half of the pixels lost. More numbers for each row and column describe what is known
# ever better, and beyond some point what is not known ever worse; the penalty moves that point,
# and makes it less sharp.

mean = truth[known].mean()
ranks = (1, 2, 4, 8, 16, 32)
penalties = {0.01: "#D55E00", 1.0: "#0072B2"}
errors = {}
for l2 in penalties:
    for rank in ranks:
        _, image = factorise(rows, columns, truth[known] - mean, rank, l2, maxiter=200)
        errors[l2, rank] = np.sqrt(np.mean((image + mean - truth)[~known] ** 2))
l2, rank = min(errors, key=errors.get)
fit, image = factorise(rows, columns, truth[known] - mean, rank, l2)
error = np.sqrt(np.mean((image + mean - truth)[~known] ** 2))
print(f"best: rank {rank}, l2 = {l2:g}, {fit.x.size} unknowns, {fit.nit} iterations")
print(f"error of a lost pixel: {error:.3f}, where white is 1")
print(f"             the mean: {truth[~known].std():.3f}")

# %%
# Shades and outlines are back; of the leaves, which no row or column shares with another, only
# the brightness is.

figure, axes = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
pictures = {
    "known": np.where(known, truth, np.nan),
    f"found, rank {rank}": image + mean,
    "truth": truth,
}
for ax, (title, picture) in zip(axes.flat, pictures.items(), strict=False):
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set(title=title, xticks=[], yticks=[])
curves = axes[1, 1]
for l2, colour in penalties.items():
    curves.plot(ranks, [errors[l2, r] for r in ranks], "o-", color=colour, label=f"l2 = {l2:g}")
curves.set_xscale("log", base=2)
curves.set(xticks=ranks, xticklabels=ranks, ylim=(0.08, 0.25))
curves.set(xlabel="rank", ylabel="error of lost pixels (white = 1)", title="How many numbers")
curves.legend(frameon=False)
