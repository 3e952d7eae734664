"""
How thirteen atoms pack
=======================

Atoms of a noble gas attract each other from afar and repel each other when they touch. Thirteen of
them have more than a thousand ways to sit still, each a minimum of their energy, and one of these
is the best of all: twelve atoms around the thirteenth, an icosahedron.

:func:`fastopt.multistart` finds it from random starts, and shows how the other minima lie above it.
"""

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from numba import njit
from scipy.spatial.distance import pdist, squareform

import fastopt

# %%
# The energy
# ----------
#
# In units of the potential's depth :math:`\varepsilon` and length :math:`\sigma`, two atoms at the
# distance :math:`r` have the energy :math:`4 (r^{-12} - r^{-6})`. The 39 coordinates are a vector.

ATOMS = 13


@njit
def energy(x):
    value, grad = 0.0, np.zeros_like(x)
    for i in range(0, x.size, 3):
        for j in range(0, i, 3):
            dx, dy, dz = x[i] - x[j], x[i + 1] - x[j + 1], x[i + 2] - x[j + 2]
            inverse = 1 / (dx * dx + dy * dy + dz * dz)
            sixth = inverse * inverse * inverse
            value += 4 * sixth * (sixth - 1)
            slope = 24 * sixth * (1 - 2 * sixth) * inverse
            grad[i] += slope * dx
            grad[i + 1] += slope * dy
            grad[i + 2] += slope * dz
            grad[j] -= slope * dx
            grad[j + 1] -= slope * dy
            grad[j + 2] -= slope * dz
    return value, grad


print(fastopt.check_grad(energy, np.random.default_rng(0).uniform(-2, 2, 3 * ATOMS)).message)

# %%
# Many starts
# -----------
#
# The atoms begin anywhere in a box, and L-BFGS takes each start to the minimum below it. The box is
# only for the starts: a method that takes no bounds searches without.

begun = perf_counter()
result = fastopt.multistart(
    energy,
    bounds=[(-1.5, 1.5)] * (3 * ATOMS),
    starts=4096,
    method="l-bfgs",
    jac=True,
    options={"gtol": 1e-7, "ftol": 0.0},
)
batch = result.batch
print(f"{len(batch.x)} minima in {perf_counter() - begun:.1f} s, with compiling")
print(batch)

# %%
# The lowest
# ----------
#
# The energy of the icosahedron is in the tables of the Cambridge Cluster Database. It has 42 pairs
# of neighbours: the central atom with each of the twelve, and 30 edges.

known = -44.326801
atoms = result.x.reshape(ATOMS, 3)
distances = squareform(pdist(atoms))
again = 4 * (pdist(atoms) ** -12 - pdist(atoms) ** -6).sum()
first, second = np.nonzero(np.triu((distances > 0) & (distances < 1.3)))
found = batch.fun < known + 1e-4
print(f"lowest energy {result.fun:.6f}; by SciPy's distances {again:.6f}; known {known:.6f}")
print(f"{len(first)} pairs of neighbours; found from {found.sum()} of the {len(batch.x)} starts")

energies, counts = np.unique(batch.fun[batch.success].round(4), return_counts=True)
print(f"{len(energies)} different energies; the lowest three: {energies[:3]}")

# %%
# On the left its atoms, and who touches whom. On the right, how many starts ended in minima of each
# energy: the lowest lies far below all others.

centre = distances.sum(axis=1).argmin()
outer = np.arange(ATOMS) != centre
around = atoms - atoms[centre]
axes, _ = np.linalg.qr(around[outer].T)  # one of the outer atoms goes to the top
turned = np.roll(around @ axes, -1, axis=1)

figure = plt.figure(figsize=(11, 4.4), layout="constrained")
left, right = figure.add_gridspec(1, 2, width_ratios=(2, 3))
space = figure.add_subplot(left, projection="3d", proj_type="ortho")
for i, j in zip(first, second, strict=True):
    space.plot(*turned[[i, j]].T, color="0.6", lw=1.5, zorder=1)
for chosen, colour in ((outer, "#56B4E9"), (~outer, "#D55E00")):
    space.scatter(*turned[chosen].T, s=500, color=colour, edgecolors="0.3", depthshade=False)
space.set(xlim=(-0.9, 0.9), ylim=(-0.9, 0.9), zlim=(-0.9, 0.9), title="The best cluster")
space.set_box_aspect((1, 1, 1), zoom=1.2)
space.view_init(elev=12, azim=20)
space.set_axis_off()
ax = figure.add_subplot(right)
ax.vlines(energies[1:], 0.7, counts[1:], color="#0072B2")
ax.vlines(energies[:1], 0.7, counts[:1], color="#D55E00", lw=3)
ax.annotate(
    f"icosahedron\n{result.fun:.6f}",
    (energies[0], counts[0]),
    xytext=(12, -18),
    textcoords="offset points",
)
ax.set(
    title=f"Where {len(batch.x)} starts ended",
    xlabel=r"energy ($\varepsilon$)",
    ylabel="starts",
    yscale="log",
    ylim=(0.7, None),
    xlim=(-44.8, -36),
)
plt.show()
