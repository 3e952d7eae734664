"""The table describes the functions that it names: nothing is missing, nothing is out of order."""

import ast
import inspect
import math
import subprocess
import sys
import textwrap

import pytest

from fastopt.rules import steps
from fastopt.rules.table import FLAVORS, Hyperparameter, find_rule

ROWS = [row for flavors in FLAVORS.values() for row in flavors.values()]
ALL = pytest.mark.parametrize("rule", ROWS, ids=lambda row: f"{row.name}-{row.flavor}")


def parameter_names(function):
    return list(inspect.signature(function).parameters)


@ALL
def test_row_is_complete(rule):
    assert find_rule(rule.name, rule.flavor) is rule
    assert next(iter(FLAVORS[rule.name])) == "textbook"
    assert {*rule.scheduled} <= {each.name for each in rule.hyperparameters}
    assert rule.reference
    assert rule.hyperparameters
    for hyperparameter in rule.hyperparameters:
        assert hyperparameter.description
        assert hyperparameter.low < hyperparameter.high
        assert hyperparameter.allows(hyperparameter.default)


@ALL
def test_row_matches_the_signatures(rule):
    scalar, coefficients = steps.rule_functions(rule.name, rule.flavor)
    assert parameter_names(scalar)[: 2 + rule.slots] == ["x", "grad", *rule.slot_names]
    assert parameter_names(coefficients) == ["t", *(h.name for h in rule.hyperparameters)]


@ALL
def test_functions_fit_each_other(rule):
    scalar, coefficients = steps.rule_functions(rule.name, rule.flavor)
    shared = coefficients(1, *rule.defaults)
    assert len(parameter_names(scalar)) == 2 + rule.slots + len(shared)
    assert len(scalar(1.0, 1.0, *[0.0] * rule.slots, *shared)) == 1 + rule.slots


@ALL
def test_scalar_function_holds_no_number(rule):
    """Not even an integer: Numba computes float32 with an int64 in double."""
    scalar, _ = steps.rule_functions(rule.name, rule.flavor)
    tree = ast.parse(textwrap.dedent(inspect.getsource(scalar)))
    numbers = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float)
    ]
    assert numbers == []


@ALL
def test_a_step_at_either_end_of_each_range_is_finite(rule):
    scalar, coefficients = steps.rule_functions(rule.name, rule.flavor)
    for k, hyperparameter in enumerate(rule.hyperparameters):
        low = hyperparameter.low if hyperparameter.low_included else 1e-300
        for value in (low, math.nextafter(min(hyperparameter.high, 1e10), -math.inf)):
            assert hyperparameter.allows(value)
            chosen = [*rule.defaults[:k], value, *rule.defaults[k + 1 :]]
            # A gradient of zero is where a missing eps would show.
            for grad in (0.0, 1.0):
                new = scalar(1.0, grad, *[0.0] * rule.slots, *coefficients(1, *chosen))
                assert all(map(math.isfinite, new)), (hyperparameter.name, value, grad, new)


@pytest.mark.parametrize(
    ("low_included", "interval", "allowed"),
    [
        (True, "[0, inf)", [False, True, True, False]),
        (False, "(0, inf)", [False, False, True, False]),
    ],
)
def test_hyperparameter_range(low_included, interval, allowed):
    hyperparameter = Hyperparameter("lr", 0.1, 0.0, math.inf, "step length", low_included)
    assert hyperparameter.interval == interval
    assert [hyperparameter.allows(value) for value in (-1.0, 0.0, 1e300, math.inf)] == allowed
    assert not hyperparameter.allows(math.nan)


def test_reading_the_table_does_not_import_numba():
    code = "import sys, fastopt.rules.table; sys.exit('numba' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
