"""Examples in docstrings and pages are run, and what the pages say of the project still holds."""

import ast
import doctest
import importlib.util
import itertools
import re
from pathlib import Path

import pytest

import fastopt
import fastopt.adapters
import fastopt.distributed
import fastopt.kernels
import fastopt.losses
import fastopt.nn
import fastopt.nn.models
import fastopt.schedules
import fastopt.testing
from fastopt.core.result import BATCH_ENDINGS, ENDINGS
from fastopt.interface.methods import METHODS
from fastopt.rules.table import RULES

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(
        path
        for suffix in ("md", "rst")
        for path in sorted((ROOT / "docs").rglob(f"*.{suffix}"))
        if not {"_build", "generated", "auto_gallery"} & set(path.parts)
    ),
]
# The documentation's build runs these.
GALLERY = sorted((ROOT / "docs" / "gallery").glob("*.py"))
PAGES = [path for path in PAGES if path.exists()]  # not all are where there is no checkout
ON_A_GPU = {ROOT / "docs" / "guides" / "gpu.rst"}
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# Names as the reference lists them, below `fastopt`: once, where both have them.
PUBLIC = {
    **{name: getattr(fastopt, name) for name in fastopt.__all__ if not name.startswith("__")},
    **{
        f"testing.{name}": getattr(fastopt.testing, name)
        for name in fastopt.testing.__all__
        if name not in fastopt.__all__
    },
    **{
        f"{module.__name__.removeprefix('fastopt.')}.{name}": getattr(module, name)
        for module in (
            fastopt.kernels,
            fastopt.losses,
            fastopt.nn,
            fastopt.nn.models,
            fastopt.schedules,
            fastopt.distributed,
            fastopt.adapters,
        )
        for name in module.__all__
    },
}
MEMBERS = {
    f"{name}.{attribute}": value
    for name, owner in PUBLIC.items()
    if isinstance(owner, type)
    for attribute, value in vars(owner).items()
    # The fields of a dataclass are its parameters.
    if not attribute.startswith("_") and attribute not in getattr(owner, "__dataclass_fields__", ())
}
# What examples need besides the test extra, theirs and their members'.
NEEDS = {
    "adapters.from_jax": "jax",
    "adapters.from_torch": "torch",
    "distributed.SumObjective": "distributed",
}
# What the last examples of a page need: those from the first that imports it.
PEERS = {
    "pytorch.rst": "torch",
    "jax.rst": "optax",
    "nlopt.rst": "nlopt",
    "distributed.rst": "distributed",
}
CALLABLES = PUBLIC | {name: value for name, value in MEMBERS.items() if callable(value)}


def page_text(path: Path) -> str:
    # The fence that closes a Markdown block would read as the last line of expected output.
    return re.sub(r"^```.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)


def run_examples(examples: list[doctest.DocTest]) -> None:
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    report: list[str] = []
    for example in examples:
        runner.run(example, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.fixture(autouse=True)
def scratch_folder(tmp_path, monkeypatch):
    """Examples save pictures where they are."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", CALLABLES)
def test_public_names_have_examples_that_hold(name):
    finder = doctest.DocTestFinder(recurse=False)
    (own,) = finder.find(CALLABLES[name], name, globs={})
    assert own.examples, f"{name} has no example"
    for owner, library in NEEDS.items():
        if name == owner or name.startswith(f"{owner}."):
            pytest.importorskip(library, reason=f"{name} needs it")
    run_examples([own])


@pytest.mark.parametrize("name", MEMBERS)
def test_public_attributes_are_documented(name):
    assert MEMBERS[name].__doc__


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.gpu] if path in ON_A_GPU else [])
        for path in PAGES
        if ">>>" in path.read_text(encoding="utf-8")
    ],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_examples_in_pages_hold(path):
    page = doctest.DocTestParser().get_doctest(page_text(path), {}, path.name, str(path), 0)
    peer = PEERS.get(path.name)
    if peer is None or importlib.util.find_spec(peer):
        run_examples([page])
        return
    own = list(itertools.takewhile(lambda each: f"import {peer}" not in each.source, page.examples))
    assert 0 < len(own) < len(page.examples)
    page.examples = own
    run_examples([page])
    pytest.skip(f"the last examples need {peer}; those before hold")


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_in_pages_is_written_as_examples_that_run(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"^\s*(```python|\.\. code(-block)?:: python)", text, re.MULTILINE)


@pytest.mark.parametrize("path", GALLERY, ids=lambda path: path.stem)
def test_examples_of_the_gallery_begin_with_a_title_and_an_introduction(path):
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert re.match(r".+\n=+\n\n\w.+\n.+", text)
    title, line, *_ = text.splitlines()
    assert len(title) == len(line)


@pytest.mark.checkout
def test_reference_lists_the_public_names():
    text = (ROOT / "docs" / "api.rst").read_text(encoding="utf-8")
    blocks = re.findall(r"autosummary::.*?\n\n((?:   [\w.]+\n)+)", text, re.DOTALL)
    assert sorted("".join(blocks).split()) == sorted(PUBLIC)


@pytest.mark.checkout
def test_troubleshooting_explains_every_ending_once():
    page = (ROOT / "docs" / "guides" / "troubleshooting.rst").read_text(encoding="utf-8")
    explained = re.findall(r"^\.\. fastopt-ending:: (\w+)$", page, re.MULTILINE)
    assert sorted(explained) == sorted(status.name for status in BATCH_ENDINGS)


@pytest.mark.checkout
def test_page_on_scipy_lists_every_status():
    page = (ROOT / "docs" / "coming_from" / "scipy.rst").read_text(encoding="utf-8")
    listed = {int(status) for status in re.findall(r"^   \* - (\d+)$", page, re.MULTILINE)}
    assert listed == {ending.status for ending in ENDINGS.values()}


@pytest.mark.checkout
def test_page_on_scipy_lists_the_options_that_scipy_lacks():
    page = (ROOT / "docs" / "coming_from" / "scipy.rst").read_text(encoding="utf-8")
    (listed,) = re.findall(r"\*\*More options\*\*: (.*?)\n\n", page, re.DOTALL)
    assert set(re.findall(r"``(\w+)``", listed)) == {
        name
        for method in METHODS.values()
        if method.scipy
        for name in method.options
        if name not in method.scipy_options
    }


@pytest.mark.checkout
def test_page_on_scipy_lists_the_methods_that_scipy_lacks():
    page = (ROOT / "docs" / "coming_from" / "scipy.rst").read_text(encoding="utf-8")
    (listed,) = re.findall(r"\*\*Methods that are not in SciPy\*\*: (.*?)\n\n", page, re.DOTALL)
    assert set(re.findall(r"``([\w-]+)``", listed)) == {
        name for name, method in METHODS.items() if method.scipy is None
    }


@pytest.mark.checkout
def test_every_rule_has_one_page_that_shows_its_facts_and_its_path():
    told, drawn = [], []
    for path in (ROOT / "docs" / "rules").glob("*.rst"):
        page = path.read_text(encoding="utf-8")
        names = " ".join(re.findall(r"^\.\. fastopt-rule:: (.*)$", page, re.MULTILINE)).split()
        told += names
        if names:
            drawn += re.findall(r"^\.\. plot:: plots/rule_paths\.py (\w+)$", page, re.MULTILINE)
            assert drawn[-1] == path.stem == names[0]
    assert sorted(told) == sorted(RULES)


@pytest.mark.checkout
def test_ci_runs_the_test_command_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^pip install .* && pytest$", readme, re.MULTILINE)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"{{ {command}; }}" in ci


@pytest.mark.checkout
def test_how_it_works_names_every_folder_of_the_package():
    page = (ROOT / "docs" / "how_it_works.rst").read_text(encoding="utf-8")
    folders = {path.parent.name for path in (ROOT / "fastopt").glob("*/__init__.py")}
    assert folders
    assert folders - set(re.findall(r"fastopt/(\w+)/", page)) == set()
