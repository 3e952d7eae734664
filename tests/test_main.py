"""The command line: what it prints, what it refuses, and how it ends."""

import errno
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from scipy.optimize import OptimizeResult, approx_fprime

import fastopt
from fastopt.__main__ import main
from fastopt.commands import demo, reports
from fastopt.commands.contests import History, LogisticRegression, is_shown
from fastopt.commands.tables import Table, plain_text
from fastopt.core.system import describe_system
from fastopt.interface.methods import METHODS, find_method

# Of the demo: one by fastopt for each method, and one by SciPy where it has an equal.
SHOWN = [method for method in METHODS.values() if is_shown(method)]
SOLVES = len(SHOWN) + sum(method.scipy is not None for method in SHOWN)


def run(*arguments, **keywords):
    return subprocess.run(
        [sys.executable, "-m", "fastopt", *arguments], text=True, capture_output=True, **keywords
    )


@pytest.fixture(params=["rich", "plain"])
def output(request, monkeypatch):
    """With rich and, as on a bare installation, without any extra."""
    if request.param == "plain":
        without_extras(monkeypatch)
    # Wide enough that no cell folds.
    monkeypatch.setenv("COLUMNS", "400")
    return request.param


def without_extras(monkeypatch):
    for module in ("rich", "matplotlib", "sklearn", "tqdm", "threadpoolctl"):
        monkeypatch.setitem(sys.modules, module, None)


@pytest.fixture
def regression():
    rng = np.random.default_rng(7)
    features = rng.normal(size=(40, 3)) * [1.0, 10.0, 0.1] + 5.0
    labels = np.where(features[:, 0] + rng.normal(size=40) > 5.0, 1.0, -1.0)
    return LogisticRegression(features, labels, penalty=0.01)


def test_methods_lists_every_row_and_when_to_choose_it(capsys, output):
    assert main(["methods"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for method in METHODS.values():
        assert method.name in text
        assert method.when in text


@pytest.mark.parametrize("name", METHODS)
def test_methods_with_a_name_lists_its_options_with_defaults(name, capsys, output):
    assert main(["methods", name]) == 0
    lines = capsys.readouterr().out.splitlines()
    for option, row in METHODS[name].options.items():
        (line,) = (line for line in lines if re.match(rf"\W*{option}\b", line))
        assert row.description.split()[0] in line
    assert METHODS[name].reference in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("name", ["BFGS", "L-BFGS-B", "l-bfgs-b", "Adam"])
def test_methods_takes_the_names_that_minimize_takes(name, capsys, output):
    assert main(["methods", name]) == 0
    assert capsys.readouterr().out.strip().startswith(f"{find_method(name).title}: ")


@pytest.mark.parametrize("command", [["methods"], ["methods", "l-bfgs"], ["info"]])
@pytest.mark.parametrize("columns", [None, 60, 120])
def test_output_to_a_pipe_fits_the_columns_asked_for_and_is_not_padded(
    command, columns, capsys, monkeypatch
):
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(columns))
    main(command)
    lines = capsys.readouterr().out.splitlines()
    assert [line.rstrip() for line in lines] == lines
    widest = max(map(len, lines))
    assert widest <= (columns or 150)
    assert columns is not None or widest > 80


def test_methods_shows_an_unlimited_default_as_inf(capsys, output):
    main(["methods", "bfgs"])
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "maxfev" in line)
    assert line.split()[2] == "inf"


def test_info_shows_every_fact(capsys, output):
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    for section, facts in describe_system().items():
        assert section in text
        for name in facts:
            assert name in text
    assert fastopt.__version__ in text
    assert np.__version__ in text


def test_plain_table_is_aligned():
    table = Table(columns=("name", "n"), rows=[("a", "1"), ("long", "100")], numbers=frozenset({1}))
    assert plain_text(table).splitlines() == [
        "name    n",
        "----  ---",
        "a       1",
        "long  100",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["dance"], "invalid choice: 'dance'.*demo.*bench.*info.*methods"),
        (["methods", "bgfs"], "invalid choice: 'bgfs'.*bfgs.*adam"),
        (["demo", "--repeats", "0"], "--repeats: must be a positive integer, got '0'"),
        (["demo", "--repeats", "few"], "--repeats: must be a positive integer, got 'few'"),
    ],
)
def test_wrong_argument_ends_with_code_2_and_says_what_is_expected(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_no_command_at_all_prints_the_help(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert re.search("usage: .*demo.*bench.*info.*methods", text, re.DOTALL)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["demo", "--help"], ["bench", "--help"], ["--version"]]
)
def test_help_and_version_end_with_code_0(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "fastopt" in capsys.readouterr().out


def test_demo_prints_every_method_beside_scipys_and_saves_a_picture(tmp_path, capsys):
    path = tmp_path / "demo.png"
    assert main(["demo", "--repeats", "1", "--output", str(path)]) == 0
    text = capsys.readouterr().out
    assert path.read_bytes().startswith(b"\x89PNG")
    assert str(path) in "".join(text.splitlines())
    assert text.count("converged") == SOLVES
    losses = [float(loss) for loss in re.findall(r"\b0\.\d{7}\b", text)]
    assert len(losses) == text.count("converged")
    np.testing.assert_allclose(losses, losses[0], atol=1e-7)


def test_demo_fits_a_terminal_of_80_columns(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["demo", "--repeats", "1", "--no-plot"]) == 0
    title, _, header, rule, *rows = capsys.readouterr().out.splitlines()
    assert title.endswith("n = 31")
    names = "method library iters evals ms loss |g| status gain"
    assert header.split() == names.split()
    assert set(rule.strip()) == {"\u2500"}
    assert max(map(len, rows)) <= 80
    # One line a solve: no cell is folded.
    assert sum("converged" in row for row in rows) == SOLVES


def test_demo_without_a_plot_needs_no_matplotlib_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--repeats", "1", "--no-plot"]) == 0
    assert list(tmp_path.iterdir()) == []
    assert "bfgs" in capsys.readouterr().out


def test_demo_without_extras_ends_with_code_1_and_the_command_that_installs_them(
    monkeypatch, capsys
):
    without_extras(monkeypatch)
    assert main(["demo"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert "matplotlib" in line
    assert "pip install 'fastopt[demo]'" in line


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("missing/demo.png", "--output must lie in an existing folder, got 'missing/demo.png'"),
        ("demo.txt", "--output must end in one of .*png.*, got 'demo.txt'"),
        ("taken.png", "--output must be a file, got the folder 'taken.png'"),
    ],
)
def test_demo_refuses_an_output_that_cannot_be_written_before_it_runs(
    output, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delattr(demo, "breast_cancer")
    (tmp_path / "taken.png").mkdir()
    assert main(["demo", "--output", output]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_demo_whose_picture_cannot_be_saved_ends_with_code_1_after_the_table(
    tmp_path, monkeypatch, capsys
):
    def fill_the_disk(_figure, path, **_):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fill_the_disk)
    assert main(["demo", "--repeats", "1", "--output", str(tmp_path / "demo.png")]) == 1
    captured = capsys.readouterr()
    assert "converged" in captured.out
    assert captured.err.splitlines()[-1].startswith("python -m fastopt: cannot write ")
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_a_solve_ends_with_code_130_and_one_line(monkeypatch, capsys):
    evaluate = LogisticRegression.__call__
    calls = 0

    def interrupted(self, parameters):
        nonlocal calls
        calls += 1
        if calls == 500:
            signal.raise_signal(signal.SIGINT)
        return evaluate(self, parameters)

    monkeypatch.setattr(LogisticRegression, "__call__", interrupted)
    assert main(["demo", "--no-plot"]) == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in captured.err


@pytest.mark.parametrize("disguised", [False, True])
@pytest.mark.parametrize("moment", ["scipy.optimize", "fastopt.core.system", "rich.progress"])
def test_ctrl_c_in_an_import_ends_with_code_130_and_one_line(moment, disguised):
    """Extension modules that are stopped as they load raise ImportError from KeyboardInterrupt."""
    script = f"""
import runpy, signal, sys

class Interrupting:
    def find_spec(name, path, target=None):
        if name != {moment!r}:
            return
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt as interrupt:
            if {disguised}:
                raise ImportError("initialization failed") from interrupt
            raise

sys.meta_path.insert(0, Interrupting)
sys.argv = ["fastopt", "demo"]
runpy.run_module("fastopt", run_name="__main__", alter_sys=True)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "Interrupted.\n")


def test_reader_that_leaves_is_no_traceback():
    script = [sys.executable, "-m", "fastopt", "methods"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 1
    assert errors == b""


def test_commands_run_as_a_module_without_loading_numba_or_matplotlib():
    loaded = """
import runpy, sys
sys.argv = ["fastopt", "methods"]
try:
    runpy.run_module("fastopt", run_name="__main__")
except SystemExit as ended:
    assert ended.code == 0
sys.exit(", ".join({"numba", "matplotlib", "sklearn"} & set(sys.modules)) or 0)
"""
    ended = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_error_that_is_no_interrupt_comes_out(monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(reports, "describe_system", fail)
    with pytest.raises(ZeroDivisionError):
        main(["info"])


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_info_prints_in_any_encoding(encoding):
    ended = run("info", env=os.environ | {"PYTHONIOENCODING": encoding})
    assert ended.returncode == 0, ended.stderr


def test_regression_gradient_matches_differences(regression):
    parameters = np.random.default_rng(3).normal(size=4)
    _, gradient = regression(parameters)
    differences = approx_fprime(parameters, lambda x: regression(x)[0])
    np.testing.assert_allclose(gradient, differences, atol=1e-6)


def test_regression_gradient_is_lipschitz_with_its_constant_and_hardly_a_smaller_one(regression):
    bound = regression.lipschitz_constant()
    rng = np.random.default_rng(5)
    ratios = []
    for scale in (1e-3, 1.0, 30.0):
        one, other = rng.normal(size=(2, 50, 4)) * scale
        for a, b in zip(one, other, strict=True):
            change = np.linalg.norm(regression(a)[1] - regression(b)[1])
            ratios.append(change / np.linalg.norm(a - b))
    assert 0.7 * bound < max(ratios) <= bound


def test_regression_is_finite_where_exp_overflows(regression):
    value, gradient = regression(np.full(4, 1e5))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_history_counts_evaluations_and_starts_at_the_start(regression):
    history = History(regression)
    for scale in (0.0, 1.0, 2.0):
        loss, _ = history(np.full(4, scale))
    history.record(OptimizeResult(fun=loss))
    trace = history.as_trace()
    assert trace["nfev"].tolist() == [1, 3]
    assert trace["fun"].tolist() == [regression(np.zeros(4))[0], loss]
    assert (np.diff(trace["time"]) > 0).all()
