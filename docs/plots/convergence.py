import matplotlib.pyplot as plt
import numpy as np

import fastopt

rng = np.random.default_rng(0)
features = rng.standard_normal((500, 20))
labels = np.sign(features @ rng.standard_normal(20) + rng.standard_normal(500))


def loss(weights):
    """Logistic regression with an L2 penalty: value and gradient."""
    margins = labels * (features @ weights)
    value = np.logaddexp(0, -margins).mean() + 0.005 * weights @ weights
    slopes = -labels / (1 + np.exp(margins)) / labels.size
    return value, features.T @ slopes + 0.01 * weights


def solve(method, **options):
    options |= {"trace": True, "gtol": 1e-8}
    return fastopt.minimize(loss, np.zeros(20), jac=True, method=method, options=options)


results = {
    "BFGS": solve("bfgs"),
    "L-BFGS": solve("l-bfgs", ftol=0),
    "Gradient descent": solve("gd", lr=2.0),
    "Adam": solve("adam", lr=0.1),
}
fastopt.plot_convergence(results, figure=plt.figure(figsize=(10, 5)))
