"""The command as a whole, on cases that take no time."""

import json
import re
import signal
import sys

import pytest

from fastopt.__main__ import main
from fastopt.commands.bench import command, timing
from fastopt.commands.bench.cases import Call, Case, Contest, apart_by_at_most
from fastopt.commands.bench.sizes import QUICK, USUAL
from fastopt.commands.bench.suites import SUITES, Suite


@pytest.fixture(autouse=True)
def quick(tmp_path, monkeypatch):
    """Two cases a suite, in an empty folder."""
    asked = []

    def cases(suite, sizes):
        asked.append((suite.name, sizes))
        contest = Contest(Call(lambda: 1.0), {"SciPy": Call(lambda: 1.0)}, apart_by_at_most(1e-6))
        return [Case(f"{suite.name} {i}", lambda: contest) for i in range(2)]

    monkeypatch.setattr(Suite, "cases", cases)
    monkeypatch.setattr(timing, "SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    return asked


def test_prints_every_suite_and_a_summary_and_saves_all_of_it(tmp_path, capsys):
    assert main(["bench"]) == 0
    text = capsys.readouterr().out
    for name, suite in SUITES.items():
        assert f"{name}: {suite.title}" in " ".join(text.split())
        assert f"{name} 1" in text
    assert {path.name for path in tmp_path.iterdir()} == {
        "fastopt-bench.png",
        "fastopt-bench.json",
    }
    assert (tmp_path / "fastopt-bench.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads((tmp_path / "fastopt-bench.json").read_text())
    assert len(found["rows"]) == 2 * len(SUITES)
    assert found["rows"][0]["peers"][0]["library"] == "SciPy"
    assert len(found["rows"][0]["seconds"]["rounds"]) == found["repeats"] == 7
    for name in ("fastopt-bench.png", "fastopt-bench.json"):
        assert str(tmp_path / name) in text


def test_chosen_suites_run_once_each_in_the_order_of_the_table(quick, capsys):
    assert main(["bench", "--suite", "many", "latency", "many", "--no-plot"]) == 0
    assert quick == [("latency", USUAL), ("many", USUAL)]


def test_quick_makes_the_problems_small_and_says_so(quick, tmp_path, capsys):
    assert main(["bench", "--quick", "--suite", "large", "--repeats", "2"]) == 0
    assert quick == [("large", QUICK)]
    assert "with --quick" in " ".join(capsys.readouterr().out.split())
    found = json.loads((tmp_path / "fastopt-bench.json").read_text())
    assert found["quick"] is True
    assert found["repeats"] == 2


def test_files_go_where_the_options_say(tmp_path, capsys):
    (tmp_path / "to").mkdir()
    assert main(["bench", "--suite", "many", "--output", "to/mine"]) == 0
    files = ["--output", "a.svg", "--json", "b.json", "--markdown", "c.md"]
    assert main(["bench", "--suite", "many", *files]) == 0
    assert {path.name for path in (tmp_path / "to").iterdir()} == {"mine.png", "mine.json"}
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert json.loads((tmp_path / "b.json").read_text())["schema"] == 1
    assert "| many: " in (tmp_path / "c.md").read_text()


def test_without_a_plot_needs_no_matplotlib(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["bench", "--suite", "many", "--no-plot"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["fastopt-bench.json"]


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["bench", "--no-plot"]) == 0
    tables, _, _ = capsys.readouterr().out.partition("Saved: ")
    assert max(map(len, tables.splitlines())) <= columns


def test_without_extras_ends_with_code_1_and_the_command_that_installs_them(monkeypatch, capsys):
    for module in ("rich", "matplotlib"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["bench"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert "bench needs rich, matplotlib, which cannot be found" in line
    assert "pip install 'fastopt[demo]'" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "missing/a.png"], "--output must lie in an existing folder"),
        (["--output", "a.txt"], "--output must end in one of .*png"),
        (["--output", "."], "--output must be a file, got the folder '.'"),
        (["--no-plot", "--output", "missing/a.png"], "--output must lie in an existing folder"),
        (["--no-plot", "--output", "."], "--output must be a file, got the folder '.'"),
        (["--json", "missing/a.json"], "--json must lie in an existing folder"),
        (["--markdown", "."], "--markdown must be a file, got the folder '.'"),
    ],
)
def test_refuses_files_that_cannot_be_written_before_anything_is_measured(
    arguments, message, quick, tmp_path, capsys
):
    assert main(["bench", *arguments]) == 1
    assert re.search(message, capsys.readouterr().err)
    assert quick == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "latncy"], "invalid choice: 'latncy'.*latency.*digits"),
        (["--suite"], "--suite: expected at least one argument"),
        (["--repeats", "0"], "--repeats: must be a positive integer, got '0'"),
    ],
)
def test_wrong_argument_ends_with_code_2_and_says_what_is_expected(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["bench", *arguments])
    assert ended.value.code == 2
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("calls", [1, 9, 31])
def test_ctrl_c_ends_with_code_130_and_one_line_and_writes_nothing(
    calls, tmp_path, monkeypatch, capsys
):
    count = 0

    def interrupted():
        nonlocal count
        count += 1
        if count == calls:
            signal.raise_signal(signal.SIGINT)
        return 1.0

    contest = Contest(Call(interrupted), {}, apart_by_at_most(1e-6))
    monkeypatch.setattr(Suite, "cases", lambda suite, sizes: [Case("row", lambda: contest)])
    assert main(["bench"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "Interrupted."
    assert list(tmp_path.iterdir()) == []


def test_picture_that_cannot_be_saved_leaves_the_numbers(tmp_path, monkeypatch, capsys):
    def fill_the_disk(_figure, path, **_):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fill_the_disk)
    assert main(["bench", "--suite", "many"]) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["fastopt-bench.json"]
    assert "cannot write 'fastopt-bench.png': No space left" in capsys.readouterr().err


def test_nothing_compared_is_no_picture(tmp_path, monkeypatch, capsys):
    contest = Contest(Call(lambda: 1.0), {}, apart_by_at_most(1e-6))
    monkeypatch.setattr(Suite, "cases", lambda suite, sizes: [Case("row", lambda: contest)])
    assert main(["bench", "--suite", "kernels"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["fastopt-bench.json"]
    assert "nothing was compared" in capsys.readouterr().out


def test_kernels_have_one_thread_while_they_are_measured_and_as_many_as_before_then(monkeypatch):
    from fastopt import kernels

    before = kernels.get_num_threads()
    seen = []
    monkeypatch.setattr(
        command, "measure_suite", lambda *_: seen.append(kernels.get_num_threads()) or []
    )
    kernels.set_num_threads(3)
    try:
        assert main(["bench", "--suite", "many", "--no-plot"]) == 0
        assert seen == [1]
        assert kernels.get_num_threads() == 3
    finally:
        kernels.set_num_threads(before)
