"""
Data in many places: a sum over Dask's partitions
=================================================

A model with few parameters, and data that no single machine can hold: an insurance company has its
policies on a cluster, in the partitions of a Dask array, and wants to know how the number of claims
depends on driver and car.

:class:`fastopt.distributed.SumObjective` evaluates the likelihood where the data are. Parameters
travel to the workers, sums and gradients come back, and any method of :func:`fastopt.minimize` can
minimise it.
"""

import dask.array as da
import matplotlib.pyplot as plt
import numpy as np
from distributed import Client
from sklearn.linear_model import PoissonRegressor

import fastopt
from fastopt.distributed import SumObjective

# %%
# A cluster
# ---------
#
# Here it is two workers in this process, so that the example runs anywhere. For a real one, the
# client gets its scheduler's address, ``Client("tcp://scheduler:8786")``, and nothing else changes.
# (Workers that are processes of this machine, ``processes=True``, begin by importing the script:
# what it does must then be under ``if __name__ == "__main__":``.)

client = Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0")

# %%
# The data
# --------
#
# 400 000 simulated policies in 16 partitions: of each there are seven features, how many years it
# ran, and the number of claims, which is Poisson distributed. Dask makes a partition where it will
# stay.

POLICIES, CHUNK = 400_000, 25_000
names = ["age", "power", "city", "distance", "car's age", "bonus", "colour"]
intercept, effects = -2.0, [-0.3, 0.1, 0.25, 0.2, 0.15, -0.2, 0.0]
truth = np.array([intercept, *effects])

rng = da.random.default_rng(6)
features = rng.standard_normal((POLICIES, len(names)), chunks=(CHUNK, -1))
X = da.hstack([da.ones((POLICIES, 1), chunks=(CHUNK, 1)), features]).rechunk((CHUNK, -1))
years = rng.uniform(0.1, 1.0, POLICIES, chunks=CHUNK)
claims = rng.poisson(years * da.exp(X @ truth), chunks=CHUNK)

# %%
# What a partition adds
# ---------------------
#
# The negative log-likelihood of its rows, divided by the number of *all* policies, so that the sum
# is a mean; its gradient; and, for Newton's method, the product of its Hessian with a vector.


def loss(theta, X, years, claims):
    score = X @ theta
    expected = years * np.exp(score)
    return (expected.sum() - claims @ score) / POLICIES, (expected - claims) @ X / POLICIES


def hessian_product(theta, p, X, years, claims):
    return (years * np.exp(X @ theta) * (X @ p)) @ X / POLICIES


# %%
# Two methods
# -----------
#
# With a tuple of arrays each partition has a block of every one. The blocks are computed once, and
# stay with the workers for as long as the objective lives.

objective = SumObjective(loss, (X, years, claims), hessp=hessian_product)
start = np.zeros(len(truth))
options = {"trace": True, "gtol": 1e-7}
fits = {
    "L-BFGS": fastopt.minimize(objective, start, jac=True, method="l-bfgs", options=options),
    "Newton-CG": fastopt.minimize(
        objective, start, jac=True, hessp=objective.hessp, method="newton-cg", options=options
    ),
}
for name, fit in fits.items():
    print(
        f"{name}: {fit.nit} iterations, {fit.nfev} sums over {len(objective)} partitions and "
        f"{fit.nhev} products, {fit.trace['time'][-1]:.2f} s"
    )

# %%
# The inverse of the Hessian tells how certain the coefficients are. Its columns are products, too.
# After them the cluster is no longer needed.

best = fits["Newton-CG"].x
hessian = np.array([objective.hessp(best, column) for column in np.eye(len(best))])
errors = np.sqrt(np.diag(np.linalg.inv(hessian)) / POLICIES)

objective.close()
in_memory = client.gather(client.compute([X, claims / years, years]))
client.close()

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for (name, fit), colour in zip(fits.items(), ("#0072B2", "#D55E00"), strict=True):
    left.semilogy(fit.trace["nit"], fit.trace["gnorm"], "o-", color=colour, label=name)
left.set(title="Two solves", xlabel="iterations", ylabel="largest component of the gradient")
left.legend(frameon=False)
rows = np.arange(len(names))
right.errorbar(
    best[1:], rows, xerr=2 * errors[1:], fmt="o", color="#0072B2", capsize=4, label="fit, 2 s.e."
)
right.plot(truth[1:], rows, "|", ms=18, mew=2, color="#D55E00", label="truth")
right.set_yticks(rows, names)
right.set(
    title="What drives claims",
    xlabel="change of the logarithm of claims per year",
    ylim=(len(names) - 0.5, -0.5),
)
right.legend(frameon=False)
plt.show()

# %%
# Is it right?
# ------------
#
# These data do fit into one memory, so scikit-learn can look at all of them at once.

features, rates, weights = in_memory
other = PoissonRegressor(alpha=0, solver="newton-cholesky", fit_intercept=False, tol=1e-9)
other.fit(features, rates, sample_weight=weights)
for name, fit in fits.items():
    print(f"{name}: differs from scikit-learn's by at most {abs(fit.x - other.coef_).max():.1e}")
off = (best - truth) / errors
print("distance from the truth, in standard errors:", off.round(1))
