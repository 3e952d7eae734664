"""Symmetric matrices: products, Cholesky's factorisation, and one for any inertia.

Own the storage: the matrix itself stays in the upper triangle while the lower one is overwritten by
its factors, shifted or not, as often as need be. LAPACK factors what is large; below that its
fixed costs, and those of its threads, are more than the work.
"""

import numpy as np

from libc.math cimport fabs, sqrt
from libc.string cimport memset
from scipy.linalg.cython_lapack cimport dpotrf, dsytrf

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
    """out = A x, from the upper triangle: each row serves as a column, too."""
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
    If the matrix is zero, so is x.
    """
    cdef int size = matrix.n
    cdef int length = matrix.n
    cdef int info
    cdef double floor
    restore(matrix, 0)
    # Without blocks, for which it would need more memory.
    dsytrf(b"U", &size, matrix.entries, &size, matrix.pivots, matrix.scratch, &length, &info)
    floor = LEAST_EIGENVALUE * largest_row_sum(matrix)
    if not floor > 0:
        memset(x, 0, matrix.n * sizeof(double))
        return
    solve_from_below(matrix, floor, x)
    solve_from_above(matrix, x)


cdef void solve_from_below(const Symmetric* matrix, double floor, double* x) noexcept nogil:
    """x = |D|^-1 (P L)^-1 x, with LAPACK's interchanges (its DSYTRS, row-major)."""
    cdef Py_ssize_t n = matrix.n
    cdef Py_ssize_t k = n - 1
    cdef const double* row
    while k >= 0:
        row = matrix.entries + k * n
        if matrix.pivots[k] > 0:
            exchange(x, k, matrix.pivots[k] - 1)
            axpy(-x[k], row, x, k)
            x[k] /= max(fabs(row[k]), floor)
            k -= 1
        else:
            exchange(x, k - 1, -matrix.pivots[k] - 1)
            axpy(-x[k], row, x, k - 1)
            axpy(-x[k - 1], row - n, x, k - 1)
            solve_block(row[-n + k - 1], row[k - 1], row[k], floor, &x[k - 1])
            k -= 2


cdef void solve_from_above(const Symmetric* matrix, double* x) noexcept nogil:
    """x = (P L)'^-1 x."""
    cdef Py_ssize_t n = matrix.n
    cdef Py_ssize_t k = 0
    cdef const double* row
    while k < n:
        row = matrix.entries + k * n
        x[k] -= dot(row, x, k)
        if matrix.pivots[k] > 0:
            exchange(x, k, matrix.pivots[k] - 1)
            k += 1
        else:
            x[k + 1] -= dot(row + n, x, k)
            exchange(x, k, -matrix.pivots[k] - 1)
            k += 2


cdef void exchange(double* x, Py_ssize_t i, Py_ssize_t j) noexcept nogil:
    cdef double kept = x[i]
    x[i] = x[j]
    x[j] = kept


cdef void solve_block(double a, double b, double c, double floor, double* x) noexcept nogil:
    """Solve for the block ((a, b), (b, c)) of D, turned by Jacobi's rotation to its eigenvalues."""
    cdef double angle = (c - a) / (2 * b)
    cdef double tangent = 1 / (fabs(angle) + sqrt(1 + angle * angle))
    cdef double cosine, sine, first, second
    if angle < 0:
        tangent = -tangent
    cosine = 1 / sqrt(1 + tangent * tangent)
    sine = tangent * cosine
    first = (cosine * x[0] - sine * x[1]) / max(fabs(a - tangent * b), floor)
    second = (sine * x[0] + cosine * x[1]) / max(fabs(c + tangent * b), floor)
    x[0] = cosine * first + sine * second
    x[1] = cosine * second - sine * first


# --- For tests -------------------------------------------------------------------------------

def solve_system(matrix, vector, double shift=0.0, bint made_positive=False):
    """Solve (A + shift I) x = vector, or with the eigenvalues of A's factor D made positive.

    Parameters
    ----------
    matrix : array_like, shape (n, n)
        A, symmetric; only the lower triangle is read.
    vector : array_like, shape (n,)
        The right-hand side.
    shift : float
        What is added to the diagonal.
    made_positive : bool
        Whether to solve for P L abs(D) L' P' instead.

    Returns
    -------
    x : ndarray, shape (n,)
        The solution; NaN if A + shift I is not positive definite.
    product : ndarray, shape (n,)
        A x.

    Examples
    --------
    >>> from fastopt.solvers.symmetric import solve_system
    >>> solve_system([[1.0, 0.0], [0.0, 3.0]], [2.0, 4.0], shift=1.0)
    (array([1., 1.]), array([1., 3.]))
    """
    cdef Symmetric system
    cdef double[::1] x = np.array(vector, dtype=np.float64)
    cdef Py_ssize_t n = x.shape[0]
    cdef double[::1] product = np.empty(n)
    cdef double[::1] room = np.empty(symmetric_size(n))
    cdef double[:, ::1] entries
    lay_out_symmetric(&system, n, &room[0])
    entries = <double[:n, :n]>system.entries
    np.asarray(entries)[:] = matrix
    take_in(&system)
    if made_positive:
        solve_made_positive(&system, &x[0])
    elif factor(&system, shift) == 0:
        solve(&system, &x[0])
    else:
        np.asarray(x)[:] = np.nan
    multiply(&system, &x[0], &product[0])
    return np.asarray(x), np.asarray(product)
