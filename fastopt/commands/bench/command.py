"""`bench`: measure, print, save.

Nothing is saved before everything has been measured, and then each file as a whole.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from fastopt.commands.bench.report import (
    Report,
    as_json,
    as_markdown,
    suite_table,
    summary_table,
)
from fastopt.commands.bench.sizes import QUICK, USUAL, Sizes
from fastopt.commands.bench.suites import SUITES, Suite
from fastopt.commands.bench.timing import Row, measure
from fastopt.commands.progress import progress_bar
from fastopt.commands.requirements import (
    check_output,
    check_picture,
    replacing,
    require_extra,
)
from fastopt.commands.tables import print_table
from fastopt.commands.threads import one_blas_thread, one_kernel_thread
from fastopt.core.system import describe_system

__all__ = ["run_bench"]


def run_bench(options: argparse.Namespace) -> None:
    draw = not options.no_plot
    require_extra("bench", "rich", "threadpoolctl", *(["matplotlib"] if draw else []))
    picture = check_picture("--output", options.output) if draw else None
    numbers = numbers_path(options)
    if options.markdown is not None:
        check_output("--markdown", options.markdown)

    started = datetime.now(UTC)
    sizes = QUICK if options.quick else USUAL
    chosen = [suite for suite in SUITES.values() if suite.name in options.suite]
    rows: list[Row] = []
    with one_blas_thread(), one_kernel_thread():
        for suite in chosen:
            rows += measure_suite(suite, sizes, options.repeats)
    report = Report(rows, started, options.repeats, options.quick, describe_system())
    if report.peers:
        print_table(summary_table(report))
    save_text(numbers, json.dumps(as_json(report), indent=1) + "\n")
    if options.markdown is not None:
        save_text(options.markdown, as_markdown(summary_table(report, titles=True)))
    if picture is not None:
        save_picture(picture, report)


def numbers_path(options: argparse.Namespace) -> Path:
    if options.json is not None:
        check_output("--json", options.json)
        path: Path = options.json
        return path
    check_output("--output", options.output)
    path = options.output.with_suffix(".json")
    check_output("--output", path)
    return path


def measure_suite(suite: Suite, sizes: Sizes, repeats: int) -> list[Row]:
    """Its table is printed, which remains if a later suite is interrupted."""
    cases = suite.cases(sizes)
    with progress_bar(len(cases) * (repeats + 1)) as begin:
        rows = [measure(suite.name, case, repeats, begin) for case in cases]
    print_table(suite_table(suite, rows))
    print(flush=True)
    return rows


def save_text(path: Path, text: str) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    print(f"Saved: {path.resolve()}")


def save_picture(path: Path, report: Report) -> None:
    from fastopt.commands.bench.picture import draw_gains

    if not report.peers:
        print("No picture: nothing was compared.")
        return
    with replacing(path) as unfinished:
        draw_gains(report).savefig(unfinished, dpi=160)
    print(f"Saved: {path.resolve()}")
