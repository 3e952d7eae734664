"""The recorded trajectories are all there, belong to the gradients, and are what the peers do."""

import numpy as np
import pytest

from . import golden
from .golden import Case, Checkpoint
from .record_peers import CONFIGURATIONS, PEERS, record

ADAM_AND_KIN = {"adam", "nadam", "adamw", "amsgrad", "adamax"}
OLDER = {"sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop"}
RULES = {
    "torch": OLDER | ADAM_AND_KIN | {"radam"},
    "optax": OLDER | ADAM_AND_KIN | {"radam", "lion", "adan"},
    "keras": OLDER | ADAM_AND_KIN | {"lion"},
}
SCALARS = {"mu_product", "u_product"}


@pytest.fixture(scope="module")
def recorded():
    return {str(case): case for case in golden.cases()}


@pytest.mark.parametrize("dtype", golden.DTYPES)
def test_digest_of_the_gradients_is_the_recorded_one(dtype):
    assert golden.digest(dtype) == golden.read()["digests"][dtype]


@pytest.mark.parametrize("dtype", golden.DTYPES)
def test_gradients_span_six_decades_and_vanish_now_and_then(dtype):
    gradients = golden.gradients(dtype)
    assert gradients.shape == (golden.STEPS, golden.N)
    assert gradients.dtype == golden.start(dtype).dtype == dtype
    assert np.abs(gradients[:, 0]).max() < 2e-4
    assert np.abs(gradients[:, -1]).max() > 100
    assert 0.05 < (gradients == 0).mean() < 0.15
    assert not gradients[:3, golden.LATE].any()
    assert gradients[3:, golden.LATE].any()


@pytest.mark.parametrize("peer", RULES)
def test_each_rule_of_a_peer_is_there_in_both_dtypes(peer):
    for dtype in golden.DTYPES:
        assert {case.rule for case in golden.cases(peer, dtype=dtype)} == RULES[peer]
    assert golden.read()["versions"][peer].keys() == set(PEERS[peer].packages)


def test_each_configuration_is_recorded_once(recorded):
    expected = [
        golden.case_name(peer, *configuration, dtype)
        for peer, configurations in CONFIGURATIONS.items()
        for configuration in configurations
        for dtype in golden.DTYPES
    ]
    assert sorted(map(str, golden.cases())) == sorted(expected)
    assert len(recorded) == len(expected)


def test_each_case_has_finite_parameters_and_slots_at_each_checkpoint(recorded):
    for name, case in recorded.items():
        assert tuple(case.checkpoints) == golden.CHECKPOINTS, name
        slots = case.checkpoints[1].slots
        for checkpoint in case.checkpoints.values():
            assert checkpoint.slots.keys() == slots.keys(), name
            for slot, values in {"parameters": checkpoint.parameters, **checkpoint.slots}.items():
                assert values.shape == (() if slot in SCALARS else (golden.N,)), name
                assert values.dtype == case.dtype, name
                assert np.isfinite(values).all(), name


@pytest.mark.parametrize("dtype", golden.DTYPES)
def test_a_case_comes_back_from_the_file_bit_for_bit(dtype):
    awkward = np.resize(np.array([-0.0, np.nan, np.inf, 1 / 3, 1e-42], dtype), golden.N)
    scalar = np.array(0.1, dtype)
    case = Case("torch", "nadam", "NAdam", {}, dtype, {1: Checkpoint(awkward, {"s": scalar})})
    found = golden.decoded(golden.encoded(case)).checkpoints[1]
    assert found.parameters.tobytes() == awkward.tobytes()
    assert found.slots["s"].tobytes() == scalar.tobytes()
    assert found.slots["s"].shape == ()


def test_distance_counts_ulps_and_refuses_other_slots():
    values = np.ones(golden.N)
    near = np.where(np.arange(golden.N) == 7, 1.0 + 3 * np.finfo(float).eps, values)

    def case(parameters, **slots):
        return Case("torch", "sgd", "SGD", {}, "float64", {1: Checkpoint(parameters, slots)})

    assert golden.ulps(case(values, m=values), case(values, m=values)) == {1: 0.0}
    assert golden.ulps(case(near, m=values), case(values, m=values)) == {1: 3.0}
    assert golden.ulps(case(values, m=near), case(values, m=values)) == {1: 3.0}
    assert golden.ulps(case(values), case(values, m=values)) == {1: np.inf}
    assert golden.ulps(case(values.astype("float32")), case(values)) == {1: np.inf}


@pytest.mark.parametrize("peer", PEERS)
def test_recorded_trajectories_are_those_of_the_installed_peer(peer, recorded):
    if not PEERS[peer].is_installed():
        pytest.skip(f"needs {' and '.join(PEERS[peer].packages)}, whose values are recorded")
    if PEERS[peer].versions() != golden.read()["versions"][peer]:
        pytest.skip(f"other versions than the recorded ones: {PEERS[peer].versions()}")
    for case in record(peer, n_steps=10):
        assert max(golden.ulps(case, recorded[str(case)]).values()) <= 1, str(case)
