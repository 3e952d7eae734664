"""PyTorch's and optax's schedules: values recorded by record_*.py, and the same computed anew."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from fastopt import schedules

PLACE = Path(__file__).parent
RECORDS = {
    peer: json.loads((PLACE / f"{peer}.json").read_text(encoding="utf-8"))
    for peer in ("pytorch", "optax")
}
CASES = [(peer, case) for peer, record in RECORDS.items() for case in record["cases"]]
NAMES = {name: getattr(schedules, name) for name in schedules.__all__}


@pytest.mark.parametrize(("peer", "case"), CASES)
def test_schedule_is_that_of_the_peer(peer, case):
    recorded = RECORDS[peer]["cases"][case]
    schedule = eval(recorded["schedule"], dict(NAMES))
    found = schedule(range(1, len(recorded["values"]) + 1))
    # Some of PyTorch's multiply what they were by a quotient at each step.
    np.testing.assert_allclose(found, recorded["values"], rtol=1e-13, atol=2e-15)


@pytest.mark.parametrize("recorded", RECORDS["pytorch"]["plateaus"])
def test_plateau_is_that_of_pytorch(recorded):
    plateau = schedules.Plateau(**recorded["options"])
    found = [plateau.report(metric) for metric in RECORDS["pytorch"]["metrics"]]
    assert found == pytest.approx(recorded["values"], rel=1e-14)
    assert min(found) < 0.1


@pytest.mark.parametrize(("peer", "module"), [("pytorch", "torch"), ("optax", "optax")])
def test_recorded_values_are_those_of_the_installed_peer(peer, module):
    pytest.importorskip(module, reason=f"needs {module}, whose values are recorded")
    found = importlib.import_module(f".record_{peer}", __package__).record_all()
    recorded = RECORDS[peer]
    assert found["cases"].keys() == recorded["cases"].keys()
    for case, expected in recorded["cases"].items():
        assert found["cases"][case]["values"] == pytest.approx(expected["values"], rel=1e-12)
    assert found.get("plateaus") == recorded.get("plateaus")
