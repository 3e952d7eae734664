"""Record PyTorch's values of the losses: ``python tests/losses/record_pytorch.py``, needs torch.

Writes ``pytorch.json`` beside this file: data, parameters, and the value, gradient and Hessian
product that PyTorch's own loss modules and its differentiation find, in double precision.
"""

import json
from pathlib import Path

import torch

PLACE = Path(__file__).with_name("pytorch.json")
N, P, K, DELTA, BETA = 8, 3, 4, 0.6, 0.4

# Loss modules by case, the loss of fastopt's that each is compared with, and what it is times that.
CASES = {
    "MSELoss": ("squared", torch.nn.MSELoss(), 2.0, {}),
    "L1Loss": ("absolute", torch.nn.L1Loss(), 1.0, {}),
    "HuberLoss": ("huber", torch.nn.HuberLoss(delta=DELTA), 1.0, {"delta": DELTA}),
    "SmoothL1Loss": ("huber", torch.nn.SmoothL1Loss(beta=BETA), 1.0 / BETA, {"delta": BETA}),
    "BCEWithLogitsLoss": ("logistic", torch.nn.BCEWithLogitsLoss(), 1.0, {}),
    "CrossEntropyLoss": ("softmax", torch.nn.CrossEntropyLoss(), 1.0, {"n_classes": K}),
    "MultiLabelSoftMarginLoss": ("multilabel", torch.nn.MultiLabelSoftMarginLoss(), 1.0, {}),
    "PoissonNLLLoss": ("poisson", torch.nn.PoissonNLLLoss(), 1.0, {}),
}


def observed(loss, generator):
    if loss == "softmax":
        return torch.randint(0, K, (N,), generator=generator)
    if loss == "multilabel":
        return torch.randint(0, 2, (N, K), generator=generator).double()
    if loss == "logistic":
        return torch.randint(0, 2, (N,), generator=generator).double()
    if loss == "poisson":
        return torch.randint(0, 6, (N,), generator=generator).double()
    return torch.randn(N, generator=generator, dtype=torch.float64)


def record(case):
    loss, module, times, options = CASES[case]
    generator = torch.Generator().manual_seed(len(case))
    X = torch.randn(N, P, generator=generator, dtype=torch.float64)
    y = observed(loss, generator)
    outputs = K if loss in ("softmax", "multilabel") else 1
    theta, p = (
        torch.randn(outputs * (P + 1), generator=generator, dtype=torch.float64) for _ in range(2)
    )

    def fun(theta):
        rows = theta.reshape(outputs, P + 1)
        scores = X @ rows[:, :P].T + rows[:, P]
        return module(scores if outputs > 1 else scores[:, 0], y)

    _, product = torch.autograd.functional.hvp(fun, theta, p)
    return {
        "loss": loss,
        "times": times,
        "options": options,
        "X": X.tolist(),
        "y": y.tolist(),
        "theta": theta.tolist(),
        "p": p.tolist(),
        "value": fun(theta).item(),
        "gradient": torch.autograd.functional.jacobian(fun, theta).tolist(),
        "product": product.tolist(),
    }


def record_all():
    return {"torch": torch.__version__, "cases": {case: record(case) for case in CASES}}


if __name__ == "__main__":
    PLACE.write_text(json.dumps(record_all(), indent=1) + "\n", encoding="utf-8")
