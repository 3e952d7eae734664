"""The picture of gains."""

import pytest

pytest.importorskip("matplotlib")

from fastopt.commands.bench.picture import draw_gains, lines_of


def test_lines_are_grouped_by_suite_and_leave_out_rows_without_a_peer(rows):
    assert [line.label for line in lines_of(rows[::-1])] == ["latency", "l-bfgs", "bfgs"]


def test_each_peer_of_a_row_is_at_its_gain_on_a_logarithmic_axis_that_has_one(report):
    figure = draw_gains(report)
    (axes,) = figure.axes
    assert axes.get_xscale() == "log"
    low, high = axes.get_xlim()
    assert low < 0.1 < 1.0 < 20.0 < high
    places = {
        (bars.get_label(), *(float(each) for each in bars.lines[0].get_xydata()[0]))
        for bars in axes.containers
    }
    assert {(label, round(gain, 9), height) for label, gain, height in places} == {
        ("SciPy", 20.0, 1.0),
        ("SciPy", 4.0, 2.0),
        ("NLopt", 0.1, 2.0),
    }


def test_hollow_markers_are_explained_where_there_are_any(report, rows):
    figure = draw_gains(report)
    (axes,) = figure.axes
    hollow = [bars for bars in axes.containers if bars.lines[0].get_markerfacecolor() == "white"]
    assert [bars.get_label() for bars in hollow] == ["NLopt"]
    assert "hollow" in axes.get_xlabel()


def test_legend_names_each_library_once_and_the_title_says_where_and_when(report):
    figure = draw_gains(report)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["SciPy", "NLopt"]
    assert "Abacus Mark I, 2 cores, 2026-11-26" in figure.get_suptitle()
