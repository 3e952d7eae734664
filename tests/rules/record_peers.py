"""Record the rules of PyTorch, optax and Keras: ``python -m tests.rules.record_peers``.

Needs any of torch, optax, and keras with jax. The peers that can be imported are recorded into
``peers.json`` beside this file, and what it holds of the others stays: each peer may live in an
environment of its own. With ``--check`` nothing is written, and each peer is compared with the
file, bit for bit.

Each peer runs as its documentation shows it, one operation at a time: PyTorch without ``foreach``
and ``fused``, optax and Keras outside ``jit``. In float64 a peer is told to compute everything in
float64, also what it keeps in its default dtype whatever the parameters' dtype is: PyTorch's
products of momentum coefficients, Keras's learning rate.
"""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product

import numpy as np

from . import golden
from .golden import Case, Checkpoint

# Arguments of Adam's kin of which none is a default.
TORCH = {"lr": 0.02, "betas": [0.8, 0.95], "eps": 1e-4, "weight_decay": 0.05}
OPTAX = {"learning_rate": 0.02, "b1": 0.8, "b2": 0.95, "eps": 1e-4}
KERAS = {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-4}

# By peer: our rule, the peer's optimizer, and its arguments. The first trajectory of a rule has the
# peer's defaults, as far as the peer has them; the others reach what the first does not.
LR = {"learning_rate": 0.001}
CONFIGURATIONS = {
    "torch": [
        ("sgd", "SGD", {}),
        ("sgd", "SGD", {"lr": 0.05, "weight_decay": 0.1}),
        ("momentum", "SGD", {"momentum": 0.9}),
        ("momentum", "SGD", {"momentum": 0.8, "dampening": 0.3, "weight_decay": 0.05}),
        ("nesterov", "SGD", {"momentum": 0.9, "nesterov": True}),
        ("nesterov", "SGD", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05}),
        ("adagrad", "Adagrad", {}),
        ("adagrad", "Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.1}),
        ("adagrad", "Adagrad", {"lr": 0.5, "weight_decay": 0.05, "eps": 1e-4}),
        ("adadelta", "Adadelta", {}),
        ("adadelta", "Adadelta", {"lr": 0.5, "rho": 0.95, "eps": 1e-4, "weight_decay": 0.05}),
        ("rmsprop", "RMSprop", {}),
        ("rmsprop", "RMSprop", {"centered": True}),
        ("rmsprop", "RMSprop", {"momentum": 0.9}),
        ("rmsprop", "RMSprop", {"momentum": 0.8, "centered": True, "alpha": 0.9}),
        ("rmsprop", "RMSprop", {"lr": 0.003, "alpha": 0.9, "eps": 1e-4, "weight_decay": 0.05}),
        ("adam", "Adam", {}),
        ("adam", "Adam", TORCH),
        # Below a half, PyTorch interpolates from the other end.
        ("adam", "Adam", {"betas": [0.3, 0.9]}),
        ("nadam", "NAdam", {}),
        ("nadam", "NAdam", {**TORCH, "momentum_decay": 0.02}),
        ("nadam", "NAdam", {**TORCH, "momentum_decay": 1.0, "decoupled_weight_decay": True}),
        ("adamw", "AdamW", {}),
        ("adamw", "AdamW", TORCH),
        ("amsgrad", "Adam", {"amsgrad": True}),
        ("amsgrad", "Adam", {**TORCH, "amsgrad": True}),
        ("amsgrad", "AdamW", {**TORCH, "amsgrad": True}),
        ("adamax", "Adamax", {}),
        ("adamax", "Adamax", TORCH),
        ("radam", "RAdam", {}),
        ("radam", "RAdam", TORCH),
        ("radam", "RAdam", {**TORCH, "betas": [0.9, 0.99], "decoupled_weight_decay": True}),
    ],
    "optax": [
        ("sgd", "sgd", LR),
        ("momentum", "sgd", {**LR, "momentum": 0.9}),
        ("nesterov", "sgd", {**LR, "momentum": 0.9, "nesterov": True}),
        ("adagrad", "adagrad", LR),
        ("adagrad", "adagrad", {**LR, "initial_accumulator_value": 0.0, "eps": 1e-4}),
        ("adadelta", "adadelta", {"learning_rate": 1.0}),
        ("adadelta", "adadelta", {**LR, "rho": 0.95, "eps": 1e-4, "weight_decay": 0.05}),
        ("rmsprop", "rmsprop", LR),
        ("rmsprop", "rmsprop", {**LR, "centered": True}),
        ("rmsprop", "rmsprop", {**LR, "momentum": 0.9}),
        ("rmsprop", "rmsprop", {**LR, "momentum": 0.8, "nesterov": True, "centered": True}),
        ("rmsprop", "rmsprop", {**LR, "bias_correction": True, "initial_scale": 0.5}),
        ("rmsprop", "rmsprop", {**LR, "eps_in_sqrt": False, "decay": 0.95}),
        ("rmsprop", "rmsprop", {**LR, "eps_in_sqrt": False, "eps": 1e-4, "centered": True}),
        # In the first step the variance is zero but for rounding, and `eps` has to drown it.
        ("rmsprop", "rmsprop", {**LR, "bias_correction": True, "eps": 100.0, "centered": True}),
        ("adam", "adam", LR),
        ("adam", "adam", {**OPTAX, "eps_root": 1e-6}),
        ("nadam", "nadam", LR),
        ("nadam", "nadam", {**OPTAX, "eps_root": 1e-6}),
        ("nadam", "nadamw", {**OPTAX, "weight_decay": 0.05}),
        ("adamw", "adamw", LR),
        ("adamw", "adamw", {**OPTAX, "eps_root": 1e-6, "weight_decay": 0.05}),
        ("amsgrad", "amsgrad", LR),
        ("amsgrad", "amsgrad", {**OPTAX, "eps_root": 1e-6}),
        ("amsgrad", "amsgrad", {**OPTAX, "bias_correction_mu": False}),
        ("amsgrad", "amsgrad", {**OPTAX, "bias_correction_nu": False}),
        ("adamax", "adamax", LR),
        ("adamax", "adamax", OPTAX),
        ("adamax", "adamaxw", {**OPTAX, "weight_decay": 0.05}),
        ("radam", "radam", LR),
        ("radam", "radam", {**OPTAX, "eps_root": 1e-6, "threshold": 4.5}),
        ("radam", "radam", {**OPTAX, "nesterov": True}),
        ("lion", "lion", LR),
        ("lion", "lion", {**LR, "b1": 0.8, "b2": 0.95, "weight_decay": 0.0}),
        ("adan", "adan", LR),
        # Where the paper weighs the difference of gradients by what is b2 here, optax 0.2.8 does by
        # 1 - b2 (its pull request 1715): with a half, its recurrence is the paper's.
        ("adan", "adan", {**LR, "b2": 0.5}),
        ("adan", "adan", {**OPTAX, "b2": 0.5, "b3": 0.9, "eps_root": 0.0, "weight_decay": 0.05}),
    ],
    "keras": [
        ("sgd", "SGD", {}),
        ("sgd", "SGD", {"learning_rate": 0.05, "weight_decay": 0.1}),
        ("momentum", "SGD", {"momentum": 0.9}),
        ("momentum", "SGD", {**LR, "momentum": 0.8, "weight_decay": 0.05}),
        ("nesterov", "SGD", {"momentum": 0.9, "nesterov": True}),
        ("nesterov", "SGD", {**LR, "momentum": 0.8, "nesterov": True, "weight_decay": 0.05}),
        ("adagrad", "Adagrad", {}),
        ("adagrad", "Adagrad", {"initial_accumulator_value": 0.0, "epsilon": 1e-4}),
        ("adadelta", "Adadelta", {}),
        ("adadelta", "Adadelta", {"learning_rate": 1.0, "rho": 0.9, "epsilon": 1e-4}),
        ("rmsprop", "RMSprop", {}),
        ("rmsprop", "RMSprop", {"centered": True}),
        ("rmsprop", "RMSprop", {"momentum": 0.9}),
        ("rmsprop", "RMSprop", {"momentum": 0.8, "centered": True, "rho": 0.95}),
        ("rmsprop", "RMSprop", {"epsilon": 1e-4, "weight_decay": 0.05}),
        ("adam", "Adam", {}),
        ("adam", "Adam", {**KERAS, "weight_decay": 0.05}),
        ("nadam", "Nadam", {}),
        ("nadam", "Nadam", {**KERAS, "weight_decay": 0.05}),
        ("adamw", "AdamW", {}),
        ("adamw", "AdamW", {**KERAS, "weight_decay": 0.05}),
        ("amsgrad", "Adam", {"amsgrad": True}),
        ("amsgrad", "Adam", {**KERAS, "amsgrad": True}),
        ("amsgrad", "AdamW", {**KERAS, "amsgrad": True}),
        ("adamax", "Adamax", {}),
        ("adamax", "Adamax", {**KERAS, "weight_decay": 0.05}),
        ("lion", "Lion", {}),
        ("lion", "Lion", {**LR, "beta_1": 0.8, "beta_2": 0.95, "weight_decay": 0.05}),
    ],
}

Slots = dict[str, np.ndarray]


@contextmanager
def torch_in(dtype):
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, dtype))
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def torch_steps(optimizer, arguments, start, gradients):
    import torch

    parameters = torch.nn.Parameter(torch.from_numpy(start.copy()))
    make = getattr(torch.optim, optimizer)
    # AdamW and the others that can be fused are asked not to be, the rest does not know the word.
    unfused = {"fused": False} if "fused" in make.__init__.__annotations__ else {}
    rule = make([parameters], foreach=False, **unfused, **arguments)
    for gradient in gradients:
        parameters.grad = torch.from_numpy(gradient.copy())
        rule.step()
        state = rule.state[parameters]
        slots = {name: slot.numpy().copy() for name, slot in state.items() if name != "step"}
        yield parameters.detach().numpy().copy(), slots


def jax_in(dtype):
    import jax

    return jax.enable_x64(dtype == "float64")


def optax_steps(optimizer, arguments, start, gradients):
    import jax.numpy as jnp
    import optax

    rule = getattr(optax, optimizer)(**arguments)
    parameters = jnp.asarray(start)
    state = rule.init(parameters)
    for gradient in gradients:
        updates, state = rule.update(jnp.asarray(gradient), state, parameters)
        parameters = optax.apply_updates(parameters, updates)
        slots = {
            name: np.array(slot)
            for part in state  # One named tuple for each of the transformations in the chain.
            for name, slot in part._asdict().items()
            if name not in ("count", "t")
        }
        yield np.array(parameters), slots


@contextmanager
def keras_in(dtype):
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    try:
        with jax_in(dtype):
            yield
    finally:
        keras.config.set_floatx(before)


def keras_steps(optimizer, arguments, start, gradients):
    import keras

    parameters = keras.Variable(start, dtype=start.dtype.name, name="x")
    rule = getattr(keras.optimizers, optimizer)(**arguments)
    for gradient in gradients:
        rule.apply_gradients([(keras.ops.convert_to_tensor(gradient), parameters)])
        slots = {
            variable.name.removeprefix("x_"): np.array(variable.value)
            for variable in rule.variables
            if variable.name.startswith("x_")
        }
        if optimizer == "Nadam":
            slots["u_product"] = np.array(rule._u_product.value)
        yield np.array(parameters.value), slots


@dataclass(frozen=True)
class Peer:
    """A library: what to import, how to make it compute in a dtype, and how to run it.

    ``steps(optimizer, arguments, start, gradients)`` yields parameters and slots after each step.
    """

    packages: tuple[str, ...]
    precision: Callable[[str], AbstractContextManager]
    steps: Callable[..., Iterator[tuple[np.ndarray, Slots]]]

    def is_installed(self):
        return all(importlib.util.find_spec(package) is not None for package in self.packages)

    def versions(self):
        return {package: version(package) for package in self.packages}


PEERS = {
    "torch": Peer(("torch",), torch_in, torch_steps),
    "optax": Peer(("optax", "jax", "jaxlib"), jax_in, optax_steps),
    "keras": Peer(("keras", "jax", "jaxlib"), keras_in, keras_steps),
}


def record(peer: str, n_steps: int = golden.STEPS) -> Iterator[Case]:
    """The trajectories of a peer, each as far as its last checkpoint within `n_steps`."""
    for (rule, optimizer, arguments), dtype in product(CONFIGURATIONS[peer], golden.DTYPES):
        start, gradients = golden.start(dtype), golden.gradients(dtype)[:n_steps]
        with PEERS[peer].precision(dtype):
            steps = PEERS[peer].steps(optimizer, arguments, start, gradients)
            checkpoints = {
                step: Checkpoint(parameters, slots)
                for step, (parameters, slots) in enumerate(steps, start=1)
                if step in golden.CHECKPOINTS
            }
        yield Case(peer, rule, optimizer, arguments, dtype, checkpoints)


def save(found: dict[str, list[Case]]) -> None:
    kept = golden.read() if golden.PLACE.exists() else {"versions": {}, "cases": []}
    others = [case for case in kept["cases"] if case["peer"] not in found]
    cases = others + [golden.encoded(case) for peer in found for case in found[peer]]
    recorded = {
        "digests": {dtype: golden.digest(dtype) for dtype in golden.DTYPES},
        "versions": {
            peer: PEERS[peer].versions() if peer in found else kept["versions"][peer]
            for peer in PEERS
            if peer in found or peer in kept["versions"]
        },
        "cases": sorted(cases, key=lambda case: list(PEERS).index(case["peer"])),
    }
    golden.PLACE.write_text(json.dumps(recorded, indent=1) + "\n", encoding="utf-8")


def differences(found: list[Case], peer: str) -> list[str]:
    recorded = {str(case): case for case in golden.cases(peer)}
    lines = [f"{name}: only in the file" for name in recorded.keys() - {str(c) for c in found}]
    for case in found:
        if str(case) not in recorded:
            lines.append(f"{case}: not in the file")
        elif any(distance := golden.ulps(case, recorded[str(case)]).values()):
            lines.append(f"{case}: {list(distance)} ulps at checkpoints")
    return lines


def main(arguments: list[str]) -> int:
    found = {peer: list(record(peer)) for peer in PEERS if PEERS[peer].is_installed()}
    if arguments == ["--check"]:
        lines = [line for peer in found for line in differences(found[peer], peer)]
        print(*lines, f"checked: {', '.join(found)}; {len(lines)} cases differ", sep="\n")
        return int(bool(lines))
    save(found)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
