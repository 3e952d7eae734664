"""Every figure of the pages once more, for readers who have chosen a dark page.

A figure that is saved as NAME.png while the pages are built leaves a twin, NAME-dark.png; and an
image that has a twin is put on its page twice, where the theme hides one of the two (by its
classes ``only-light`` and ``only-dark``). Plot directives, the gallery and its thumbnails all come
this way, and no script knows of it. What changes in a twin, `ink_and_paper` says.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from docutils import nodes
from ink_and_paper import darken
from matplotlib.figure import Figure
from sphinx.application import Sphinx


def twin(path: Path) -> Path:
    return path.with_name(f"{path.stem}-dark{path.suffix}")


def save_twin_too(save: Callable[..., None]) -> Callable[..., None]:
    def savefig(figure: Figure, target: object, **options: object) -> None:
        save(figure, target, **options)  # first, because drawing makes the ticks
        if isinstance(target, str | Path) and Path(target).suffix == ".png":
            undo = darken(figure)
            save(figure, twin(Path(target)), **options)
            for each in undo:
                each()

    return savefig


def show_twins(app: Sphinx, doctree: nodes.document) -> None:
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.env.relfn2path(image["uri"])[1])
        if twin(path).exists():
            other = image.deepcopy()
            other["uri"] = twin(Path(image["uri"])).as_posix()
            image["classes"].append("only-light")
            other["classes"].append("only-dark")
            # Together in one element: whatever stands beside a hidden image, as the figure's
            # caption does, the theme takes for its caption, and hides it as well.
            both = nodes.container()
            image.parent.replace(image, both)
            both += [image, other]


def setup(app: Sphinx) -> dict[str, bool]:
    Figure.savefig = save_twin_too(Figure.savefig)
    app.connect("doctree-read", show_twins, priority=400)  # before Sphinx collects the images
    return {"parallel_read_safe": True, "parallel_write_safe": True}
