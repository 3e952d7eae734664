import matplotlib.pyplot as plt
import numpy as np

import fastopt

rng = np.random.default_rng(0)
n, samples = 50, 400
scales = np.logspace(0, -1.5, n)  # features in different units: a condition number of 1000
X = rng.standard_normal((samples, n)) * scales
y = (X @ rng.standard_normal(n) + 0.5 * rng.logistic(size=samples) > 0).astype(float)
loss = fastopt.losses.logistic(X, y, l2=1e-4)


def hess(w, X, y, weights, l2):
    p = 1 / (1 + np.exp(-X @ w))
    return (X.T * (p * (1 - p))) @ X / len(X) + l2 * np.eye(w.size)


loss.fun(loss.x0, loss.x0.copy(), *loss.args), loss.hessp(loss.x0, loss.x0, *loss.args)  # compiled


def solve(method, maxiter, derivatives=None, **options):
    """The fastest of several solves: something else may run while this is drawn."""
    options |= {"trace": True, "gtol": 1e-10, "maxiter": maxiter, "maxfev": np.inf}
    known = (loss.fun, loss.x0, loss.args, method, loss.jac)
    results = [fastopt.minimize(*known, options=options, **derivatives or {}) for _ in range(5)]
    return min(results, key=lambda result: result.trace["time"][-1])


traces = {
    "Gradient descent": solve("gd", 3000, lr=8.0),
    "Adam": solve("adam", 3000, lr=0.3),
    "CG": solve("cg", 500),
    "L-BFGS": solve("l-bfgs", 500, ftol=0),
    "Newton-CG": solve("newton-cg", 50, {"hessp": loss.hessp}),
    "Newton": solve("newton", 50, {"hess": hess}),
}
best = min(result.fun for result in traces.values())
figure, axes = plt.subplots(1, 2, sharey=True, figsize=(10, 4.5))
for label, result in traces.items():
    trace = result.trace
    gap = trace["fun"] - best + 1e-16
    axes[0].loglog(trace["nit"] + 1, gap, label=label)
    axes[1].loglog(1e3 * trace["time"], gap, label=label)
axes[0].set(xlabel="iterations + 1", ylabel="f - f*", ylim=(1e-13, 2))
axes[1].set(xlabel="milliseconds")
for each in axes:
    each.grid(alpha=0.3)
axes[1].legend(fontsize="small", loc="lower left")
figure.tight_layout()
