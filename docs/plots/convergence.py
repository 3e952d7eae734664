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
    options |= {"trace": True, "gtol": 1e-7}
    return fastopt.minimize(loss, np.zeros(20), jac=True, method=method, options=options)


results = {
    "BFGS": solve("bfgs"),
    "L-BFGS": solve("l-bfgs", ftol=0),
    "Newton-CG": solve("newton-cg"),
    "Adam": solve("adam", lr=0.1, maxiter=300),
    "Gradient descent": solve("gd", lr=2.0, maxiter=300),
}
lowest = min(result.fun for result in results.values())

figure, axes = plt.subplots(figsize=(6, 5), layout="constrained")
for name, result in results.items():
    gap = np.maximum(result.trace["fun"] - lowest, 1e-14)
    axes.loglog(result.trace["nfev"], gap, label=name, linewidth=2)
axes.set(
    title="Logistic regression, 20 variables",
    xlabel="Evaluations",
    ylabel="Loss above its minimum",
    ylim=(1e-13, 2),
)
axes.legend()
axes.grid(alpha=0.3)
