"""What record_pytorch.py records of PyTorch and test_pytorch.py compares: cases, inputs, digests.

Needs NumPy alone. Weights and images are made by a formula, and of a gradient only a digest is
kept, so that the record stays small: some of the elements, and sums with random signs, in almost
any of which a difference in any element would show.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CLASSES = 7
STEP = 0.1  # length of the one step of gradient descent


@dataclass
class Case:
    """A builder of fastopt.nn.models at reduced width, and how many images."""

    builder: str
    input_shape: tuple[int, int, int]
    images: int
    arguments: dict


# Widths are odd numbers and images are not square where the family allows it: what is mistaken for
# something else then shows. Without dropout, whose noise is each library's own.
IMAGE, LARGE, SMALL = (3, 70, 64), (3, 107, 99), (1, 8, 8)
NONE = {"dropout": 0.0}
CASES = {
    "lenet5": Case("lenet5", (1, 28, 28), 6, {}),
    "alexnet": Case("alexnet", (3, 95, 63), 4, {"width": 3, "hidden": 20} | NONE),
    "vgg11": Case("vgg11", (3, 64, 32), 4, {"width": 3, "hidden": 16} | NONE),
    "vgg16_batchnorm": Case(
        "vgg16", (3, 64, 64), 4, {"width": 3, "hidden": 16, "batchnorm": True} | NONE
    ),
    "googlenet": Case("googlenet", IMAGE, 8, {"width": 8} | NONE),
    "inception_v3": Case("inception_v3", LARGE, 8, {"width": 4} | NONE),
    "inception_v4": Case("inception_v4", LARGE, 8, {"width": 4} | NONE),
    "inception_resnet_v2": Case(
        "inception_resnet_v2", LARGE, 8, {"width": 2, "repeats": (2, 2, 2)} | NONE
    ),
    "resnet18": Case("resnet18", IMAGE, 4, {"width": 5}),
    "resnet18_v2": Case("resnet18", IMAGE, 4, {"width": 5, "preactivation": True}),
    "resnet50": Case("resnet50", IMAGE, 4, {"width": 3}),
    "resnet50_v2": Case("resnet50", IMAGE, 4, {"width": 3, "preactivation": True}),
    "resnext50": Case("resnext50", IMAGE, 4, {"width": 3, "cardinality": 4, "group_width": 2}),
    "resnet_small": Case("resnet_small", SMALL, 12, {"depth": 20, "width": 5}),
    "resnet_small_v2": Case(
        "resnet_small", SMALL, 12, {"depth": 20, "width": 5, "preactivation": True}
    ),
    "densenet121": Case("densenet121", IMAGE, 4, {"growth": 3}),
    "densenet_small": Case("densenet_small", SMALL, 12, {"blocks": (3, 2, 3), "growth": 5}),
}


def uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Of mean 0 and variance 1."""
    return np.sqrt(3) * (2 * rng.random(shape) - 1)


def weights(shapes: Sequence[tuple[int, ...]]) -> np.ndarray:
    """One flat vector for parameters of these shapes, of numbers that float32 has.

    Matrices and windows as He et al. draw them. What scales and shifts lies around 1, so that most
    rectifiers are on: deep narrow networks are else too chaotic for float32, in which one
    rectifier that rounding turns over changes a gradient in its second digit. The seed is one
    with which none does.
    """
    rng = np.random.default_rng(20)
    parts = []
    for shape in shapes:
        part = uniform(rng, shape)
        if len(shape) > 1:
            part *= np.sqrt(2 / np.prod(shape[1:]))
        else:
            part = 0.1 * part + 1
        parts.append(part.ravel())
    return np.concatenate(parts).astype(np.float32).astype(np.float64)


def batch(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Images, of numbers that float32 has, and labels."""
    rng = np.random.default_rng(1)
    images = uniform(rng, (case.images, *case.input_shape))
    labels = (rng.random(case.images) * CLASSES).astype(np.int64)
    return images.astype(np.float32).astype(np.float64), labels


def digest(vector: np.ndarray) -> dict:
    """Norm, a sample, and sums with random signs."""
    vector = np.asarray(vector, dtype=np.float64)
    rng = np.random.default_rng(3)
    signs = np.where(rng.random((8, vector.size)) < 0.5, -1.0, 1.0)
    return {
        "size": vector.size,
        "norm": float(np.linalg.norm(vector)),
        "sample": vector[:: max(1, vector.size // 24)].tolist(),
        "sums": (signs @ vector).tolist(),
    }


def distance(found: dict, recorded: dict) -> float:
    """The largest difference of two digests, relative to the norm of the recorded vector."""
    assert found["size"] == recorded["size"]
    return max(
        np.abs(np.subtract(found[part], recorded[part])).max() / recorded["norm"]
        for part in ("norm", "sample", "sums")
    )
