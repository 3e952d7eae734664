"""Sums of weighted shifts of an image: what convolution is, forward and backward.

Each image is copied once into a buffer where its channels stand flat, with zeros for the padding.
Output (i, j) then has a *place*, the flat i P + j with P the distance of two rows, and a tap of
the window is a number to add to it. So the products need no patches laid out: they read a vector
of neighbours, whatever the tap. Where the window is a single tap, not shifted, there is no padding
and the image itself is the buffer.

How an axis is copied is chosen by what is cheaper, see `_best_buffer`:

* *overlapping*: once for each remainder modulo the stride (where neighbours of the output see
  neighbours again). One gap of zeros serves as the padding behind a row and before the next; what
  falls on gaps is computed beside the rest and never stored.
* *separate*: once for each tap, shifted by it. No gaps, more to copy and to hold in the cache.

Where outputs stand apart, as they do in the gradient of a convolution with a stride, they are
computed in several *passes*, one for each remainder.

Owns the buffers, the tables of places and taps, and the order of the loops. Knows nothing of
convolution's own geometry, and nothing of vectors but how long they are.
"""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastopt.core._jit import compile_named
from fastopt.kernels.cpu import microkernel, threads
from fastopt.kernels.cpu.microkernel import (
    Tile,
    copy,
    gather_second,
    multiply,
    scatter_second,
)

__all__ = ["Correlation", "Operand", "Sweep"]

Table = NDArray[np.intp]

# Part of a second-level cache, in bytes: the buffer of one group of images, and as much of it as is
# gone through for all channels of the output before going on.
CACHE = 3 << 18
# Into at least so many parts the work is cut, if it can be: enough to occupy threads evenly.
PARTS = 16
# Images are taken together, so that vectors are full, up to so many places.
PLACES = 640


def _integers(names: str) -> np.dtype[Any]:
    return np.dtype([(name, np.intp) for name in names.split()])


# What compiled code is told; the sizes of x and y are those of one group of channels.
LAYOUT = _integers(
    "images groups together channels height width row_stride column_stride "
    "direct slot_size size plane image pitch origin "
    "out_channels out_height out_width chunks chunk weight_step tile_rows tile_vectors passes"
)
COPY = _integers("row to_row rows column to_column columns")
PASS = _integers(
    "first_tap taps first_vector vectors block apart "
    "rows row_start row_step columns column_start column_step"
)


class Sweep(NamedTuple):
    """Outputs along one axis, and what they see: output o adds up x[o stride + offset]."""

    outputs: int
    start: int  # where output 0 goes, and how far it is to the next
    step: int
    taps: tuple[tuple[int, int], ...]  # (index into the window, offset)


Sweeps = tuple[Sweep, ...]


class Operand(NamedTuple):
    """Channels of one group, height and width of an array (N, groups * channels, H, W)."""

    channels: int
    height: int
    width: int


class _Axis(NamedTuple):
    """How the buffer holds the elements of one axis of x, for all sweeps over it."""

    copies: list[tuple[int, int, int]]  # (first element, cell that it goes to, elements)
    pitch: int  # cells from one row, or image, to the next
    before: int  # cells of zeros needed before the first row
    behind: int
    taps: dict[int, tuple[int, int]]  # offset -> (copy, shift)


def _overlapping(length: int, stride: int, sweeps: Sweeps) -> _Axis:
    seen = [(sweep.outputs, offset) for sweep in sweeps for _, offset in sweep.taps]
    remainders = sorted({offset % stride for _, offset in seen})
    copies = [(first, 0, -(-(length - first) // stride)) for first in remainders]
    taps = {}
    before = behind = 0
    for outputs, offset in seen:
        shift, first = divmod(offset, stride)
        taps[offset] = number, _ = remainders.index(first), shift
        before = max(before, -shift)
        behind = max(behind, outputs + shift - copies[number][2])
    pitch = max((count for _, _, count in copies), default=0) + max(before, behind)
    return _Axis(copies, max(pitch, _most_outputs(sweeps)), before, behind, taps)


def _separate(length: int, stride: int, sweeps: Sweeps) -> _Axis:
    offsets = sorted({offset for sweep in sweeps for _, offset in sweep.taps})
    most = _most_outputs(sweeps)
    copies = []
    for offset in offsets:
        first = min(max(0, -(offset // stride)), most)
        last = min(max(first, (length - 1 - offset) // stride + 1), most)
        copies.append((first * stride + offset, first, last - first))
    return _Axis(copies, most, 0, 0, {offset: (k, 0) for k, offset in enumerate(offsets)})


def _ways(length: int, stride: int, sweeps: Sweeps) -> list[_Axis]:
    overlapping = _overlapping(length, stride, sweeps)
    if overlapping.pitch == _most_outputs(sweeps):  # no gaps that the other would save
        return [overlapping]
    return [overlapping, _separate(length, stride, sweeps)]


def _most_outputs(sweeps: Sweeps) -> int:
    return max(sweep.outputs for sweep in sweeps)


class _Buffer:
    """Where everything is in the buffer of a group of images; `direct` if that is x itself."""

    def __init__(
        self, channels: int, rows: _Axis, columns: _Axis, images: int, tile: Tile, item: int,
        direct: bool = False,
    ) -> None:  # fmt: skip
        self.rows, self.columns, self.images, self.direct = rows, columns, images, direct
        self.pitch = columns.pitch
        self.image = rows.pitch * self.pitch
        self.origin = rows.before * self.pitch + columns.before
        self.copies = len(rows.copies) * len(columns.copies)
        if direct:
            self.plane = self.image
        else:
            # A vector that begins at the last place reads beyond it.
            end = self.origin + images * self.image + rows.behind * self.pitch + columns.behind
            vectors = -(-end // tile.lanes) + 1
            # Or all channels would compete for the same lines of the first-level cache.
            if vectors * tile.lanes * item % 4096 == 0:
                vectors += 1
            self.plane = vectors * tile.lanes
        self.last_place = self.plane - tile.lanes
        self.size = 0 if direct else channels * self.copies * self.plane
        self.copied = 0
        if not direct:
            for row, column in itertools.product(rows.copies, columns.copies):
                self.copied += channels * row[2] * column[2]

    def places(self, images: int, down: Sweep, across: Sweep) -> Table:
        """Of the outputs, (images, rows, columns)."""
        return _grid(
            np.arange(images) * self.image,
            np.arange(down.outputs) * self.pitch,
            np.arange(across.outputs),
        )

    def tap(self, high: int, wide: int) -> int:
        """What to add to a place for a tap with these offsets."""
        row_copy, row = self.rows.taps[high]
        column_copy, column = self.columns.taps[wide]
        copy = row_copy * len(self.columns.copies) + column_copy
        return copy * self.plane + self.origin + row * self.pitch + column

    def table_of_copies(self) -> NDArray[Any]:
        copies = itertools.product(self.rows.copies, self.columns.copies)
        return np.array([(*row, *column) for row, column in copies], COPY)


def _grid(images: Table, rows: Table, columns: Table) -> Table:
    return images[:, None, None] + rows[:, None] + columns


def _cover(places: Table, lanes: int) -> list[int]:
    """Indices of those ascending places at which vectors begin: as few as cover all of them."""
    following = np.searchsorted(places, places + lanes).tolist()
    begins = []
    index = 0
    while index < len(places):
        begins.append(index)
        index = following[index]
    return begins


def _best_buffer(
    images: int, x: Operand, y: Operand, stride: tuple[int, int], rows: Sweeps, columns: Sweeps,
    tile: Tile, item: int,
) -> _Buffer:  # fmt: skip
    """The one that takes the least time: of multiplying, and of copying an element a cycle."""
    most = max(1, PLACES // (_most_outputs(rows) * _most_outputs(columns)))
    candidates: list[_Buffer] = []
    for vertical, horizontal in itertools.product(
        _ways(x.height, stride[0], rows), _ways(x.width, stride[1], columns)
    ):
        for together in range(1, 1 + min(images, most)):
            buffer = _Buffer(x.channels, vertical, horizontal, together, tile, item)
            if not candidates or buffer.size * item <= CACHE:
                candidates.append(buffer)

    panels = -(-y.channels // tile.rows)

    def time(buffer: _Buffer) -> float:
        cycles = 0.0
        for high, wide in itertools.product(rows, columns):
            places = buffer.places(buffer.images, high, wide).ravel()
            tiles = _tiles(len(_cover(places, tile.lanes)), tile.vectors)
            cycles += tiles * len(high.taps) * len(wide.taps)
        cycles *= x.channels * panels * tile.rows * tile.vectors / 2
        return buffer.copied + cycles / buffer.images

    return min(candidates, key=time)


def _tiles(vectors: int, most: int) -> float:
    """The time of so many vectors in that of a tile of the largest width.

    A narrower one takes longer than its share, for it loads as many weights.
    """
    whole, rest = divmod(vectors, most)
    return whole + (rest > 0) * (2 * rest + most) / (3 * most)


class Correlation:
    """The plan of y[n, g, k] = bias[g, k] + sum over c, r, s of weight[g, k, c, r, s] x[n, g, c].

    Parameters
    ----------
    images, groups : int
    x, y : Operand
    window : (int, int)
        Of the weight, (groups * y.channels, x.channels, *window).
    stride : (int, int)
        Of the places in x; how far outputs stand apart is the sweeps'.
    rows, columns : tuple of Sweep
        Together they write each output once.
    dtype : numpy.dtype
    """

    def __init__(
        self,
        images: int,
        groups: int,
        x: Operand,
        y: Operand,
        window: tuple[int, int],
        stride: tuple[int, int],
        rows: Sweeps,
        columns: Sweeps,
        dtype: np.dtype[Any],
    ) -> None:
        tile = microkernel.tile(dtype)
        item = dtype.itemsize
        self._no_bias = np.zeros(groups * y.channels, dtype)

        buffer = None
        if stride == (1, 1) and _is_identity(rows, x.height) and _is_identity(columns, x.width):
            # Neighbours in a row mean nothing here: all of an image is one row.
            area = x.height * x.width
            x, y = x._replace(height=1, width=area), y._replace(height=1, width=area)
            rows = (rows[0]._replace(outputs=1),)
            columns = (columns[0]._replace(outputs=area),)
            if area >= tile.lanes:
                axes = _overlapping(1, 1, rows), _overlapping(area, 1, columns)
                buffer = _Buffer(x.channels, *axes, 1, tile, item, direct=True)
        if buffer is None:
            buffer = _best_buffer(images, x, y, stride, rows, columns, tile, item)

        tables = _Tables(tile.lanes)
        passes = []
        groups_of_images = -(-images // buffer.images)
        last_group = images - (groups_of_images - 1) * buffer.images
        # So many vectors are gone through for all channels of y before going on.
        tile_size = x.channels * max(1, buffer.copies) * tile.lanes * tile.vectors * item
        block = max(1, CACHE // tile_size) * tile.vectors
        # The same again for a last group of fewer images.
        for count in dict.fromkeys((buffer.images, last_group)):
            for down, across in itertools.product(rows, columns):
                first_tap, taps = tables.add_taps(
                    [
                        (
                            (c * window[0] + r) * window[1] + s,
                            c * buffer.copies * buffer.plane + buffer.tap(high, wide),
                        )
                        for c, (r, high), (s, wide) in itertools.product(
                            range(x.channels), down.taps, across.taps
                        )
                    ]
                )
                places = buffer.places(count, down, across)
                apart = down.step != 1 or across.step != 1
                if apart:  # first to scratch, dense
                    targets = np.arange(places.size)
                else:
                    targets = _grid(
                        np.arange(count) * (groups * y.channels * y.height * y.width),
                        (down.start + np.arange(down.outputs)) * y.width,
                        across.start + np.arange(across.outputs),
                    ).ravel()
                first, vectors = tables.add_places(places.ravel(), targets, buffer.last_place)
                passes.append(
                    (
                        first_tap, taps, first, vectors, vectors if apart else block, apart,
                        *down[:3], *across[:3],
                    )
                )  # fmt: skip
        self._passes = np.array(passes, PASS)
        self._offsets, self._places, self._segments = tables.arrays()
        self._copies = buffer.table_of_copies()

        # Channels of y are split too where there are few images, so that there are parts enough.
        panels = -(-y.channels // tile.rows)
        chunks = max(1, min(panels, PARTS // (groups_of_images * groups)))
        chunk = -(-panels // chunks) * tile.rows
        chunks = -(-y.channels // chunk)
        self._parts = groups_of_images * groups * chunks
        once = self._passes[: len(rows) * len(columns)]
        products = groups_of_images * groups * y.channels * np.dot(once["vectors"], once["taps"])
        self._work = int(products) // 2 + images * groups * x.channels * x.height * x.width
        outputs = self._passes["rows"] * self._passes["columns"] * self._passes["apart"]
        scratch = buffer.images * tile.rows * int(outputs.max())
        self._slot_size = -(-(buffer.size + scratch) // 64) * 64
        self._layout = np.array(
            [
                (
                    images, groups, buffer.images, x.channels, x.height, x.width, *stride,
                    buffer.direct, self._slot_size, buffer.size, buffer.plane, buffer.image,
                    buffer.pitch, buffer.origin, y.channels, y.height, y.width, chunks, chunk,
                    x.channels * window[0] * window[1], tile.rows, tile.vectors, len(once),
                )
            ],
            LAYOUT,
        )  # fmt: skip

    @property
    def workspace(self) -> int:
        """Elements of scratch, for as many threads as there may be now."""
        return threads.slots(self._parts, self._work) * self._slot_size

    def run(self, x: Any, weight: Any, bias: Any, y: Any, workspace: Any) -> None:
        """Overwrite `y`; arrays are as in :mod:`fastopt.kernels.cpu`, `bias` may be None."""
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
            self._copies,
            self._passes,
            self._offsets,
            self._places,
            self._segments,
            limit=len(workspace) // self._slot_size if self._slot_size else 0,
            pieces=1,
        )


def _is_identity(sweeps: Sweeps, length: int) -> bool:
    """Whether output o sees x[o] and nothing else."""
    return sweeps == (Sweep(length, 0, 1, ((0, 0),)),)


class _Tables:
    """Taps and places of all passes, one behind another, as `multiply` reads them."""

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self._offsets: list[tuple[int, int]] = []
        self._places: list[Table] = []
        self._segments: list[Table] = []
        self._vectors = 0
        self._pieces = 1

    def add_taps(self, offsets: list[tuple[int, int]]) -> tuple[int, int]:
        """(the first's number, how many)."""
        first = len(self._offsets)
        self._offsets += offsets
        return first, len(offsets)

    def add_places(self, places: Table, targets: Table, last: int) -> tuple[int, int]:
        """Vectors that cover ascending `places`, none beginning behind `last`; where lanes go.

        Returns (the first's number, how many).
        """
        begins = _cover(places, self._lanes)
        starts = np.minimum(places[begins], last)
        owner = np.repeat(np.arange(len(begins)), np.diff([*begins, len(places)]))
        lane = places - starts[owner]
        goes = targets - lane
        # A segment: lanes of one vector that go to neighbours.
        fresh = np.ones(len(places), bool)
        fresh[1:] = (np.diff(goes) != 0) | (np.diff(owner) != 0)
        heads = np.flatnonzero(fresh)
        masks = np.bitwise_or.reduceat(np.left_shift(1, lane), heads)
        # As many for all vectors: those that lack one get it again, without lanes.
        owner = owner[heads]
        counts = np.bincount(owner)
        before = np.cumsum(counts) - counts
        segments = np.zeros((len(begins), self._lanes, 2), np.intp)
        segments[:, :, 0] = goes[heads][before][:, None]
        segments[owner, np.arange(len(heads)) - before[owner]] = np.stack([goes[heads], masks], 1)
        self._pieces = max(self._pieces, counts.max())
        first = self._vectors
        self._places.append(starts)
        self._segments.append(segments)
        self._vectors += len(begins)
        return first, len(begins)

    def arrays(self) -> tuple[Table, Table, Table]:
        """Offsets, places and segments."""
        return (
            np.array(self._offsets, np.intp).reshape(-1, 2),
            np.concatenate(self._places),
            np.ascontiguousarray(np.concatenate(self._segments)[:, : self._pieces]),
        )


@compile_named
def _correlate(
    x, weight, bias, y, work, layout, copies, passes, offsets, places, segments, first, last, slot
):
    """A part: a group of images, a group of channels, and a chunk of those of y."""
    plan = layout[0]
    groups, together, chunks = plan["groups"], plan["together"], plan["chunks"]
    x_size = plan["channels"] * plan["height"] * plan["width"]
    out_channels, out_area = plan["out_channels"], plan["out_height"] * plan["out_width"]
    begin = slot * plan["slot_size"]
    scratch = begin + plan["size"]
    work[begin:scratch] = 0  # what is padding stays so
    source = x if plan["direct"] else work
    held = -1
    for part in range(first, last):
        number = part // chunks
        group = number % groups
        n = number // groups * together
        count = min(together, plan["images"] - n)
        source_at = number * x_size if plan["direct"] else begin
        if not plan["direct"] and number != held:
            held = number
            for m in range(count):
                x_at = ((n + m) * groups + group) * x_size
                _fill(x, x_at, work, begin + plan["origin"] + m * plan["image"], plan, copies)
        low = part % chunks * plan["chunk"]
        high = min(low + plan["chunk"], out_channels)
        variant = 0 if count == together else plan["passes"]
        for index in range(variant, variant + plan["passes"]):
            this = passes[index]
            apart = this["apart"]
            target = work if apart else y
            dense = this["rows"] * this["columns"]
            step = count * dense if apart else out_area
            end = this["first_vector"] + this["vectors"]
            for left in range(this["first_vector"], end, this["block"]):
                right = min(left + this["block"], end)
                k = low
                while k < high:
                    rows = plan["tile_rows"]
                    while rows > high - k:
                        rows //= 2
                    channel = group * out_channels + k
                    y_at = (n * groups * out_channels + channel) * out_area
                    vector = left
                    while vector < right:
                        wide = min(plan["tile_vectors"], right - vector)
                        # Two and two rather than three and one: one waits for its own sums.
                        if right - vector == plan["tile_vectors"] + 1 > 3:
                            wide -= 1
                        multiply(
                            rows, wide, this["taps"], offsets, this["first_tap"],
                            weight, channel * plan["weight_step"], plan["weight_step"],
                            source, source_at, places, vector, segments,
                            bias, channel, target, scratch if apart else y_at, step,
                        )  # fmt: skip
                        vector += wide
                    if apart:
                        for i in range(rows):
                            for m in range(count):
                                at = y_at + (m * groups * out_channels + i) * out_area
                                dense_at = scratch + i * step + m * dense
                                _scatter(work, dense_at, y, at, plan["out_width"], this)
                    k += rows


@compile_named
def _fill(x, x_at, work, at, plan, copies):
    """Copy the channels of an image to their places in the buffer."""
    width, across = plan["width"], plan["column_stride"]
    for c in range(plan["channels"]):
        for f in range(len(copies)):
            one = copies[f]
            source = x_at + (c * plan["height"] + one["row"]) * width + one["column"]
            target = at + one["to_row"] * plan["pitch"] + one["to_column"]
            for _ in range(one["rows"]):
                if across == 1:
                    copy(x, source, work, target, one["columns"])
                elif across == 2:
                    gather_second(x, source, work, target, one["columns"])
                else:
                    for q in range(one["columns"]):
                        work[target + q] = x[source + q * across]
                source += plan["row_stride"] * width
                target += plan["pitch"]
            at += plan["plane"]


@compile_named
def _scatter(work, at, y, y_at, out_width, this):
    """Outputs of one channel and image from dense scratch to where they stand apart."""
    columns, step = this["columns"], this["column_step"]
    for q in range(this["rows"]):
        to = y_at + (this["row_start"] + q * this["row_step"]) * out_width + this["column_start"]
        if step == 1:
            copy(work, at, y, to, columns)
        elif step == 2:
            scatter_second(work, at, y, to, columns)
        else:
            for p in range(columns):
                y[to + p * step] = work[at + p]
        at += columns
