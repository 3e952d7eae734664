"""The peers' optimizers as fastopt's rules: what their names and arguments are called here.

Owns the dictionary between `golden.Case` and the table of rules. Knows nothing of running a rule.
"""

from dataclasses import dataclass

from fastopt.rules.table import Rule, find_rule

# Of the peers' arguments, in our words.
ARGUMENTS = {
    "lr": "lr",
    "learning_rate": "lr",
    "momentum": "momentum",
    "dampening": "dampening",
    "lr_decay": "lr_decay",
    "initial_accumulator_value": "initial_accumulator",
    "eps": "eps",
    "epsilon": "eps",
    "eps_root": "eps_root",
    "rho": "decay",
    "alpha": "decay",
    "decay": "decay",
    "b1": "beta1",
    "beta_1": "beta1",
    "b2": "beta2",
    "beta_2": "beta2",
    "b3": "beta3",
    "momentum_decay": "momentum_decay",
    "threshold": "threshold",
    "weight_decay": "weight_decay",
}
# Slots in our words; a minus where the peer keeps the negative of ours.
SLOTS = {
    "torch": {
        "momentum_buffer": "velocity",
        "sum": "total",
        "square_avg": "square",
        "acc_delta": "change",
        "grad_avg": "mean",
        "exp_avg": "mean",
        "exp_avg_sq": "square",
        "max_exp_avg_sq": "largest",
        "exp_inf": "norm",
    },
    "optax": {
        "trace": "velocity",
        "sum_of_squares": "total",
        "e_g": "square",
        "e_x": "change",
        "mu": "mean",
        "nu": "square",
        "nu_max": "largest",
        "m": "mean",
        "v": "change",
        "n": "square",
        "g": "previous",
    },
    "keras": {
        "accumulator": "total",
        "accumulated_grad": "square",
        "accumulated_delta_var": "change",
        "average_gradient": "mean",
        "momentum": "mean",
        "velocity": "square",
        "velocity_hat": "largest",
        "norm": "norm",
    },
}
# What a rule is where the peer's slot has another meaning.
EXCEPTIONS = {
    ("keras", "momentum", "momentum"): "-velocity",
    ("keras", "nesterov", "momentum"): "-velocity",
    ("keras", "rmsprop", "momentum"): "velocity",
    ("optax", "rmsprop", "trace"): "-velocity",
    ("optax", "adamax", "nu"): "norm",
}
# Forms that fastopt does not have, by an argument that asks for them.
MISSING = ("bias_correction", "bias_correction_mu", "bias_correction_nu", "decoupled_weight_decay")


@dataclass(frozen=True)
class Translation:
    """A golden case in our words. `weight_decay` is what the rule itself has no place for."""

    rule: Rule
    hyperparameters: dict[str, float]
    weight_decay: float


def translate(case):
    """The case as a rule of ours; None where there is none."""
    given = dict(case.arguments)
    amsgrad, nesterov = given.pop("amsgrad", False), given.pop("nesterov", False)
    centered = given.pop("centered", False)
    if (
        any(name in given for name in MISSING)
        or not given.pop("eps_in_sqrt", True)
        or (nesterov and case.rule != "nesterov")
        or (amsgrad and case.optimizer == "AdamW")
        or case.optimizer in ("adamaxw", "nadamw")
    ):
        return None
    name = "gd" if case.rule == "sgd" else case.rule
    if name == "rmsprop" and centered:
        name = "rmsprop-centered"
    elif name == "rmsprop" and "momentum" in given:
        name = "rmsprop-momentum"
    rule = find_rule(name, case.peer)
    if "betas" in given:
        given["b1"], given["b2"] = given.pop("betas")
    ours = {ARGUMENTS[key]: value for key, value in given.items()}
    names = [each.name for each in rule.hyperparameters]
    weight_decay = 0.0 if "weight_decay" in names else ours.pop("weight_decay", 0.0)
    assert {*ours} <= {*names}
    return Translation(rule, ours, weight_decay)


def slot(case, name):
    """The peer's slot in our words, and its sign; None where it is none of ours."""
    ours = EXCEPTIONS.get((case.peer, case.rule, name)) or SLOTS[case.peer].get(name)
    if ours is None:
        return None, 1
    return ours.removeprefix("-"), -1 if ours.startswith("-") else 1
