"""What quasi-Newton methods learn from pairs (s, y): the inverse Hessian, in one of two forms."""

from libc.float cimport DBL_EPSILON, DBL_MIN


cdef enum MemoryKind:
    DENSE = 0                 # BFGS: a symmetric matrix
    LIMITED = 1               # L-BFGS: the last m pairs
    DENSE_DFP = 2             # DFP: a symmetric matrix


cdef struct InverseHessian:
    MemoryKind kind
    Py_ssize_t n
    bint empty                # nothing learnt: H is `scale` times the identity
    double scale
    Py_ssize_t pairs          # how many it has learnt from; LIMITED: how many it holds
    double* s                 # where the next pair goes, before `learn` takes it in
    double* y
    # DENSE
    double share              # what damping has left of y; the rest is B s, B the inverse of H
    bint guessed              # the matrix began as a multiple of the identity, not as one given
    double* matrix            # n (n + 1) / 2: the lower triangle, row after row
    double* product           # n
    bint pending              # H is growth matrix + pending_v pending_w' + pending_w pending_v'
    double growth
    double* pending_v         # n
    double* pending_w         # n
    # LIMITED
    Py_ssize_t m
    Py_ssize_t next           # the row that the next pair goes to
    Py_ssize_t stride         # from row to row: n; streamed, in whole cache lines
    double* steps             # (m, stride), a ring
    double* changes           # (m, stride), likewise
    double* inverses          # m: 1 / s'y; dividing by s'y took L-BFGS a fifth longer
    double* shares            # m: scratch of the two-loop recursion
    bint streamed             # n is large, and the recursion runs on inner products:
    double* sy                # (m, m), those of steps with changes; only with later ones
    double* yy                # (m, m), those of changes
    double* weights           # (m, 2): what a direction has of s and y of each pair
    double* sums              # (pieces, 4 m + 1): inner products, each over a part of the variables
    bint summed               # they are those of the next pair as it is now
    int threads


cdef Py_ssize_t matrix_size(const InverseHessian* memory) noexcept nogil
cdef void lay_out_matrix(InverseHessian* memory, double* vectors) noexcept nogil
cdef double learn(InverseHessian* memory, double curvature, double length, double change,
                  bint along, const double* gradient, double* direction) noexcept nogil
cdef double point_downhill(InverseHessian* memory, const double* gradient,
                           double* direction) noexcept nogil


cdef inline bint is_curved(double curvature, double length, double change) noexcept nogil:
    """Whether s'y is positive beyond rounding, whatever the scales of x and f.

    The bound is tiny, for the search has seen to s'y > 0. And 1 / s'y must not overflow.
    """
    return curvature > max(DBL_EPSILON * length * change, DBL_MIN)


cdef inline void forget(InverseHessian* memory) noexcept nogil:
    """Back to `scale` times the identity; the scale, the latest one, is kept.

    What was learnt can still be read, until the next pair replaces it.
    """
    memory.empty = True
