"""The inverse Hessian as a matrix that learns from pairs (s, y).

The BFGS update of the inverse (Nocedal & Wright 2006, equation 6.17) is one symmetric rank-two
correction, O(n^2): with u = H y,

    H+ = H + s w' + w s',    w = ((1 + y'u / s'y) / 2 s - u) / s'y,

made when H is needed next. DFP's update (6.15) is written as two corrections of rank one, but is
one of this kind, too: a^2 s s' - b^2 u u' is v w' + w v' with v = a s + b u, w = (a s - b u) / 2.

H begins as s'y / y'y times the identity (6.20): about right for the stiffest direction, too small
for all others. So as long as H has learnt from fewer than n pairs it is scaled up by s'Bs / s'y, B
its inverse, before an update that finds this above 1: Oren and Luenberger's self-scaling as
restricted by Al-Baali (Comput. Optim. Appl. 9, 1998). Over the whole solve it would spoil what H
has learnt; a matrix that was given is left as it is.

Owns the matrix. Knows nothing of the loop, the objective or the search.
"""

from libc.float cimport DBL_MIN
from libc.math cimport INFINITY, sqrt
from libc.string cimport memset

from fastopt.core.four cimport wide
from fastopt.core.vector cimport (
    axpy, combine, combine_onto, combine_without, copy_scaled, dot, scale_by,
)


cdef Py_ssize_t matrix_size(const InverseHessian* memory) noexcept nogil:
    """How many doubles the memory takes."""
    cdef Py_ssize_t n = memory.n
    return n * (n + 1) // 2 + 5 * n


cdef void lay_out_matrix(InverseHessian* memory, double* vectors) noexcept nogil:
    cdef Py_ssize_t n = memory.n
    memory.s = vectors
    memory.y = vectors + n
    memory.product = vectors + 2 * n
    memory.pending_v = vectors + 3 * n
    memory.pending_w = vectors + 4 * n
    memory.matrix = vectors + 5 * n


cdef double learn(InverseHessian* memory, double curvature, double length, double change,
                  bint along, const double* gradient, double* direction) noexcept nogil:
    """Take in the pair at (s, y), if its curvature s'y is positive, and turn the direction.

    `length` is |s|, `change` |y|; `along` says that s leads along `direction`, which is -H g of the
    gradient before and becomes -H+ g of the one given. Returns the slope along it.
    """
    if is_curved(curvature, length, change):
        memory.scale = curvature / change / change
        memory.pairs = 1 if memory.empty else memory.pairs + 1
        update_matrix(memory, curvature, along, gradient, direction)
        return dot(gradient, direction, memory.n)
    return point_downhill(memory, gradient, direction)


cdef double point_downhill(InverseHessian* memory, const double* gradient,
                           double* direction) noexcept nogil:
    """direction = -H g; the slope along it."""
    if memory.empty:
        copy_scaled(-memory.scale, gradient, direction, memory.n)
    else:
        multiply(memory, gradient, direction)
        scale_by(-1.0, direction, memory.n)
    return dot(gradient, direction, memory.n)


cdef wide update_matrix(InverseHessian* memory, double curvature, bint along,
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


cdef wide multiply(InverseHessian* memory, const double* x, double* out) noexcept nogil:
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
