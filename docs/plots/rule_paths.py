"""Where a first-order rule goes on four functions of two variables, beside gradient descent.

Each page of docs/rules draws its own: ``.. plot:: plots/rule_paths.py adam``.
"""

from functools import partial
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap

from fastopt.rules.steps import njit_step
from fastopt.rules.table import RULES

STEPS = 300
COLOURS = ("#0072B2", "#D55E00", "#009E73")  # Okabe & Ito's, as in fastopt.plot_convergence
GREY = "#7f7f7f"
WATER = LinearSegmentedColormap.from_list("water", ["#fbfdff", "#e3edf5", "#c4d7e6"])


def beale(x, y):
    a, b, c = 1.5 - x + x * y, 2.25 - x + x * y**2, 2.625 - x + x * y**3
    along_x = 2 * (a * (y - 1) + b * (y**2 - 1) + c * (y**3 - 1))
    along_y = 2 * x * (a + 2 * b * y + 3 * c * y**2)
    return a**2 + b**2 + c**2, along_x, along_y


def rosenbrock(x, y):
    a, b = 1 - x, y - x**2
    return a**2 + 100 * b**2, -2 * a - 400 * x * b, 200 * b


def saddle(x, y):
    """Flat at the origin, between two minima."""
    return 1.5 * x**2 - y**2 / 2 + y**4 / 4 + 0.25, 3 * x, y**3 - y


def ravine(x, y):
    """A quadratic with a condition number of 100, and its axes askew."""
    c, s = np.cos(np.radians(25)), np.sin(np.radians(25))
    along, across = c * x + s * y, c * y - s * x
    wall = 100 * across
    return (along**2 + wall * across) / 2, c * along - s * wall, s * along + c * wall


class Problem(NamedTuple):
    title: str
    function: object
    start: tuple[float, float]
    minima: tuple[tuple[float, float], ...]
    view: tuple[float, float, float, float]  # left, right, bottom, top
    noise: float = 0.0


PROBLEMS = (
    Problem("Beale", beale, (0.4, -1.4), ((3, 0.5),), (-0.6, 4.1, -1.9, 1.3)),
    Problem("Rosenbrock", rosenbrock, (-1.2, 1.0), ((1, 1),), (-1.7, 1.7, -0.6, 1.9)),
    Problem("Saddle", saddle, (-1.6, 0.0), ((0, 1), (0, -1)), (-1.9, 1, -1.5, 1.5), noise=1e-3),
    Problem("Ravine", ravine, (-2.6, 0.2), ((0, 0),), (-3.1, 1.0, -1.8, 1.1)),
)


def walk(problem, rule, lr, steps=STEPS):
    """The points on the way, and f at each of them. `lr` is in place of the first hyperparameter
    that tells how long steps are: AdaDelta's is eps."""
    step = njit_step(rule.name)
    name = rule.scheduled[0] if rule.scheduled else "eps"
    values = tuple(lr if each.name == name else each.default for each in rule.hyperparameters)
    x, slots = np.array(problem.start), np.zeros((rule.slots, 2))
    noise = problem.noise * np.random.default_rng(1).standard_normal((steps, 2))
    path, heights = [x.copy()], []
    for t in range(1, steps + 1):
        f, *slope = problem.function(*x)
        heights.append(f)
        if not f < 1e6:
            break
        step(x, slope + noise[t - 1], slots, values, t)
        path.append(x.copy())
    return np.array(path), np.array([*heights, problem.function(*x)[0]])


def tuned(problem, rule):
    """Of a grid 1, 2, 5, 10, ... the step length with which f falls to 0.01 soonest, and for good;
    or ends lowest, if it never does. Those that lead out of the picture are left out."""
    low, high = np.reshape(problem.view, (2, 2)).T
    edge = 0.03 * (high - low)

    def cost(lr):
        path, heights = walk(problem, rule, lr)
        inside = np.all((path > low + edge) & (path < high - edge))
        far = np.flatnonzero(heights > 0.01)
        last = far[-1] if inside else np.inf
        return last, heights[-1]

    grid = [digit * 10.0**power for power in range(-5, 2) for digit in (1, 2, 5)]
    return min(grid, key=cost)


def draw(*names):
    figure, axes = plt.subplots(2, 2, figsize=(10, 8.2), layout="constrained")
    for ax, problem in zip(axes.flat, PROBLEMS, strict=True):
        landscape(ax, problem)
        lengths = {name: tuned(problem, RULES[name]) for name in ("gd", *names)}
        for name, colour in [*zip(names, COLOURS, strict=False), ("gd", GREY)]:
            if name == "gd" and "gd" in names and colour == GREY:
                trail(ax, walk(problem, RULES[name], lengths[name] / 10), colour, "gd, lr/10")
            else:
                trail(ax, walk(problem, RULES[name], lengths[name]), colour, name)
        told = (
            f"{name.removeprefix('rmsprop-')} {lr:g}{'' if RULES[name].scheduled else ' (its eps)'}"
            for name, lr in lengths.items()
        )
        ax.set_title(problem.title, loc="left", fontsize=11, fontweight="bold")
        ax.set_title(f"lr: {', '.join(told)}", loc="right", fontsize=8, color="#444444")
    handles, labels = axes.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)


def landscape(ax, problem):
    left, right, bottom, top = problem.view
    x, y = np.meshgrid(np.linspace(left, right, 300), np.linspace(bottom, top, 300))
    # By the logarithm: what is near a minimum is as visible as the walls.
    f = np.log10(problem.function(x, y)[0] + 0.02)
    levels = np.linspace(f.min(), f.max(), 16)
    ax.contourf(x, y, f, levels, cmap=WATER)
    ax.contour(x, y, f, levels, colors="#8fabc2", linewidths=0.5, linestyles="solid")
    ax.plot(*problem.start, "o", color="white", mec="black", ms=8, zorder=6, label="start")
    ax.plot(
        *np.transpose(problem.minima), "*", color="#F0E442", mec="black", ms=14, zorder=4, ls="",
        label="minimum",
    )  # fmt: skip
    ax.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])


def trail(ax, walked, colour, label):
    """A dot for each step."""
    path, _ = walked
    width, layer = (1.3, 3) if colour == GREY else (1.8, 5)
    ax.plot(*path.T, ".-", color=colour, lw=width, ms=3 * width, zorder=layer, label=label)


# The plot directive calls a function by its name.
globals().update({name: partial(draw, name) for name in RULES})
rmsprop = partial(draw, "rmsprop", "rmsprop-momentum", "rmsprop-centered")
