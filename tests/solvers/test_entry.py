"""The C entry: what it refuses before it looks any further, and the table it is told of."""

import ctypes

import pytest

from fastopt.interface.methods import METHODS
from fastopt.interface.numba_call import _CALL, _complaints, _encodable
from fastopt.rules.table import RULES
from fastopt.solvers import entry

solve = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(entry.ADDRESS)


def call_with(**members):
    """The answer to a call of which these members are set; all others are zero."""
    words = (ctypes.c_int64 * (entry.CALL_SIZE // 8))()
    for name, value in members.items():
        words[list(_CALL).index(name)] = value
    return solve(ctypes.addressof(words))


def test_code_of_another_build_is_refused_unread():
    assert call_with(token=0) == entry.REFUSALS["stale"]
    assert call_with(token=entry.TOKEN + 1, methods=1, context=1) == entry.REFUSALS["stale"]


def test_a_name_among_no_methods_is_refused():
    assert call_with(token=entry.TOKEN, chosen=-1) == entry.REFUSALS["method"]


def test_what_is_missing_is_refused():
    rows = ctypes.create_string_buffer(encoded(METHODS["bfgs"]))
    known = {"token": entry.TOKEN, "methods": ctypes.addressof(rows), "count": 1}
    assert call_with(**known) == entry.REFUSALS["empty"]
    assert call_with(**known, n=2) == entry.REFUSALS["memory"]


def test_every_refusal_has_a_code_of_its_own():
    codes = list(entry.REFUSALS.values())
    assert len(set(codes)) == len(codes)
    assert max(codes) < 0
    assert min(codes) == entry.REFUSALS["option"]  # below it, the options' own


def encoded(*rows):
    complaints = list(_complaints(rows))
    return entry.encode_methods([_encodable(row, complaints) for row in rows])


def test_rows_of_methods_have_one_size():
    assert len(encoded(*METHODS.values())) == len(METHODS) * len(encoded(METHODS["bfgs"]))


def test_hyperparameters_follow_the_settings_in_the_order_of_the_rule():
    for row in METHODS.values():
        _, _, slots, _, options = _encodable(row, list(_complaints([row])))
        targets = [option["target"] for option in options]
        assert len(set(targets)) == len(targets)
        if row.rule:
            count = len(RULES[row.rule].hyperparameters)
            first = entry.FIRST_HYPERPARAMETER
            assert {*range(first, first + count)} <= set(targets)
            assert slots == RULES[row.rule].slots


def test_a_row_that_does_not_fit_is_refused():
    names, *rest, options = _encodable(METHODS["adam"], list(_complaints([METHODS["adam"]])))
    with pytest.raises(ValueError, match="adam has too many names or options"):
        entry.encode_methods([(names * 13, *rest, options)])
    with pytest.raises(ValueError, match="adam has too many names or options"):
        entry.encode_methods([(names, *rest, options * 5)])
