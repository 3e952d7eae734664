"""The commands and their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path

import fastopt
from fastopt.commands.bench.command import run_bench
from fastopt.commands.bench.suites import SUITES
from fastopt.commands.demo import run_demo
from fastopt.commands.reports import run_info, run_methods
from fastopt.interface.methods import METHODS, find_method

__all__ = ["make_parser"]


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m fastopt",
        description="Minimise smooth functions: SciPy's minimize without the interpreter in the "
        "way.",
    )
    parser.add_argument("--version", action="version", version=f"fastopt {fastopt.__version__}")
    # Without a command, which one there are is what the caller wants to know.
    parser.set_defaults(command=lambda _options: parser.print_help())
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="minimise a real problem by many methods, beside SciPy",
        description="Fit a logistic regression with an L2 penalty to the Wisconsin breast-cancer "
        "table (569 samples, 30 features) by the second-order methods of fastopt, some first-order "
        "ones and, where SciPy has the same, by SciPy's. Prints a table and saves a picture of how "
        "each converges.",
        epilog="Needs pip install 'fastopt[demo]'. Takes some seconds.",
    )
    demo.add_argument(
        "--output",
        type=Path,
        default=Path("fastopt-demo.png"),
        metavar="FILE",
        help="where to save the picture; the suffix chooses the format (default: %(default)s)",
    )
    demo.add_argument(
        "--repeats",
        type=positive_integer,
        default=5,
        metavar="N",
        help="how often to run each solve; the median time counts (default: %(default)s)",
    )
    demo.add_argument("--no-plot", action="store_true", help="print the table, draw nothing")
    demo.set_defaults(command=run_demo)

    bench = commands.add_parser(
        "bench",
        help="measure fastopt on this machine, beside SciPy and what else is installed",
        description="Measure fastopt on this machine beside SciPy and, where they are installed, "
        "PyTorch and NLopt. Prints a table for each suite and a summary, and saves all numbers as "
        "JSON and the gains as a picture. Libraries take turns, on one thread; a row whose "
        "answers differ is marked.",
        epilog="Suites: "
        + "; ".join(f"{suite.name}, {suite.title}" for suite in SUITES.values())
        + ". Needs pip install 'fastopt[demo]'. Takes a minute or two; best while nothing else "
        "runs.",
    )
    bench.add_argument(
        "--suite",
        nargs="+",
        choices=list(SUITES),
        default=list(SUITES),
        metavar="NAME",
        help="which to run: %(choices)s (default: all)",
    )
    bench.add_argument(
        "--output",
        type=Path,
        default=Path("fastopt-bench.png"),
        metavar="FILE",
        help="where to save the picture; the suffix chooses the format (default: %(default)s)",
    )
    bench.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        help="where to save all numbers (default: the picture's name with .json)",
    )
    bench.add_argument(
        "--markdown",
        type=Path,
        metavar="FILE",
        help="where to save the summary as a table of Markdown (default: nowhere)",
    )
    bench.add_argument(
        "--repeats",
        type=positive_integer,
        default=7,
        metavar="N",
        help="rounds in which each row is measured; the median counts (default: %(default)s)",
    )
    bench.add_argument(
        "--quick",
        action="store_true",
        help="tiny problems: seconds instead of minutes, and numbers that mean little",
    )
    bench.add_argument("--no-plot", action="store_true", help="draw no picture")
    bench.set_defaults(command=run_bench)

    info = commands.add_parser(
        "info",
        help="versions, threads, BLAS, SIMD, Numba and CUDA: what a bug report needs",
        description="Print what a bug report needs to know about this installation and machine.",
    )
    info.set_defaults(command=run_info)

    methods = commands.add_parser(
        "methods",
        help="the methods that fastopt has, and when to choose which",
        description="List the methods that fastopt has or, given one, its options.",
    )
    methods.add_argument(
        "name",
        nargs="?",
        type=canonical_name,
        choices=list(METHODS),
        help="a method whose options to list: %(choices)s",
        metavar="METHOD",
    )
    methods.set_defaults(command=run_methods)
    return parser


def positive_integer(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a positive integer, got {text!r}")
    return number


def canonical_name(text: str) -> str:
    """The name of a method by any that `minimize` takes for it."""
    method = find_method(text)
    return text if method is None else method.name
