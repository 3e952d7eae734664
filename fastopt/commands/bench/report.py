"""What has been measured, as tables of text, as Markdown and as JSON.

Owns words and units. Knows neither files nor pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from importlib import metadata
from typing import Any

import fastopt
from fastopt.commands.bench.suites import SUITES, Suite
from fastopt.commands.bench.timing import Peer, Row, Timing
from fastopt.commands.quantities import duration, three_digits, times
from fastopt.commands.tables import Table

__all__ = ["SCHEMA", "Report", "as_json", "as_markdown", "suite_table", "summary_table"]

# Of the JSON: another number tells its readers that names or units have changed.
SCHEMA = 1

PACKAGES = {"SciPy": "scipy", "PyTorch": "torch", "NLopt": "nlopt", "NumPy": "numpy"}


@dataclass(frozen=True)
class Report:
    """One run: its rows, when, and on what machine, in the words of `info`."""

    rows: Sequence[Row]
    date: datetime
    repeats: int
    quick: bool
    machine: dict[str, dict[str, str]]

    @property
    def title(self) -> str:
        """Who, beside whom."""
        others = ", ".join(f"{name} {version}" for name, version in self.peers.items())
        return f"fastopt {fastopt.__version__}" + (f" beside {others}" if others else "")

    @property
    def circumstances(self) -> str:
        """Where and when."""
        facts = self.machine["Machine"]
        return f"{facts['CPU']}, {facts['cores'].partition(',')[0]} cores, {self.date:%Y-%m-%d}" + (
            ", with --quick" if self.quick else ""
        )

    @property
    def peers(self) -> dict[str, str]:
        """The versions of those who were there."""
        names = dict.fromkeys(peer.library for row in self.rows for peer in row.peers)
        return {name: version_of(PACKAGES[name]) for name in names}


def version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # built by hand, or by conda
        return "(unknown version)"


def spread(timing: Timing) -> str:
    low, high = timing.quartiles
    return f"{50.0 * (high - low) / timing.median:.0f}%"


# --- tables --------------------------------------------------------------------------------------


def suite_table(suite: Suite, rows: Sequence[Row]) -> Table:
    rate = ["rate"] if any(row.work is not None for row in rows) else []
    columns = ["", "fastopt", *rate, "beside", "takes", "gain", "±", suite.answers]
    lines = []
    for row in rows:
        ours = [row.name, duration(row.seconds.median), *(rate_text(row) for _ in rate)]
        if not row.peers:
            lines.append([*ours, "-", "", "", spread(row.seconds), row.answers.text])
        for peer in row.peers:
            lines.append([*ours, *peer_cells(peer)])
            ours = [""] * len(ours)
    compared = [peer for row in rows for peer in row.peers]
    caption = suite.caption if compared else suite.remark
    caption = f"{caption} ±: how near to the median half of the rounds are.".lstrip()
    if any(not row.peers for row in rows):
        caption += "\n-: nothing to compare with is installed."
    if not all(peer.answers.agree for peer in compared):
        caption += "\n!: the answers differ, so the times are not of the same work."
    numbers = {"fastopt", "rate", "takes", "gain", "±"}
    return Table(
        title=f"{suite.name}: {suite.title}",
        columns=columns,
        rows=lines,
        caption=caption,
        numbers=frozenset(index for index, name in enumerate(columns) if name in numbers),
    )


def rate_text(row: Row) -> str:
    if row.work is None or row.rate is None:
        return ""
    return f"{three_digits(row.rate)} {row.work.unit}"


def peer_cells(peer: Peer) -> list[str]:
    answers = peer.answers.text if peer.answers.agree else f"{peer.answers.text} !"
    seconds = duration(peer.seconds.median)
    return [peer.library, seconds, times(peer.gain), spread(peer.gains), answers]


def summary_table(report: Report, *, titles: bool = False) -> Table:
    """For each suite and peer, the gains of all rows whose answers agree.

    With `titles` it tells what the suites are.
    """
    rows = []
    for suite in SUITES.values():
        found = [row for row in report.rows if row.suite == suite.name]
        for library in dict.fromkeys(peer.library for row in found for peer in row.peers):
            ranked = sorted(
                (
                    (peer.gain, row, peer)
                    for row in found
                    for peer in row.peers
                    if peer.library == library and peer.answers.agree
                ),
                key=lambda each: each[0],
            )
            if not ranked:
                continue
            gains = [gain for gain, _, _ in ranked]
            middle, row, peer = ranked[(len(ranked) - 1) // 2]
            rows.append(
                (
                    f"{suite.name}: {suite.title}" if titles else suite.name,
                    library,
                    str(len(gains)),
                    times(middle),
                    f"{times(gains[0])} to {times(gains[-1])}",
                    as_sentence(row, peer),
                )
            )
    plural = "s" if report.repeats > 1 else ""
    return Table(
        title=report.title,
        columns=("suite", "beside", "rows", "gain", "least to most", "the middle one"),
        rows=rows,
        numbers=frozenset({2, 3}),
        caption=f"{report.circumstances}. Medians of {report.repeats} round{plural} in which "
        "libraries take turns, on one thread. gain: the other's time over fastopt's; here, of the "
        "rows whose answers agree, that of the middle one.",
    )


def as_sentence(row: Row, peer: Peer) -> str:
    ours, theirs = duration(row.seconds.median), duration(peer.seconds.median)
    digits = f", digits {peer.answers.text}" if "fastopt" in peer.answers.numbers else ""
    return f"{row.name}: {ours}, {peer.library} {theirs}{digits}"


def as_markdown(table: Table) -> str:
    bar = r"\|"  # else it would end its cell
    marks = ["--:" if index in table.numbers else "---" for index in range(len(table.columns))]
    lines = [table.columns, marks, *table.rows]
    body = "\n".join(
        f"| {' | '.join(cell.replace('|', bar) for cell in cells)} |" for cells in lines
    )
    return f"{table.title}: {table.caption}\n\n{body}\n"


# --- JSON ----------------------------------------------------------------------------------------


def as_json(report: Report) -> dict[str, Any]:
    """Times in seconds; `rounds` are in the order in which they were measured."""
    return {
        "schema": SCHEMA,
        "date": report.date.isoformat(timespec="seconds"),
        "fastopt": fastopt.__version__,
        "peers": report.peers,
        "machine": report.machine,
        "repeats": report.repeats,
        "quick": report.quick,
        "units": {
            "seconds": "s",
            "gain": "the peer's median of seconds over fastopt's",
            "gains": "the same round by round",
            "answers": "decimal digits that are right, by library; or, as `apart`, the largest "
            "difference relative to the largest entry",
        },
        "rows": [row_as_json(row) for row in report.rows],
    }


def row_as_json(row: Row) -> dict[str, Any]:
    return {
        "suite": row.suite,
        "name": row.name,
        "work": None if row.work is None else asdict(row.work),
        "rate": row.rate,
        "threads": row.threads,
        "seconds": timing_as_json(row.seconds),
        "answers": dict(row.answers.numbers),
        "peers": [
            {
                "library": peer.library,
                "seconds": timing_as_json(peer.seconds),
                "gain": peer.gain,
                "gains": timing_as_json(peer.gains),
                "answers": dict(peer.answers.numbers),
                "agree": peer.answers.agree,
            }
            for peer in row.peers
        ],
    }


def timing_as_json(timing: Timing) -> dict[str, Any]:
    low, high = timing.quartiles
    return {
        "median": timing.median,
        "quartiles": [low, high],
        "rounds": list(timing.rounds),
    }
