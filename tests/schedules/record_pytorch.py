"""Record PyTorch's schedules: ``python tests/schedules/record_pytorch.py``, needs torch.

Writes ``pytorch.json`` beside this file: for each scheduler the step lengths of its first steps
from one of 1, and what is said of it in fastopt's words; and those of ReduceLROnPlateau for a list
of metrics.
"""

import json
import math
import warnings
from pathlib import Path

import torch
from torch.optim import lr_scheduler as lrs

PLACE = Path(__file__).with_name("pytorch.json")

# By case: what makes the scheduler, the same in fastopt, and for how many steps they agree (without
# restarts, PyTorch's cosine goes up again after its end).
CASES = {
    "LambdaLR": (lambda o: lrs.LambdaLR(o, lambda s: (1 + s / 4) ** -0.5), "inverse_sqrt(4)", 40),
    "StepLR": (lambda o: lrs.StepLR(o, 3, gamma=0.5), "step(0.5, every=3)", 20),
    "MultiStepLR": (
        lambda o: lrs.MultiStepLR(o, [4, 9], gamma=0.1),
        "piecewise([4, 9], [1, 0.1, 0.01])",
        20,
    ),
    "ConstantLR": (
        lambda o: lrs.ConstantLR(o, factor=0.25, total_iters=5),
        "constant(0.25).then(constant(1), after=5)",
        10,
    ),
    "LinearLR": (
        lambda o: lrs.LinearLR(o, start_factor=0.25, total_iters=5),
        "warmup(5, start=0.25)",
        10,
    ),
    "ExponentialLR": (lambda o: lrs.ExponentialLR(o, 0.9), "exponential(0.9)", 100),
    "PolynomialLR": (lambda o: lrs.PolynomialLR(o, 20, 2.5), "polynomial(20, 2.5)", 30),
    "CosineAnnealingLR": (
        lambda o: lrs.CosineAnnealingLR(o, 20, eta_min=0.05),
        "cosine(20, end=0.05)",
        21,
    ),
    "CosineAnnealingWarmRestarts": (
        lambda o: lrs.CosineAnnealingWarmRestarts(o, 5, eta_min=0.05),
        "cosine_restarts(5, end=0.05)",
        40,
    ),
    "CosineAnnealingWarmRestarts, T_mult=3": (
        lambda o: lrs.CosineAnnealingWarmRestarts(o, 4, T_mult=3),
        "cosine_restarts(4, growth=3)",
        200,
    ),
    "OneCycleLR": (lambda o: lrs.OneCycleLR(o, 1.0, 51, pct_start=16 / 51), "one_cycle(50)", 51),
    "OneCycleLR, linear": (
        lambda o: lrs.OneCycleLR(
            o, 1.0, 51, pct_start=21 / 51, anneal_strategy="linear", div_factor=10.0
        ),
        "one_cycle(50, rise=20, start=0.1, end=1e-5, shape='linear')",
        51,
    ),
    "OneCycleLR, three phases": (
        lambda o: lrs.OneCycleLR(
            o, 1.0, 51, pct_start=21 / 51, three_phase=True, div_factor=10.0, final_div_factor=100.0
        ),
        "cosine(20, start=0.1, end=1).then(cosine(20, end=0.1)).then("
        "cosine(10, start=0.1, end=0.001))",
        51,
    ),
    "SequentialLR": (
        lambda o: lrs.SequentialLR(
            o, [lrs.LinearLR(o, 0.25, total_iters=5), lrs.CosineAnnealingLR(o, 15)], [5]
        ),
        "warmup(5, start=0.25).then(cosine(15))",
        21,
    ),
    "ChainedScheduler": (
        lambda o: lrs.ChainedScheduler(
            [lrs.LinearLR(o, 0.25, total_iters=5), lrs.ExponentialLR(o, 0.9)]
        ),
        "warmup(5, start=0.25) * exponential(0.9)",
        40,
    ),
}

# None of them negative: there PyTorch's relative threshold takes what is worse for an improvement.
METRICS = [
    *(3.0, 2.0, 2.0, 1.9999, 2.5, 2.0, 2.1, 1.5, 1.6, 1.6, 1.6, 1.7, 1.8, math.nan, 1.55, 1.55),
    *(1.52, 1.54, 1.4, 1.45, 1.45, 1.39, 1.38, 1.45, 1.45, 1.45, 1.45, 1.45, 1.45, 1.45, 1.45),
    *(0.0, 0.0, 1e-9, 0.0, 0.0, 0.0),
]
PLATEAUS = [
    {"factor": 0.5, "patience": 2, "threshold": 1e-4, "cooldown": 0, "minimum": 0.0},
    {"factor": 0.1, "patience": 1, "threshold": 0.01, "cooldown": 2, "minimum": 0.003},
    {"factor": 0.3, "patience": 3, "threshold": 0.0, "cooldown": 1, "minimum": 0.0},
]


def optimizer():
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)


def step_lengths(make, steps):
    sgd = optimizer()
    # SequentialLR passes an argument of its own that PyTorch warns of.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = make(sgd)
        lengths = []
        for t in range(1, steps + 1):
            lengths.append(float(sgd.param_groups[0]["lr"]))
            sgd.step()
            if t < steps:
                scheduler.step()
    return lengths


def after_reports(options):
    """ReduceLROnPlateau lowers after more than `patience` reports, fastopt at the last of them."""
    sgd = optimizer()
    scheduler = lrs.ReduceLROnPlateau(
        sgd,
        factor=options["factor"],
        patience=options["patience"] - 1,
        threshold=options["threshold"],
        cooldown=options["cooldown"],
        min_lr=options["minimum"],
        eps=0.0,
    )
    lengths = []
    for metric in METRICS:
        scheduler.step(metric)
        lengths.append(float(sgd.param_groups[0]["lr"]))
    return lengths


def record_all():
    return {
        "torch": torch.__version__,
        "cases": {
            case: {"schedule": schedule, "values": step_lengths(make, steps)}
            for case, (make, schedule, steps) in CASES.items()
        },
        "metrics": METRICS,
        "plateaus": [
            {"options": options, "values": after_reports(options)} for options in PLATEAUS
        ],
    }


if __name__ == "__main__":
    PLACE.write_text(json.dumps(record_all(), indent=1) + "\n", encoding="utf-8")
