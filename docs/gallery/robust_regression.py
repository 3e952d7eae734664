"""
A line that outliers do not move
================================

An instrument is calibrated against a standard, and one reading in six is wrong: a contact has
slipped, a digit was swapped. Least squares follows the wrong readings, because their squares are
large. The Huber loss, known as smooth L1 in neural networks, grows like a square for small
residuals and like an absolute value for large ones, and stays with the majority. The data are
made up, so the true line is known. The picture shows both fits, and how far each comes from the
truth as more readings go wrong.
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import least_squares

import fastopt

slope, offset, noise = 2.0, 1.0, 0.3
delta = 1.345 * noise  # Huber's choice: 95 % as good as least squares, if no reading were wrong


def readings(rng, n, wrong):
    """What the instrument says of n voltages, of which a share is too low by about 10."""
    x = np.linspace(0.0, 5.0, n)
    y = offset + slope * x + noise * rng.standard_normal(n)
    slipped = rng.random(n) < wrong * 2 * x / 5  # more often at high voltages
    return x, np.where(slipped, y - 10 + 2 * rng.standard_normal(n), y)


def fit(loss):
    line = fastopt.minimize(loss.fun, loss.x0, loss.args, "bfgs", loss.jac, options={"gtol": 1e-9})
    return np.append(loss.coef(line.x), loss.intercept(line.x))


x, y = readings(np.random.default_rng(6), 60, 1 / 6)
squared = fit(fastopt.losses.squared(x[:, None], y, intercept=True))
huber = fit(fastopt.losses.huber(x[:, None], y, delta=delta, intercept=True))
print("               slope   offset")
print(f"truth          {slope:.3f}   {offset:.3f}")
print("least squares  {:.3f}   {:.3f}".format(*squared))
print("Huber loss     {:.3f}   {:.3f}".format(*huber))

# %%
# SciPy has the same loss in another form, a transformation of squares for its solver of least
# squares.

scipy = least_squares(
    lambda p: p[0] * x + p[1] - y, np.zeros(2), loss="huber", f_scale=delta, gtol=1e-12, xtol=1e-12
)
difference = np.abs(scipy.x - huber).max()
print(f"largest difference from SciPy: {difference:.1e}")
assert difference < 1e-5

# %%
# How many wrong readings does it stand? For each share of them 200 calibrations are fitted by
# both losses. All have the same voltages, so :func:`fastopt.minimize_many` takes one matrix and
# a row of readings for each fit.

shares = np.linspace(0, 0.4, 9)
errors = {"least squares": [], "Huber loss": []}
for share in shares:
    many = np.array([readings(np.random.default_rng(seed), 60, share)[1] for seed in range(200)])
    for name, loss in (
        ("least squares", fastopt.losses.squared(x[:, None], y, intercept=True)),
        ("Huber loss", fastopt.losses.huber(x[:, None], y, delta=delta, intercept=True)),
    ):
        matrix, _, *others = loss.args
        fits = fastopt.minimize_many(
            loss.fun,
            np.zeros((len(many), loss.n)),
            (matrix, many, *others),
            batched=(False, True, *(False for _ in others)),
            jac=loss.jac,
        )
        assert fits.success.all()
        errors[name].append(np.median(np.abs(fits.x[:, 0] - slope)))

figure, (left, right) = plt.subplots(
    1, 2, figsize=(11, 4.5), width_ratios=(1.3, 1), layout="constrained"
)
colours = {"least squares": "#D55E00", "Huber loss": "#0072B2"}
left.plot(x, y, "o", color="0.5", ms=5, label="readings")
left.plot(x, offset + slope * x, color="black", lw=1, ls="--", label="truth")
for (name, colour), (a, b) in zip(colours.items(), (squared, huber), strict=True):
    left.plot(x, a * x + b, color=colour, lw=2, label=name)
left.set(xlabel="standard (V)", ylabel="reading (V)", title="One reading in six is wrong")
left.legend(frameon=False, loc="upper left")
for name, colour in colours.items():
    right.semilogy(100 * shares, errors[name], "o-", color=colour, label=name)
right.set(xlabel="wrong readings (%)", ylabel="error of the slope, median of 200 fits")
right.set(title="More and more readings go wrong")
right.legend(frameon=False)

# %%
# Huber's loss limits how hard one reading pulls, not how hard many pull together, and here all that
# are wrong lie on one side. Up to a quarter of them its error is a tenth of least squares'; at 40 %
# they have won.
