"""A figure for a dark page, made of one that was drawn for a light one.

Ink and paper change places: what is black, white, grey or almost so. Colours stay, lightened where
they would drown in the dark. Images, and what is drawn over them, stay as they are; but a map of
pale colours alone is paper. Knows nothing of Sphinx.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import Colormap, ListedColormap, to_rgba_array
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Annotation, Text

# pydata-sphinx-theme's background and text on a dark page.
PAGE, INK = to_rgba_array(["#14181e", "#ced6dd"])[:, :3]
CONTRAST = 4.0  # of a colour with the page, as in WCAG: small text should have 4.5, and a line 3
GREY = 0.21  # the largest difference of channels in a colour that counts as ink or paper
PALE = 0.6  # the lowest of any channel in a map that is paper
PROPERTIES = ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")


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
                yield artist, "cmap", recoloured_map
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


def recoloured_map(cmap: Colormap) -> ListedColormap:
    return ListedColormap(recoloured(colours_of(cmap)))


def recoloured(colours: object) -> object:
    """Of a colour, or an array of them; 'none' and the like are left alone."""
    if isinstance(colours, str) and colours in ("none", "auto", "face"):
        return colours
    changed = np.array([recoloured_one(each) for each in to_rgba_array(colours)]).reshape(-1, 4)
    # One colour is not an array of one, and no array at all: lines compare the old with the new.
    return changed if np.ndim(colours) == 2 else tuple(changed[0])


def recoloured_one(rgba: np.ndarray) -> np.ndarray:
    rgb, alpha = rgba[:3], rgba[3:]
    if np.ptp(rgb) < GREY:
        opposite = rgb + 1 - rgb.max() - rgb.min()  # of another lightness, of the same tint
        return np.append(np.clip(PAGE + (INK - PAGE) * opposite, 0, 1), alpha)
    while contrast(rgb, PAGE) < CONTRAST:
        rgb = rgb + 0.1 * (1 - rgb)
    return np.append(rgb, alpha)


def contrast(lighter: np.ndarray, darker: np.ndarray) -> float:
    return (luminance(lighter) + 0.05) / (luminance(darker) + 0.05)


def luminance(rgb: np.ndarray) -> float:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
