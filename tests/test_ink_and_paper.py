"""Figures of the documentation for dark pages: what is ink and paper there, and what stays."""

import io
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, to_rgb
from matplotlib.figure import Figure

from fastopt.plotting import COLOURS

SOURCE = Path(__file__).resolve().parents[1] / "docs" / "_ext" / "ink_and_paper.py"
if not SOURCE.exists():
    pytest.skip("reads files of a checkout, and this is none", allow_module_level=True)
SPEC = spec_from_file_location(SOURCE.stem, SOURCE)
ink_and_paper = module_from_spec(SPEC)
SPEC.loader.exec_module(ink_and_paper)


@pytest.fixture
def figure():
    figure = Figure(figsize=(3, 2))
    FigureCanvasAgg(figure)
    return figure


def pixels(figure):
    file = io.BytesIO()
    figure.savefig(file, format="rgba", dpi=50)
    return np.frombuffer(file.getvalue(), np.uint8)


def contrast_with_page(colour):
    return ink_and_paper.contrast(np.array(to_rgb(colour)), ink_and_paper.PAGE)


def test_paper_is_the_page_and_ink_is_read_on_it(figure):
    ax = figure.subplots()
    text = ax.annotate("a", (0.2, 0.2), (0.8, 0.8), arrowprops={"color": "black"})
    (line,) = ax.plot([0, 1], "o-", color="black")
    pixels(figure)
    ink_and_paper.darken(figure)
    for paper in (figure.get_facecolor(), ax.get_facecolor()):
        assert np.allclose(to_rgb(paper), ink_and_paper.PAGE)
    for ink in (
        text.get_color(),
        text.arrow_patch.get_edgecolor(),
        line.get_color(),
        line.get_markerfacecolor(),
        ax.xaxis.label.get_color(),
        ax.spines["left"].get_edgecolor(),
        ax.xaxis.get_major_ticks()[0].tick1line.get_color(),
        ax.xaxis.get_major_ticks()[0].label1.get_color(),
    ):
        assert contrast_with_page(ink) > 7


@pytest.mark.parametrize("colour", [*COLOURS, "navy", "darkred", "#333333"])
def test_colours_can_be_seen_on_a_dark_page(figure, colour):
    (line,) = figure.subplots().plot([0, 1], color=colour)
    pixels(figure)
    ink_and_paper.darken(figure)
    assert contrast_with_page(line.get_color()) >= ink_and_paper.CONTRAST


def test_images_and_what_is_drawn_over_them_stay(figure):
    ax = figure.subplots()
    image = ax.imshow(np.eye(3), cmap="gray")
    (line,) = ax.plot([0, 1], color="black")
    pixels(figure)
    ink_and_paper.darken(figure)
    assert image.cmap.name == "gray"
    assert line.get_color() == "black"


def test_a_map_of_pale_colours_is_paper(figure):
    pale = LinearSegmentedColormap.from_list("pale", ["#ffffff", "#c4d7e6"])
    filled = figure.subplots().contourf(np.arange(9.0).reshape(3, 3), cmap=pale)
    pixels(figure)
    ink_and_paper.darken(figure)
    assert filled.cmap(np.linspace(0, 1, 10))[:, :3].max() < 0.4


def test_a_figure_is_as_it_was_after_its_changes_are_undone(figure):
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], "o--", label="line")
    left.legend()
    left.scatter([0, 1], [1, 0], c=[0.0, 1.0])
    right.contour(np.arange(9.0).reshape(3, 3), colors="0.5")
    right.fill_between([0, 1], [1, 1], color="0.9")
    light = pixels(figure)
    undo = ink_and_paper.darken(figure)
    assert (pixels(figure) != light).any()
    for each in undo:
        each()
    assert (pixels(figure) == light).all()
