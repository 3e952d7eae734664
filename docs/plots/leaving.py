import matplotlib.pyplot as plt
import numpy as np
from numba import njit

from fastopt.rules import adam_step, gd_step, momentum_step


@njit
def on_a_saddle(step, slots, hyperparameters, noise, steps, rng):
    """f on the way from a point of the ridge, where the slope across it is exactly zero."""
    x, heights = np.array([-1.0, 0.0]), np.empty(steps)
    for t in range(1, steps + 1):
        along, across = x
        heights[t - 1] = 1.5 * along**2 - across**2 / 2 + across**4 / 4 + 0.25
        slope = np.array([3 * along, across**3 - across]) + noise * rng.standard_normal(2)
        step(x, slope, slots, hyperparameters, t)
    return heights


@njit
def among_minima(step, starts, slots, hyperparameters, noise, steps, rng):
    """Where each start ends on x^2/20 + 1 - cos(2 x), under noise that dies away."""
    x = starts.copy()
    for t in range(1, steps + 1):
        strength = noise * (1 - t / steps)
        slope = x / 10 + 2 * np.sin(2 * x) + strength * rng.standard_normal(x.size)
        step(x, slope, slots, hyperparameters, t)
    return x


rng = np.random.default_rng(0)
colours = {"gd": "#000000", "gd, noise": "#0072B2", "momentum": "#D55E00", "adam": "#009E73"}
figure, (left, middle, right) = plt.subplots(
    1, 3, figsize=(12, 4), layout="constrained", width_ratios=(1.1, 1.2, 0.8)
)

lr = 0.05
for label, step, slots, more, noise, line in (
    ("gd", gd_step, 0, (), 0.0, "solid"),
    ("gd, noise", gd_step, 0, (), 1e-9, "dashed"),
    ("gd, noise", gd_step, 0, (), 1e-3, "solid"),
    ("momentum", momentum_step, 1, (0.9,), 1e-9, "dashed"),
    ("adam", adam_step, 2, (0.9, 0.999, 1e-15), 1e-9, "dashed"),
):
    heights = on_a_saddle(step, np.zeros((slots, 2)), (lr, *more), noise, 600, rng)
    name = f"{label.removesuffix(', noise')}, noise of {noise:g}" if noise else label
    left.plot(heights, color=colours[label], ls=line, label=name)
left.set(xlabel="step", ylabel="f above its minimum", ylim=(-0.02, 0.65), title="Off a saddle")
left.legend(frameon=False, fontsize="small", loc="upper right")

n, steps, lr = 4000, 2000, 0.02
starts = rng.uniform(-10, 10, n)
ends = {
    "gd": among_minima(gd_step, starts, np.zeros((0, n)), (lr,), 0.0, steps, rng),
    "gd, noise": among_minima(gd_step, starts, np.zeros((0, n)), (lr,), 12.0, steps, rng),
    "momentum": among_minima(momentum_step, starts, np.zeros((1, n)), (lr, 0.98), 0.0, steps, rng),
}
valleys = np.arange(-3, 4)
for k, (label, end) in enumerate(ends.items()):
    share = [np.mean(np.round(end / 3) == valley) for valley in valleys]
    middle.bar(3 * valleys + 0.7 * (k - 1), share, 0.7, color=colours[label], label=label)
ground = middle.twinx()
x = np.linspace(-10, 10, 500)
ground.plot(x, x**2 / 20 + 1 - np.cos(2 * x), color="#8fabc2")
ground.set(ylim=(-8, 7.5), yticks=[])
middle.set(xlabel="x, with bars at the minima", ylabel="share of the starts", ylim=(0, 0.75))
middle.set(xticks=3 * valleys, yticks=[0, 0.1, 0.2, 0.3], title="Where 4000 starts end")

found = {label: np.mean(np.abs(end) < 1) for label, end in ends.items()}
for label, share in found.items():
    of = np.arange(1, 17)
    right.plot(of, 1 - (1 - share) ** of, "o-", ms=3, color=colours[label], label=label)
right.set(xlabel="starts, of which the best is kept", ylabel="chance of the lowest minimum")
right.set(ylim=(0, 1.03), title="Several starts")
right.legend(frameon=False, fontsize="small", loc="lower right")
