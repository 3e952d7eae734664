from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import fastopt
from fastopt import nn
from fastopt.rules.table import RULES

images, labels = load_digits(return_X_y=True)
images = (images.reshape(-1, 1, 8, 8) / 16).astype(np.float32)[:1000]
labels = labels[:1000]
epochs, shape = 12, (1, 8, 8)
networks = {
    "ResNet": nn.models.resnet_small(8, width=4, input_shape=shape),
    "DenseNet": nn.models.densenet_small((2, 2), growth=4, input_shape=shape),
}
# Step lengths are those of 1, 2, 5, 10, ... with the lowest loss in the end: a geometric mean over
# both networks and two starts. AdaDelta has an eps instead.
# A colour for each family, and lines for its members.
black, green, blue, red = "#333333", "#009E73", "#0072B2", "#D55E00"
lines = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 0.6)))
rules = {
    "gd": (1.0, black),
    "momentum": (0.2, black),
    "nesterov": (0.1, black),
    "adagrad": (0.2, green),
    "adadelta": (1e-3, green),
    "rmsprop": (5e-3, green),
    "rmsprop-momentum": (1e-3, green),
    "rmsprop-centered": (5e-3, green),
    "adam": (0.01, blue),
    "nadam": (0.02, blue),
    "adamw": (0.01, blue),
    "amsgrad": (5e-3, blue),
    "adamax": (0.05, blue),
    "radam": (0.02, blue),
    "lion": (5e-3, red),
    "adan": (0.02, red),
}
# The textbook's decay is not multiplied by the step length: of the default, 0.01, 240 steps
# would leave a tenth.
more = {"adamw": {"weight_decay": 1e-4}}


def by_rule(model, name):
    """The mean loss of each epoch's batches."""
    length = "lr" if RULES[name].scheduled else "eps"
    result = fastopt.minimize(
        model.value_and_grad,
        model.init(seed=0),
        method=name,
        jac=True,
        data=fastopt.Minibatches(images, labels, batch_size=50),
        options={length: rules[name][0], "epochs": epochs, "trace": True, **more.get(name, {})},
    )
    return result.trace["epoch"], result.trace["loss"]


def by_lbfgs(model):
    """The loss of all images after each iteration, against evaluations."""
    result = fastopt.minimize(
        model.value_and_grad,
        model.init(seed=0),
        args=(images, labels),
        method="l-bfgs",
        jac=True,
        options={"maxfev": epochs, "trace": True},
    )
    return result.trace["nfev"], result.trace["fun"]


figure, axes = plt.subplots(1, 2, figsize=(11.5, 5), layout="constrained", sharey=True)
for ax, (title, model) in zip(axes, networks.items(), strict=True):
    curves = [(*by_lbfgs(model), "l-bfgs", {"color": "#AA3377", "lw": 2.5})]
    drawn = Counter()
    for name in RULES:
        length, color = rules[name]
        style = {"color": color, "ls": lines[drawn[color]], "lw": 1.3}
        curves.append((*by_rule(model, name), f"{name}  {length:g}", style))
        drawn[color] += 1
    curves.sort(key=lambda curve: curve[1][-1])
    for rank, (x, losses, label, style) in enumerate(curves):
        ax.semilogy(x, losses, **style)
        ax.annotate(
            label,
            (x[-1], losses[-1]),
            (1.08, (rank + 0.5) / len(curves)),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=style["color"],
            arrowprops={"arrowstyle": "-", "color": style["color"], "lw": 0.5, "relpos": (0, 0.5)},
        )
    ax.set(title=f"{title}, {model.n} parameters", xlabel="epochs", xlim=(0.5, epochs + 0.2))
axes[0].set(ylabel="cross-entropy on the training images")
