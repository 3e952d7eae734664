"""Record optax's schedules: ``python tests/schedules/record_optax.py``, needs optax.

Writes ``optax.json`` beside this file: for each schedule its first values, in double precision, and
what is said of it in fastopt's words.
"""

import json
from pathlib import Path

import jax
import optax

PLACE = Path(__file__).with_name("optax.json")

# By case: the schedule, the same in fastopt, and for how many steps they agree.
CASES = {
    "constant": (lambda: optax.constant_schedule(0.5), "constant(0.5)", 5),
    "linear": (lambda: optax.linear_schedule(0.2, 0.7, 10), "linear(10, start=0.2, end=0.7)", 15),
    "polynomial": (
        lambda: optax.polynomial_schedule(1.0, 0.1, 3, 12),
        "polynomial(12, 3, end=0.1)",
        20,
    ),
    "exponential": (
        lambda: optax.exponential_decay(1.0, 10, 0.5),
        "exponential(0.5, every=10)",
        50,
    ),
    "exponential, staircase": (
        lambda: optax.exponential_decay(1.0, 10, 0.5, staircase=True),
        "step(0.5, every=10)",
        50,
    ),
    "exponential, later": (
        lambda: optax.exponential_decay(1.0, 10, 0.5, transition_begin=7),
        "constant(1).then(exponential(0.5, every=10), after=7)",
        50,
    ),
    "piecewise constant": (
        lambda: optax.piecewise_constant_schedule(1.0, {3: 0.5, 8: 0.1}),
        "piecewise([3, 8], [1, 0.5, 0.05])",
        15,
    ),
    "cosine": (lambda: optax.cosine_decay_schedule(1.0, 20, 0.1), "cosine(20, end=0.1)", 30),
    "cosine one-cycle": (
        lambda: optax.cosine_onecycle_schedule(50, 1.0, 0.3),
        "one_cycle(50)",
        60,
    ),
    "linear one-cycle": (
        lambda: optax.linear_onecycle_schedule(50, 1.0, 0.3, 0.8, 10.0, 100.0),
        "linear(15, start=0.1, end=1).then(linear(25, end=0.1)).then("
        "linear(10, start=0.1, end=0.001))",
        60,
    ),
    "warm-up and cosine": (
        lambda: optax.warmup_cosine_decay_schedule(0.1, 1.0, 10, 40, 0.05),
        "warmup(10, start=0.1).then(cosine(30, end=0.05))",
        60,
    ),
    "warm-up and exponential": (
        lambda: optax.warmup_exponential_decay_schedule(0.1, 1.0, 10, 5, 0.7),
        "warmup(10, start=0.1).then(exponential(0.7, every=5))",
        60,
    ),
    "SGDR": (
        lambda: optax.sgdr_schedule(
            [
                {"init_value": 1.0, "peak_value": 1.0, "warmup_steps": 0, "decay_steps": steps}
                for steps in (5, 10, 20)
            ]
        ),
        "cosine_restarts(5, growth=2)",
        35,
    ),
    "joined": (
        lambda: optax.join_schedules(
            [optax.linear_schedule(0.1, 1.0, 5), optax.exponential_decay(1.0, 1, 0.9)], [8]
        ),
        "warmup(5, start=0.1).then(exponential(0.9), after=8)",
        30,
    ),
}


def record_all():
    with jax.enable_x64(True):
        return {
            "optax": optax.__version__,
            "cases": {
                case: {
                    "schedule": schedule,
                    "values": [float(make()(count)) for count in range(steps)],
                }
                for case, (make, schedule, steps) in CASES.items()
            },
        }


if __name__ == "__main__":
    PLACE.write_text(json.dumps(record_all(), indent=1) + "\n", encoding="utf-8")
