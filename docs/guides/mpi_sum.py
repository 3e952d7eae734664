"""A logistic regression on rows that many processes of MPI have a share of each.

    mpiexec -n 4 python -m mpi4py mpi_sum.py

``-m mpi4py`` ends all processes when one raises, so that none waits for it.
"""

import numpy as np
from mpi4py import MPI

import fastopt

world = MPI.COMM_WORLD

# Each process would read its own files here.
rng = np.random.default_rng(world.rank)
X = rng.normal(size=(10_000, 20))
truth = np.linspace(-1.0, 1.0, 20)
y = np.where(X @ truth + rng.logistic(size=len(X)) > 0, 1.0, -1.0)


def loss(w):
    """Value and gradient over the rows of all processes."""
    margins = y * (X @ w)
    total = np.empty(1 + w.size)
    total[0] = np.logaddexp(0.0, -margins).sum()
    total[1:] = -X.T @ (y / (1.0 + np.exp(margins)))
    world.Allreduce(MPI.IN_PLACE, total, op=MPI.SUM)
    # Everyone takes the same steps as long as everyone has the same bits, which MPI recommends
    # for Allreduce and does not promise.
    world.Bcast(total)
    return total[0], total[1:].copy()


found = fastopt.minimize(loss, np.zeros(20), jac=True, method="l-bfgs")

if world.rank == 0:
    print(f"{found.message} {world.size} processes, {found.nfev} evaluations")
    print(f"largest error of a coefficient: {abs(found.x - truth).max():.3f}")
