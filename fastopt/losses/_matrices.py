"""Products of a few rows of a matrix with vectors, forth and back, and with themselves.

Owns the two forms that a matrix comes in: a C-contiguous array of shape (n, p), or the tuple
``(data, indices, indptr, p)`` of the CSR format. Knows nothing of losses. All else is written once,
in terms of these functions:

* ``shape_of(X)``: n and p;
* ``rows_at_once(X)``: how many rows to take in one go, so that they are still in the cache when
  they are needed again;
* ``add_scores(X, first, count, outputs, vectors, scores)``: ``scores[b, k] += x . vectors[k]`` for
  `count` rows x from `first` on;
* ``add_rows(X, first, count, outputs, weights, vectors)``: ``vectors[k] += weights[b, k] x``;
* ``add_squares(X, first, count, outputs, weights, blank, vectors)``: likewise with the squares of
  its entries; `blank` has p zeros, and keeps them;
* ``add_outer(X, first, count, weights, room, top, sums)``: ``sums[top:] += weights[b] x x'``, the
  lower triangle, for OUTER_ROWS rows at most. ``square_room(X)`` makes `room`, and says how many
  rows and columns `sums` has for each such matrix: there may be some behind the p that count.

`vectors` has `outputs` rows of p entries or more. `scores` and `weights` are flat, [b, k] being
entry ``b * outputs + k``: so the compiler knows where they are if it knows `outputs`, and it does
where that is 1. (What it knows of an array's shape is lost in a reshape.)

Sums over the features keep several accumulators and add them in a fixed order: the same bits
everywhere. Four rows go together, because one load of a vector, or one load and store of a
gradient, then serves all four.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from numba.extending import overload

from fastopt.core._jit import RULE
from fastopt.core._lanes import LANES, add, add_product, load, scaled, store, total, zeros

__all__ = [
    "MOST_ROWS",
    "OUTER_ROWS",
    "add_outer",
    "add_rows",
    "add_scores",
    "add_squares",
    "dot",
    "rows_at_once",
    "shape_of",
    "square_room",
]

# As many scores are worked on at once: enough for vector code over them.
MOST_ROWS = 32
# And as many rows are multiplied with themselves: each sum is loaded and stored once for all.
OUTER_ROWS = 64
# Rows of so many doubles in all, 128 KiB, are still in the second-level cache when they come again.
_IN_CACHE = 16384


def shape_of(X: Any) -> Any:
    return _csr_shape(X) if isinstance(X, tuple) else _dense_shape(X)


def rows_at_once(X: Any) -> Any:
    return _csr_rows(X) if isinstance(X, tuple) else _dense_rows(X)


def add_scores(X: Any, first: int, count: int, outputs: int, vectors: Any, scores: Any) -> None:
    form = _csr_add_scores if isinstance(X, tuple) else _dense_add_scores
    form(X, first, count, outputs, vectors, scores)


def add_rows(X: Any, first: int, count: int, outputs: int, weights: Any, vectors: Any) -> None:
    form = _csr_add_rows if isinstance(X, tuple) else _dense_add_rows
    form(X, first, count, outputs, weights, vectors)


def add_squares(
    X: Any, first: int, count: int, outputs: int, weights: Any, blank: Any, vectors: Any
) -> None:
    form = _csr_add_squares if isinstance(X, tuple) else _dense_add_squares
    form(X, first, count, outputs, weights, blank, vectors)


def square_room(X: Any) -> Any:
    return _csr_square_room(X) if isinstance(X, tuple) else _dense_square_room(X)


def add_outer(X: Any, first: int, count: int, weights: Any, room: Any, top: int, sums: Any) -> None:
    form = _csr_add_outer if isinstance(X, tuple) else _dense_add_outer
    form(X, first, count, weights, room, top, sums)


@overload(shape_of, strict=False)
def _compile_shape_of(X: Any) -> Any:
    if _is_csr(X):
        return lambda X: _csr_shape(X)
    return lambda X: _dense_shape(X)


@overload(rows_at_once, strict=False)
def _compile_rows_at_once(X: Any) -> Any:
    if _is_csr(X):
        return lambda X: _csr_rows(X)
    return lambda X: _dense_rows(X)


@overload(add_scores, strict=False)
def _compile_add_scores(
    X: Any, first: Any, count: Any, outputs: Any, vectors: Any, scores: Any
) -> Any:
    if _is_csr(X):
        return lambda X, first, count, outputs, vectors, scores: _csr_add_scores(
            X, first, count, outputs, vectors, scores
        )
    return lambda X, first, count, outputs, vectors, scores: _dense_add_scores(
        X, first, count, outputs, vectors, scores
    )


@overload(add_rows, strict=False)
def _compile_add_rows(
    X: Any, first: Any, count: Any, outputs: Any, weights: Any, vectors: Any
) -> Any:
    if _is_csr(X):
        return lambda X, first, count, outputs, weights, vectors: _csr_add_rows(
            X, first, count, outputs, weights, vectors
        )
    return lambda X, first, count, outputs, weights, vectors: _dense_add_rows(
        X, first, count, outputs, weights, vectors
    )


@overload(add_squares, strict=False)
def _compile_add_squares(
    X: Any, first: Any, count: Any, outputs: Any, weights: Any, blank: Any, vectors: Any
) -> Any:
    if _is_csr(X):
        return lambda X, first, count, outputs, weights, blank, vectors: _csr_add_squares(
            X, first, count, outputs, weights, blank, vectors
        )
    return lambda X, first, count, outputs, weights, blank, vectors: _dense_add_squares(
        X, first, count, outputs, weights, blank, vectors
    )


@overload(square_room, strict=False)
def _compile_square_room(X: Any) -> Any:
    if _is_csr(X):
        return lambda X: _csr_square_room(X)
    return lambda X: _dense_square_room(X)


@overload(add_outer, strict=False)
def _compile_add_outer(
    X: Any, first: Any, count: Any, weights: Any, room: Any, top: Any, sums: Any
) -> Any:
    if _is_csr(X):
        return lambda X, first, count, weights, room, top, sums: _csr_add_outer(
            X, first, count, weights, room, top, sums
        )
    return lambda X, first, count, weights, room, top, sums: _dense_add_outer(
        X, first, count, weights, room, top, sums
    )


def _is_csr(X: Any) -> bool:
    """Which form a Numba type is; TypeError if it is neither.

    Not a Numba TypingError: that would reach the user inside Numba's account of its search for an
    implementation, where any other exception comes out as it is.
    """
    if isinstance(X, types.BaseTuple) and len(X) == 4:
        data, indices, indptr, features = X
        if (
            isinstance(data, types.Array)
            and data.dtype == types.float64
            and all(
                isinstance(each, types.Array) and isinstance(each.dtype, types.Integer)
                for each in (indices, indptr)
            )
            and isinstance(features, types.Integer)
        ):
            return True
    elif isinstance(X, types.Array) and (X.ndim, X.dtype, X.layout) == (2, types.float64, "C"):
        return False
    raise TypeError(
        "`X` must be a C-contiguous array of float64 of shape (n, p), or a tuple (data, indices, "
        f"indptr, p) of a CSR matrix of float64; got {X}"
    )


# --- dense -----------------------------------------------------------------------------------


@RULE
def _dense_shape(X: Any) -> Any:
    return X.shape


@RULE
def _dense_rows(X: Any) -> Any:
    return max(4, min(MOST_ROWS, _IN_CACHE // max(X.shape[1], 1) // 4 * 4))


@RULE
def _dense_add_scores(
    X: Any, first: int, count: int, outputs: int, vectors: Any, scores: Any
) -> None:
    fours = count - count % 4
    for b in range(0, fours, 4):
        for k in range(outputs):
            _four_dots(X, first + b, vectors, k, scores, b * outputs + k, outputs)
    for b in range(fours, count):
        for k in range(outputs):
            scores[b * outputs + k] += dot(X, first + b, vectors, k, X.shape[1])


@RULE
def _four_dots(X: Any, i: int, vectors: Any, k: int, scores: Any, at: int, stride: int) -> None:
    """Add the products of rows i to i + 3 with one vector to four scores, `stride` apart.

    Each has the bits that `dot` gives it.
    """
    p = X.shape[1]
    eights = p - p % LANES
    s0, s1, s2, s3 = zeros(), zeros(), zeros(), zeros()
    for j in range(0, eights, LANES):
        v = load(vectors, k, j)
        s0 = add_product(s0, load(X, i, j), v)
        s1 = add_product(s1, load(X, i + 1, j), v)
        s2 = add_product(s2, load(X, i + 2, j), v)
        s3 = add_product(s3, load(X, i + 3, j), v)
    r0, r1, r2, r3 = 0.0, 0.0, 0.0, 0.0
    for j in range(eights, p):
        r0 += X[i, j] * vectors[k, j]
        r1 += X[i + 1, j] * vectors[k, j]
        r2 += X[i + 2, j] * vectors[k, j]
        r3 += X[i + 3, j] * vectors[k, j]
    scores[at] += total(s0) + r0
    scores[at + stride] += total(s1) + r1
    scores[at + 2 * stride] += total(s2) + r2
    scores[at + 3 * stride] += total(s3) + r3


@RULE
def dot(A: Any, i: int, B: Any, k: int, p: int) -> Any:
    """The product of the first p entries of row i of A and row k of B."""
    eights = p - p % LANES
    sums = zeros()
    for j in range(0, eights, LANES):
        sums = add_product(sums, load(A, i, j), load(B, k, j))
    rest = 0.0
    for j in range(eights, p):
        rest += A[i, j] * B[k, j]
    return total(sums) + rest


@RULE
def _dense_add_rows(
    X: Any, first: int, count: int, outputs: int, weights: Any, vectors: Any
) -> None:
    fours = count - count % 4
    for b in range(0, fours, 4):
        for k in range(outputs):
            _add_four_rows(X, first + b, weights, b * outputs + k, outputs, vectors, k)
    for b in range(fours, count):
        for k in range(outputs):
            for j in range(X.shape[1]):
                vectors[k, j] += weights[b * outputs + k] * X[first + b, j]


@RULE
def _add_four_rows(
    X: Any, i: int, weights: Any, at: int, stride: int, vectors: Any, k: int
) -> None:
    p = X.shape[1]
    eights = p - p % LANES
    w0, w1 = weights[at], weights[at + stride]
    w2, w3 = weights[at + 2 * stride], weights[at + 3 * stride]
    for j in range(0, eights, LANES):
        upper = add(scaled(w0, load(X, i, j)), scaled(w1, load(X, i + 1, j)))
        lower = add(scaled(w2, load(X, i + 2, j)), scaled(w3, load(X, i + 3, j)))
        store(vectors, k, j, add(load(vectors, k, j), add(upper, lower)))
    for j in range(eights, p):
        upper = w0 * X[i, j] + w1 * X[i + 1, j]
        lower = w2 * X[i + 2, j] + w3 * X[i + 3, j]
        vectors[k, j] += upper + lower


@RULE
def _dense_add_squares(
    X: Any, first: int, count: int, outputs: int, weights: Any, blank: Any, vectors: Any
) -> None:
    for b in range(count):
        for k in range(outputs):
            weight = weights[b * outputs + k]
            for j in range(X.shape[1]):
                vectors[k, j] += weight * (X[first + b, j] * X[first + b, j])


@RULE
def _dense_square_room(X: Any) -> Any:
    """Room for rows and for weighted rows, and the side of a square of sums.

    Eight columns are a panel, in which rows follow one another: a tile of sums then reads two runs
    of memory. The last panel is padded with zeros.
    """
    panels = (X.shape[1] + LANES - 1) // LANES
    return np.zeros((2 * panels, OUTER_ROWS * LANES)), panels * LANES


@RULE
def _dense_add_outer(
    X: Any, first: int, count: int, weights: Any, room: Any, top: int, sums: Any
) -> None:
    p = X.shape[1]
    whole, panels = p // LANES, room.shape[0] // 2
    for b in range(count):
        weight = weights[b]
        for panel in range(whole):
            row = load(X, first + b, panel * LANES)
            store(room, panel, b * LANES, row)
            store(room, panels + panel, b * LANES, scaled(weight, row))
        for j in range(whole * LANES, p):
            place = b * LANES + j - whole * LANES
            room[whole, place] = X[first + b, j]
            room[panels + whole, place] = weight * X[first + b, j]
    for j in range(0, p, LANES):
        for i in range(j, p, 4):
            _add_four_by_eight(room, count, i, j, top, sums)


@RULE
def _add_four_by_eight(room: Any, count: int, i: int, j: int, top: int, sums: Any) -> None:
    """Add the products of columns i to i + 3, weighted, with columns j to j + 7."""
    panel, weighted = j // LANES, np.uint64(room.shape[0] // 2 + i // LANES)
    s0, s1, s2, s3 = zeros(), zeros(), zeros(), zeros()
    for b in range(0, count * LANES, LANES):
        row, at = load(room, panel, b), np.uint64(b + i % LANES)
        s0 = add(s0, scaled(room[weighted, at], row))
        s1 = add(s1, scaled(room[weighted, at + np.uint64(1)], row))
        s2 = add(s2, scaled(room[weighted, at + np.uint64(2)], row))
        s3 = add(s3, scaled(room[weighted, at + np.uint64(3)], row))
    store(sums, top + i, j, add(load(sums, top + i, j), s0))
    store(sums, top + i + 1, j, add(load(sums, top + i + 1, j), s1))
    store(sums, top + i + 2, j, add(load(sums, top + i + 2, j), s2))
    store(sums, top + i + 3, j, add(load(sums, top + i + 3, j), s3))


# --- CSR -------------------------------------------------------------------------------------
#
# Indices are checked where the matrix is, in `fastopt.losses._data`. Unsigned numbers spare the
# loops Numba's look at whether they count from the end, and halve their time.


@RULE
def _csr_shape(X: Any) -> Any:
    return X[2].size - 1, X[3]


@RULE
def _csr_rows(X: Any) -> Any:
    return MOST_ROWS


@RULE
def _csr_add_scores(
    X: Any, first: int, count: int, outputs: int, vectors: Any, scores: Any
) -> None:
    data, indices, indptr, _ = X
    for b in range(count):
        begin, end = np.uint64(indptr[first + b]), np.uint64(indptr[first + b + 1])
        for k in range(outputs):
            score = 0.0
            for j in range(begin, end):
                score += data[j] * vectors[k, np.uint64(indices[j])]
            scores[b * outputs + k] += score


@RULE
def _csr_add_rows(X: Any, first: int, count: int, outputs: int, weights: Any, vectors: Any) -> None:
    data, indices, indptr, _ = X
    for b in range(count):
        begin, end = np.uint64(indptr[first + b]), np.uint64(indptr[first + b + 1])
        for k in range(outputs):
            weight = weights[b * outputs + k]
            for j in range(begin, end):
                vectors[k, np.uint64(indices[j])] += weight * data[j]


@RULE
def _csr_add_squares(
    X: Any, first: int, count: int, outputs: int, weights: Any, blank: Any, vectors: Any
) -> None:
    """By way of `blank`, where an entry that is stored in parts comes together."""
    data, indices, indptr, _ = X
    for b in range(count):
        begin, end = np.uint64(indptr[first + b]), np.uint64(indptr[first + b + 1])
        for j in range(begin, end):
            blank[np.uint64(indices[j])] += data[j]
        for j in range(begin, end):
            column = np.uint64(indices[j])
            square = blank[column] * blank[column]
            blank[column] = 0.0
            for k in range(outputs):
                vectors[k, column] += weights[b * outputs + k] * square


@RULE
def _csr_square_room(X: Any) -> Any:
    return np.zeros((1, 1)), int(X[3])


@RULE
def _csr_add_outer(
    X: Any, first: int, count: int, weights: Any, room: Any, top: int, sums: Any
) -> None:
    data, indices, indptr, _ = X
    for b in range(count):
        begin, end = np.uint64(indptr[first + b]), np.uint64(indptr[first + b + 1])
        for j in range(begin, end):
            column = np.uint64(indices[j])
            weighted = weights[b] * data[j]
            for k in range(begin, end):
                if np.uint64(indices[k]) <= column:
                    sums[np.uint64(top) + column, np.uint64(indices[k])] += weighted * data[k]
