import matplotlib.pyplot as plt
import numpy as np
from numba import njit

import fastopt

# How hard either loss of the probability 1/(1 + exp(-z)) pulls at a score, where the label is 1.
z = np.linspace(-10.0, 10.0, 400)
probability = 1 / (1 + np.exp(-z))
pulls = {
    "cross-entropy": 1 - probability,
    "squared error": (1 - probability) * probability * (1 - probability),
}


@njit
def squared_error(w, grad, X, y):
    """Half the mean square of probability minus label."""
    p = 1 / (1 + np.exp(-X @ w))
    if grad.size:
        grad[:] = ((p - y) * p * (1 - p)) @ X / len(y)
    return 0.5 * ((p - y) ** 2).mean()


# Two classes, and a start that is sure of the opposite of the truth.
rng = np.random.default_rng(0)
X = rng.standard_normal((400, 2))
y = (X @ [1.0, 2.0] + 0.5 * rng.logistic(size=400) > 0).astype(float)
start = np.array([-6.0, -12.0])
cross_entropy = fastopt.losses.logistic(X, y)


def share_of_errors(fun, args):
    options = {"lr": 1.0, "maxiter": 300, "gtol": 0.0, "return_all": True}
    fit = fastopt.minimize(fun, start, args, method="gd", jac="inplace", options=options)
    return [((X @ w > 0) != y).mean() for w in fit.allvecs]


errors = {
    "cross-entropy": share_of_errors(cross_entropy.fun, cross_entropy.args),
    "squared error": share_of_errors(squared_error, (X, y)),
}

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
for name in pulls:
    left.semilogy(z, pulls[name], label=name)
    right.plot(errors[name], label=name)
left.set(xlabel="score z of a sample labelled 1", ylabel="size of the derivative", ylim=(1e-7, 2))
right.set(xlabel="iteration of gradient descent", ylabel="share of wrong samples", ylim=(0, 1))
left.legend(frameon=False)
