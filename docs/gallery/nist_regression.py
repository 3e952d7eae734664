"""
A curve through measured points
===============================

Someone has measured how much light an interference filter lets through, at 35 wavelengths, and
wants the strength, the width and the centre of the peak, each with its uncertainty. The data are
Eckerle's (1979), from the `Statistical Reference Datasets
<https://www.itl.nist.gov/div898/strd/nls/data/eckerle4.shtml>`__ of NIST, which has certified
the answer to eleven digits. The picture shows the fit, and how far the points are from it.
"""

import matplotlib.pyplot as plt
import numpy as np
from numba import njit

import fastopt

wavelength = np.fromstring(
    """400 405 410 415 420 425 430 435 436.5 438 439.5 441 442.5 444 445.5 447 448.5 450 451.5 453
    454.5 456 457.5 459 460.5 462 463.5 465 470 475 480 485 490 495 500""",
    sep=" ",
)
transmittance = np.fromstring(
    """0.0001575 0.0001699 0.000235 0.0003102 0.0004917 0.000871 0.0017418 0.00464 0.0065895
    0.0097302 0.0149002 0.023731 0.0401683 0.0712559 0.1264458 0.2073413 0.2902366 0.3445623
    0.3698049 0.3668534 0.3106727 0.2078154 0.1164354 0.0616764 0.03372 0.0194023 0.0117831
    0.0074357 0.0022732 0.00088 0.0004579 0.0002345 0.0001586 0.0001143 7.1e-05""",
    sep=" ",
)

# %%
# The model is a Gaussian peak. What is minimized is half the sum of squares of the residuals,
# and its gradient is the Jacobian's transpose times the residuals. Both functions are compiled
# by Numba, so that a solve never comes back to the interpreter.


@njit
def residuals(p, x, y):
    """Model minus measurement, and the derivatives by the three parameters."""
    strength, width, centre = p
    u = (x - centre) / width
    peak = np.exp(-(u**2) / 2) / width
    jacobian = np.column_stack(
        (np.ones_like(u), strength * (u**2 - 1) / width, strength * u / width)
    )
    return strength * peak - y, jacobian * peak[:, None]


@njit
def misfit(p, x, y):
    r, jacobian = residuals(p, x, y)
    return r @ r / 2, jacobian.T @ r


start = np.array([1.5, 5.0, 450.0])
data = wavelength, transmittance
fit = fastopt.minimize(misfit, start, data, "bfgs", jac=True, options={"gtol": 1e-12})
print(fit.message)
print(f"{fit.nit} iterations, {fit.nfev} evaluations")

# %%
# Near the minimum the sum of squares is a paraboloid. Its curvature says how far each parameter
# may be off before the fit is visibly worse: the standard deviations are the square roots of the
# diagonal of :math:`s^2 (J^T J)^{-1}`, where :math:`s^2` is the variance of the residuals. NIST
# has certified these too.

r, jacobian = residuals(fit.x, *data)
variance = r @ r / (r.size - fit.x.size)
deviations = np.sqrt(variance * np.diag(np.linalg.inv(jacobian.T @ jacobian)))

certified = np.array([1.5543827178, 4.0888321754, 451.54121844])
certified_deviations = np.array([0.015408051163, 0.046803020753, 0.046800518816])
names = "strength", "width", "centre"
print("        fitted         certified      uncertainty   certified")
for row in zip(names, fit.x, certified, deviations, certified_deviations, strict=True):
    print("{:6}  {:<13.11g}  {:<13.11g}  {:<12.8g}  {:<12.8g}".format(*row))

digits = -np.log10(np.abs(fit.x / certified - 1).max())
print(f"at least {digits:.0f} digits agree")
assert digits > 8

# %%
# The points lie on the curve to within two hundredths. What is left is not noise, though: it
# waves, so the filter's peak is not quite a Gaussian, and uncertainties that take the waves for
# noise are to be read with care. No sum of squares says this; the residuals do.

x = np.linspace(400, 500, 600)
figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(8, 5.5), height_ratios=(3, 1), sharex=True, layout="constrained"
)
top.plot(x, residuals(start, x, 0.0 * x)[0], "--", color="0.5", label="start")
top.plot(x, residuals(fit.x, x, 0.0 * x)[0], color="#0072B2", label="fit")
top.plot(wavelength, transmittance, "o", color="#D55E00", ms=5, label="measured")
top.set(ylabel="transmittance", title="Light through an interference filter")
top.legend(frameon=False)
bottom.axhline(0, color="#0072B2")
bottom.plot(wavelength, -100 * r, "o", color="#D55E00", ms=5)
bottom.set(xlabel="wavelength (nm)", ylabel="measured - fit\n(hundredths)")
