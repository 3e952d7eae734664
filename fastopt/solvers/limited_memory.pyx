"""The inverse Hessian as the last m pairs (s, y): the two-loop recursion, in two ways.

Few variables: vector by vector (Nocedal & Wright 2006, algorithm 7.4). Each of its 4 m steps waits
for the one before and passes over the direction once more.

Many: what the recursion asks for are inner products with combinations of the gradient, s and y. So
it runs on inner products of these themselves, of which an iteration brings 4 m new ones, and then
the direction is put together. The pairs are read twice, once for either, and nothing else is as
large: the bound is the traffic of memory. It is the compact form of Byrd, Nocedal & Schnabel (Math.
Program. 63, 1994, equation 3.1), whose triangular solves are the recursion's two loops.

Own the pairs. Know nothing of the loop, the objective or the search.
"""

from cython.parallel cimport prange
from libc.math cimport INFINITY, fabs
from libc.string cimport memset

from fastopt.core.check cimport check
from fastopt.core.four cimport (
    Four, add_up, apart, load, plus_product, prefetch, repeat, store, wide,
)
from fastopt.core.threads cimport this_process, usable_threads
from fastopt.core.vector cimport (
    Products, axpy, copy_scaled, dot, scale_by, subtract_both, swap, unshared, whole_lines,
)
from fastopt.solvers.inverse_hessian cimport is_curved
from fastopt.solvers.iteration cimport Point

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    PIECE = 4096              # variables that one thread takes at once; sums are over as many
    BLOCK = 512               # variables whose gradient, s and y stay in the first cache

# With fewer variables a second thread gains little: the time of an iteration shrinks to 0.9 of that
# of one thread at n = 50 000, to 0.66 at 100 000 (m = 10, with threads that sleep as they wait).
cdef Py_ssize_t SHARED_FROM = 100_000
# Squares below this have lost digits to the range of doubles.
cdef double LEAST_SQUARES = 1e-280
# The process that loaded this module: see `usable_threads`.
cdef int home = this_process()


cdef Py_ssize_t most_pairs(Py_ssize_t n) noexcept nogil:
    """How many pairs of vectors can be counted in bytes, with room for all else."""
    return PY_SSIZE_T_MAX // (32 * (n + 8))


cdef Py_ssize_t pairs_size(const InverseHessian* memory) noexcept nogil:
    """How many doubles the memory takes, from where a cache line begins."""
    cdef Py_ssize_t m = memory.m
    cdef Py_ssize_t size = 2 * m * stride_of(memory) + 2 * m
    if memory.streamed:
        size += 2 * m * m + 2 * m + sums_size(memory) * count_pieces(memory)
    return size


cdef void lay_out_pairs(InverseHessian* memory, double* vectors) noexcept nogil:
    cdef Py_ssize_t m = memory.m
    memory.stride = stride_of(memory)
    memory.steps = vectors
    memory.changes = memory.steps + m * memory.stride
    memory.inverses = memory.changes + m * memory.stride
    memory.shares = memory.inverses + m
    memory.sy = memory.shares + m
    memory.yy = memory.sy + m * m
    memory.weights = memory.yy + m * m
    memory.sums = memory.weights + 2 * m
    point_to_next_pair(memory)


cdef Py_ssize_t stride_of(const InverseHessian* memory) noexcept nogil:
    return whole_lines(memory.n) if memory.streamed else memory.n


cdef Py_ssize_t count_pieces(const InverseHessian* memory) noexcept nogil:
    return (memory.n - 1) // PIECE + 1


cdef Py_ssize_t sums_size(const InverseHessian* memory) noexcept nogil:
    return 4 * memory.m + 1


cdef void point_to_next_pair(InverseHessian* memory) noexcept nogil:
    check(0 <= memory.next < memory.m and memory.pairs <= memory.m)
    memory.s = memory.steps + memory.next * memory.stride
    memory.y = memory.changes + memory.next * memory.stride


cdef void form_pair(InverseHessian* memory, const Point* before, const Point* after,
                    Products* products) noexcept nogil:
    """Streamed: the next pair, at (s, y), and on the way all sums that `learn` will ask for."""
    cdef const double* row = memory.sums + 4 * memory.next
    sum_products(memory, before, after, after.gradient)
    memory.summed = True
    products.ss = memory.sums[4 * memory.m]
    products.sy = row[1]
    products.yy = row[3]


cdef double learn(InverseHessian* memory, double curvature, double length, double change,
                  const double* gradient, double* direction) noexcept nogil:
    """Take in the pair at (s, y), if its curvature s'y is positive, and turn the direction.

    `length` is |s|, `change` |y|; `direction` becomes -H+ g. Returns the slope along it.
    """
    if memory.streamed and not memory.summed:
        sum_products(memory, NULL, NULL, gradient)
    if is_curved(curvature, length, change):
        memory.scale = curvature / change / change
        push(memory, curvature)
    else:
        memory.pairs = min(memory.pairs, memory.m - 1)    # the oldest was written over
    return turn(memory, gradient, direction)


cdef double point_downhill(InverseHessian* memory, const double* gradient,
                           double* direction) noexcept nogil:
    """direction = -H g; the slope along it."""
    if memory.streamed:
        sum_products(memory, NULL, NULL, gradient)
    return turn(memory, gradient, direction)


cdef void recall(InverseHessian* memory) noexcept nogil:
    """Take in the pair at (s, y), which an earlier solve has learnt from."""
    cdef Py_ssize_t n = memory.n
    cdef double curvature = dot(memory.s, memory.y, n)
    memory.scale = curvature / dot(memory.y, memory.y, n)
    if memory.streamed:
        sum_products(memory, NULL, NULL, memory.y)
    push(memory, curvature)


cdef void push(InverseHessian* memory, double curvature) noexcept nogil:
    """The pair at (s, y) becomes the latest one."""
    cdef Py_ssize_t m = memory.m
    cdef Py_ssize_t latest = memory.next
    cdef const double* row
    cdef Py_ssize_t i, k
    memory.pairs = 1 if memory.empty else min(memory.pairs + 1, m)
    memory.empty = False
    memory.inverses[latest] = 1 / curvature
    memory.next = latest + 1 if latest + 1 < m else 0
    point_to_next_pair(memory)
    if memory.streamed:
        for k in range(memory.pairs):
            i = row_of(memory, k)
            row = memory.sums + 4 * i
            memory.sy[i * m + latest] = row[1]
            memory.yy[i * m + latest] = row[3]
            memory.yy[latest * m + i] = row[3]


cdef void put_in_order(InverseHessian* memory) noexcept nogil:
    """Oldest pair first, in rows 0, 1, ..., where nothing will be learnt any more."""
    cdef Py_ssize_t first = row_of(memory, 0)
    if first == 0:
        return
    turn_rows(memory, 0, first)
    turn_rows(memory, first, memory.m)
    turn_rows(memory, 0, memory.m)
    memory.next = memory.pairs % memory.m


cdef void turn_rows(InverseHessian* memory, Py_ssize_t start, Py_ssize_t stop) noexcept nogil:
    """The last first. Three such turns move the rows around the ring, without another (m, n)."""
    cdef Py_ssize_t stride = memory.stride
    while stop - start > 1:
        stop -= 1
        swap(memory.steps + start * stride, memory.steps + stop * stride, memory.n)
        swap(memory.changes + start * stride, memory.changes + stop * stride, memory.n)
        start += 1


cdef inline Py_ssize_t row_of(const InverseHessian* memory, Py_ssize_t k) noexcept nogil:
    """Where pair k is, the oldest being number 0; number `pairs` is the next one."""
    cdef Py_ssize_t row = memory.next - memory.pairs + k
    return row if row >= 0 else row + memory.m


cdef double turn(InverseHessian* memory, const double* gradient, double* direction) noexcept nogil:
    """direction = -H g; the slope along it. Streamed: the sums are those of this gradient."""
    if memory.empty:
        copy_scaled(-memory.scale, gradient, direction, memory.n)
    elif memory.streamed and recur_on_products(memory):
        return put_together(memory, gradient, direction)
    else:
        recur(memory, gradient, direction)
    return dot(gradient, direction, memory.n)


cdef wide recur(InverseHessian* memory, const double* gradient, double* direction) noexcept nogil:
    """Nocedal & Wright's algorithm 7.4, on -g; `shares` are their alpha."""
    cdef Py_ssize_t n = memory.n
    cdef Py_ssize_t stride = memory.stride
    cdef Py_ssize_t row = memory.next
    cdef double beta
    copy_scaled(-1.0, gradient, direction, n)
    for _ in range(memory.pairs):
        row = row - 1 if row > 0 else memory.m - 1
        memory.shares[row] = dot(memory.steps + row * stride, direction, n) * memory.inverses[row]
        axpy(-memory.shares[row], memory.changes + row * stride, direction, n)
    scale_by(memory.scale, direction, n)
    for _ in range(memory.pairs):
        beta = dot(memory.changes + row * stride, direction, n) * memory.inverses[row]
        axpy(memory.shares[row] - beta, memory.steps + row * stride, direction, n)
        row = row + 1 if row + 1 < memory.m else 0


# --- on inner products -----------------------------------------------------------------------

cdef void sum_products(InverseHessian* memory, const Point* before, const Point* after,
                       const double* gradient) noexcept nogil:
    """s'g, s'y, y'g and y'y of each pair's s and y with `gradient` and the y of the next pair.

    The next pair is one of them; it may lie where the oldest one has been until now. With two
    points it is their difference, which is formed first; last of the sums is the step's square.
    """
    cdef Py_ssize_t pieces = count_pieces(memory)
    cdef Py_ssize_t size = sums_size(memory)
    cdef int threads = threads_for(memory)
    cdef Py_ssize_t piece
    if threads == 1:                     # OpenMP takes half a microsecond for one thread as well
        for piece in range(pieces):
            sum_piece(memory, before, after, gradient, piece)
    else:
        for piece in prange(pieces, schedule="static", num_threads=threads):
            sum_piece(memory, before, after, gradient, piece)
    for piece in range(1, pieces):
        axpy(1.0, memory.sums + piece * size, memory.sums, size)
    memory.summed = False


cdef int threads_for(const InverseHessian* memory) noexcept nogil:
    if memory.n < SHARED_FROM:
        return 1
    return usable_threads(memory.threads, count_pieces(memory), home)


cdef wide sum_piece(const InverseHessian* memory, const Point* before, const Point* after,
                    const double* gradient, Py_ssize_t piece) noexcept nogil:
    cdef Py_ssize_t first = memory.pairs if memory.empty else memory.pairs == memory.m
    cdef Py_ssize_t at = piece * PIECE
    cdef Py_ssize_t stop = min(at + PIECE, memory.n)
    cdef double* sums = memory.sums + piece * sums_size(memory)
    cdef double* squares = sums + 4 * memory.m
    cdef Py_ssize_t size, place, following, k
    memset(sums, 0, sums_size(memory) * sizeof(double))
    while at < stop:
        size = min(<Py_ssize_t>BLOCK, stop - at)
        if after != NULL:
            squares[0] += subtract_both(
                after.x + at, before.x + at, memory.s + at,
                after.gradient + at, before.gradient + at, memory.y + at, size).ss
        place = place_of(memory, first, at)
        for k in range(first, memory.pairs + 1):
            following = (place_of(memory, k + 1, at) if k < memory.pairs
                         else place_of(memory, first, at + size))
            sum_four(memory.steps + place, memory.changes + place, gradient + at, memory.y + at,
                     sums + 4 * row_of(memory, k), size, following - place)
            place = following
        at += size


cdef inline Py_ssize_t place_of(const InverseHessian* memory, Py_ssize_t k,
                                Py_ssize_t at) noexcept nogil:
    """Where element `at` of pair k is, in `steps` and in `changes`."""
    return row_of(memory, k) * memory.stride + at


cdef apart sum_four(const double* s, const double* y, const double* a, const double* b,
                    unshared sums, Py_ssize_t n, Py_ssize_t following) noexcept nogil:
    """Add s'a, s'b, y'a and y'b to the sums. What comes next lies so far behind s and y."""
    cdef Four sa = repeat(0), sb = repeat(0), ya = repeat(0), yb = repeat(0)
    cdef Four s_i, y_i, a_i, b_i
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t j
    while i + 8 <= n:
        prefetch(s + following + i)
        prefetch(y + following + i)
        for j in range(i, i + 8, 4):
            s_i = load(s + j)
            y_i = load(y + j)
            a_i = load(a + j)
            b_i = load(b + j)
            sa = plus_product(sa, s_i, a_i)
            sb = plus_product(sb, s_i, b_i)
            ya = plus_product(ya, y_i, a_i)
            yb = plus_product(yb, y_i, b_i)
        i += 8
    sums[0] += add_up(sa)
    sums[1] += add_up(sb)
    sums[2] += add_up(ya)
    sums[3] += add_up(yb)
    while i < n:
        sums[0] += s[i] * a[i]
        sums[1] += s[i] * b[i]
        sums[2] += y[i] * a[i]
        sums[3] += y[i] * b[i]
        i += 1


cdef bint recur_on_products(InverseHessian* memory) noexcept nogil:
    """As `recur`, for what the direction has of each s and y.

    False where the range of doubles is too small for it: then `recur` does better.
    """
    cdef Py_ssize_t m = memory.m
    cdef const double* sums = memory.sums
    cdef double product
    cdef bint finite = True
    cdef Py_ssize_t i, j, k, other
    for k in range(memory.pairs - 1, -1, -1):
        i = row_of(memory, k)
        product = -sums[4 * i]
        for other in range(k + 1, memory.pairs):
            j = row_of(memory, other)
            product -= memory.shares[j] * memory.sy[i * m + j]
        memory.shares[i] = product * memory.inverses[i]
    for k in range(memory.pairs):
        i = row_of(memory, k)
        product = -sums[4 * i + 2]
        for other in range(memory.pairs):
            j = row_of(memory, other)
            product -= memory.shares[j] * memory.yy[i * m + j]
        product *= memory.scale
        for other in range(k):
            j = row_of(memory, other)
            product += memory.weights[2 * j] * memory.sy[j * m + i]
        memory.weights[2 * i] = memory.shares[i] - product * memory.inverses[i]
        memory.weights[2 * i + 1] = -memory.scale * memory.shares[i]
        finite &= (fabs(memory.weights[2 * i]) + fabs(memory.weights[2 * i + 1]) < INFINITY
                   and memory.yy[i * m + i] > LEAST_SQUARES)
    return finite


cdef double put_together(const InverseHessian* memory, const double* gradient,
                         double* direction) noexcept nogil:
    """The direction that the weights stand for; the slope along it."""
    cdef Py_ssize_t pieces = count_pieces(memory)
    cdef int threads = threads_for(memory)
    cdef double slope = 0
    cdef Py_ssize_t piece
    if threads == 1:
        for piece in range(pieces):
            put_piece_together(memory, gradient, direction, piece)
    else:
        for piece in prange(pieces, schedule="static", num_threads=threads):
            put_piece_together(memory, gradient, direction, piece)
    for piece in range(pieces):
        slope = slope + memory.sums[piece]
    return slope


cdef wide put_piece_together(const InverseHessian* memory, const double* gradient,
                             double* direction, Py_ssize_t piece) noexcept nogil:
    cdef Py_ssize_t last = memory.pairs - 1
    cdef Py_ssize_t at = piece * PIECE
    cdef Py_ssize_t stop = min(at + PIECE, memory.n)
    cdef const double* weights
    cdef double slope = 0
    cdef Py_ssize_t size, place, following, k
    while at < stop:
        size = min(<Py_ssize_t>BLOCK, stop - at)
        copy_scaled(-memory.scale, gradient + at, direction + at, size)
        place = place_of(memory, 0, at)
        for k in range(memory.pairs):
            following = place_of(memory, k + 1, at) if k < last else place_of(memory, 0, at + size)
            weights = memory.weights + 2 * row_of(memory, k)
            add_both(weights[0], memory.steps + place, weights[1], memory.changes + place,
                     direction + at, size, following - place)
            place = following
        slope += dot(gradient + at, direction + at, size)
        at += size
    memory.sums[piece] = slope


cdef apart add_both(double alpha, const double* a, double beta, const double* b, unshared out,
                    Py_ssize_t n, Py_ssize_t following) noexcept nogil:
    """out = (out + alpha a) + beta b; `following` as in `sum_four`."""
    cdef Four alphas = repeat(alpha), betas = repeat(beta)
    cdef Four total
    cdef Py_ssize_t i = 0
    cdef Py_ssize_t j
    while i + 8 <= n:
        prefetch(a + following + i)
        prefetch(b + following + i)
        for j in range(i, i + 8, 4):
            total = plus_product(load(out + j), alphas, load(a + j))
            store(plus_product(total, betas, load(b + j)), out + j)
        i += 8
    while i < n:
        out[i] = (out[i] + alpha * a[i]) + beta * b[i]
        i += 1
