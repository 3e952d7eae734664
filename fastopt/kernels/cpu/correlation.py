"""Sums of weighted shifts of an image: what convolution is, forward and backward.

Each image is copied once into a buffer where its channels stand flat, with zeros in the gaps: one
gap serves as the padding behind a row and before the next. Output (i, j) then has a *place*, the
flat i P + j with P the distance of two rows, and a tap of the window is a number to add to it. So
the products need no patches laid out: they read 16 places next to each other, whatever the tap.
What falls on the gaps is computed beside the rest and never stored. Where the window is a single
tap, not shifted, there is no padding and the image itself is the buffer.

With a stride the image is split into *phases*, those rows and columns that are the same modulo
the stride, and places are next to each other again. Where outputs stand apart, as they do in the
gradient of a convolution with a stride, they are computed in several *passes*, one for each
remainder.

Owns the buffers, the tables of places and taps, and the order of the loops. Knows nothing of
convolution's own geometry, and nothing of vectors but how long they are.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastopt.core._jit import compile_named
from fastopt.kernels.cpu import microkernel, threads
from fastopt.kernels.cpu.microkernel import copy, multiply

__all__ = ["Correlation", "Operand", "Sweep"]

Table = NDArray[np.intp]


class Sweep(NamedTuple):
    """Outputs along one axis, and what they see: output o adds up x[o stride + offset]."""

    outputs: int
    start: int  # where output 0 goes, and how far it is to the next
    step: int
    taps: tuple[tuple[int, int], ...]  # (index into the window, offset)


class Operand(NamedTuple):
    """Channels of one group, height and width of an array (N, groups * channels, H, W)."""

    channels: int
    height: int
    width: int


class _Axis:
    """Where the buffer keeps the elements of one axis, for all sweeps over it."""

    def __init__(self, length: int, stride: int, sweeps: tuple[Sweep, ...]) -> None:
        cells = [
            (sweep.outputs, *divmod(offset, stride)) for sweep in sweeps for _, offset in sweep.taps
        ]
        self.stride = stride
        self.phases = sorted({phase for _, _, phase in cells})
        self.lengths = [-(-(length - phase) // stride) for phase in self.phases]
        # Zeros before the first element and behind the last of a phase; they overlap.
        self.before = max((-shift for _, shift, _ in cells), default=0)
        behind = 0
        for outputs, shift, phase in cells:
            behind = max(behind, outputs + shift - self.lengths[self.phases.index(phase)])
        self.before = max(self.before, 0)
        longest = max(self.lengths, default=0)
        self.pitch = max(
            longest + max(self.before, behind), max(sweep.outputs for sweep in sweeps), 1
        )
        self.behind = behind

    def cell(self, offset: int) -> tuple[int, int]:
        """(number of the phase, shift) of a tap."""
        shift, phase = divmod(offset, self.stride)
        return self.phases.index(phase), shift


class Correlation:
    """The plan of y[n, g, k] = sum over c, r, s of weight[g, k, c, r, s] x[n, g, c, ...] + bias.

    Parameters
    ----------
    images, groups : int
    x, y : Operand
    weight_steps : (int, int, int)
        Distances in the flat weight from one group to the next, from one channel of y, and from
        one channel of x. Within a channel it is (R, S), `window` being S.
    window : int
    stride : (int, int)
        Of the places in x; the steps of the outputs are the sweeps'.
    rows, columns : tuple of Sweep
    dtype : numpy.dtype
    """

    def __init__(
        self,
        images: int,
        groups: int,
        x: Operand,
        y: Operand,
        weight_steps: tuple[int, int, int],
        window: int,
        stride: tuple[int, int],
        rows: tuple[Sweep, ...],
        columns: tuple[Sweep, ...],
        dtype: np.dtype[Any],
    ) -> None:
        self.dtype = dtype
        self._no_bias = np.zeros(groups * y.channels, dtype)
        tile = microkernel.tile(dtype)
        lanes = tile.lanes
        item = dtype.itemsize
        weight_group, weight_row, weight_channel = weight_steps

        # One tap that is not shifted: neighbours in a row have no meaning, so that all is one row.
        single = all(
            axis == (Sweep(length, 0, 1, axis[0].taps),) and [o for _, o in axis[0].taps] == [0]
            for axis, length in ((rows, x.height), (columns, x.width))
        )
        if stride == (1, 1) and single:
            area = x.height * x.width
            x, y = x._replace(height=1, width=area), y._replace(height=1, width=area)
            rows = (rows[0]._replace(outputs=1),)
            columns = (columns[0]._replace(outputs=area),)
            direct = area >= lanes
        else:
            direct = False
        vertical = _Axis(x.height, stride[0], rows)
        horizontal = _Axis(x.width, stride[1], columns)
        pitch = horizontal.pitch
        image = vertical.pitch * pitch
        origin = vertical.before * pitch + horizontal.before
        phases = len(vertical.phases) * len(horizontal.phases)

        together = 1
        if not direct:
            wanted = -(-PLACES * lanes // (vertical.pitch * pitch))
            together = max(1, min(images, wanted))
        self._groups_of_images = -(-images // together)
        plane = origin + together * image + vertical.behind * pitch + horizontal.behind + lanes
        plane = -(-plane // lanes) * lanes
        if plane * item % 4096 == 0:
            plane += lanes  # or all channels would compete for the same lines of the cache
        if direct:
            plane = image

        out_area = y.height * y.width
        self._phases = np.array(
            [
                (a, b, height, width)
                for a, height in zip(vertical.phases, vertical.lengths, strict=True)
                for b, width in zip(horizontal.phases, horizontal.lengths, strict=True)
            ],
            np.intp,
        ).reshape(-1, 4)
        tables = _Tables(lanes)
        passes = []
        scratch = 0
        sizes = [together]
        if images % together:
            sizes.append(images % together)
        for count in sizes:
            for down, across in itertools.product(rows, columns):
                offsets = []
                for c, (r, high), (s, wide) in itertools.product(
                    range(x.channels), down.taps, across.taps
                ):
                    row_phase, row = vertical.cell(high)
                    column_phase, column = horizontal.cell(wide)
                    phase = row_phase * len(horizontal.phases) + column_phase
                    at = (c * phases + phase) * plane + origin + row * pitch + column
                    offsets.append((c * weight_channel + r * window + s, at))
                apart = down.step != 1 or across.step != 1
                places = (
                    np.arange(count)[:, None, None] * image
                    + np.arange(down.outputs)[:, None] * pitch
                    + np.arange(across.outputs)
                )
                if apart:
                    targets = np.arange(places.size).reshape(places.shape)
                    scratch = max(scratch, tile.rows * places.size)
                else:
                    targets = (
                        np.arange(count)[:, None, None] * (groups * y.channels * out_area)
                        + (down.start + np.arange(down.outputs))[:, None] * y.width
                        + across.start
                        + np.arange(across.outputs)
                    )
                first_tap, taps = tables.add_taps(offsets)
                last_place = image - lanes if direct else plane
                first, vectors = tables.add_places(places.ravel(), targets.ravel(), last_place)
                bytes_a_vector = x.channels * phases * lanes * item
                block = max(1, CACHE // (bytes_a_vector * tile.vectors)) * tile.vectors
                if apart:
                    block = vectors
                passes.append(
                    (
                        first_tap, taps, first, vectors, block, apart,
                        down.outputs, down.start, down.step,
                        across.outputs, across.start, across.step,
                    )
                )  # fmt: skip
        self._passes = np.array(passes, np.intp)
        self._offsets, self._places, self._firsts, self._segments = tables.arrays()

        # Channels of y are split too where there are few images, so that there are parts enough.
        panels = -(-y.channels // tile.rows)
        chunks = max(1, min(panels, PARTS // (self._groups_of_images * groups)))
        chunk = -(-panels // chunks) * tile.rows
        chunks = -(-y.channels // chunk)
        self._parts = self._groups_of_images * groups * chunks
        buffer = 0 if direct else x.channels * phases * plane
        self._slot_size = -(-(buffer + scratch) // 64) * 64
        self._layout = np.array(
            [
                images, groups, together, direct, self._slot_size, buffer,
                x.channels, x.height, x.width, plane, image, pitch, origin, stride[0], stride[1],
                y.channels, y.height, y.width, chunks, chunk,
                weight_group, weight_row, tile.rows, tile.vectors,
            ],
            np.intp,
        )  # fmt: skip
        products = sum(int(row[1]) * int(row[3]) * lanes for row in passes[: len(rows) * len(columns)])
        self._work = (
            self._groups_of_images * groups * products * y.channels // 16
            + images * groups * (x.channels * x.height * x.width)
        )

    @property
    def workspace(self) -> int:
        """Elements of scratch, for as many threads as there may be now."""
        return threads.slots(self._parts, self._work) * self._slot_size

    def run(self, x: Any, weight: Any, bias: Any, y: Any, workspace: Any) -> None:
        """Overwrite `y`; arrays are as in :mod:`fastopt.kernels.cpu`, `bias` may be None."""
        limit = len(workspace) // self._slot_size if self._slot_size else 0
        threads.run(
            _correlate,
            self._parts,
            self._work,
            x.reshape(-1),
            weight.reshape(-1),
            self._no_bias if bias is None else bias,
            y.reshape(-1),
            workspace,
            self._layout,
            self._phases,
            self._passes,
            self._offsets,
            self._places,
            self._firsts,
            self._segments,
            limit=limit,
        )


PLACES = 12
CACHE = 1 << 19
PARTS = 16


class _Tables:
    """Taps and places of all passes, one behind another."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.offsets: list[tuple[int, int]] = []
        self.places: list[Table] = []
        self.firsts: list[Table] = []
        self.segments: list[Table] = []
        self.vectors = 0
        self.count = 0

    def add_taps(self, offsets: list[tuple[int, int]]) -> tuple[int, int]:
        first = len(self.offsets)
        self.offsets += offsets
        return first, len(offsets)

    def add_places(self, places: Table, targets: Table, last: int) -> tuple[int, int]:
        """Cover ascending `places` by as few vectors as can be; none begins behind `last`."""
        following = np.searchsorted(places, places + self.lanes).tolist()
        begins = []
        index = 0
        while index < len(places):
            begins.append(index)
            index = following[index]
        starts = np.minimum(places[begins], last)
        owner = np.repeat(np.arange(len(begins)), np.diff([*begins, len(places)]))
        lane = places - starts[owner]
        goes = targets - lane
        # A segment: lanes of one vector that go to neighbours.
        fresh = np.ones(len(places), bool)
        fresh[1:] = (np.diff(goes) != 0) | (np.diff(owner) != 0)
        heads = np.flatnonzero(fresh)
        masks = np.bitwise_or.reduceat(np.left_shift(1, lane), heads)
        counts = np.bincount(owner[heads], minlength=len(begins))
        first = self.vectors
        self.places.append(starts)
        self.firsts.append(self.count + np.cumsum(counts) - counts)
        self.segments.append(np.stack([goes[heads], masks], axis=1))
        self.vectors += len(begins)
        self.count += len(heads)
        return first, len(begins)

    def arrays(self) -> tuple[Table, Table, Table, Table]:
        return (
            np.array(self.offsets, np.intp).reshape(-1, 2),
            np.concatenate(self.places),
            np.append(np.concatenate(self.firsts), self.count),
            np.concatenate(self.segments),
        )


@compile_named
def _correlate(
    x, weight, bias, y, work, layout, phases, passes, offsets, places, firsts, segments,
    first, last, slot,
):  # fmt: skip
    """Parts `first` to `last - 1`: a group of images, a group of channels, a chunk of outputs."""
    images, groups, together = layout[0], layout[1], layout[2]
    direct, slot_size, buffer = layout[3], layout[4], layout[5]
    channels, height, width = layout[6], layout[7], layout[8]
    plane, image, pitch, origin = layout[9], layout[10], layout[11], layout[12]
    out_channels, out_height, out_width = layout[15], layout[16], layout[17]
    chunks, chunk, weight_group, weight_row = layout[18], layout[19], layout[20], layout[21]
    tile_rows, tile_vectors = layout[22], layout[23]
    out_area = out_height * out_width
    begin = slot * slot_size
    if not direct:
        work[begin : begin + buffer] = 0
    source = x if direct else work
    held = -1
    number = len(passes) if images % together == 0 else len(passes) // 2
    for part in range(first, last):
        group = part // chunks % groups
        n = part // chunks // groups * together
        count = min(together, images - n)
        source_at = begin
        if direct:
            source_at = (n * groups + group) * channels * height * width
        elif part // chunks != held:
            held = part // chunks
            for m in range(count):
                image_at = ((n + m) * groups + group) * channels * height * width
                spread(
                    x, image_at, channels, height, width, layout[13], layout[14], phases,
                    work, begin + origin + m * image, plane, pitch,
                )  # fmt: skip
        low = part % chunks * chunk
        high = min(low + chunk, out_channels)
        variant = 0 if count == together else number
        for row in range(variant, variant + number):
            first_tap, taps, start, vectors, block, apart = (
                passes[row, 0], passes[row, 1], passes[row, 2], passes[row, 3], passes[row, 4],
                passes[row, 5],
            )  # fmt: skip
            target = work if apart else y
            step = count * passes[row, 6] * passes[row, 9] if apart else out_area
            for v0 in range(start, start + vectors, block):
                v1 = min(v0 + block, start + vectors)
                k = low
                while k < high:
                    rows = tile_rows
                    while rows > high - k:
                        rows //= 2
                    channel = group * out_channels + k
                    y_at = (n * groups * out_channels + channel) * out_area
                    target_at = begin + buffer if apart else y_at
                    v = v0
                    while v < v1:
                        # Two twos rather than a three and a one, that would wait for its sums.
                        wide = tile_vectors if v1 - v != tile_vectors + 1 else tile_vectors - 1
                        wide = min(wide, v1 - v)
                        multiply(
                            rows, wide, taps, offsets, first_tap,
                            weight, group * weight_group + k * weight_row, weight_row,
                            source, source_at, places, v, firsts, segments,
                            bias, channel, target, target_at, step,
                        )  # fmt: skip
                        v += wide
                    if apart:
                        place = begin + buffer
                        for i in range(rows):
                            for m in range(count):
                                at = y_at + i * out_area + m * groups * out_channels * out_area
                                for q in range(passes[row, 6]):
                                    to = at + (passes[row, 7] + q * passes[row, 8]) * out_width
                                    to += passes[row, 10]
                                    for p in range(passes[row, 9]):
                                        y[to + p * passes[row, 11]] = work[place]
                                        place += 1
                    k += rows


@compile_named
def spread(
    x, x_at, channels, height, width, row_stride, column_stride, phases, work, work_at, plane, pitch
):  # fmt: skip
    """Copy an image into its buffer, phase by phase."""
    for c in range(channels):
        for f in range(len(phases)):
            a, b, rows, columns = phases[f, 0], phases[f, 1], phases[f, 2], phases[f, 3]
            to = work_at + (c * len(phases) + f) * plane
            at = x_at + (c * height + a) * width + b
            for _ in range(rows):
                if column_stride == 1:
                    copy(x, at, work, to, columns)
                else:
                    for q in range(columns):
                        work[to + q] = x[at + q * column_stride]
                at += row_stride * width
                to += pitch
