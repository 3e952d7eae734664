"""What has been measured, as tables, as Markdown and as JSON."""

import json

import pytest
import scipy

import fastopt
from fastopt.commands.bench.report import (
    SCHEMA,
    as_json,
    as_markdown,
    suite_table,
    summary_table,
)
from fastopt.commands.bench.suites import SUITES


def test_table_of_a_suite_has_a_line_for_each_peer_and_marks_answers_that_differ(rows):
    table = suite_table(SUITES["latency"], rows[:2])
    assert table.columns[-1] == "digits"
    assert table.rows == [
        ["bfgs", "100 µs", "SciPy", "2.00 ms", "20.0x", "17%", "9 | 10"],
        ["l-bfgs", "100 µs", "SciPy", "400 µs", "4.00x", "12%", "9 | 10"],
        ["", "", "NLopt", "10.0 µs", "0.10x", "0%", "9 | 1 !"],
    ]
    assert "answers differ" in table.caption
    assert "answers differ" not in suite_table(SUITES["latency"], rows[:1]).caption


def test_table_of_a_suite_that_has_work_shows_the_rate_and_a_row_alone(rows):
    table = suite_table(SUITES["kernels"], rows[2:])
    assert table.columns[1:3] == ["fastopt", "rate"]
    assert table.rows == [
        ["conv2d forward", "100 µs", "5,000 GFLOP/s", "-", "", "", "25%", ""],
    ]
    assert "nothing to compare with" in table.caption
    assert "how far results differ" not in table.caption


def test_summary_leaves_out_rows_whose_answers_differ(report):
    table = summary_table(report)
    assert [(row[:4]) for row in table.rows] == [("latency", "SciPy", "2", "4.00x")]
    assert table.rows[0][4:] == (
        "4.00x to 20.0x",
        "l-bfgs: 100 µs, SciPy 400 µs, digits 9 | 10",
    )
    assert "Abacus Mark I, 2 cores, 2026-11-26" in table.caption


def test_markdown_has_as_many_cells_in_every_line_and_tells_the_machine(report):
    text = as_markdown(summary_table(report, titles=True))
    heading, _, *lines = text.splitlines()
    assert "Abacus Mark I" in heading
    assert SUITES["latency"].title in lines[2]
    # A bar within a cell would end it.
    assert {line.replace(r"\|", "").count("|") for line in lines} == {7}
    assert lines[1].count("--:") == 2


def test_json_has_all_rounds_with_units_and_survives_a_round_trip(report):
    found = json.loads(json.dumps(as_json(report)))
    assert found["schema"] == SCHEMA
    assert found["date"] == "2026-11-26T12:00:00+00:00"
    assert found["fastopt"] == fastopt.__version__
    assert set(found["peers"]) == {"SciPy", "NLopt"}
    assert found["machine"]["Machine"]["CPU"] == "Abacus Mark I"
    first, second, third = found["rows"]
    assert first["seconds"]["rounds"] == [1e-4, 2e-4, 1e-4]
    assert first["peers"][0]["gain"] == pytest.approx(20.0)
    assert first["peers"][0]["gains"]["rounds"] == pytest.approx([10.0, 15.0, 20.0])
    assert [peer["agree"] for peer in second["peers"]] == [True, False]
    assert second["peers"][1]["answers"] == {"fastopt": 9.5, "peer": 1.2}
    assert third["work"] == {"amount": 0.5, "unit": "GFLOP/s"}
    assert third["rate"] == pytest.approx(5000.0)
    assert third["peers"] == []


def test_title_names_fastopt_and_its_peers_with_their_versions(report):
    others = ", ".join(f"{name} {version}" for name, version in report.peers.items())
    assert report.title == f"fastopt {fastopt.__version__} beside {others}"
    assert report.peers["SciPy"] == scipy.__version__
