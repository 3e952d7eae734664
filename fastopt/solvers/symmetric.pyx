"""Symmetric matrices: products, Cholesky's factorisation, and one for any inertia.

Own the storage: the matrix itself stays in the upper triangle while the lower one is overwritten by
its factors, shifted or not, as often as need be. LAPACK factors what is large; below that its
fixed costs, and those of its threads, are more than the work.
"""

from libc.float cimport DBL_MIN
from libc.math cimport fabs, sqrt
from libc.string cimport memset
from scipy.linalg.cython_lapack cimport dpotrf, dsytrf, dsytrs

from fastopt.core.vector cimport axpy, dot

# From this size on LAPACK's Cholesky is faster.
cdef Py_ssize_t LARGE = 96
# Eigenvalues of D are at least this, relative to the largest element.
cdef double LEAST_EIGENVALUE = 1e-8


cdef Py_ssize_t symmetric_size(Py_ssize_t n) noexcept nogil:
    """How many doubles a matrix takes."""
    return n * n + 3 * n


cdef double* lay_out_symmetric(Symmetric* matrix, Py_ssize_t n, double* vectors) noexcept nogil:
    matrix.n = n
    matrix.entries = vectors
    matrix.diagonal = vectors + n * n
    matrix.scratch = matrix.diagonal + n
    matrix.pivots = <int*>(matrix.scratch + n)
    return matrix.scratch + 2 * n


cdef bint take_in(Symmetric* matrix) noexcept nogil:
    """A matrix whose lower triangle has been written: store it. Says whether it is finite."""
    cdef Py_ssize_t n = matrix.n
    cdef Py_ssize_t i, j
    cdef double poison = 0
    cdef double* row = matrix.entries
    for i in range(n):
        matrix.diagonal[i] = row[i]
        poison += 0 * row[i]
        for j in range(i):
            matrix.entries[j * n + i] = row[j]
            poison += 0 * row[j]
        row += n
    return poison == 0


cdef void multiply(const Symmetric* matrix, const double* x, double* out) noexcept nogil:
    """out = A x, from the upper triangle: a row serves as row and, below the diagonal, as column."""
    cdef Py_ssize_t n = matrix.n
    cdef Py_ssize_t i
    cdef const double* row = matrix.entries
    memset(out, 0, n * sizeof(double))
    for i in range(n):
        out[i] += matrix.diagonal[i] * x[i] + dot(row + i + 1, x + i + 1, n - i - 1)
        axpy(x[i], row + i + 1, out + i + 1, n - i - 1)
        row += n


cdef double largest_row_sum(const Symmetric* matrix) noexcept nogil:
    """The infinity norm."""
    cdef Py_ssize_t n = matrix.n
    cdef Py_ssize_t i, j
    cdef double largest = 0
    cdef double* sums = matrix.scratch
    cdef double entry
    for i in range(n):
        sums[i] = fabs(matrix.diagonal[i])
    for i in range(n):
        for j in range(i + 1, n):
            entry = fabs(matrix.entries[i * n + j])
            sums[i] += entry
            sums[j] += entry
    for i in range(n):
        largest = max(largest, sums[i])
    return largest


cdef void restore(Symmetric* matrix, double shift) noexcept nogil:
    """The lower triangle becomes A + shift I again."""
    cdef Py_ssize_t n = matrix.n
    cdef Py_ssize_t i, j
    cdef double* row = matrix.entries
    for i in range(n):
        for j in range(i):
            row[j] = matrix.entries[j * n + i]
        row[i] = matrix.diagonal[i] + shift
        row += n


# --- positive definite -----------------------------------------------------------------------

cdef Py_ssize_t factor(Symmetric* matrix, double shift) noexcept nogil:
    """A + shift I = L L'. 0, or the number, from 1, of the first row whose pivot is not positive.

    Then the rows above have their factor, and that row's diagonal element has the pivot.
    """
    cdef Py_ssize_t n = matrix.n
    cdef Py_ssize_t i, j
    cdef double* row = matrix.entries
    cdef const double* above
    cdef double pivot
    cdef int size, info
    restore(matrix, shift)
    if n >= LARGE:
        size = n
        dpotrf(b"U", &size, matrix.entries, &size, &info)     # row-major lower, columns first
        return info
    for i in range(n):
        above = matrix.entries
        for j in range(i):
            row[j] = (row[j] - dot(row, above, j)) / above[j]
            above += n
        pivot = row[i] - dot(row, row, i)
        if not pivot > 0:
            row[i] = pivot
            return i + 1
        row[i] = sqrt(pivot)
        row += n
    return 0


cdef void solve(const Symmetric* matrix, double* x) noexcept nogil:
    """x = (L L')^-1 x."""
    solve_lower(matrix, x)
    solve_upper(matrix, x)


cdef void solve_lower(const Symmetric* matrix, double* x) noexcept nogil:
    """x = L^-1 x."""
    cdef const double* row = matrix.entries
    cdef Py_ssize_t i
    for i in range(matrix.n):
        x[i] = (x[i] - dot(row, x, i)) / row[i]
        row += matrix.n


cdef void solve_upper(const Symmetric* matrix, double* x) noexcept nogil:
    """x = L'^-1 x."""
    cdef Py_ssize_t n = matrix.n
    cdef Py_ssize_t i = n - 1
    while i >= 0:
        x[i] /= matrix.entries[i * n + i]
        axpy(-x[i], matrix.entries + i * n, x, i)
        i -= 1


# --- any inertia -----------------------------------------------------------------------------

cdef void solve_made_positive(Symmetric* matrix, double* x) noexcept nogil:
    """x = (P L |D| L' P')^-1 x: Bunch and Kaufman's factors, the eigenvalues of D made positive.

    A direction of negative curvature is so followed as far as one of the same positive curvature
    would be. Cheng and Higham (SIAM J. Matrix Anal. Appl. 19, 1998) bound what the factors L add.
    """
    cdef int size = matrix.n
    cdef int one = 1
    cdef int info
    cdef int length = matrix.n
    restore(matrix, 0)
    # Without blocks, for which it would need more memory.
    dsytrf(b"U", &size, matrix.entries, &size, matrix.pivots, matrix.scratch, &length, &info)
    make_positive(matrix)
    dsytrs(b"U", &size, &one, matrix.entries, &size, matrix.pivots, x, &size, &info)


cdef void make_positive(Symmetric* matrix) noexcept nogil:
    """Replace the eigenvalues of D, in place, by their magnitudes."""
    cdef Py_ssize_t n = matrix.n
    cdef double* entries = matrix.entries
    cdef double floor = 0
    cdef Py_ssize_t i
    for i in range(n):
        floor = max(floor, fabs(matrix.diagonal[i]))
    floor = max(LEAST_EIGENVALUE * max(floor, largest_row_sum(matrix)), DBL_MIN)
    i = n - 1
    while i >= 0:
        if matrix.pivots[i] > 0 or i == 0:
            entries[i * n + i] = max(fabs(entries[i * n + i]), floor)
            i -= 1
        else:
            make_block_positive(&entries[(i - 1) * n + i - 1], &entries[i * n + i - 1],
                                &entries[i * n + i], floor)
            i -= 2


cdef void make_block_positive(double* a, double* b, double* c, double floor) noexcept nogil:
    """The same for the block ((a, b), (b, c)), by one rotation of Jacobi's."""
    cdef double angle = (c[0] - a[0]) / (2 * b[0])
    cdef double tangent = 1 / (fabs(angle) + sqrt(1 + angle * angle))
    cdef double cosine, sine, first, second
    if angle < 0:
        tangent = -tangent
    cosine = 1 / sqrt(1 + tangent * tangent)
    sine = tangent * cosine
    first = max(fabs(a[0] - tangent * b[0]), floor)
    second = max(fabs(c[0] + tangent * b[0]), floor)
    a[0] = cosine * cosine * first + sine * sine * second
    c[0] = sine * sine * first + cosine * cosine * second
    b[0] = cosine * sine * (second - first)
