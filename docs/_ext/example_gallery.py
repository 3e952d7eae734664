"""How sphinx-gallery goes through docs/gallery: in which order, and what becomes of the figures.

Each script there is run when the pages are built, and is a page with its output. A script that
fails ends the build.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from sphinx.application import Sphinx

# From simple to hard. A new script needs a place here.
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

# How the images of an example end: sphinx-gallery's name for the first, and ours for its thumbnail.
FIRST, CARD = "_001.png", "_card.png"


def position(filename: str) -> int:
    return ORDER.index(filename)


def scrape(block: object, block_vars: dict, gallery_conf: dict) -> str:
    """The figures that a block has drawn, at the resolution that plot directives have here."""
    lines = []
    for number in plt.get_fignums():
        figure = plt.figure(number)
        path = next(block_vars["image_path_iterator"])
        figure.savefig(path, dpi=160)
        if path.endswith(FIRST):
            save_card(figure, path.removesuffix(FIRST) + CARD)
        titles = [ax.get_title(location) for ax in figure.axes for location in LOCATIONS]
        source = Path(path).relative_to(gallery_conf["src_dir"]).as_posix()
        lines += [f".. image:: /{source}", f"   :alt: {', '.join(filter(None, titles))}", ""]
    plt.close("all")
    return "\n".join(["", *lines])


def save_card(figure: Figure, path: str) -> None:
    """The first axes alone: of a whole figure little can be seen at the size of a thumbnail."""
    box = figure.axes[0].get_tightbbox().transformed(figure.dpi_scale_trans.inverted())
    figure.savefig(path, dpi=120, bbox_inches=box.padded(0.05))


def show_cards(app: Sphinx, doctree: nodes.document) -> None:
    """In place of sphinx-gallery's thumbnails."""
    for image in doctree.findall(nodes.image):
        folder, thumb, name = image["uri"].rpartition("/thumb/")
        if thumb and name.endswith("_thumb.png"):
            image["uri"] = f"{folder}/{name.removesuffix('_thumb.png')}{CARD}"


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", show_cards, priority=300)  # before dark_figures looks for twins
    return {"parallel_read_safe": True, "parallel_write_safe": True}
