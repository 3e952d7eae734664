"""Approximations of the inverse Hessian, as operators that learn from pairs (s, y).

Own the pairs and what is made of them. Know nothing of the loop, the objective or the search.

* DENSE: the BFGS update of the inverse (Nocedal & Wright 2006, equation 6.17) as one symmetric
  rank-two correction, O(n^2): with u = H y,

      H+ = H + s w' + w s',    w = ((1 + y'u / s'y) / 2 s - u) / s'y,

  made when H is needed next. DFP's update (6.15) is written as two corrections of rank one, but is
  one of this kind, too: a^2 s s' - b^2 u u' is v w' + w v' with v = a s + b u, w = (a s - b u) / 2.
  H begins as s'y / y'y times the identity (6.20): about right for the stiffest direction, too small
  for all others. So as long as H has learnt from fewer than n pairs it is scaled up by s'Bs / s'y,
  B its inverse, before an update that finds this above 1: Oren and Luenberger's self-scaling as
  restricted by Al-Baali (Comput. Optim. Appl. 9, 1998). Over the whole solve it would spoil what H
  has learnt; a matrix that was given is left as it is.
* LIMITED: the two-loop recursion (algorithm 7.4) over the last m pairs.
"""

from libc.float cimport DBL_EPSILON, DBL_MIN
from libc.math cimport INFINITY, sqrt
from libc.string cimport memset

from fastopt.core.check cimport check
from fastopt.core.vector cimport (
    axpy, combine, combine_onto, combine_without, copy_scaled, dot, length_of, scale_by,
)

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

# A pair is refused if s'y <= eps |s| |y|: free of the scales of x and f, and tiny, for the search
# has seen to s'y > 0. Or if 1 / s'y may overflow.
cdef double LEAST_CURVATURE = DBL_EPSILON


cdef Py_ssize_t most_pairs(Py_ssize_t n) noexcept nogil:
    """How many pairs of vectors can be counted in bytes, with room for all else."""
    return PY_SSIZE_T_MAX // (32 * (n + 1))


cdef Py_ssize_t memory_size(const InverseHessian* memory) noexcept nogil:
    """How many doubles the memory takes."""
    cdef Py_ssize_t n = memory.n
    if memory.kind != LIMITED:
        return n * (n + 1) // 2 + 5 * n
    return 2 * memory.m * (n + 1)


cdef void lay_out_memory(InverseHessian* memory, double* vectors) noexcept nogil:
    cdef Py_ssize_t n = memory.n
    if memory.kind != LIMITED:
        memory.s = vectors
        memory.y = vectors + n
        memory.product = vectors + 2 * n
        memory.pending_v = vectors + 3 * n
        memory.pending_w = vectors + 4 * n
        memory.matrix = vectors + 5 * n
        return
    memory.steps = vectors
    memory.changes = vectors + memory.m * n
    memory.inverses = vectors + 2 * memory.m * n
    memory.shares = memory.inverses + memory.m
    point_to_next_pair(memory)


cdef void point_to_next_pair(InverseHessian* memory) noexcept nogil:
    check(0 <= memory.next < memory.m and memory.pairs <= memory.m)
    memory.s = memory.steps + memory.next * memory.n
    memory.y = memory.changes + memory.next * memory.n


cdef void forget(InverseHessian* memory) noexcept nogil:
    """Back to `scale` times the identity; the scale, the latest one, is kept.

    What was learnt can still be read, until the next pair replaces it.
    """
    memory.empty = True


cdef bint learn(InverseHessian* memory, double curvature, double squares, double length, bint along,
                const double* gradient, double* direction) noexcept nogil:
    """Take in the pair at (s, y), if its curvature is positive, and turn the direction.

    `curvature` is s'y, `squares` y'y, `length` |s|; `along` says that s leads along `direction`.
    `direction` is -H g of the gradient before and becomes -H+ g of the one given.
    """
    cdef double change = length_of(memory.y, squares, memory.n)
    if not curvature > max(LEAST_CURVATURE * length * change, DBL_MIN):
        if memory.kind == LIMITED:
            memory.pairs = min(memory.pairs, memory.m - 1)    # the oldest was written over
        point_downhill(memory, gradient, direction)
        return False
    memory.scale = curvature / change / change
    if memory.kind != LIMITED:
        memory.pairs = 1 if memory.empty else memory.pairs + 1
        update_matrix(memory, curvature, along, gradient, direction)
    else:
        push(memory, curvature)
        recur(memory, gradient, direction)
    return True


cdef void recall(InverseHessian* memory) noexcept nogil:
    """LIMITED: take in the pair at (s, y), which an earlier solve has learnt from."""
    cdef Py_ssize_t n = memory.n
    cdef double curvature = dot(memory.s, memory.y, n)
    memory.scale = curvature / dot(memory.y, memory.y, n)
    push(memory, curvature)


cdef void push(InverseHessian* memory, double curvature) noexcept nogil:
    """LIMITED: the pair at (s, y) becomes the latest one."""
    memory.pairs = 1 if memory.empty else min(memory.pairs + 1, memory.m)
    memory.empty = False
    memory.inverses[memory.next] = 1 / curvature
    memory.next = memory.next + 1 if memory.next + 1 < memory.m else 0
    point_to_next_pair(memory)


cdef void point_downhill(InverseHessian* memory, const double* gradient,
                         double* direction) noexcept nogil:
    """direction = -H g."""
    if memory.empty:
        copy_scaled(-memory.scale, gradient, direction, memory.n)
    elif memory.kind != LIMITED:
        multiply(memory, gradient, direction)
        scale_by(-1.0, direction, memory.n)
    else:
        recur(memory, gradient, direction)


# --- DENSE -----------------------------------------------------------------------------------

cdef void update_matrix(InverseHessian* memory, double curvature, bint along,
                        const double* gradient, double* direction) noexcept nogil:
    """One product with H serves both u = H y and the new direction: y = g - g_prev, and
    `direction` is -H g_prev already."""
    cdef Py_ssize_t n = memory.n
    cdef const double* s = memory.s
    cdef double* product = memory.product      # H g, H the matrix before the update
    cdef double* w = memory.pending_w
    cdef double* v = memory.pending_v
    cdef double inverse = 1 / curvature
    cdef double expected, alpha, beta
    cdef double growth = 1                     # what H is scaled by
    if memory.empty:
        set_diagonal(memory.matrix, memory.scale, n)
        copy_scaled(memory.scale, gradient, product, n)
        copy_scaled(memory.scale, memory.y, direction, n)
        memory.empty = False
        memory.guessed = True
        memory.pending = False
    else:
        if along and memory.guessed and memory.pairs <= n and memory.share == 1:
            growth = scale_up(memory, curvature, gradient, direction)
        multiply(memory, gradient, product)
        axpy(1.0, product, direction, n)
        if memory.share != 1:                  # H B s is s
            scale_by(memory.share, direction, n)
            axpy(1 - memory.share, s, direction, n)
        if growth != 1:
            scale_by(growth, product, n)
            scale_by(growth, direction, n)
    expected = dot(memory.y, direction, n)     # `direction` is u now
    if memory.kind == DENSE_DFP:
        alpha, beta = 1 / sqrt(curvature), 1 / sqrt(max(expected, DBL_MIN))
        combine(alpha, s, beta, direction, v, n)
        combine(0.5 * alpha, s, -0.5 * beta, direction, w, n)
        combine_without(-dot(w, gradient, n), v, -dot(v, gradient, n), w, product, direction, n)
    else:
        combine(0.5 * (1 + expected * inverse) * inverse, s, -inverse, direction, w, n)
        combine_without(-dot(w, gradient, n), s, -dot(s, gradient, n), w, product, direction, n)
        copy_scaled(1.0, s, v, n)
    memory.growth = growth
    memory.pending = True


cdef double scale_up(const InverseHessian* memory, double curvature, const double* gradient,
                     const double* direction) noexcept nogil:
    """max(1, s'Bs / s'y): with s = a d and d = -H g_prev, s'Bs is -a s'g_prev."""
    cdef Py_ssize_t n = memory.n
    cdef double step = dot(memory.s, direction, n) / dot(direction, direction, n)
    cdef double before = dot(memory.s, gradient, n) - curvature
    cdef double ratio = -step * before / curvature
    return ratio if 1 < ratio < INFINITY else 1


cdef void set_diagonal(double* matrix, double scale, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    cdef double* row = matrix
    memset(matrix, 0, n * (n + 1) // 2 * sizeof(double))
    for i in range(n):
        row[i] = scale
        row += i + 1


cdef void multiply(InverseHessian* memory, const double* x, double* out) noexcept nogil:
    """out = H x from the lower triangle: row i serves as row and, above the diagonal, as column.

    The update that is pending is made on the way, while a row is in cache: at large n the bound is
    the traffic of H, which so is read once and written once an iteration. Two rows at a time, since
    the loops wait for loads: those of `out` then serve both.
    """
    cdef Py_ssize_t n = memory.n
    cdef double* a = memory.matrix
    cdef double* b
    cdef double x_a, x_b
    cdef Py_ssize_t i = 0
    while i + 2 <= n:
        b = a + i + 1
        if memory.pending:
            update_row(memory, a, i)
            update_row(memory, b, i + 1)
        x_a, x_b = x[i], x[i + 1]
        combine_onto(x_a, a, x_b, b, 1.0, out, i)
        out[i] = dot(a, x, i + 1) + x_b * b[i]
        out[i + 1] = dot(b, x, i + 2)
        a = b + i + 2
        i += 2
    if i < n:
        if memory.pending:
            update_row(memory, a, i)
        axpy(x[i], a, out, i)
        out[i] = dot(a, x, i + 1)
    memory.pending = False


cdef inline void update_row(const InverseHessian* memory, double* row, Py_ssize_t i) noexcept nogil:
    """Row i of growth H + v w' + w v'."""
    cdef const double* v = memory.pending_v
    cdef const double* w = memory.pending_w
    combine_onto(v[i], w, w[i], v, memory.growth, row, i + 1)


# --- LIMITED ---------------------------------------------------------------------------------

cdef void recur(InverseHessian* memory, const double* gradient, double* direction) noexcept nogil:
    """Nocedal & Wright's algorithm 7.4, on -g; `shares` are their alpha."""
    cdef Py_ssize_t n = memory.n
    cdef Py_ssize_t row = memory.next
    cdef double beta
    copy_scaled(-1.0, gradient, direction, n)
    for _ in range(memory.pairs):
        row = row - 1 if row > 0 else memory.m - 1
        memory.shares[row] = dot(memory.steps + row * n, direction, n) * memory.inverses[row]
        axpy(-memory.shares[row], memory.changes + row * n, direction, n)
    scale_by(memory.scale, direction, n)
    for _ in range(memory.pairs):
        beta = dot(memory.changes + row * n, direction, n) * memory.inverses[row]
        axpy(memory.shares[row] - beta, memory.steps + row * n, direction, n)
        row = row + 1 if row + 1 < memory.m else 0
