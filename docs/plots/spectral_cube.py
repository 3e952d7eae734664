import matplotlib.pyplot as plt
import numpy as np
from numba import njit

import fastopt

# A galaxy as a radio telescope sees it: in every pixel a spectrum with one emission line, moved by
# the rotation of the disc, broadened by turbulence, and noisy.
rng = np.random.default_rng(2)
velocity = np.linspace(-400.0, 400.0, 64)  # km/s
down, right = np.mgrid[-1:1:128j, -1:1:128j]
along, across = right * 0.8 + down * 0.6, (down * 0.8 - right * 0.6) / 0.55
radius = np.hypot(along, across)
arms = 1 + 0.5 * np.cos(2 * np.arctan2(across, along) - 9 * radius)
peak = 6.0 * np.exp(-2.5 * radius) * arms
shift = 230.0 * np.tanh(5 * radius) * along / (radius + 1e-3)
spread = 18.0 + 35.0 * np.exp(-8 * radius)
offset = velocity - shift[..., None]
cube = peak[..., None] * np.exp(-0.5 * (offset / spread[..., None]) ** 2) + 0.4
cube += 0.15 * rng.standard_normal(cube.shape)


@njit
def misfit(p, velocity, spectrum):
    """Sum of squares of a Gaussian line on a flat background, and its gradient."""
    peak, centre, width, background = p
    value, slopes = 0.0, np.zeros(4)
    for i in range(velocity.size):
        u = (velocity[i] - centre) / width
        line = np.exp(-0.5 * u * u)
        residual = peak * line + background - spectrum[i]
        value += residual * residual
        slopes[0] += 2 * residual * line
        slopes[1] += 2 * residual * peak * line * u / width
        slopes[2] += 2 * residual * peak * line * u * u / width
        slopes[3] += 2 * residual
    return value, slopes


# One row of starting values and one spectrum for each pixel.
spectra = cube.reshape(-1, velocity.size)
background = np.median(spectra, axis=1)
brightest = velocity[spectra.argmax(axis=1)]
starts = np.column_stack(
    [spectra.max(axis=1) - background, brightest, np.full(len(spectra), 30.0), background]
)
fits = fastopt.minimize_many(
    misfit, starts, args=(velocity, spectra), batched=(False, True), method="bfgs", jac=True
)

# A line is wider than a channel and stands out of the noise; other fits are of spikes.
peak, width, channel = fits.x[:, 0], abs(fits.x[:, 2]), velocity[1] - velocity[0]
strength = peak * np.sqrt(width / channel) / 0.15
seen = fits.success & (width > channel) & (width < 80) & (strength > 5)
maps = np.where(seen, fits.x.T, np.nan).reshape(4, 128, 128)
noise = np.sqrt(fits.fun / (velocity.size - 4)).reshape(128, 128)
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for ax, title, values, colours, low, high in (
    (axes[0], "peak (mJy)", maps[0], "magma", 0, 5),
    (axes[1], "velocity (km/s)", maps[1], "RdBu_r", -230, 230),
    (axes[2], "width (km/s)", abs(maps[2]), "viridis", 10, 50),
    (axes[3], "what is left (mJy)", noise, "gray", 0, 0.3),
):
    image = ax.imshow(values, cmap=colours, vmin=low, vmax=high, origin="lower")
    figure.colorbar(image, ax=ax, shrink=0.85)
    ax.set(title=title, xticks=[], yticks=[])
