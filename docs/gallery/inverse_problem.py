"""
Where did it start? A hundred thousand unknowns
===============================================

A plant that is new to a country spreads: it multiplies where it is, and its seeds are blown to the
next field. From a satellite we see how dense it stands today, but for noise, and where there are no
clouds. Where was it some years ago?

The unknown is a map of 316 x 316 densities, 99 856 numbers, of which a model makes what is seen
today. L-BFGS-B finds the map that explains the picture best. What it needs is the gradient with
respect to all of these numbers, and the *adjoint* method gives it for the price of one more run of
the model, backwards.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
import scipy.ndimage
import scipy.optimize
from numba import njit

import fastopt

# %%
# The model
# ---------
#
# The equation of Fisher, Kolmogorov, Petrovsky and Piskunov (1937): diffusion, and logistic growth,
# of a density :math:`u` from 0 to 1,
#
# .. math:: \frac{\partial u}{\partial t} = D \nabla^2 u + r u (1 - u)
#
# on a grid that nothing leaves, in small steps of time. The states of all steps are kept, since the
# way back needs them.

STEPS, SPREAD, GROWTH = 20, 0.24, 0.15  # D dt / dx^2 and r dt


@njit
def advance(v, u, crowding, out):
    """A step of time: v spreads, and grows the slower the denser u is."""
    rows, columns = v.shape
    for i in range(rows):
        above, here, below = v[max(i - 1, 0)], v[i], v[min(i + 1, rows - 1)]
        for j in range(columns):
            beside = here[max(j - 1, 0)] + here[min(j + 1, columns - 1)]
            spread = above[j] + below[j] + beside - 4 * here[j]
            growth = (1 - crowding * u[i, j]) * here[j]
            out[i, j] = here[j] + SPREAD * spread + GROWTH * growth


@njit
def run(start):
    states = np.empty((STEPS + 1, *start.shape))
    states[0] = start
    for k in range(STEPS):
        advance(states[k], states[k], 1, states[k + 1])
    return states


# %%
# The function to minimise
# ------------------------
#
# Half the sum of squared differences from what is seen, in units of the noise, and a penalty on the
# differences between neighbours, without which the noise would be explained, too.
#
# The adjoint :math:`\lambda` says how the misfit changes with each density of a step. It is known
# for the last one; a step of the model, linearised and transposed, takes it one back. Here that is
# the same step with :math:`1 - 2u` in place of :math:`1 - u`.


@njit
def misfit(x, seen, weight, penalty):
    start = x.reshape(seen.shape)
    rows, columns = start.shape
    states = run(start)
    value, adjoint, before = 0.0, np.empty_like(start), np.empty_like(start)
    for i in range(rows):
        for j in range(columns):
            residual = states[STEPS, i, j] - seen[i, j]
            adjoint[i, j] = weight[i, j] * residual
            value += 0.5 * weight[i, j] * residual**2
    for k in range(STEPS - 1, -1, -1):
        advance(adjoint, states[k], 2, before)
        adjoint, before = before, adjoint
    for i in range(rows):
        for j in range(columns):
            for p, q in ((i + 1, j), (i, j + 1)):
                if p < rows and q < columns:
                    slope = start[p, q] - start[i, j]
                    value += 0.5 * penalty * slope**2
                    adjoint[p, q] += penalty * slope
                    adjoint[i, j] -= penalty * slope
    return value, adjoint.ravel()


# %%
# A wrong adjoint is easily written. On a small grid, at random:

rng = np.random.default_rng(5)
small = rng.uniform(0, 1, (9, 8))
check = fastopt.check_grad(misfit, rng.uniform(0, 1, small.size), args=(small, small + 1, 0.1))
print(check.message)

# %%
# What is seen
# ------------
#
# The plant started in a dozen gardens, and along a railway. The picture of today has noise of 0.05
# in each point, and clouds hide a fifth of it.

size, noise = 316, 0.05
down, right = np.mgrid[:size, :size]
truth = np.zeros((size, size))
for _ in range(12):
    row, column, radius = rng.uniform([20, 20, 4], [296, 296, 14])
    truth[np.hypot(down - row, right - column) < radius] = rng.uniform(0.1, 0.5)
railway = 190 + 60 * np.sin(right / 60) - 0.3 * right
truth[abs(down - railway) < 2.5] = 0.25

today = run(truth)[STEPS]
cover = scipy.ndimage.gaussian_filter(rng.standard_normal((size, size)), 18)
clear = cover < np.quantile(cover, 0.8)
seen = np.where(clear, today + noise * rng.standard_normal((size, size)), 0.0)
weight = clear / noise**2

# %%
# The solve
# ---------
#
# No density is below 0 or above 1, which L-BFGS-B takes as bounds. It starts from nothing, and ends
# when an iteration gains less than a hundred-thousandth of the misfit: with so much noise, further
# digits are worth nothing.

arguments = (seen, weight, 100.0)
start = np.zeros(size * size)
options = {"ftol": 1e-5}
begun = perf_counter()
fit = fastopt.minimize(
    misfit,
    start,
    args=arguments,
    method="l-bfgs-b",
    jac=True,
    bounds=scipy.optimize.Bounds(0, 1),
    options=options,
)
seconds = perf_counter() - begun
print(f"{fit.nit} iterations, {fit.nfev} evaluations, {seconds:.1f} s: misfit {fit.fun:.0f}")
print(f"converged to {fit.converged_to}")

found = fit.x.reshape(size, size)
figure, axes = plt.subplots(1, 3, figsize=(12, 4.6), layout="constrained")
for ax, title, values, high in (
    (axes[0], "where it began", truth, 0.5),
    (axes[1], "seen today", np.where(clear, seen, np.nan), 1),
    (axes[2], "where L-BFGS-B says that it began", found, 0.5),
):
    image = ax.imshow(values, vmin=0, vmax=high)
    figure.colorbar(image, ax=ax, shrink=0.8, orientation="horizontal", label="density")
    ax.set(title=title, xticks=[], yticks=[])
plt.show()

# %%
# Is it right?
# ------------
#
# What the map does not explain of the picture is the noise, no more and no less. (Of what is below
# the clouds nobody can tell.)

left = (run(found)[STEPS] - seen)[clear]
error = (found - truth)[clear]
print(f"rms of what is left: {left.std():.4f}, noise {noise}")
print(f"rms of the map's error: {error.std():.3f}, of the map: {truth[clear].std():.3f}")

# %%
# SciPy's L-BFGS-B, with the same function, compiled for both, and the same test of when to end.

begun = perf_counter()
end = scipy.optimize.minimize(
    misfit,
    start,
    args=arguments,
    method="l-bfgs-b",
    jac=True,
    bounds=scipy.optimize.Bounds(0, 1),
    options=options,
)
scipy_seconds = perf_counter() - begun
print(f"SciPy: {end.nit} iterations, {end.nfev} evaluations, {scipy_seconds:.1f} s: {end.fun:.0f}")
