"""PyTorch's losses: values recorded by record_pytorch.py, and the same computed anew."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastopt import losses

from .conftest import value_and_gradient

RECORD = json.loads(Path(__file__).with_name("pytorch.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", RECORD["cases"])
def test_loss_is_that_of_pytorch(case):
    recorded = RECORD["cases"][case]
    make = getattr(losses, recorded["loss"])
    loss = make(recorded["X"], recorded["y"], intercept=True, **recorded["options"])
    theta, p = np.array(recorded["theta"]), np.array(recorded["p"])
    value, gradient = value_and_gradient(loss, theta)
    times = recorded["times"]
    assert times * value == pytest.approx(recorded["value"], rel=1e-14)
    np.testing.assert_allclose(times * gradient, recorded["gradient"], rtol=1e-13, atol=1e-15)
    product = times * loss.hessp(theta, p, *loss.args)
    np.testing.assert_allclose(product, recorded["product"], rtol=1e-13, atol=1e-15)


def test_recorded_values_are_those_of_the_installed_pytorch():
    pytest.importorskip("torch", reason="needs PyTorch, whose values are recorded")
    from .record_pytorch import record_all

    found = record_all()["cases"]
    assert found.keys() == RECORD["cases"].keys()
    for case, recorded in RECORD["cases"].items():
        for name in ("X", "y", "theta", "value", "gradient", "product"):
            np.testing.assert_allclose(found[case][name], recorded[name], rtol=1e-12, atol=1e-14)
