"""
The rotation of a galaxy, pixel by pixel
========================================

A radio telescope makes a *spectral cube*: an image of a galaxy that has a whole spectrum in each of
its pixels. There the gas shines in one line, which the Doppler effect moves by the velocity of the
gas. To fit the line in each pixel is to map how the galaxy turns.

That is one small problem of least squares, 16 384 times. :func:`fastopt.minimize_many` takes them
all in one call; with an ``@njit`` function no interpreter runs between the first and the last.
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
# A simulated galaxy of 128 x 128 pixels and 64 channels of velocity: a disc that rotates, seen from
# the side, with two spiral arms and turbulent gas in its middle.

rng = np.random.default_rng(2)
noise = 0.15  # mJy
velocity = np.linspace(-400.0, 400.0, 64)  # km/s
down, right = np.mgrid[-1:1:128j, -1:1:128j]
along, across = right * 0.8 + down * 0.6, (down * 0.8 - right * 0.6) / 0.55
radius = np.hypot(along, across)
arms = 1 + 0.5 * np.cos(2 * np.arctan2(across, along) - 9 * radius)
true_peak = 6.0 * np.exp(-2.5 * radius) * arms
true_shift = 230.0 * np.tanh(5 * radius) * along / (radius + 1e-3)
true_width = 18.0 + 35.0 * np.exp(-8 * radius)
offset = velocity - true_shift[..., None]
cube = true_peak[..., None] * np.exp(-0.5 * (offset / true_width[..., None]) ** 2) + 0.4
cube += noise * rng.standard_normal(cube.shape)

# %%
# The function
# ------------
#
# A Gaussian line on a flat background; what is minimised is the sum of squares. The function
# returns its gradient as well, which is what ``jac=True`` says below.


@njit
def misfit(p, velocity, spectrum):
    peak, centre, width, background = p
    value, grad = 0.0, np.zeros(4)
    for i in range(velocity.size):
        u = (velocity[i] - centre) / width
        line = np.exp(-0.5 * u * u)
        residual = peak * line + background - spectrum[i]
        value += residual * residual
        grad[0] += 2 * residual * line
        grad[1] += 2 * residual * peak * line * u / width
        grad[2] += 2 * residual * peak * line * u * u / width
        grad[3] += 2 * residual
    return value, grad


# %%
# All pixels in one call
# ----------------------
#
# Starts are the rows of an array. ``batched`` says that the velocities are the same for all
# problems, and that each has a spectrum of its own.

spectra = cube.reshape(-1, velocity.size)
background = np.median(spectra, axis=1)
brightest = velocity[spectra.argmax(axis=1)]
starts = np.column_stack(
    [spectra.max(axis=1) - background, brightest, np.full(len(spectra), 30.0), background]
)


def fit_all():
    return fastopt.minimize_many(
        misfit, starts, args=(velocity, spectra), batched=(False, True), jac=True
    )


fit_all()  # compiles
begun = perf_counter()
fits = fit_all()
seconds = perf_counter() - begun
print(f"{len(spectra)} fits in {seconds:.2f} s: {len(spectra) / seconds:,.0f} a second")
print(fits)

# %%
# Far from the centre there is nothing but noise, and a spike of it is what is fitted. The maps show
# lines that are wider than a channel and stand out.

peak, centre, width, background = fits.x.T
width = abs(width)  # its sign means nothing
channel = velocity[1] - velocity[0]
strength = peak * np.sqrt(width / channel) / noise
seen = fits.success & (width > channel) & (width < 80) & (strength > 5)
rest = np.sqrt(fits.fun / (velocity.size - 4))

figure, axes = plt.subplots(2, 2, figsize=(8, 7), layout="constrained")
for ax, title, values, colours, low, high in (
    (axes[0, 0], "velocity (km/s)", np.where(seen, centre, np.nan), "RdBu_r", -230, 230),
    (axes[0, 1], "peak (mJy)", np.where(seen, peak, np.nan), "viridis", 0, 5),
    (axes[1, 0], "width (km/s)", np.where(seen, width, np.nan), "viridis", 10, 50),
    (axes[1, 1], "rms of what is left (mJy)", rest, "viridis", 0, 0.3),
):
    image = ax.imshow(values.reshape(128, 128), cmap=colours, vmin=low, vmax=high, origin="lower")
    figure.colorbar(image, ax=ax, shrink=0.9)
    ax.set(title=title, xticks=[], yticks=[])
plt.show()

# %%
# Three of the pixels, with their fits:

figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), sharey=True, layout="constrained")
for ax, (row, column) in zip(axes, ((60, 30), (64, 66), (70, 95)), strict=True):
    p = fits.x[128 * row + column]
    line = p[0] * np.exp(-0.5 * ((velocity - p[1]) / p[2]) ** 2) + p[3]
    ax.step(velocity, cube[row, column], where="mid", color="#56B4E9")
    ax.plot(velocity, line, color="#D55E00", lw=2)
    ax.set(title=f"{p[1]:+.0f} km/s", xlabel="velocity (km/s)", xlim=(-400, 400))
axes[0].set_ylabel("flux (mJy)")
plt.show()

# %%
# Is it right?
# ------------
#
# What the fits leave over is the noise that was put in, 0.15 mJy, and no trace of the galaxy. The
# velocities are those of the simulation, within what such noise allows: the centre of a line of
# peak :math:`p` and width :math:`w`, in channels of width :math:`d`, is known to
# :math:`(\text{noise} / p) \sqrt{2 w d / \sqrt{\pi}}`.

expected = noise / true_peak.ravel() * np.sqrt(2 * true_width.ravel() * channel / np.sqrt(np.pi))
bright = true_peak.ravel() > 10 * noise
error = (centre - true_shift.ravel())[bright] / expected[bright]
print(f"rms of what is left: {np.sqrt((rest**2).mean()):.3f} mJy, noise {noise} mJy")
print(f"errors of {bright.sum()} velocities, in units of what is expected: rms {error.std():.2f}")

# %%
# Beside a loop over SciPy
# ------------------------
#
# The same function, starts and method, for every 64th pixel:

sample = np.arange(0, len(spectra), 64)
begun = perf_counter()
ends = [
    scipy.optimize.minimize(misfit, starts[i], (velocity, spectra[i]), jac=True, method="bfgs")
    for i in sample
]
scipy_seconds = perf_counter() - begun
same = [
    np.allclose(end.x, fits.x[i], rtol=1e-3)
    for i, end in zip(sample, ends, strict=True)
    if bright[i]
]
print(f"SciPy: {len(sample) / scipy_seconds:,.0f} fits a second")
print(f"fastopt's are {scipy_seconds / len(sample) * len(spectra) / seconds:.0f} times as many")
print(f"{sum(same)} of {len(same)} fits of bright pixels are the same")

# %%
# :doc:`/guides/million_fits` goes from such a loop to this call step by step, and on to clusters.
