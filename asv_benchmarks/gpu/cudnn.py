"""Convolutions of cuDNN by algorithm, through its C interface.

PyTorch chooses among them as it likes: to be beside one that multiplies as fastopt's kernels do,
without transforms, it has to be named.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

__all__ = ["ALGORITHMS", "convolution"]

# Numbers of cudnnConvolutionFwdAlgo_t and its kin.
ALGORITHMS: dict[str, dict[str, int]] = {
    "forward": {
        "implicit GEMM": 0,
        "implicit GEMM, precomputed": 1,
        "FFT": 4,
        "FFT, tiled": 5,
        "Winograd": 7,
    },
    "backward data": {"algorithm 0": 0, "algorithm 1": 1, "FFT, tiled": 3, "Winograd": 5},
    "backward weight": {
        "algorithm 0": 0,
        "algorithm 1": 1,
        "algorithm 3": 3,
        "FFT": 2,
        "Winograd": 5,
    },
}
_NAMES = {
    "forward": "cudnn{}ConvolutionForward{}",
    "backward data": "cudnn{}ConvolutionBackwardData{}",
    "backward weight": "cudnn{}ConvolutionBackwardFilter{}",
}
_FLOAT, _NCHW, _CROSS_CORRELATION = 0, 0, 1
_FMA_MATH = 3  # no TF32
_MOST_WORKSPACE = 8 << 30


@cache
def _library() -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    import nvidia

    found = [path for each in nvidia.__path__ for path in Path(each).glob("cudnn/lib/libcudnn.so*")]
    library = ctypes.CDLL(str(found[0]) if found else "libcudnn.so.9")
    handle = ctypes.c_void_p()
    _check(library.cudnnCreate(ctypes.byref(handle)))
    return library, handle


def _check(status: int) -> None:
    if status:
        raise RuntimeError(f"cuDNN returned {status}")


def convolution(
    what: str,
    algorithm: int,
    x: torch.Tensor,
    weight: torch.Tensor,
    y: torch.Tensor,
    stride: int,
    padding: int,
    groups: int,
) -> Callable[[], Any] | None:
    """What runs it in float32 on the current stream; None if the algorithm does not serve.

    The result goes to y, x or weight, whichever `what` is about.
    """
    library, handle = _library()
    integer, byref = ctypes.c_int, ctypes.byref
    _check(library.cudnnSetStream(handle, ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)))
    of_x, of_weight, of_y, of_all = (ctypes.c_void_p() for _ in range(4))
    for place, array in ((of_x, x), (of_y, y)):
        _check(library.cudnnCreateTensorDescriptor(byref(place)))
        sizes = map(integer, array.shape)
        _check(library.cudnnSetTensor4dDescriptor(place, _NCHW, _FLOAT, *sizes))
    _check(library.cudnnCreateFilterDescriptor(byref(of_weight)))
    sizes = map(integer, weight.shape)
    _check(library.cudnnSetFilter4dDescriptor(of_weight, _FLOAT, _NCHW, *sizes))
    _check(library.cudnnCreateConvolutionDescriptor(byref(of_all)))
    window = padding, padding, stride, stride, 1, 1
    _check(library.cudnnSetConvolution2dDescriptor(of_all, *window, _CROSS_CORRELATION, _FLOAT))
    _check(library.cudnnSetConvolutionGroupCount(of_all, groups))
    _check(library.cudnnSetConvolutionMathType(of_all, _FMA_MATH))

    first, second, result, to = {
        "forward": ((of_x, x), (of_weight, weight), of_y, y),
        "backward data": ((of_weight, weight), (of_y, y), of_x, x),
        "backward weight": ((of_x, x), (of_y, y), of_weight, weight),
    }[what]
    size = ctypes.c_size_t()
    ask = getattr(library, _NAMES[what].format("Get", "WorkspaceSize"))
    if ask(handle, first[0], second[0], of_all, result, algorithm, byref(size)):
        return None
    if size.value > _MOST_WORKSPACE:
        return None
    workspace = torch.empty(max(size.value, 1), dtype=torch.uint8, device="cuda")
    one, zero = ctypes.c_float(1), ctypes.c_float(0)
    address = lambda array: ctypes.c_void_p(array.data_ptr())  # noqa: E731
    run = getattr(library, _NAMES[what].format("", ""))

    def call() -> int:
        status: int = run(
            *(handle, byref(one), first[0], address(first[1]), second[0], address(second[1])),
            *(of_all, algorithm, address(workspace), size, byref(zero), result, address(to)),
        )
        return status

    return None if call() else call
