"""Trajectories of the first-order rules of PyTorch, optax and Keras, as recorded in ``peers.json``.

Owns the gradients and the starting point that every trajectory shares, and how ``peers.json`` is
laid out. Knows nothing of the peers, which ``record_peers.py`` runs, nor of fastopt's rules.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

PLACE = Path(__file__).with_name("peers.json")
N, STEPS, CHECKPOINTS = 24, 200, (1, 2, 10, 200)
DTYPES = ("float32", "float64")
SEED = 20150407
LATE = 5  # This coordinate's gradient is zero in the first three steps.


def start(dtype: str) -> np.ndarray:
    """The point that every trajectory starts from, shape ``(N,)``, in (-2, 2)."""
    return _start_and_gradients()[0].astype(dtype)


def gradients(dtype: str) -> np.ndarray:
    """The gradients of all steps, shape ``(STEPS, N)``.

    Noise around a drift, in units from 2^-13 (about 1e-4) in the first coordinate to 2^7 (about
    1e2) in the last one; about one in ten is exactly zero, and coordinate `LATE` in its first three
    steps. They do not depend on the parameters, so that a difference in a step is not amplified.
    """
    return _start_and_gradients()[1].astype(dtype)


def digest(dtype: str) -> str:
    """SHA-256 of `start` and `gradients`, little-endian."""
    values = np.vstack([start(dtype), gradients(dtype)])
    return hashlib.sha256(values.astype(np.dtype(dtype).newbyteorder("<")).tobytes()).hexdigest()


def _start_and_gradients() -> tuple[np.ndarray, np.ndarray]:
    # NumPy promises the raw stream of a bit generator for ever, but not that of a distribution, and
    # a logarithm or a root may round differently elsewhere: all here is exact in double precision.
    raw = np.random.PCG64(SEED).random_raw((STEPS + 1) * N * 3)
    uniform = (raw >> np.uint64(11)).astype(float).reshape(STEPS + 1, N, 3) * 2.0**-53
    noise = uniform[:, :, 0] + uniform[:, :, 1] - 1.0  # Triangular, in (-1, 1).
    grad = np.ldexp(noise[1:] + 0.125, np.arange(N) * 20 // (N - 1) - 13)
    grad[uniform[1:, :, 2] < 0.1] = 0.0
    grad[:3, LATE] = 0.0
    return 2.0 * noise[0], grad


@dataclass(frozen=True)
class Checkpoint:
    """What a peer has after some step: its parameters, and its slots by the peer's name for them.

    Both in the case's dtype, and of shape ``(N,)`` but for products of momentum coefficients, which
    are scalars: shape ``()``. Counters of steps are left out.
    """

    parameters: np.ndarray
    slots: dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A trajectory: `optimizer` of `peer` with keyword `arguments`, which is our `rule`."""

    peer: str
    rule: str
    optimizer: str
    arguments: Mapping[str, Any]
    dtype: str
    checkpoints: dict[int, Checkpoint]

    def __str__(self) -> str:
        return case_name(self.peer, self.rule, self.optimizer, self.arguments, self.dtype)


def case_name(
    peer: str, rule: str, optimizer: str, arguments: Mapping[str, Any], dtype: str
) -> str:
    given = ",".join(f"{key}={value}" for key, value in arguments.items())
    return f"{peer}-{rule}-{optimizer}({given})-{dtype}".replace(" ", "")


def read() -> dict[str, Any]:
    """The file as it is: ``{"digests": ..., "versions": ..., "cases": [...]}``."""
    return json.loads(PLACE.read_text(encoding="utf-8"))


def cases(peer: str | None = None, rule: str | None = None, dtype: str | None = None) -> list[Case]:
    """The recorded trajectories, or those of one peer, one rule or one dtype."""
    return [
        decoded(case)
        for case in read()["cases"]
        if peer in (None, case["peer"])
        and rule in (None, case["rule"])
        and dtype in (None, case["dtype"])
    ]


def encoded(case: Case) -> dict[str, Any]:
    """A case as it lies in the file: arrays as hexadecimal digits of their little-endian bytes."""
    return {
        "peer": case.peer,
        "rule": case.rule,
        "optimizer": case.optimizer,
        "arguments": dict(case.arguments),
        "dtype": case.dtype,
        "checkpoints": {
            str(step): {
                "parameters": _digits(checkpoint.parameters),
                "slots": {name: _digits(slot) for name, slot in checkpoint.slots.items()},
            }
            for step, checkpoint in case.checkpoints.items()
        },
    }


def decoded(case: Mapping[str, Any]) -> Case:
    """The inverse of `encoded`."""
    checkpoints = {
        int(step): Checkpoint(
            _array(checkpoint["parameters"], case["dtype"]),
            {name: _array(slot, case["dtype"]) for name, slot in checkpoint["slots"].items()},
        )
        for step, checkpoint in case["checkpoints"].items()
    }
    return Case(**{**case, "checkpoints": checkpoints})


def _digits(array: np.ndarray) -> str:
    return array.astype(array.dtype.newbyteorder("<")).tobytes().hex()


def _array(digits: str, dtype: str) -> np.ndarray:
    values = np.frombuffer(bytes.fromhex(digits), np.dtype(dtype).newbyteorder("<")).astype(dtype)
    return values if values.size == N else values.reshape(())


def ulps(found: Case, recorded: Case) -> dict[int, float]:
    """By checkpoint of both, how far a parameter or slot is off at most, in ulps of the recorded.

    Infinite where the slots, a shape or a dtype are other ones.
    """
    return {
        step: max(
            _ulps(found.checkpoints[step].parameters, checkpoint.parameters),
            *_ulps_of_slots(found.checkpoints[step].slots, checkpoint.slots),
        )
        for step, checkpoint in recorded.checkpoints.items()
        if step in found.checkpoints
    }


def _ulps_of_slots(found: Mapping[str, np.ndarray], recorded: Mapping[str, np.ndarray]):
    if found.keys() != recorded.keys():
        return [0.0, np.inf]
    return [0.0, *(_ulps(found[name], recorded[name]) for name in recorded)]


def _ulps(found: np.ndarray, recorded: np.ndarray) -> float:
    if found.shape != recorded.shape or found.dtype != recorded.dtype:
        return np.inf
    difference = np.abs(found.astype(np.longdouble) - recorded)
    return float((difference / np.spacing(np.abs(recorded))).max())
