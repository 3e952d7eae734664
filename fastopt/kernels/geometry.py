"""Where a window stands on an image: sizes and places in convolution and pooling.

Integers alone, in the order (height, width); images are NCHW. Knows nothing of arrays. Both
classes assume what :mod:`fastopt.kernels` and :mod:`fastopt.nn` have checked, and are checked by
themselves only for a window that does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

__all__ = ["ConvGeometry", "PoolGeometry", "output_length", "same_padding"]

Pair = tuple[int, int]


def output_length(
    length: int, window: int, stride: int, pad: Pair, dilation: int = 1, ceil_mode: bool = False
) -> int:
    """How many windows fit along one axis; 0 or less if none does.

    Parameters
    ----------
    length, window, stride, dilation : int
        Of the input, of the window in elements, between two windows, and between two elements of
        a window.
    pad : (int, int)
        Elements added before and after.
    ceil_mode : bool, default False
        Whether a last window may hang over the end, if it begins within the input or the padding
        before it.

    Returns
    -------
    int

    Examples
    --------
    >>> output_length(28, 5, 1, (2, 2))
    28
    >>> output_length(6, 3, 2, (0, 0)), output_length(6, 3, 2, (0, 0), ceil_mode=True)
    (2, 3)
    """
    room = length + pad[0] + pad[1] - dilation * (window - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    # A window that would begin in the padding behind the end sees nothing.
    return count - 1 if (count - 1) * stride >= length + pad[0] else count


def same_padding(window: int, dilation: int = 1) -> Pair:
    """Padding before and after with which a window of stride 1 leaves the length as it is.

    The greater half comes after, as PyTorch has it.

    Examples
    --------
    >>> same_padding(3), same_padding(4), same_padding(3, dilation=2)
    ((1, 1), (1, 2), (2, 2))
    """
    total = dilation * (window - 1)
    return total // 2, total - total // 2


@dataclass(frozen=True)
class ConvGeometry:
    """The shapes of one convolution: x (N, C, H, W), weight (K, C // groups, R, S).

    Examples
    --------
    >>> shapes = ConvGeometry(2, 3, 8, 9, 4, 3, 3, padding=((1, 1), (0, 0)), stride=(2, 1))
    >>> shapes.output_shape
    (2, 4, 4, 7)
    """

    N: int
    C: int
    H: int
    W: int
    K: int
    R: int
    S: int
    stride: Pair = (1, 1)
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))  # ((top, bottom), (left, right))
    dilation: Pair = (1, 1)
    groups: int = 1

    @cached_property
    def OH(self) -> int:
        return output_length(self.H, self.R, self.stride[0], self.padding[0], self.dilation[0])

    @cached_property
    def OW(self) -> int:
        return output_length(self.W, self.S, self.stride[1], self.padding[1], self.dilation[1])

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.C, self.H, self.W

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        return self.K, self.C // self.groups, self.R, self.S

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.K, self.OH, self.OW

    @property
    def flops(self) -> int:
        """Multiplications and additions of the forward pass, padding counted as data."""
        return 2 * self.N * self.K * self.OH * self.OW * (self.C // self.groups) * self.R * self.S


@dataclass(frozen=True)
class PoolGeometry:
    """The shapes of one pooling: x (N, C, H, W), windows of R x S.

    Examples
    --------
    >>> PoolGeometry(1, 2, 6, 6, 3, 3, stride=(2, 2), ceil_mode=True).output_shape
    (1, 2, 3, 3)
    """

    N: int
    C: int
    H: int
    W: int
    R: int
    S: int
    stride: Pair
    padding: tuple[Pair, Pair] = ((0, 0), (0, 0))  # ((top, bottom), (left, right))
    ceil_mode: bool = False

    @cached_property
    def OH(self) -> int:
        return output_length(
            self.H, self.R, self.stride[0], self.padding[0], ceil_mode=self.ceil_mode
        )

    @cached_property
    def OW(self) -> int:
        return output_length(
            self.W, self.S, self.stride[1], self.padding[1], ceil_mode=self.ceil_mode
        )

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.C, self.H, self.W

    @property
    def output_shape(self) -> tuple[int, int, int, int]:
        return self.N, self.C, self.OH, self.OW
