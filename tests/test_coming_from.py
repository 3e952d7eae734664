"""The pages docs/coming_from name equal calls of PyTorch and optax: they give the same numbers.

Forms of rules, schedules, losses and layers are compared with recorded numbers in the tests of
their modules. This is about the calls: defaults, names of hyperparameters, and the order of decay,
clipping and step. It needs the peer, and is skipped where that is not installed.
"""

import numpy as np
import pytest

import fastopt

RNG = np.random.default_rng(0)
A, B = RNG.standard_normal((30, 5)), RNG.standard_normal(30)
STEPS = 100
TOLERANCE = 1e4 * np.finfo(float).eps


def gradient(theta):
    return 2 * A.T @ (A @ theta - B) / len(B)


def ours(optimizer, settings):
    theta = np.ones(5)
    opt = getattr(fastopt, optimizer)(theta, **settings)
    for _ in range(STEPS):
        opt.step(gradient(theta))
    return theta


@pytest.fixture
def torch():
    """PyTorch in double precision, in which NAdam then keeps its product of momenta, too."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


TORCH = {
    "SGD(lr=0.1)": ("SGD", {"lr": 0.1}),
    "SGD(momentum=0.9)": ("Momentum", {"momentum": 0.9}),
    "SGD(momentum=0.9, dampening=0.1, weight_decay=0.1)": (
        "Momentum",
        {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.1},
    ),
    "SGD(momentum=0.9, nesterov=True)": ("Nesterov", {"momentum": 0.9}),
    "Adam()": ("Adam", {}),
    "Adam(weight_decay=0.1)": ("Adam", {"weight_decay": 0.1}),
    "Adam(amsgrad=True)": ("AMSGrad", {}),
    "AdamW()": ("AdamW", {}),
    "NAdam()": ("Nadam", {}),
    "RAdam()": ("RAdam", {}),
    "Adamax()": ("AdaMax", {}),
    "RMSprop()": ("RMSProp", {}),
    "RMSprop(momentum=0.9, centered=True)": ("RMSProp", {"momentum": 0.9, "centered": True}),
    "Adagrad()": ("AdaGrad", {}),
    "Adadelta()": ("AdaDelta", {}),
}


@pytest.mark.parametrize("call", TORCH)
def test_calls_of_pytorch_have_the_equal_that_the_page_names(torch, call):
    name, _, arguments = call.removesuffix(")").partition("(")
    theta = torch.nn.Parameter(torch.ones(5))
    opt = getattr(torch.optim, name)([theta], **eval(f"dict({arguments})"))
    for _ in range(STEPS):
        theta.grad = torch.from_numpy(gradient(theta.detach().numpy()))
        opt.step()
    optimizer, settings = TORCH[call]
    found = ours(optimizer, {**settings, "flavor": "torch"})
    np.testing.assert_allclose(found, theta.detach().numpy(), rtol=0, atol=TOLERANCE)


def test_clipping_is_pytorchs_but_for_what_that_adds_to_the_norm(torch):
    theta = torch.nn.Parameter(torch.ones(5))
    opt = torch.optim.SGD([theta], lr=0.01)
    for _ in range(STEPS):
        theta.grad = torch.from_numpy(gradient(theta.detach().numpy()))
        torch.nn.utils.clip_grad_norm_([theta], 0.5)
        opt.step()
    found = ours("SGD", {"lr": 0.01, "clip_norm": 0.5})
    # A hundred steps of at most 0.01 * 0.5, each short by 1e-6 / 0.5 of itself.
    np.testing.assert_allclose(found, theta.detach().numpy(), rtol=0, atol=STEPS * 0.01 * 1e-6)


OPTAX = {
    "sgd(0.01)": ("SGD", {"lr": 0.01}),
    "sgd(0.01, momentum=0.9)": ("Momentum", {"lr": 0.01}),
    "sgd(0.01, momentum=0.9, nesterov=True)": ("Nesterov", {"lr": 0.01}),
    "adam(1e-3)": ("Adam", {}),
    "adamw(1e-3)": ("AdamW", {}),
    "amsgrad(1e-3)": ("AMSGrad", {}),
    "nadam(1e-3)": ("Nadam", {}),
    "radam(1e-3)": ("RAdam", {}),
    "adamax(2e-3)": ("AdaMax", {}),
    "lion(1e-4)": ("Lion", {}),
    "adan(1e-3)": ("Adan", {}),
    "rmsprop(1e-3)": ("RMSProp", {}),
    "adagrad(0.01)": ("AdaGrad", {}),
    "adadelta(1.0)": ("AdaDelta", {}),
    "chain(clip_by_global_norm(0.5), adam(0.01))": ("Adam", {"lr": 0.01, "clip_norm": 0.5}),
    "chain(clip(0.1), adam(0.01))": ("Adam", {"lr": 0.01, "clip_value": 0.1}),
    "chain(add_decayed_weights(0.1), adam(0.01))": ("Adam", {"lr": 0.01, "weight_decay": 0.1}),
}


@pytest.mark.parametrize("call", OPTAX)
def test_calls_of_optax_have_the_equal_that_the_page_names(call):
    optax = pytest.importorskip("optax")
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        rule = eval(call, vars(optax))
        theta = jax.numpy.ones(5)
        state = rule.init(theta)
        for _ in range(STEPS):
            grad = jax.numpy.asarray(gradient(np.asarray(theta)))
            updates, state = rule.update(grad, state, theta)
            theta = optax.apply_updates(theta, updates)
        peer = np.asarray(theta)
    optimizer, settings = OPTAX[call]
    found = ours(optimizer, {**settings, "flavor": "optax"})
    np.testing.assert_allclose(found, peer, rtol=0, atol=TOLERANCE)


def test_adamws_own_decay_is_lr_times_as_much_in_frameworks():
    lr = 1e-3
    textbook = ours("AdamW", {"lr": lr, "weight_decay": 0.01 * lr})
    np.testing.assert_allclose(
        textbook, ours("AdamW", {"lr": lr, "flavor": "torch"}), rtol=0, atol=TOLERANCE
    )


def test_nlopts_objective_needs_no_change():
    nlopt = pytest.importorskip("nlopt")

    def misfit(x, grad):
        if grad.size:
            grad[:] = len(B) * gradient(x)
        return float(((A @ x - B) ** 2).sum())

    low, high = np.full(5, -0.1), np.full(5, 0.1)
    opt = nlopt.opt(nlopt.LD_LBFGS, 5)
    opt.set_min_objective(misfit)
    opt.set_lower_bounds(low)
    opt.set_upper_bounds(high)
    opt.set_maxeval(1000)
    peer = opt.optimize(np.zeros(5))
    found = fastopt.minimize(
        misfit,
        np.zeros(5),
        jac="inplace",
        bounds=list(zip(low, high, strict=True)),
        options={"gtol": 1e-10, "ftol": 0},
    )
    np.testing.assert_allclose(found.x, peer, rtol=0, atol=1e-7)
