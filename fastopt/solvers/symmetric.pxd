"""Symmetric matrices: products and factorisations."""


# Row-major (n, n). The matrix is in the upper triangle and the diagonal beside it; the lower
# triangle with its diagonal has the factor.
cdef struct Symmetric:
    Py_ssize_t n
    double* entries           # (n, n)
    double* diagonal          # n
    int* pivots               # n
    double* scratch           # n


cdef Py_ssize_t symmetric_size(Py_ssize_t n) noexcept nogil
cdef double* lay_out_symmetric(Symmetric* matrix, Py_ssize_t n, double* vectors) noexcept nogil
cdef bint take_in(Symmetric* matrix) noexcept nogil
cdef void multiply(const Symmetric* matrix, const double* x, double* out) noexcept nogil
cdef Py_ssize_t factor(Symmetric* matrix, double shift) noexcept nogil
cdef void solve(const Symmetric* matrix, double* x) noexcept nogil
cdef void solve_lower(const Symmetric* matrix, double* x) noexcept nogil
cdef void solve_upper(const Symmetric* matrix, double* x) noexcept nogil
cdef void solve_made_positive(Symmetric* matrix, double* x) noexcept nogil
cdef double largest_row_sum(const Symmetric* matrix) noexcept nogil
