"""Each rule in each flavor follows the framework that it is named for, over 200 steps."""

import numpy as np
import pytest

from fastopt.rules.steps import njit_step
from fastopt.rules.table import FLAVORS
from tests.rules import golden
from tests.rules.ours import slot, translate

TRANSLATED = [(case, translate(case)) for case in golden.cases()]
CASES = [(case, ours) for case, ours in TRANSLATED if ours is not None and not ours.weight_decay]
# Relative, in norm: what remains after 200 steps of other orders of the same arithmetic.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
ULP = 4


def trajectory(rule, hyperparameters, dtype):
    """Parameters and slots by name at the golden steps."""
    step = njit_step(rule.name, rule.flavor)
    values = tuple(hyperparameters.get(each.name, each.default) for each in rule.hyperparameters)
    x, slots = golden.start(dtype), np.zeros((rule.slots, golden.N), dtype)
    seen = {}
    for t, grad in enumerate(golden.gradients(dtype), start=1):
        step(x, grad, slots, values, t)
        if t in golden.CHECKPOINTS:
            seen[t] = x.copy(), dict(zip(rule.slot_names, slots.copy(), strict=True))
    return seen


def distance(found, recorded):
    off, size = np.linalg.norm(found - recorded), np.linalg.norm(recorded)
    return off / size if size > 0 else off


@pytest.mark.parametrize(("case", "ours"), CASES, ids=[str(case) for case, _ in CASES])
def test_follows_its_framework(case, ours):
    seen = trajectory(ours.rule, ours.hyperparameters, case.dtype)
    compared = 0
    for name, recorded in case.checkpoints[1].slots.items():
        known, sign = slot(case, name)
        if known is not None:
            compared += 1
            found = sign * seen[1][1][known]
            assert np.all(np.abs(found - recorded) <= ULP * np.spacing(np.abs(recorded))), name
    # A slot of ours that the peer has not is a velocity without momentum.
    assert compared == ours.rule.slots or "velocity" in ours.rule.slot_names
    for t, checkpoint in case.checkpoints.items():
        found, slots = seen[t]
        assert distance(found, checkpoint.parameters) <= TOLERANCE[case.dtype], t
        for name, recorded in checkpoint.slots.items():
            known, sign = slot(case, name)
            if known is not None:
                assert distance(sign * slots[known], recorded) <= TOLERANCE[case.dtype], (t, name)


def test_every_flavor_is_compared_in_both_dtypes():
    compared = {(ours.rule.name, ours.rule.flavor, case.dtype) for case, ours in CASES}
    assert compared == {
        (name, flavor, dtype)
        for name, flavors in FLAVORS.items()
        for flavor in flavors
        if flavor != "textbook"
        for dtype in golden.DTYPES
    }
