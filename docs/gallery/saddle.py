"""
Off a saddle
============

At a saddle the gradient is zero, and near one it is small, so a method that follows gradients is
slow to leave. Six first-order rules start close to the line that leads into the saddle of a
landscape made up for the purpose, and go on from there to a minimum, each with the step length
that suits it best. The picture shows their paths, and how long the saddle holds each.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from numba import njit

import fastopt


@njit
def landscape(p):
    """A steep valley along y, with a saddle at the origin and minima at (0, -1) and (0, 1)."""
    x, y = p
    value = 10 * x**2 - y**2 / 2 + y**4 / 4 + 0.25
    return value, np.array([20 * x, y**3 - y])


start = np.array([-0.6, 1e-4])

# %%
# ``return_all`` keeps the points on the way. Step lengths are the best of a grid: the one with
# which the height falls below 0.01 soonest, and stays there.

STEPS = 400


def path(method, lr):
    options = {"lr": lr, "maxiter": STEPS, "gtol": 0.0, "ftol": 0.0, "return_all": True}
    walk = fastopt.minimize(landscape, start, method=method, jac=True, options=options)
    points = np.array(walk.allvecs)
    return points, np.array([landscape(p)[0] for p in points])


def steps_taken(heights):
    high = np.flatnonzero(~(heights < 0.01))
    return high[-1] + 1 if high[-1] + 1 < heights.size else np.inf


rules = {
    "gd": "#000000",
    "momentum": "#0072B2",
    "nesterov": "#56B4E9",
    "adagrad": "#E69F00",
    "rmsprop": "#D55E00",
    "adam": "#009E73",
}
grid = [digit * 10.0**power for power in (-3, -2, -1) for digit in (1, 2, 5)]
walks = {}
for rule in rules:
    lr = min(grid, key=lambda lr, rule=rule: steps_taken(path(rule, lr)[1]))
    walks[rule] = path(rule, lr)
    print(f"{rule:9} lr = {lr:<6g} {steps_taken(walks[rule][1]):4} steps to the minimum")

# %%
# Gradient descent, and momentum with it, take steps in proportion to the gradient. Their step
# length is limited by the steep direction, where the curvature is 20: more than 2/20 and
# gradient descent diverges. Along the valley the curvature is -1, so with a step length of
# :math:`\eta` the distance from the ridge grows by a factor of :math:`1 + \eta` at every step.
# From 0.0001 to 0.5 that takes

lr = 0.05
predicted = np.log(0.5 / 1e-4) / np.log1p(lr)
points, heights = path("gd", lr)
counted = np.argmax(points[:, 1] > 0.5)
print(f"{predicted:.0f} steps in theory, {counted} in practice (lr = {lr:g})")
assert abs(counted - predicted) < 10

# %%
# The others divide by the size of the gradients that they have seen, for each parameter by
# itself. What is small counts as much as what is large, so for them there is hardly a saddle
# here. (It takes a start of y = 0 exactly, or gradients with noise, to tell that they do
# not notice it at all: :doc:`/rules/choosing` has these.)

valley = LinearSegmentedColormap.from_list("valley", ["#fbfdff", "#e3edf5", "#c4d7e6"])
x, y = np.meshgrid(np.linspace(-0.75, 0.75, 300), np.linspace(-0.5, 1.4, 300))
z = np.log10(10 * x**2 - y**2 / 2 + y**4 / 4 + 0.25 + 0.02)

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained")
left.contourf(x, y, z, 16, cmap=valley)
left.contour(x, y, z, 16, colors="#8fabc2", linewidths=0.5, linestyles="solid")
left.plot(0, 0, "X", color="black", ms=9, ls="", label="saddle", zorder=4)
left.plot(0, 1, "*", color="#F0E442", mec="black", ms=15, ls="", label="minimum", zorder=4)
for rule, colour in rules.items():
    points, heights = walks[rule]
    left.plot(*points.T, ".-", color=colour, lw=1.4, ms=4)
    right.plot(heights, color=colour, lw=1.8, label=rule)
left.set(xlabel="x", ylabel="y", title="Paths, a dot for each step")
left.legend(frameon=False, loc="lower left")
right.axhline(0.25, color="0.6", lw=1, ls="--")
right.annotate("saddle", (240, 0.26), ha="right", va="bottom", color="0.4")
right.set(xlabel="step", ylabel="height above the minimum", title="How long the saddle holds")
right.set(ylim=(-0.01, 0.6), xlim=(0, 240))
right.legend(frameon=False, loc="upper right")
