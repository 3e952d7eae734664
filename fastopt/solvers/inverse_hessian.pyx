"""Approximations of the inverse Hessian, as operators that learn from pairs (s, y).

Own the pairs and what is made of them. Know nothing of the loop, the objective or the search.

* DENSE: the BFGS update of the inverse (Nocedal & Wright 2006, equation 6.17) as one symmetric
  rank-two correction, O(n^2): with u = H y,

      H+ = H + s w' + w s',    w = ((1 + y'u / s'y) / 2 s - u) / s'y,

  made when H is needed next. H begins as s'y / y'y times the identity (their equation 6.20): about
  right for the stiffest direction, too small for all others. So as long as H has learnt from fewer
  than n pairs it is scaled up by s'Bs / s'y, B its inverse, before an update that finds this above
  1: Oren and Luenberger's self-scaling as restricted by Al-Baali (Comput. Optim. Appl. 9, 1998).
  Over the whole solve it would spoil what H has learnt; a matrix that was given is left as it is.
* LIMITED: the two-loop recursion (algorithm 7.4) over the last m pairs.
"""

from libc.float cimport DBL_EPSILON
from libc.math cimport INFINITY
from libc.string cimport memset

from fastopt.core.check cimport check
from fastopt.core.vector cimport axpy, copy_scaled, dot, norm_two

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX

# A pair is refused if s'y <= eps |s| |y|: free of the scales of x and f, and tiny, for the search
# has seen to s'y > 0.
cdef double LEAST_CURVATURE = DBL_EPSILON


cdef Py_ssize_t most_pairs(Py_ssize_t n) noexcept nogil:
    """How many pairs of vectors can be counted in bytes, with room for all else."""
    return PY_SSIZE_T_MAX // (32 * (n + 1))


cdef Py_ssize_t memory_size(const InverseHessian* memory) noexcept nogil:
    """How many doubles the memory takes."""
    cdef Py_ssize_t n = memory.n
    if memory.kind == DENSE:
        return n * (n + 1) // 2 + 5 * n
    return 2 * memory.m * (n + 1)


cdef void lay_out_memory(InverseHessian* memory, double* vectors) noexcept nogil:
    cdef Py_ssize_t n = memory.n
    if memory.kind == DENSE:
        memory.s = vectors
        memory.y = vectors + n
        memory.product = vectors + 2 * n
        memory.pending_s = vectors + 3 * n
        memory.pending_w = vectors + 4 * n
        memory.matrix = vectors + 5 * n
        return
    memory.steps = vectors
    memory.changes = vectors + memory.m * n
    memory.curvatures = vectors + 2 * memory.m * n
    memory.shares = memory.curvatures + memory.m
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


cdef bint learn(InverseHessian* memory, double length, bint along, const double* gradient,
                double* direction) noexcept nogil:
    """Take in the pair at (s, y), if its curvature is positive, and turn the direction.

    `length` is |s|; `along` says that s leads along `direction`. `direction` is -H g of the
    gradient before and becomes -H+ g of the one given.
    """
    cdef Py_ssize_t n = memory.n
    cdef double curvature = dot(memory.s, memory.y, n)
    cdef double change = norm_two(memory.y, n)
    if not curvature > LEAST_CURVATURE * length * change:
        if memory.kind == LIMITED:
            memory.pairs = min(memory.pairs, memory.m - 1)    # the oldest was written over
        point_downhill(memory, gradient, direction)
        return False
    memory.scale = curvature / change / change
    memory.pairs = 1 if memory.empty else memory.pairs + 1
    if memory.kind == DENSE:
        update_matrix(memory, curvature, along, gradient, direction)
    else:
        memory.curvatures[memory.next] = curvature
        memory.next = memory.next + 1 if memory.next + 1 < memory.m else 0
        memory.pairs = min(memory.pairs, memory.m)
        point_to_next_pair(memory)
        memory.empty = False
        recur(memory, gradient, direction)
    return True


cdef void point_downhill(InverseHessian* memory, const double* gradient,
                         double* direction) noexcept nogil:
    """direction = -H g."""
    cdef Py_ssize_t i
    if memory.empty:
        copy_scaled(-memory.scale, gradient, direction, memory.n)
    elif memory.kind == DENSE:
        multiply(memory, gradient, direction)
        for i in range(memory.n):
            direction[i] = -direction[i]
    else:
        recur(memory, gradient, direction)


# --- DENSE -----------------------------------------------------------------------------------

cdef void update_matrix(InverseHessian* memory, double curvature, bint along,
                        const double* gradient, double* direction) noexcept nogil:
    """One product with H serves both u = H y and the new direction: y = g - g_prev, and
    `direction` is -H g_prev already."""
    cdef Py_ssize_t n = memory.n
    cdef Py_ssize_t i
    cdef const double* s = memory.s
    cdef double* product = memory.product      # H g, H the matrix before the update
    cdef double* w = memory.pending_w
    cdef double share, along_s, along_w, yu
    cdef double growth = 1                     # what H is scaled by
    if memory.empty:
        set_diagonal(memory.matrix, memory.scale, n)
        copy_scaled(memory.scale, gradient, product, n)
        copy_scaled(memory.scale, memory.y, direction, n)
        memory.empty = False
        memory.guessed = True
        memory.pending = False
    else:
        if along and memory.guessed and memory.pairs <= n:
            growth = scale_up(memory, curvature, gradient, direction)
        multiply(memory, gradient, product)
        for i in range(n):
            product[i] *= growth
            direction[i] = growth * direction[i] + product[i]
    yu = dot(memory.y, direction, n)           # `direction` is u now
    share = 0.5 * (1 + yu / curvature)
    for i in range(n):
        w[i] = (share * s[i] - direction[i]) / curvature
    along_s = dot(s, gradient, n)
    along_w = dot(w, gradient, n)
    for i in range(n):
        direction[i] = -(product[i] + s[i] * along_w + w[i] * along_s)
    copy_scaled(1.0, s, memory.pending_s, n)
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
    the loops wait for loads: those of `out` and of the update's vectors then serve both.
    """
    cdef Py_ssize_t n = memory.n
    cdef double* a = memory.matrix
    cdef double* b
    cdef double x_a, x_b
    cdef Py_ssize_t i = 0, j
    while i + 2 <= n:
        b = a + i + 1
        if memory.pending:
            update_rows(memory, a, b, i)
        x_a, x_b = x[i], x[i + 1]
        for j in range(i):
            out[j] += x_a * a[j] + x_b * b[j]
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


cdef inline void update_rows(const InverseHessian* memory, double* a, double* b,
                             Py_ssize_t i) noexcept nogil:
    """Rows i and i + 1 of growth H + s w' + w s'."""
    cdef const double* s = memory.pending_s
    cdef const double* w = memory.pending_w
    cdef double growth = memory.growth
    cdef double s_a = s[i], s_b = s[i + 1], w_a = w[i], w_b = w[i + 1]
    cdef Py_ssize_t j
    for j in range(i + 1):
        a[j] = growth * a[j] + (s_a * w[j] + w_a * s[j])
        b[j] = growth * b[j] + (s_b * w[j] + w_b * s[j])
    b[i + 1] = growth * b[i + 1] + 2 * s_b * w_b


cdef inline void update_row(const InverseHessian* memory, double* a, Py_ssize_t i) noexcept nogil:
    cdef const double* s = memory.pending_s
    cdef const double* w = memory.pending_w
    cdef Py_ssize_t j
    for j in range(i + 1):
        a[j] = memory.growth * a[j] + (s[i] * w[j] + w[i] * s[j])


# --- LIMITED ---------------------------------------------------------------------------------

cdef void recur(InverseHessian* memory, const double* gradient, double* direction) noexcept nogil:
    """Nocedal & Wright's algorithm 7.4, on -g; `shares` are their alpha."""
    cdef Py_ssize_t n = memory.n
    cdef Py_ssize_t row = memory.next
    cdef Py_ssize_t i
    cdef double beta
    copy_scaled(-1.0, gradient, direction, n)
    for _ in range(memory.pairs):
        row = row - 1 if row > 0 else memory.m - 1
        memory.shares[row] = dot(memory.steps + row * n, direction, n) / memory.curvatures[row]
        axpy(-memory.shares[row], memory.changes + row * n, direction, n)
    for i in range(n):
        direction[i] *= memory.scale
    for _ in range(memory.pairs):
        beta = dot(memory.changes + row * n, direction, n) / memory.curvatures[row]
        axpy(memory.shares[row] - beta, memory.steps + row * n, direction, n)
        row = row + 1 if row + 1 < memory.m else 0
