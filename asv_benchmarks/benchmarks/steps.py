"""What one ``opt.step(grad)`` costs, for every rule, beside frameworks and a plain NumPy step.

``python -m benchmarks.steps``, from the folder above, prints a table for each precision and number
of parameters. In it everyone takes turns, round by round, on one thread of one processor, to which
the process is bound. A figure is the median of the rounds; a ratio is the median of the rounds'
ratios, below one where fastopt is faster than the fastest of the others.

Where the parameters fit in no cache, a step is bound by the memory: it reads the gradient, and
reads and writes the parameters and each slot, (3 + 2 slots) numbers for each parameter. Beside the
times is what part this is of the bandwidth that the same loop has when it adds the gradient to
every array and does nothing else, measured in the same rounds.

torch (default, ``foreach=True`` and ``fused=True``, which it has on the CPU for four of the rules),
and optax, compiled by ``jax.jit`` with donated buffers, are measured where they are installed.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastopt.core._jit import RULE, compile_step
from fastopt.rules._precision import in_double
from fastopt.rules.steps import make_step
from fastopt.rules.table import RULES
from fastopt.training import optimizers

from . import installed

SIZES = (1_000, 100_000, 10_000_000)
DTYPES = ("float32", "float64")
# So long is one measurement at least.
SECONDS = 0.0005

Step = Callable[[], None]


# --- the libraries: from a rule, parameters and a gradient to a step ------------------------------

FASTOPT = {each.rule: each for each in (getattr(optimizers, name) for name in optimizers.__all__)}
RMSPROPS = {
    "rmsprop-momentum": {"momentum": 0.9},
    "rmsprop-centered": {"momentum": 0.9, "centered": True},
}


def by_fastopt(rule: str, theta: np.ndarray, grad: np.ndarray) -> Step:
    optimizer = FASTOPT[rule.partition("-")[0]](theta, **RMSPROPS.get(rule, {}))
    return partial(optimizer.step, grad)


TORCH: dict[str, tuple[str, dict[str, Any]]] = {
    "gd": ("SGD", {}),
    "momentum": ("SGD", {"momentum": 0.9}),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
    "adagrad": ("Adagrad", {}),
    "adadelta": ("Adadelta", {}),
    "rmsprop": ("RMSprop", {}),
    **{rule: ("RMSprop", settings) for rule, settings in RMSPROPS.items()},
    "adam": ("Adam", {}),
    "nadam": ("NAdam", {}),
    "adamw": ("AdamW", {}),
    "amsgrad": ("Adam", {"amsgrad": True}),
    "adamax": ("Adamax", {}),
    "radam": ("RAdam", {}),
}
# Those whose fused form runs on the CPU.
FUSED = ("SGD", "Adagrad", "Adam", "AdamW")


def by_torch(rule: str, theta: np.ndarray, grad: np.ndarray, **form: bool) -> Step:
    torch = installed.torch()
    if rule not in TORCH or (form.get("fused") and TORCH[rule][0] not in FUSED):
        raise NotImplementedError(f"torch has no such {rule}")
    name, settings = TORCH[rule]
    parameters = torch.from_numpy(theta).requires_grad_()
    parameters.grad = torch.from_numpy(grad)
    optimizer = getattr(torch.optim, name)([parameters], lr=1e-3, **settings, **form)
    step: Step = optimizer.step
    return step


OPTAX: dict[str, tuple[str, dict[str, Any]]] = {
    "gd": ("sgd", {}),
    "momentum": ("sgd", {"momentum": 0.9}),
    "nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}),
    **{rule: ("rmsprop", settings) for rule, settings in RMSPROPS.items()},
}


def by_optax(rule: str, theta: np.ndarray, grad: np.ndarray) -> Step:
    jax, optax = installed.jax(), installed.find("optax")
    name, settings = OPTAX.get(rule, (rule, {}))
    optimizer = getattr(optax, name)(1e-3, **settings)

    def take_step(parameters: Any, state: Any, gradient: Any) -> Any:
        updates, state = optimizer.update(gradient, state, parameters)
        return optax.apply_updates(parameters, updates), state

    compiled = jax.jit(take_step, donate_argnums=(0, 1))
    gradient = jax.numpy.array(grad)
    parameters = jax.numpy.array(theta)
    state = optimizer.init(parameters)

    def step() -> None:
        nonlocal parameters, state
        parameters, state = compiled(parameters, state, gradient)
        parameters.block_until_ready()

    return step


def by_numpy(rule: str, theta: np.ndarray, grad: np.ndarray) -> Step:
    """As one writes it down: an expression for each line of the recurrence."""
    if rule not in PLAIN:
        raise NotImplementedError(f"not written down: {rule}")
    slots = np.zeros((RULES[rule].slots, *theta.shape), theta.dtype)
    t = 0

    def step() -> None:
        nonlocal t
        t += 1
        PLAIN[rule](theta, grad, t, *slots)

    return step


def plain_gd(x, g, t):
    x -= 1e-3 * g


def plain_momentum(x, g, t, v):
    v[:] = 0.9 * v + 1e-3 * g
    x -= v


def plain_adagrad(x, g, t, total):
    total += g * g
    x -= 1e-3 * g / np.sqrt(total + 1e-8)


def plain_rmsprop(x, g, t, v):
    v[:] = 0.9 * v + 0.1 * g * g
    x -= 1e-3 * g / np.sqrt(v + 1e-8)


def plain_adam(x, g, t, m, v):
    m[:] = 0.9 * m + 0.1 * g
    v[:] = 0.999 * v + 0.001 * g * g
    x -= 1e-3 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)


def plain_adamw(x, g, t, m, v):
    x *= 1 - 1e-2
    plain_adam(x, g, t, m, v)


def plain_adamax(x, g, t, m, u):
    m[:] = 0.9 * m + 0.1 * g
    u[:] = np.maximum(0.999 * u, np.abs(g))
    x -= 2e-3 / (1 - 0.9**t) * m / (u + 1e-8)


def plain_lion(x, g, t, m):
    x -= 1e-4 * np.sign(0.9 * m + 0.1 * g)
    m[:] = 0.99 * m + 0.01 * g


PLAIN: dict[str, Callable[..., None]] = {
    "gd": plain_gd,
    "momentum": plain_momentum,
    "adagrad": plain_adagrad,
    "rmsprop": plain_rmsprop,
    "adam": plain_adam,
    "adamw": plain_adamw,
    "adamax": plain_adamax,
    "lion": plain_lion,
}

LIBRARIES: dict[str, Callable[[str, np.ndarray, np.ndarray], Step]] = {
    "fastopt": by_fastopt,
    "torch": by_torch,
    "torch foreach": partial(by_torch, foreach=True),
    "torch fused": partial(by_torch, fused=True),
    "optax": by_optax,
    "numpy": by_numpy,
}


def make(library: str, rule: str, n: int, dtype: str) -> Step:
    """Every step is of arrays of its own, and has been taken twice."""
    rng = np.random.default_rng(0)
    theta, grad = (rng.standard_normal(n).astype(dtype) for _ in range(2))
    step = LIBRARIES[library](rule, theta, grad)
    step()
    step()
    return step


# --- the memory: rules that do nothing but touch it -----------------------------------------------


@RULE
def touch_0(x, grad):
    return (x + grad,)


@RULE
def touch_1(x, grad, a):
    return x + grad, a + grad


@RULE
def touch_2(x, grad, a, b):
    return x + grad, a + grad, b + grad


@RULE
def touch_3(x, grad, a, b, c):
    return x + grad, a + grad, b + grad, c + grad


@RULE
def touch_4(x, grad, a, b, c, d):
    return x + grad, a + grad, b + grad, c + grad, d + grad


@RULE
def no_coefficients(t, nothing):
    return ()


TOUCH = (touch_0, touch_1, touch_2, touch_3, touch_4)


def touch(slots: int, n: int, dtype: str) -> Step:
    """The loop of a step with so many slots, with nothing to compute in it."""
    parts = TOUCH[slots], no_coefficients, in_double
    loop = compile_step(make_step(*parts, slots, 1), *parts)
    # Written to, all of them: memory that is not yet reads as zeros that come from a cache.
    x, grad = np.ones(n, dtype), np.full(n, 1e-3, dtype)
    state = np.zeros((slots, n), dtype)
    step = partial(loop, x, grad, state, (0.0,), 1)
    step()
    return step


def streams(rule: str) -> int:
    """Numbers that are read and written for each parameter."""
    return 3 + 2 * RULES[rule].slots


# --- measuring -----------------------------------------------------------------------------------


def repeats(step: Step) -> int:
    """How many steps make up one measurement."""
    begun = time.perf_counter()
    step()
    return max(1, round(SECONDS / (time.perf_counter() - begun)))


def seconds(step: Step, count: int) -> float:
    begun = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - begun) / count


def measure_in_turn(steps: dict[str, Step], rounds: int) -> dict[str, list[float]]:
    """Seconds of a step in each round, each library once a round."""
    counts = {key: repeats(step) for key, step in steps.items()}
    found: dict[str, list[float]] = {key: [] for key in steps}
    for _ in range(rounds):
        for key, step in steps.items():
            found[key].append(seconds(step, counts[key]))
    return found


def ratio(above: list[float], below: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def print_table(n: int, dtype: str, rules: list[str], rounds: int) -> None:
    """A row for each rule; times in microseconds."""
    large = n * np.dtype(dtype).itemsize * 3 > 2**26
    print(f"\n{n} parameters, {dtype}: microseconds a step")
    head = "".join(f"{library:>14}" for library in LIBRARIES)
    print(f"{'':18}{head}{'/ fastest':>12}" + (f"{'GB/s':>8}{'/ memory':>10}" if large else ""))
    for rule in rules:
        steps = {}
        for library in LIBRARIES:
            try:
                steps[library] = make(library, rule, n, dtype)
            except NotImplementedError:
                continue
        if large:
            steps["memory"] = touch(RULES[rule].slots, n, dtype)
        found = measure_in_turn(steps, rounds)
        medians = {key: statistics.median(each) for key, each in found.items()}
        row = f"{rule:18}"
        for library in LIBRARIES:
            row += f"{1e6 * medians[library]:14.2f}" if library in medians else f"{'-':>14}"
        others = [key for key in medians if key not in ("fastopt", "memory")]
        fastest = min(others, key=medians.__getitem__, default=None)
        row += f"{ratio(found['fastopt'], found[fastest]):12.2f}" if fastest else f"{'-':>12}"
        if large:
            volume = n * np.dtype(dtype).itemsize * streams(rule)
            row += f"{1e-9 * volume / medians['fastopt']:8.1f}"
            row += f"{ratio(found['memory'], found['fastopt']):10.2f}"
        print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="One step of every rule")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--dtypes", nargs="+", default=DTYPES)
    parser.add_argument("--rules", nargs="+", default=list(RULES))
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    installed.bind_to_one_processor()
    for dtype in arguments.dtypes:
        for n in arguments.sizes:
            print_table(n, dtype, arguments.rules, arguments.rounds)


# Without those of torch that its fused form beats wherever there is one.
COMPARED = ("fastopt", "torch", "torch fused", "optax", "numpy")


class Steps:
    """One step of a thousand parameters: what the call costs."""

    params = (COMPARED, list(RULES))
    param_names = ("library", "rule")

    def setup(self, library: str, rule: str) -> None:
        self.step = make(library, rule, 1_000, "float32")

    def time_step(self, library: str, rule: str) -> None:
        self.step()


class Throughput:
    """Of a step of a million parameters, the numbers that it has to read and to write."""

    params = (COMPARED, list(RULES), DTYPES)
    param_names = ("library", "rule", "dtype")
    unit = "GB/s"
    n = 1_000_000

    def setup(self, library: str, rule: str, dtype: str) -> None:
        self.step = make(library, rule, self.n, dtype)

    def track_throughput(self, library: str, rule: str, dtype: str) -> float:
        taken = statistics.median(seconds(self.step, 3) for _ in range(7))
        return round(1e-9 * self.n * np.dtype(dtype).itemsize * streams(rule) / taken, 2)


if __name__ == "__main__":
    main()
