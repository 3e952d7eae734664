"""
Two thousand transits at once
=============================

When a planet passes in front of its star, the star looks a little fainter for some hours. A survey
watches thousands of stars, and wants to know of each such *transit* how deep it is (the size of the
planet), when its middle was, and how long it took.

The light curves differ in length: telescopes look when the sky is clear. This example fits all of
them by one call of :func:`fastopt.minimize_many`, and compares the errors with
what statistics expects of such noise.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import scipy.optimize
from numba import njit

import fastopt

# %%
# The data
# --------
#
# 2000 simulated stars, watched for eight hours around the predicted time: up to 400 exposures at
# irregular times, an hour without any because of clouds, and noise according to how bright the star
# is. All edges are equally steep here, to keep it short; real ones are a parameter more.

EDGE = 0.25  # hours


def transit(p, t):
    """What is seen of a star's light: it is 1 but for the level of the night, and the transit."""
    level, depth, middle, duration = p
    inside = np.tanh((t - middle + duration / 2) / EDGE) - np.tanh(
        (t - middle - duration / 2) / EDGE
    )
    return level - depth * inside / 2


rng = np.random.default_rng(3)
stars = 2000
truth = np.column_stack(
    [
        1 + rng.normal(0, 0.005, stars),
        rng.uniform(0.005, 0.03, stars),
        rng.normal(0, 0.3, stars),  # hours from the prediction
        rng.uniform(1.5, 3.5, stars),  # hours
    ]
)
noise = rng.uniform(0.001, 0.003, stars)


def watch(p, sigma):
    t = np.sort(rng.uniform(-4, 4, rng.integers(80, 400)))
    clouds = rng.uniform(-4, 4)
    t = t[(t < clouds) | (t > clouds + 1)]
    return t, transit(p, t) + sigma * rng.standard_normal(t.size)


curves = [watch(p, sigma) for p, sigma in zip(truth, noise, strict=True)]

# %%
# Curves of different lengths
# ---------------------------
#
# Compiled code wants plain arrays. So the curves are put one behind another, and each problem is
# told where its own begins and ends.

t = np.concatenate([times for times, _ in curves])
flux = np.concatenate([values for _, values in curves])
ends = np.cumsum([times.size for times, _ in curves])
firsts = np.concatenate([[0], ends[:-1]])
print(f"{stars} light curves of {np.diff(ends).min()} to {np.diff(ends).max()} points")

# %%
# The function is half the sum of squares in units of the noise, with its gradient.


@njit
def misfit(p, t, flux, sigma, first, end):
    level, depth, middle, duration = p
    value, grad = 0.0, np.zeros(4)
    for i in range(first, end):
        into = np.tanh((t[i] - middle + duration / 2) / EDGE)
        out = np.tanh((t[i] - middle - duration / 2) / EDGE)
        residual = (level - depth * (into - out) / 2 - flux[i]) / sigma
        value += residual * residual / 2
        steep_into, steep_out = (1 - into * into) / EDGE, (1 - out * out) / EDGE
        grad[0] += residual / sigma
        grad[1] -= residual / sigma * (into - out) / 2
        grad[2] += residual / sigma * depth * (steep_into - steep_out) / 2
        grad[3] -= residual / sigma * depth * (steep_into + steep_out) / 4
    return value, grad


check = fastopt.check_grad(misfit, truth[0] * 1.1, args=(t, flux, noise[0], firsts[0], ends[0]))
print(check.message)

# %%
# All at once
# -----------
#
# Every search starts from the same guess, at the predicted time. ``batched`` marks the arguments
# that have an element for each problem.

guess = [1.0, 0.01, 0.0, 2.5]
arguments = (t, flux, noise, firsts, ends)
begun = perf_counter()
fits = fastopt.minimize_many(
    misfit,
    np.tile(guess, (stars, 1)),
    args=arguments,
    batched=(False, False, True, True, True),
    jac=True,
)
print(f"{perf_counter() - begun:.2f} s, with compiling")
print(fits)

# %%
# The faintest, the median and the brightest star of those that were watched, with their fits:

fine = np.linspace(-4, 4, 400)
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
by_noise = np.argsort(noise)[::-1]
for ax, i in zip(axes, by_noise[[0, stars // 2, -1]], strict=True):
    ax.plot(*curves[i], ".", color="#56B4E9", ms=4)
    ax.plot(fine, transit(fits.x[i], fine), color="#D55E00", lw=2)
    depth, middle, duration = 100 * fits.x[i, 1], *fits.x[i, 2:]
    ax.set(
        title=f"{depth:.2f} % deep, {duration:.2f} h long, at {middle:+.2f} h",
        xlabel="hours from the predicted middle",
    )
axes[0].set_ylabel("light of the star")
plt.show()

# %%
# What errors are to be expected?
# -------------------------------
#
# The Fisher information tells: with a Jacobian :math:`J` of the model and noise :math:`\sigma`, the
# fits' errors have the covariance :math:`\sigma^2 (J^T J)^{-1}`. Divided by what is expected, the
# errors must be normally distributed, with a mean of 0 and a deviation of 1.
#
# That is so where the data hold the parameters. An edge of the transit that clouds have hidden may
# have been anywhere among them, and the curvature at the minimum says nothing of that. Such stars
# are grey in the upper row, and left out of the lower one.

star = np.repeat(np.arange(stars), ends - firsts)
level, depth, middle, duration = fits.x[star].T
into = np.tanh((t - middle + duration / 2) / EDGE)
out = np.tanh((t - middle - duration / 2) / EDGE)
steep_into, steep_out = (1 - into**2) / EDGE, (1 - out**2) / EDGE
jacobian = np.column_stack(
    [
        np.ones_like(t),
        -(into - out) / 2,
        depth * (steep_into - steep_out) / 2,
        -depth * (steep_into + steep_out) / 4,
    ]
)
products = jacobian[:, :, None] * jacobian[:, None, :] / noise[star, None, None] ** 2
information = np.add.reduceat(products, firsts)
expected = np.sqrt(np.diagonal(np.linalg.inv(information), axis1=1, axis2=2))
errors = (fits.x - truth) / expected

# An edge is seen where there are exposures just before it and just after it.
edges = middle - duration / 2, middle + duration / 2
beside = [(t > edge + side) & (t < edge + side + EDGE) for edge in edges for side in (-EDGE, 0)]
seen = (np.add.reduceat(beside, firsts, axis=1, dtype=int) >= 2).all(axis=0)
print(f"both edges are seen of {seen.sum()} stars")

figure, axes = plt.subplots(2, 4, figsize=(12, 5.6), layout="constrained")
bins, normal = np.linspace(-4, 4, 33), np.linspace(-4, 4, 200)
names = ("level", "depth (%)", "middle (h)", "duration (h)")
for k, (name, scale) in enumerate(zip(names, (1, 100, 1, 1), strict=True)):
    above, below = axes[:, k]
    for chosen, colour in ((~seen, "0.6"), (seen, "#56B4E9")):
        above.plot(scale * truth[chosen, k], scale * fits.x[chosen, k], ".", ms=3, color=colour)
    above.axline((scale * truth[0, k],) * 2, slope=1, color="#D55E00", lw=1)
    above.set(title=name, xlabel="true", ylabel="fitted" if k == 0 else "")
    below.hist(errors[seen, k], bins, density=True, color="#56B4E9")
    below.plot(normal, np.exp(-(normal**2) / 2) / np.sqrt(2 * np.pi), color="#D55E00", lw=2)
    below.set(xlabel="error / expected error", yticks=[])
    print(
        f"{name:13} mean {errors[seen, k].mean():+.3f}, deviation {errors[seen, k].std():.3f}, "
        f"{100 * (abs(errors[seen, k]) < 1).mean():.1f} % within 1 (expected: 68.3 %)"
    )
axes[1, 0].set_ylabel("share of the stars")
plt.show()

# %%
# That the depths are a tenth of an error too great is no accident: the Fisher information is that
# of a linear model, and this one bends.
#
# SciPy's ``curve_fit``, for the first hundred of these, finds the same minima and the same errors:

worst_fit = worst_error = 0.0
for i in np.flatnonzero(seen)[:100]:
    times, values = curves[i]
    best, covariance = scipy.optimize.curve_fit(
        lambda t, *p: transit(p, t), times, values, p0=guess, sigma=np.full(times.size, noise[i])
    )
    scipy_error = np.sqrt(np.diag(covariance)) / np.sqrt(
        2 * fits.fun[i] / (times.size - 4)  # curve_fit scales by the noise that it sees
    )
    worst_fit = max(worst_fit, abs((best - fits.x[i]) / expected[i]).max())
    worst_error = max(worst_error, abs(scipy_error / expected[i] - 1).max())
print(f"fits differ by at most {100 * worst_fit:.2g} % of the expected error")
print(f"expected errors differ by at most {100 * worst_error:.2g} %")
