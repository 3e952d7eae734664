import matplotlib.pyplot as plt
from scipy.optimize import rosen, rosen_der

import fastopt


def solve(method):
    options = {"trace": True}
    return fastopt.minimize(rosen, [-1.2, 1.0], jac=rosen_der, method=method, options=options)


def fastest(method):
    """The fastest of several solves: something else may run while this is drawn."""
    return min((solve(method) for _ in range(5)), key=lambda result: result.trace["time"][-1])


results = {name: fastest(name.lower()) for name in ("BFGS", "L-BFGS")}
fastopt.plot_convergence(results, reference=0.0, figure=plt.figure(figsize=(10, 5)))
