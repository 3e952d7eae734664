"""Every figure of the pages once more, for readers who have chosen a dark page.

A figure that is saved as NAME.png while the pages are built leaves a twin, NAME-dark.png; and an
image that has a twin is put on its page twice, where the theme hides one of the two (by its
classes ``only-light`` and ``only-dark``). Plot directives, the gallery and its thumbnails all come
this way, and no script knows of it.

In the twin, ink and paper change places: what is black, white, grey or almost so. Colours stay,
lightened where they would drown in the dark. Images, and what is drawn over them, stay as they
are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from docutils import nodes
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, ListedColormap, to_rgba_array
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Annotation, Text
from sphinx.application import Sphinx

# pydata-sphinx-theme's background and text on a dark page.
PAGE, INK = to_rgba_array(["#14181e", "#ced6dd"])[:, :3]
CONTRAST = 4.0  # of a colour with the page, as in WCAG; a small text should have 4.5, a line 3
GREY = 0.15  # the largest difference of channels in a colour that counts as ink or paper
PALE = 0.6  # all of a map's colours are lighter than this: it is paper
PROPERTIES = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


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


def darken(figure: Figure) -> list[Callable[[], object]]:
    """Recolour a figure that has been drawn. Returned are the calls that undo it."""
    changes = [
        (getattr(artist, f"set_{name}"), getattr(artist, f"get_{name}")(), change)
        for artist, name, change in recolourings(figure)
    ]  # all are read before one is set: a marker's colour follows its line's
    for put, colour, change in changes:
        put(change(colour))
    return [partial(put, colour) for put, colour, _ in changes]


def recolourings(figure: Figure) -> Iterator[tuple[Artist, str, Callable]]:
    """Which properties change, and how."""
    fixed = {artist for ax in figure.axes for artist in over_images(ax)}
    for artist in figure.findobj():
        if artist in fixed or is_image(artist):
            continue
        if getattr(artist, "get_array", lambda: None)() is not None:
            lines = isinstance(artist, ContourSet) and not artist.filled
            if lines or is_pale(artist.cmap):
                yield artist, "cmap", partial(recoloured_map, change=recoloured)
            continue
        for part in with_attached(artist):
            for name in PROPERTIES:
                if hasattr(part, f"get_{name}") and hasattr(part, f"set_{name}"):
                    yield part, name, recoloured


def over_images(ax: Axes) -> list[Artist]:
    """What a script has drawn over an image, and chosen to be seen there."""
    if not any(is_image(artist) for artist in ax.get_children()):
        return []
    return [*ax.lines, *ax.patches, *ax.texts, *ax.collections]


def is_image(artist: Artist) -> bool:
    """Whether it covers an area with colours that mean something."""
    filled = isinstance(artist, AxesImage | QuadMesh) or (
        isinstance(artist, ContourSet) and artist.filled
    )
    return filled and not is_pale(artist.cmap)


def with_attached(artist: Artist) -> Iterator[Artist]:
    """A text's box and arrow are not among its children."""
    yield artist
    if isinstance(artist, Text) and artist.get_bbox_patch():
        yield artist.get_bbox_patch()
    if isinstance(artist, Annotation) and artist.arrow_patch:
        yield artist.arrow_patch


def colours_of(cmap: Colormap) -> np.ndarray:
    return cmap(np.arange(cmap.N))


def is_pale(cmap: Colormap) -> bool:
    return colours_of(cmap)[:, :3].min() > PALE


def recoloured_map(cmap: Colormap, change: Callable) -> ListedColormap:
    return ListedColormap(change(colours_of(cmap)))


def recoloured(colours: object) -> object:
    """Of a colour, or an array of them; 'none' and the like are left alone."""
    if isinstance(colours, str) and colours in ("none", "auto", "face"):
        return colours
    changed = np.array([recoloured_one(each) for each in to_rgba_array(colours)])
    # One colour is not an array of one, and no array at all: lines compare the old with the new.
    return changed if np.ndim(colours) == 2 else tuple(changed[0])


def recoloured_one(rgba: np.ndarray) -> np.ndarray:
    rgb, alpha = rgba[:3], rgba[3:]
    if np.ptp(rgb) < GREY:
        # Lightness changes to its opposite, and a tint stays a tint.
        return np.append(
            np.clip(PAGE + (INK - PAGE) * (rgb + 1 - rgb.max() - rgb.min()), 0, 1), alpha
        )
    while contrast(rgb, PAGE) < CONTRAST:
        rgb = rgb + 0.1 * (1 - rgb)
    return np.append(rgb, alpha)


def contrast(lighter: np.ndarray, darker: np.ndarray) -> float:
    return (luminance(lighter) + 0.05) / (luminance(darker) + 0.05)


def luminance(rgb: np.ndarray) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def show_twins(app: Sphinx, doctree: nodes.document) -> None:
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.env.relfn2path(image["uri"])[1])
        if twin(path).exists():
            other = image.deepcopy()
            other["uri"] = twin(Path(image["uri"])).as_posix()
            image["classes"].append("only-light")
            other["classes"].append("only-dark")
            image.parent.insert(image.parent.index(image) + 1, other)


def setup(app: Sphinx) -> dict[str, bool]:
    Figure.savefig = save_twin_too(Figure.savefig)
    app.connect("doctree-read", show_twins, priority=400)  # before Sphinx collects the images
    return {"parallel_read_safe": True, "parallel_write_safe": True}
