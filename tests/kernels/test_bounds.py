"""No kernel reads or writes beyond its arrays: each lies against a page that may not be touched."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mmap's constants are Linux's")

GUARDED = """
import ctypes
import faulthandler
import mmap
import sys

import numpy as np

from fastopt import kernels

faulthandler.enable()
libc = ctypes.CDLL(None)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
PAGE = mmap.PAGESIZE
kept = []


def guarded(array, behind):
    \"\"\"A copy that ends where a forbidden page begins, or begins where one ends.\"\"\"
    pages = -(-array.nbytes // PAGE)
    memory = mmap.mmap(-1, (pages + 2) * PAGE)
    kept.append(memory)
    room = np.frombuffer(memory, np.uint8)
    first = PAGE + (pages * PAGE - array.nbytes if behind else 0)
    copy = room[first : first + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    for page in (0, pages + 1):
        assert libc.mprotect(room.ctypes.data + page * PAGE, PAGE, 0) == 0  # PROT_NONE
    return copy


def run(dtype, behind):
    rng = np.random.default_rng(0)

    def drawn(*shape):
        return guarded(rng.random(shape).astype(dtype), behind)

    def room(*shape, dtype=dtype):
        return guarded(np.full(shape, 9, dtype), behind)

    for N, C, H, W, K, R, S, options in (
        (1, 1, 1, 1, 1, 1, 1, {}),
        (2, 3, 5, 1, 17, 3, 1, {"padding": (1, 0)}),
        (1, 5, 1, 19, 9, 1, 3, {"padding": (0, 1), "stride": (1, 2)}),
        (3, 6, 7, 5, 8, 3, 3, {"padding": 1, "stride": 2, "groups": 2}),
        (1, 7, 9, 11, 14, 3, 2, {"padding": 1, "dilation": 2, "groups": 7}),
        (2, 5, 8, 17, 5, 3, 3, {"padding": 1, "stride": 2, "groups": 5}),
        (2, 19, 4, 5, 21, 1, 1, {}),
        (2, 1, 6, 9, 3, 2, 4, {"stride": 3, "padding": 2}),
    ):
        x, weight, bias = drawn(N, C, H, W), drawn(K, C // options.get("groups", 1), R, S), drawn(K)
        shape = kernels.conv2d(x, weight, **options).shape
        size = kernels.conv2d_workspace(x.shape, weight.shape, dtype=dtype, **options)
        grad, options = drawn(*shape), options | {"workspace": room(size)}
        kernels.conv2d(x, weight, bias, out=room(*shape), **options)
        kernels.conv2d_backward_data(grad, weight, x.shape, out=room(*x.shape), **options)
        kernels.conv2d_backward_weight(x, grad, weight.shape, out=room(*weight.shape), **options)
        kernels.conv2d_backward_bias(grad, out=room(K))

    for *shape, window, options in (
        (1, 1, 1, 1, 1, {}),
        (2, 3, 5, 1, (2, 1), {"stride": 1}),
        (1, 2, 4, 34, (2, 2), {}),
        (1, 2, 7, 37, 3, {"stride": 2, "padding": 1}),
        (1, 2, 5, 18, 3, {"stride": 1, "padding": 1, "ceil_mode": True}),
    ):
        x = drawn(*shape)
        result = kernels.avg_pool2d(x, window, **options).shape
        where = room(*result, dtype=np.int32)
        kernels.max_pool2d(x, window, out=room(*result), where=where, **options)
        kernels.max_pool2d_backward(drawn(*result), where, x.shape, out=room(*shape))
        kernels.avg_pool2d(x, window, out=room(*result), **options)
        kernels.avg_pool2d_backward(drawn(*result), x.shape, window, out=room(*shape), **options)
        kernels.global_avg_pool2d(x, out=room(*shape[:2]))
        kernels.global_avg_pool2d_backward(drawn(*shape[:2]), x.shape, out=room(*shape))

    for shape in ((2, 1), (3, 19), (2, 3, 1, 7), (1, 2, 5, 5)):
        x, (weight, bias, mean, var) = drawn(*shape), (drawn(shape[1]) for _ in range(4))
        for training in (True, False):
            out, saved = kernels.batchnorm_forward(
                x, weight, bias, mean, var, training, relu=True, out=room(*shape),
                saved=room(2, shape[1], dtype=np.float64),
            )
            kernels.batchnorm_backward(
                drawn(*shape), x, weight, saved, training=training, relu=True, bias=bias,
                out=(room(*shape), room(shape[1]), room(shape[1])),
            )
        for name in ("relu", "leaky_relu", "sigmoid", "tanh"):
            y = getattr(kernels, name)(x, out=room(*shape))
            getattr(kernels, name + "_backward")(x, y, out=room(*shape))
        kernels.dropout(x, 0.5, seed=1, out=room(*shape))
        kernels.add(x, drawn(*shape), out=room(*shape))

    for N, C in ((1, 1), (3, 19), (2, 33)):
        x, target = drawn(N, C), drawn(N, C)
        y = kernels.softmax(x, out=room(N, C))
        kernels.softmax_backward(target, y, out=room(N, C))
        for loss in (kernels.l1_loss, kernels.mse_loss, kernels.binary_cross_entropy):
            loss(x, target, reduction="none", out=room(N, C))
        labels = guarded(np.full(N, C - 1), behind)
        kernels.softmax_cross_entropy(x, labels, weight=drawn(C), out=room(N, C))


for dtype in ("float32", "float64"):
    for behind in (True, False):
        run(np.dtype(dtype), behind)
"""


def test_kernels_touch_nothing_beside_their_arrays():
    run = subprocess.run([sys.executable, "-c", GUARDED], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
