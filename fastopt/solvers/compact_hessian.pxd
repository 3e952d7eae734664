"""An approximation of the Hessian in compact form, which learns from pairs (s, y)."""


# N = [[-A, C'], [C, E]] for positive definite A and E + C A^-1 C', factored.
cdef struct Indefinite:
    double* first             # (m, m): the Cholesky factor L of A
    double* across            # (m, m): L^-1 C'
    double* second            # (m, m): the Cholesky factor of E + C A^-1 C'
    # E is 0 and -C upper triangular, pairs by age: `first` and `across` hold A and C' themselves.
    bint triangular


cdef struct CompactHessian:
    Py_ssize_t n
    Py_ssize_t m
    Py_ssize_t pairs
    Py_ssize_t next           # the place that the next pair goes to: a ring
    Py_ssize_t reported       # how many pairs there are to read, forgotten ones included,
    Py_ssize_t newest         # and the last of them
    double theta
    double* elements          # (n, 2 m): of the pairs' elements i, y and s of each pair in turn
    double* ratios            # m: scale of s over scale of y
    double* s_scales          # m: the scales; a stored vector times its own is the vector itself
    double* y_scales
    signed char* is_free      # n: whether a variable belongs to the first of the two groups below
    double* free_products     # (2 m, 2 m): inner products of the elements over free variables, the
    double* held_products     # lower triangles; likewise over the others
    double* most_free         # 2 m: the largest that their diagonals have been
    double* most_held
    double* sums              # (5, 2 m): scratch
    Indefinite whole          # N, and the like of it for the free variables alone
    Indefinite reduced
    double* halves            # 2 m: scratch


cdef Py_ssize_t compact_size(const CompactHessian* memory) noexcept nogil
cdef void lay_out_compact(CompactHessian* memory, double* vectors) noexcept nogil
cdef void forget_pairs(CompactHessian* memory) noexcept nogil
cdef bint is_curved(double curvature, double length, double change) noexcept nogil
cdef void take_pair(CompactHessian* memory, const double* s, const double* y, double curvature,
                    double length, double change) noexcept nogil
cdef void recall_pair(CompactHessian* memory, const double* s, const double* y) noexcept nogil
cdef void read_pair(const CompactHessian* memory, Py_ssize_t i, double* s, double* y) noexcept nogil
cdef void sum_elements(CompactHessian* memory, const double* vector, double* out) noexcept nogil
cdef void regroup(CompactHessian* memory, Py_ssize_t i, bint is_free) noexcept nogil
cdef bint have_drowned(const CompactHessian* memory) noexcept nogil
cdef void sum_products(CompactHessian* memory) noexcept nogil
cdef bint factor_whole(CompactHessian* memory) noexcept nogil
cdef bint factor_reduced(CompactHessian* memory) noexcept nogil
cdef void solve_whole(CompactHessian* memory, const double* right, double* out) noexcept nogil
cdef void solve_reduced(CompactHessian* memory, const double* right, double* out) noexcept nogil
