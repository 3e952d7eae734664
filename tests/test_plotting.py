"""plot_convergence: what is drawn, that it can be read, and what is refused."""

import os
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.optimize import OptimizeResult, rosen, rosen_der

import fastopt
from fastopt.plotting import COLOURS


def traced(fun, *, method=None, seconds=1.0, **fields):
    """A result as a traced solve leaves it, with one evaluation for each entry."""
    fun = np.asarray(fun, dtype=float)
    result = OptimizeResult(
        fun=fun[-1],
        trace={
            "time": np.linspace(seconds / fun.size, seconds, fun.size),
            "nfev": np.arange(1, fun.size + 1),
            "fun": fun,
        },
        **fields,
    )
    if method is not None:
        result.method = method
    return result


def curves(axes):
    """The lines of an axes that stand in the legend, by label."""
    return {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}


def render(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas.get_renderer()


def test_heights_are_gaps_to_the_reference_on_a_logarithmic_axis():
    figure = fastopt.plot_convergence({"a": traced([5.0, 3.0, 2.5])}, reference=2.0)
    for axes in figure.axes:
        assert axes.get_yscale() == "log"
        np.testing.assert_allclose(curves(axes)["a"].get_ydata(), [3.0, 1.0, 0.5])


def test_curves_run_over_time_in_one_panel_and_over_evaluations_in_the_other():
    result = traced([5.0, 3.0, 2.5], seconds=0.6)
    left, right = fastopt.plot_convergence({"a": result}).axes
    np.testing.assert_allclose(curves(left)["a"].get_xdata(), [0.2, 0.4, 0.6])
    np.testing.assert_allclose(curves(right)["a"].get_xdata(), [1, 2, 3])
    assert (left.get_xlabel(), right.get_xlabel()) == ("Time", "Function evaluations")


@pytest.mark.parametrize("kind", [list, tuple])
def test_results_without_labels_are_told_apart_by_method_library_and_number(kind):
    results = [
        traced([5.0, 3.0], method="bfgs", library="fastopt"),
        traced([5.0, 2.0], method="bfgs", library="scipy"),
        traced([5.0, 4.0], method="bfgs", library="fastopt"),
        traced([5.0, 4.5], method="adam"),
        traced([5.0, 2.5]),
    ]
    drawn = curves(fastopt.plot_convergence(kind(results), reference=0.0).axes[0])
    assert {label: line.get_ydata()[-1] for label, line in drawn.items()} == {
        "bfgs, fastopt": 3.0,
        "bfgs, scipy": 2.0,
        "bfgs, fastopt (2)": 4.0,
        "adam": 4.5,
        "result": 2.5,
    }


def test_default_reference_is_the_lowest_value_of_all_traces_and_results():
    low = traced([4.0, 2.0])
    low.fun = 1.0  # the best point lay between two iterations
    figure = fastopt.plot_convergence({"high": traced([4.0, 3.0]), "low": low})
    drawn = curves(figure.axes[0])
    np.testing.assert_allclose(drawn["high"].get_ydata(), [3.0, 2.0])
    np.testing.assert_allclose(drawn["low"].get_ydata(), [3.0, 1.0])


def test_values_equal_to_the_reference_within_rounding_lie_below_all_others_and_are_labelled_0():
    one_bit_above = np.nextafter(1.0, 2.0)
    figure = fastopt.plot_convergence({"a": traced([2.0, 1.001, one_bit_above, 1.0])})
    axes = figure.axes[0]
    heights = curves(axes)["a"].get_ydata()
    assert heights[2] == heights[3]
    assert 0 < heights[3] < heights[1]
    render(figure)
    ticks = zip(axes.get_yticks(), axes.get_yticklabels(), strict=True)
    labels = {position: label.get_text() for position, label in ticks}
    assert labels[heights[3]] == "0"
    assert [position for position, text in labels.items() if text == "0"] == [heights[3]]


def test_axis_is_logarithmic_across_only_where_curves_differ_much_in_length():
    short, long = traced(np.geomspace(1, 0.1, 10)), traced(np.geomspace(1, 0.1, 1000))
    time, evaluations = fastopt.plot_convergence({"short": short, "long": long}).axes
    assert (time.get_xscale(), evaluations.get_xscale()) == ("linear", "log")


def test_single_result_is_labelled_with_its_method():
    figure = fastopt.plot_convergence(traced([2.0, 1.0], method="bfgs"))
    assert list(curves(figure.axes[0])) == ["bfgs"]


def test_result_of_a_traced_solve_can_be_drawn():
    result = fastopt.minimize(
        rosen, np.full(4, 2.0), jac=rosen_der, method="bfgs", options={"trace": True}
    )
    figure = fastopt.plot_convergence(result, reference=0.0)
    line = curves(figure.axes[1])["bfgs"]
    np.testing.assert_array_equal(line.get_xdata(), result.trace["nfev"])
    np.testing.assert_array_equal(line.get_ydata(), result.trace["fun"])


def test_values_that_are_not_finite_are_left_out_without_a_warning(tmp_path):
    results = {
        "wall": traced([3.0, np.inf, 2.0, np.nan, 1.0]),
        "hopeless": traced([np.nan, np.nan]),
        "one point": traced([2.0]),
    }
    figure = fastopt.plot_convergence(results, tmp_path / "gaps.png")
    drawn = curves(figure.axes[0])
    assert list(drawn) == list(results)
    np.testing.assert_array_equal(
        np.isnan(drawn["wall"].get_ydata()), [False, True, False, True, False]
    )


def test_a_start_at_time_zero_has_a_place_on_a_logarithmic_axis():
    quick, slow = traced([2.0, 1.5, 1.0]), traced([2.0, 1.5, 1.2], seconds=100.0)
    quick.trace["time"] = np.array([0.0, 0.5, 1.0])
    axes = fastopt.plot_convergence({"quick": quick, "slow": slow}).axes[0]
    assert axes.get_xscale() == "log"
    np.testing.assert_array_equal(curves(axes)["quick"].get_xdata(), [0.5, 0.5, 1.0])


@pytest.mark.parametrize("count", [1, 4, 6, 17])
@pytest.mark.parametrize("label", ["{}", "a rather long label, with settings, number {}"])
def test_legend_lies_within_the_figure_and_overlaps_no_axes(count, label):
    results = {label.format(i): traced(np.geomspace(1, 1e-9, 9 + i)) for i in range(count)}
    figure = fastopt.plot_convergence(results, title="A title")
    renderer = render(figure)
    (legend,) = figure.legends
    box = legend.get_window_extent(renderer)
    assert len(legend.get_texts()) == count
    assert figure.bbox.x0 <= box.x0
    assert box.x1 <= figure.bbox.x1
    assert figure.bbox.y0 <= box.y0
    for axes in figure.axes:
        assert not box.overlaps(axes.get_tightbbox(renderer))


def test_results_of_one_method_share_colour_and_marker_and_differ_in_line():
    names = [("bfgs", "fastopt"), ("bfgs", "scipy"), ("adam", "fastopt")]
    results = {f"{name} {library}": traced([2.0, 1.0], method=name) for name, library in names}
    bfgs, scipy_bfgs, adam = curves(fastopt.plot_convergence(results).axes[0]).values()
    assert bfgs.get_color() == scipy_bfgs.get_color() != adam.get_color()
    assert bfgs.get_marker() == scipy_bfgs.get_marker() != adam.get_marker()
    assert bfgs.get_linestyle() != scipy_bfgs.get_linestyle()
    assert bfgs.get_markerfacecolor() != scipy_bfgs.get_markerfacecolor()


@pytest.mark.parametrize("method", ["adam", None])
def test_as_many_as_28_curves_all_look_different(method):
    results = {str(i): traced([2.0, 1.0], method=method) for i in range(28)}
    drawn = curves(fastopt.plot_convergence(results).axes[0]).values()
    # The dashes, since get_linestyle() is "--" for every pattern of one's own.
    looks = {(line.get_color(), str(line._unscaled_dash_pattern)) for line in drawn}
    assert len(looks) == 28


# Machado, Oliveira & Fernandes, "A physiologically-based model for simulation of color vision
# deficiency" (IEEE TVCG 15, 2009): severity 1, on linear RGB.
DEFICIENCIES = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def lab(colour, deficiency):
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(DEFICIENCIES[deficiency] @ linear, 0.0, 1.0)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    ratios = to_xyz @ linear / to_xyz.sum(axis=1)
    x, y, z = np.where(ratios > 0.008856, np.cbrt(ratios), 7.787 * ratios + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colours_can_be_told_apart_under_colour_vision_deficiencies(deficiency):
    # A difference of 2.3 in CIE Lab is just noticeable.
    for one, other in combinations(COLOURS, 2):
        distance = np.linalg.norm(lab(one, deficiency) - lab(other, deficiency))
        assert distance > 3 * 2.3, (one, other)


@pytest.mark.parametrize(("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_path_saves_the_figure_in_the_format_of_its_suffix(tmp_path, suffix, magic):
    path = tmp_path / f"picture.{suffix}"
    figure = fastopt.plot_convergence(traced([2.0, 1.0]), path)
    assert isinstance(figure, Figure)
    assert path.read_bytes().startswith(magic)


def test_draws_in_the_figure_that_is_given():
    figure = Figure()
    assert fastopt.plot_convergence(traced([2.0, 1.0]), figure=figure) is figure
    assert len(figure.axes) == 2
    renderer = render(figure)
    box = figure.legends[0].get_window_extent(renderer)
    assert not any(box.overlaps(axes.get_tightbbox(renderer)) for axes in figure.axes)


def test_needs_no_display_and_leaves_pyplot_alone():
    script = """
import sys
import fastopt
from scipy.optimize import OptimizeResult
trace = {"time": [0.1, 0.2], "nfev": [1, 2], "fun": [2.0, 1.0]}
fastopt.plot_convergence(OptimizeResult(fun=1.0, trace=trace))
sys.exit("matplotlib.pyplot" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], env=without_display()).returncode == 0


def without_display():
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND")
    return {name: value for name, value in os.environ.items() if name not in hidden}


def test_missing_trace_is_a_value_error_that_tells_how_to_get_one():
    with pytest.raises(ValueError, match=r"`results\['b'\]` must have a `trace`.*\"trace\": True"):
        fastopt.plot_convergence({"a": traced([1.0]), "b": OptimizeResult(fun=1.0)})
    with pytest.raises(ValueError, match=r"`results` must have a `trace`"):
        fastopt.plot_convergence(OptimizeResult(fun=1.0))


def with_trace(**trace):
    return OptimizeResult(fun=1.0, trace=trace)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"results": {}}, ValueError, "`results` must hold at least one result, .* empty dict"),
        ({"results": []}, ValueError, "`results` must hold at least one result, .* empty list"),
        ({"results": {1.0}}, TypeError, "`results` must be an OptimizeResult.*got set"),
        ({"results": [traced([1.0]), 3]}, TypeError, r"`results\[1\]` must be an Optim.*got int"),
        ({"results": {"a": 3}}, TypeError, r"`results\['a'\]` must be an Optim.*got int"),
        ({"results": with_trace(time=[0.1], fun=[1.0])}, ValueError, "must hold 'nfev', got "),
        (
            {"results": with_trace(time=[0.1], nfev=[1, 2], fun=[2.0, 1.0])},
            ValueError,
            r"of one length.*got shapes \(1,\)",
        ),
        ({"results": traced([np.nan])}, ValueError, "must hold a finite function value"),
        ({"reference": np.inf}, ValueError, "`reference` must be finite, got inf"),
        ({"reference": 1.5}, ValueError, r"`reference` must be at most .* 1\.0, got 1\.5"),
    ],
)
def test_arguments_that_cannot_be_drawn_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        fastopt.plot_convergence(**{"results": traced([2.0, 1.0]), **arguments})


def test_missing_matplotlib_is_an_import_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'fastopt\[demo\]'"):
        fastopt.plot_convergence(traced([2.0, 1.0]))
