"""One training step of each family beside PyTorch's, recorded by record_pytorch.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from fastopt import nn

from .pytorch_cases import CASES, CLASSES, STEP, batch, digest, distance, weights

RECORD = json.loads(Path(__file__).with_name("pytorch.json").read_text(encoding="utf-8"))
TOLERANCE = {"float64": 1e-10, "float32": 1e-4}


def build(case, dtype):
    make = getattr(nn.models, case.builder)
    return make(classes=CLASSES, input_shape=case.input_shape, dtype=dtype, **case.arguments)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", CASES)
def test_training_step_is_that_of_pytorch(name, dtype):
    case, recorded, tolerance = CASES[name], RECORD["cases"][name], TOLERANCE[dtype]
    model = build(case, dtype)
    nothing = np.zeros(model.n, dtype)
    theta = weights([each.shape for each in model.parameters(nothing).values()])
    theta = theta.astype(dtype)
    images, labels = batch(case)
    images = images.astype(dtype)

    loss, gradient = model.value_and_grad(theta, images, labels)
    assert loss == pytest.approx(recorded["loss"], rel=tolerance)
    assert distance(digest(gradient), recorded["gradient"]) < tolerance

    running = [each.ravel() for name, each in model.buffers.items() if "running" in name]
    assert bool(running) == (recorded["running"] is not None)
    if running:
        assert distance(digest(np.concatenate(running)), recorded["running"]) < tolerance

    theta -= np.asarray(STEP / np.linalg.norm(gradient), dtype) * gradient
    scores, expected = model.predict(theta, images), np.array(recorded["scores"])
    assert np.linalg.norm(scores - expected) < tolerance * np.linalg.norm(expected)


def test_recorded_values_are_those_of_the_installed_pytorch():
    pytest.importorskip("torch", reason="needs PyTorch, whose values are recorded")
    from .record_pytorch import record_all

    found = record_all()["cases"]
    assert found.keys() == RECORD["cases"].keys()
    for name, recorded in RECORD["cases"].items():
        assert found[name]["loss"] == pytest.approx(recorded["loss"], rel=1e-12)
        assert distance(found[name]["gradient"], recorded["gradient"]) < 1e-10
        np.testing.assert_allclose(found[name]["scores"], recorded["scores"], rtol=1e-9)
