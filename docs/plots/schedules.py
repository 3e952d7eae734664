import matplotlib.pyplot as plt
import numpy as np

from fastopt import schedules

panels = {
    "shapes that end": [
        "linear(100)",
        "polynomial(100, 2)",
        "cosine(100)",
        "cosine(100, end=0.2)",
        "piecewise([40, 70], [1, 0.5, 0.25])",
    ],
    "shapes that go on": [
        "step(0.7, every=20)",
        "exponential(0.7, every=20)",
        "inverse_sqrt(10)",
        "cosine_restarts(20, growth=2)",
    ],
    "combinations": [
        "one_cycle(100)",
        "warmup(20).then(cosine(80, end=0.1))",
        "warmup(19).then(inverse_sqrt(20))",
        "0.7 * constant(1).then(linear(50), after=50)",
        "cosine_restarts(25) * exponential(0.5, every=25)",
    ],
}
t = np.arange(1, 131)
figure, axes = plt.subplots(1, 3, figsize=(11, 4.5), sharey=True, layout="constrained")
for axis, (title, texts) in zip(axes, panels.items(), strict=True):
    for text in texts:
        axis.plot(t, eval(text, dict(vars(schedules)))(t), label=text)
    axis.set(title=title, xlabel="step t", ylim=(-0.02, 1.05))
    axis.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16))
axes[0].set_ylabel("multiplier of the step length")
