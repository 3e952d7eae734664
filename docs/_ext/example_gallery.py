"""How sphinx-gallery goes through docs/gallery: in which order, and what becomes of figures.

Each script there is run when the pages are built, and is a page with its output. A script that
fails ends the build.
"""

from __future__ import annotations

from pathlib import Path

from matplotlib import pyplot as plt

# From simple to hard.
ORDER = (
    "nist_regression.py",
    "logistic_regression.py",
    "robust_regression.py",
    "saddle.py",
    "training_loop.py",
    "spectral_cube.py",
    "light_curves.py",
    "matrix_factorisation.py",
    "lenet_mnist.py",
    "lennard_jones.py",
    "inverse_problem.py",
    "dask_sum.py",
)
LOCATIONS = ("left", "center", "right")


def position(filename: str) -> int:
    return ORDER.index(filename)


def scrape(block: object, block_vars: dict, gallery_conf: dict) -> str:
    """The figures that a block has drawn, at the resolution that plot directives have here."""
    lines = []
    for number in plt.get_fignums():
        figure = plt.figure(number)
        path = next(block_vars["image_path_iterator"])
        figure.savefig(path, dpi=160)
        titles = [ax.get_title(location) for ax in figure.axes for location in LOCATIONS]
        source = Path(path).relative_to(gallery_conf["src_dir"]).as_posix()
        lines += [f".. image:: /{source}", f"   :alt: {', '.join(filter(None, titles))}", ""]
    plt.close("all")
    return "\n".join(["", *lines])
