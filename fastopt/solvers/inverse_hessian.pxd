"""Approximations of the inverse Hessian, as operators that learn from pairs (s, y)."""


cdef enum MemoryKind:
    DENSE = 0                 # BFGS: a symmetric matrix
    LIMITED = 1               # L-BFGS: the last m pairs
    DENSE_DFP = 2             # DFP: a symmetric matrix


cdef struct InverseHessian:
    MemoryKind kind
    Py_ssize_t n
    bint empty                # nothing learnt: H is `scale` times the identity
    double scale
    double* s                 # where the next pair goes, before `learn` takes it in
    double* y
    double share              # what damping has left of y; the rest is B s, B the inverse of H
    # DENSE
    bint guessed              # the matrix began as a multiple of the identity, not as one given
    double* matrix            # n (n + 1) / 2: the lower triangle, row after row
    double* product           # n
    bint pending              # H is growth matrix + pending_v pending_w' + pending_w pending_v'
    double growth
    double* pending_v         # n
    double* pending_w         # n
    Py_ssize_t pairs          # how many it has learnt from; LIMITED: how many it holds
    # LIMITED
    Py_ssize_t m
    Py_ssize_t next           # the row that the next pair goes to
    double* steps             # (m, n), a ring
    double* changes           # (m, n), likewise
    double* inverses          # m: 1 / s'y; dividing by s'y took L-BFGS a fifth longer
    double* shares            # m: scratch of the two-loop recursion


cdef Py_ssize_t most_pairs(Py_ssize_t n) noexcept nogil
cdef Py_ssize_t memory_size(const InverseHessian* memory) noexcept nogil
cdef void lay_out_memory(InverseHessian* memory, double* vectors) noexcept nogil
cdef void forget(InverseHessian* memory) noexcept nogil
cdef bint learn(InverseHessian* memory, double curvature, double squares, double length, bint along,
                const double* gradient, double* direction) noexcept nogil
cdef void recall(InverseHessian* memory) noexcept nogil
cdef void point_downhill(InverseHessian* memory, const double* gradient,
                         double* direction) noexcept nogil
