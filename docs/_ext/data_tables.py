"""Directives that print fastopt's data: METHODS, its options, the rules, networks, and ENDINGS.

The pages cannot fall behind the code, because they are made from what the code itself reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from fastopt.core.abi import Status
from fastopt.core.result import BATCH_ENDINGS, DATA_ENDINGS, ENDINGS
from fastopt.core.validate import UNLIMITED
from fastopt.interface.methods import METHODS, Method, Option, PerVariable
from fastopt.nn import models
from fastopt.rules.table import FLAVORS, RULES, Hyperparameter, Rule


def list_table(header: Sequence[str], rows: Iterable[Sequence[str]], widths: str) -> str:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in [header, *rows]:
        for column, cell in enumerate(row):
            lines.append(f"   {'* -' if column == 0 else '  -'} {cell}".rstrip())
    return "\n".join([*lines, ""])


class GeneratedTable(SphinxDirective):
    """A table that a subclass writes as reStructuredText."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(self.text())

    def text(self) -> str:
        raise NotImplementedError


class MethodsTable(GeneratedTable):
    """A row for each method: what it is called, and when to choose it."""

    def text(self) -> str:
        rows = [
            (
                f":ref:`{method.name} <method-{method.name}>`",
                method.title,
                escaped(method.when),
                f"``{method.scipy}``" if method.scipy else "\u2013",
            )
            for method in METHODS.values()
        ]
        return list_table(("Method", "Name", "Choose it when", "SciPy's"), rows, "15 25 45 15")


class OptionsTables(SphinxDirective):
    """The options that all methods share, those of first-order ones, then of each its own."""

    def run(self) -> list[nodes.Node]:
        methods = METHODS.values()
        everyones = shared_options(methods)
        of_first_order = without(shared_options(filter(is_first_order, methods)), everyones)
        text = "\n".join(
            [
                *("Every method", "------------", ""),
                options_table(everyones),
                *(".. _first-order-options:", ""),
                *("Every first-order method", "------------------------", ""),
                options_table(of_first_order),
                *(section(method, everyones, of_first_order) for method in methods),
            ]
        )
        return self.parse_text_to_nodes(text, allow_section_headings=True)


class RulesTable(GeneratedTable):
    """A row for each rule's step: what it is called with, and where the rule is published."""

    def text(self) -> str:
        rows = [
            (
                f"``{rule.identifier}_step``",
                ", ".join(f"``{each.name}`` {each.default:g}" for each in rule.hyperparameters),
                quoted(rule.slot_names) or "\u2013",
                escaped(rule.reference),
            )
            for rule in RULES.values()
        ]
        header = ("In ``fastopt.rules``", "Hyperparameters, with their defaults", "Slots", "Source")
        return list_table(header, rows, "18 34 16 32")


class RulePages(GeneratedTable):
    """A row for each rule: its page, how much it remembers, and where it is published."""

    def text(self) -> str:
        rows = [
            (f":ref:`{rule.name} <rule-{rule.name}>`", str(rule.slots), escaped(rule.reference))
            for rule in RULES.values()
        ]
        return list_table(("Rule", "Slots", "Source"), rows, "20 8 72")


class RuleFacts(SphinxDirective):
    """``.. fastopt-rule:: NAME ...``: what the table says of the rules that a page is about."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        names = self.arguments[0].split()
        text = "\n".join(rule_facts(RULES[name], title=len(names) > 1) for name in names)
        return self.parse_text_to_nodes(text)


class FlavorsTable(GeneratedTable):
    """A row for each rule: in what the frameworks' forms are not the textbook's."""

    def text(self) -> str:
        rows = []
        for name, flavors in FLAVORS.items():
            cells = [difference(flavors.get(each), flavors["textbook"]) for each in FRAMEWORKS]
            rows.append((f":ref:`{name} <rule-{name}>`", *cells))
        return list_table(("Rule", *FRAMEWORKS.values()), rows, "16 28 28 28")


FRAMEWORKS = {"torch": "PyTorch", "optax": "optax", "keras": "Keras"}


def rule_facts(rule: Rule, title: bool) -> str:
    flavors = FLAVORS[rule.name]
    described: dict[str, Hyperparameter] = {}
    for flavor in flavors.values():
        described |= {
            each.name: each for each in flavor.hyperparameters if each.name not in described
        }
    rows = []
    for name, described_as in described.items():
        defaults = (default_in(flavor, name) for flavor in flavors.values())
        meaning = f"{escaped(described_as.description)}; in {described_as.interval}"
        rows.append((f"``{name}``", meaning, *defaults))
    header = ("", "Meaning", *(f"``{flavor}``" for flavor in flavors))
    widths = " ".join(["20", "40", *["10"] * len(flavors)])
    remembered = quoted(rule.slot_names) or "nothing"
    return "\n".join(
        [
            f"**{rule.name}.**" if title else "",
            f"Source: {escaped(rule.reference)}. Remembered of each parameter: {remembered}. "
            f"The step: ``fastopt.rules.{rule.identifier}_step``. "
            "Hyperparameters, with the defaults of each flavor:",
            "",
            list_table(header, rows, widths),
        ]
    )


def default_in(flavor: Rule, name: str) -> str:
    defaults = {each.name: each.default for each in flavor.hyperparameters}
    return f"{defaults[name]:g}" if name in defaults else "\u2013"


def difference(form: Rule | None, textbook: Rule) -> str:
    if form is None:
        return "*has none*"
    return escaped(form.differs) or ("\u2013" if form.defaults == textbook.defaults else "defaults")


def is_first_order(method: Method) -> bool:
    return method.family == "first-order"


def shared_options(methods: Iterable[Method]) -> dict[str, Option]:
    first, *others = methods
    return {
        name: option
        for name, option in first.options.items()
        if all(method.options.get(name) == option for method in others)
    }


def without(options: Mapping[str, Option], others: Mapping[str, Option]) -> dict[str, Option]:
    return {name: option for name, option in options.items() if name not in others}


def section(
    method: Method, everyones: Mapping[str, Option], of_first_order: Mapping[str, Option]
) -> str:
    title = f"``{method.name}``: {method.title}"
    lines = [f".. _method-{method.name}:", "", title, "-" * len(title), "", method.reference, ""]
    if method.aliases:
        lines += [f"Also called {quoted(method.aliases)}.", ""]
    lines += [f"The argument ``tol`` sets {quoted(method.tol_options)}.", ""]
    own = without(method.options, everyones)
    if method.rule is not None:
        lines += [f":ref:`The rule's page <rule-{method.rule}>` says how it works.", ""]
    if is_first_order(method):
        own = without(own, of_first_order)
        lines += ["Beside those of :ref:`every first-order method <first-order-options>`:", ""]
    lines.append(options_table(own))
    synonyms = [f"``{alias}`` for ``{name}``" for alias, name in method.option_aliases.items()]
    if synonyms:
        lines += ["", f"Other names: {', '.join(synonyms)}.", ""]
    if method.scipy:
        ours = [name for name in method.options if name not in method.scipy_options]
        lines += ["", f"Options that SciPy's {method.scipy} does not have: {quoted(ours)}.", ""]
    return "\n".join(lines)


def options_table(options: Mapping[str, Option]) -> str:
    rows = (
        (f"``{name}``", f"``{default_of(option)}``", escaped(option.description))
        for name, option in options.items()
    )
    return list_table(("Option", "Default", "Meaning"), rows, "22 16 62")


def default_of(option: Option) -> str:
    if option.default == UNLIMITED:
        return "inf"
    if isinstance(option.default, float):
        return f"{option.default:.6g}"
    return str(option.default) if isinstance(option.default, PerVariable) else repr(option.default)


def quoted(names: Iterable[str]) -> str:
    return ", ".join(f"``{name}``" for name in names)


def escaped(text: str) -> str:
    """Text as reStructuredText: ``|f|`` is a magnitude, and a name in `backticks` is code."""
    return "".join(
        f"``{part}``" if place % 2 else re.sub(r"([\\*|_])", r"\\\1", part)
        for place, part in enumerate(text.split("`"))
    )


class NetworksTable(GeneratedTable):
    """A row for each line ``name: source``: a network of fastopt.nn.models at its full width."""

    has_content = True

    def text(self) -> str:
        rows = []
        for line in self.content:
            name, _, source = line.partition(": ")
            model = getattr(models, name)()
            parameters, flops = model.summary().split()[-2:]
            image = " x ".join(map(str, model.input_shape))
            rows.append((f":func:`~fastopt.nn.models.{name}`", image, parameters, flops, source))
        return list_table(
            ("Network", "Image", "Parameters", "FLOPs", "Source"), rows, "24 14 15 17 30"
        )


class EndingsTable(GeneratedTable):
    """A row for each way in which a solve can end: the successes, or the others."""

    option_spec = {"success": directives.flag}  # noqa: RUF012  (docutils declares it so)

    def text(self) -> str:
        if "success" in self.options:
            first = "converged_to"
            endings = [ending for ending in ENDINGS.values() if ending.success]
        else:
            first = "status"
            endings = [ending for ending in ENDINGS.values() if not ending.success]
        rows = [(f"``{getattr(ending, first)}``", escaped(ending.message)) for ending in endings]
        return list_table((f"``{first}``", "``message``"), rows, "18 82")


class EndingFacts(GeneratedTable):
    """``.. fastopt-ending:: NAME``: what a result says of one ending, as the code has it."""

    required_arguments = 1

    def text(self) -> str:
        status = Status[self.arguments[0]]
        ending = BATCH_ENDINGS[status]
        holds = f", ``converged_to={ending.converged_to!r}``" if ending.converged_to else ""
        lines = [f"``status={ending.status}``, ``success={ending.success}``{holds}", ""]
        lines += [f"   {escaped(ending.message)}", ""]
        of_data = DATA_ENDINGS.get(status, ending)
        if of_data != ending:
            lines += ["Of minibatches:", "", f"   {escaped(of_data.message)}", ""]
        return "\n".join(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("fastopt-methods", MethodsTable)
    app.add_directive("fastopt-options", OptionsTables)
    app.add_directive("fastopt-ending", EndingFacts)
    app.add_directive("fastopt-endings", EndingsTable)
    app.add_directive("fastopt-networks", NetworksTable)
    app.add_directive("fastopt-rules", RulesTable)
    app.add_directive("fastopt-rule", RuleFacts)
    app.add_directive("fastopt-rule-pages", RulePages)
    app.add_directive("fastopt-flavors", FlavorsTable)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
