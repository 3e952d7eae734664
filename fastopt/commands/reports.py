"""`info` and `methods`: what fastopt is and has, as tables."""

from __future__ import annotations

import argparse

import fastopt
from fastopt.commands.tables import Table, print_table
from fastopt.core.system import describe_system
from fastopt.core.validate import UNLIMITED
from fastopt.interface.methods import METHODS, Method

__all__ = ["run_info", "run_methods"]


def run_info(_options: argparse.Namespace) -> None:
    rows = []
    for section, facts in describe_system().items():
        for index, (name, value) in enumerate(facts.items()):
            rows.append((section if index == 0 else "", name, value))
    print_table(Table(columns=("", "", ""), rows=rows))


def run_methods(options: argparse.Namespace) -> None:
    if options.name is not None:
        print_options(METHODS[options.name])
        return
    rows = [
        (method.name, method.title, method.family, method.scipy or "-", method.when)
        for method in METHODS.values()
    ]
    print_table(
        Table(
            title=f"Methods of fastopt {fastopt.__version__}",
            columns=("method", "", "family", "in SciPy", "choose it when"),
            rows=rows,
            caption="Options: python -m fastopt methods METHOD. "
            "Every other method of scipy.optimize.minimize is handed to SciPy.",
        )
    )


def print_options(method: Method) -> None:
    names = {name: [name] for name in method.options}
    for alias, name in method.option_aliases.items():
        names[name].append(alias)
    print_table(
        Table(
            title=f"{method.title}: choose it when {method.when}",
            columns=("option", "default", "meaning"),
            rows=[
                (", ".join(names[name]), default_text(option.default), option.description)
                for name, option in method.options.items()
            ],
            caption=f"Reference: {method.reference}.",
        )
    )


def default_text(default: object) -> str:
    return "inf" if default == UNLIMITED else str(default)
