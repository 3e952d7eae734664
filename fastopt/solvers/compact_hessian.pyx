"""An approximation of the Hessian in compact form, which learns from pairs (s, y).

Byrd, Nocedal & Schnabel (Math. Program. 63, 1994): the BFGS matrix that begins as theta I is

    B = theta (I - W N^-1 W'),    W = [y / |y|, s / |s|],
    N = [[-A, L'], [L, S'S]],     A_jj = theta s_j'y_j / y_j'y_j, diagonal,

with S the normalised s, L the strictly lower triangle of S'Y, old pairs first. Unlike theirs, which
has Y, theta S and the inverse of N / theta, all of it is free of the scales of x and f. (Scales are
powers of two here, so that the pairs themselves can be had back.) theta is y'y / s'y over the
variables that have moved: the gradient changes elsewhere, too, which is no curvature.

What minimises a model over some of the variables, the free ones, needs the like of N for them:

    N_F = [[-(A + Y_F'Y_F), (L_H - R_F)'], [L_H - R_F, S_H'S_H]]

with R the upper triangle of S'Y, its diagonal included, and H the variables that are held. So inner
products are kept for the two groups; a variable that changes between them costs 4 m^2 operations,
and nothing is found as a difference of large numbers (Byrd, Lu, Nocedal & Zhu 1995, section 5.3).

Owns the pairs, which lie by variables and not by pairs: what is asked for are all elements of one
variable. Knows nothing of bounds, the loop or the objective.
"""

from libc.float cimport DBL_EPSILON, DBL_MIN
from libc.math cimport fmax, frexp, ldexp, sqrt
from libc.string cimport memset

from fastopt.core.vector cimport axpy, dot, norm_two

# As in inverse_hessian: s'y is at least this times |s| |y|.
cdef double LEAST_CURVATURE = DBL_EPSILON
# A sum of squares that has shrunk by this factor, as its terms were taken out one by one, is
# summed up afresh.
cdef double DROWNED = 1e-8


cdef Py_ssize_t compact_size(const CompactHessian* memory) noexcept nogil:
    """How many doubles the memory takes."""
    cdef Py_ssize_t n = memory.n
    cdef Py_ssize_t m = memory.m
    return 2 * m * n + (n + 7) // 8 + 14 * m * m + 21 * m


cdef void lay_out_compact(CompactHessian* memory, double* vectors) noexcept nogil:
    cdef Py_ssize_t n = memory.n
    cdef Py_ssize_t m = memory.m
    memory.elements = vectors
    vectors += 2 * m * n
    memory.is_free = <signed char*>vectors
    vectors += (n + 7) // 8
    memory.free_products = vectors
    memory.held_products = vectors + 4 * m * m
    vectors += 8 * m * m
    lay_out_indefinite(&memory.whole, vectors, m)
    lay_out_indefinite(&memory.reduced, vectors + 3 * m * m, m)
    vectors += 6 * m * m
    memory.ratios = vectors
    memory.s_scales = vectors + m
    memory.y_scales = vectors + 2 * m
    memory.most_free = vectors + 3 * m
    memory.most_held = vectors + 5 * m
    memory.halves = vectors + 7 * m
    memory.sums = vectors + 9 * m


cdef void lay_out_indefinite(Indefinite* matrix, double* vectors, Py_ssize_t m) noexcept nogil:
    matrix.first = vectors
    matrix.across = vectors + m * m
    matrix.second = vectors + 2 * m * m


cdef void forget_pairs(CompactHessian* memory) noexcept nogil:
    """Back to theta times the identity; theta is kept.

    What was learnt can still be read, until the next pair replaces it.
    """
    cdef Py_ssize_t m = memory.m
    memory.pairs = 0
    memory.next = 0
    memset(memory.free_products, 0, 8 * m * m * sizeof(double))
    memset(memory.most_free, 0, 4 * m * sizeof(double))


# --- pairs -----------------------------------------------------------------------------------

cdef bint is_curved(double curvature, double length, double change) noexcept nogil:
    """Whether a pair with this s'y, |s| and |y| has positive curvature, and can be stored."""
    return (curvature > fmax(LEAST_CURVATURE * length * change, DBL_MIN)
            and DBL_MIN <= length < 1 / DBL_MIN and DBL_MIN <= change < 1 / DBL_MIN)


cdef double power_of_two(double size) noexcept nogil:
    """The largest that is at most `size`."""
    cdef int exponent
    frexp(size, &exponent)
    return ldexp(1.0, exponent - 1)


cdef void take_pair(CompactHessian* memory, const double* s, const double* y, double curvature,
                    double length, double change) noexcept nogil:
    """Learn from a pair that `is_curved`; `length` is |s|, `change` |y|."""
    cdef Py_ssize_t n = memory.n
    cdef Py_ssize_t stride = 2 * memory.m
    cdef Py_ssize_t at = 2 * memory.next              # of y; s follows
    cdef Py_ssize_t count
    cdef double s_scale = power_of_two(length)
    cdef double y_scale = power_of_two(change)
    cdef double s_factor = 1 / s_scale
    cdef double y_factor = 1 / y_scale
    cdef double* free_s = memory.sums
    cdef double* free_y = memory.sums + stride
    cdef double* held_s = memory.sums + 2 * stride
    cdef double* held_y = memory.sums + 3 * stride
    cdef double* row = memory.elements
    cdef double scaled_s, scaled_y
    cdef double moved = 0
    cdef Py_ssize_t i
    memory.s_scales[memory.next] = s_scale
    memory.y_scales[memory.next] = y_scale
    memory.ratios[memory.next] = s_scale / y_scale
    memory.pairs = min(memory.pairs + 1, memory.m)
    memory.reported = memory.pairs
    memory.newest = memory.next
    memory.next = memory.next + 1 if memory.next + 1 < memory.m else 0
    count = 2 * memory.pairs
    memset(free_s, 0, 4 * stride * sizeof(double))
    for i in range(n):
        scaled_s = s_factor * s[i]
        scaled_y = y_factor * y[i]
        row[at] = scaled_y
        row[at + 1] = scaled_s
        if memory.is_free[i]:
            axpy(scaled_y, row, free_y, count)
            axpy(scaled_s, row, free_s, count)
        else:
            axpy(scaled_y, row, held_y, count)
            if scaled_s != 0:
                axpy(scaled_s, row, held_s, count)
        if scaled_s != 0:
            moved += scaled_y * scaled_y
        row += stride
    memory.theta = moved * y_scale / curvature * y_scale
    put_products(memory.free_products, memory.most_free, free_y, at, stride, count)
    put_products(memory.free_products, memory.most_free, free_s, at + 1, stride, count)
    put_products(memory.held_products, memory.most_held, held_y, at, stride, count)
    put_products(memory.held_products, memory.most_held, held_s, at + 1, stride, count)


cdef void recall_pair(CompactHessian* memory, const double* s, const double* y) noexcept nogil:
    """Take in a pair which an earlier solve has learnt from."""
    cdef Py_ssize_t n = memory.n
    cdef double curvature = dot(s, y, n)
    cdef double length = norm_two(s, n)
    cdef double change = norm_two(y, n)
    if is_curved(curvature, length, change):
        take_pair(memory, s, y, curvature, length, change)


cdef void read_pair(const CompactHessian* memory, Py_ssize_t i, double* s,
                    double* y) noexcept nogil:
    """Pair i, the oldest of those `reported` being number 0, as it was taken in."""
    cdef Py_ssize_t at = (memory.newest + 1 + i - memory.reported + memory.m) % memory.m
    cdef const double* row = memory.elements + 2 * at
    cdef Py_ssize_t j
    for j in range(memory.n):
        y[j] = memory.y_scales[at] * row[0]
        s[j] = memory.s_scales[at] * row[1]
        row += 2 * memory.m


cdef void put_products(double* products, double* most, const double* sums, Py_ssize_t at,
                       Py_ssize_t stride, Py_ssize_t count) noexcept nogil:
    """The sums become row and column `at`."""
    cdef Py_ssize_t j
    for j in range(at + 1):
        products[at * stride + j] = sums[j]
    for j in range(at + 1, count):
        products[j * stride + at] = sums[j]
    most[at] = sums[at]


cdef void sum_elements(CompactHessian* memory, const double* vector, double* out) noexcept nogil:
    """out = W'v, where v may be sparse."""
    cdef Py_ssize_t stride = 2 * memory.m
    cdef Py_ssize_t count = 2 * memory.pairs
    cdef const double* row = memory.elements
    cdef Py_ssize_t i
    memset(out, 0, stride * sizeof(double))
    for i in range(memory.n):
        if vector[i] != 0:
            axpy(vector[i], row, out, count)
        row += stride


# --- groups ----------------------------------------------------------------------------------

cdef void regroup(CompactHessian* memory, Py_ssize_t i, bint is_free) noexcept nogil:
    """Variable i becomes a free one, or a held one."""
    cdef Py_ssize_t stride = 2 * memory.m
    cdef Py_ssize_t count = 2 * memory.pairs
    cdef const double* row = memory.elements + i * stride
    cdef double sign = 1 if is_free else -1
    cdef Py_ssize_t j
    memory.is_free[i] = is_free
    for j in range(count):
        axpy(sign * row[j], row, memory.free_products + j * stride, j + 1)
        axpy(-sign * row[j], row, memory.held_products + j * stride, j + 1)
        memory.most_free[j] = fmax(memory.most_free[j], memory.free_products[j * stride + j])
        memory.most_held[j] = fmax(memory.most_held[j], memory.held_products[j * stride + j])


cdef bint have_drowned(const CompactHessian* memory) noexcept nogil:
    """Whether sums have lost their accuracy to terms that were taken out of them."""
    cdef Py_ssize_t stride = 2 * memory.m
    cdef Py_ssize_t j
    for j in range(2 * memory.pairs):
        if (memory.free_products[j * stride + j] < DROWNED * memory.most_free[j]
                or memory.held_products[j * stride + j] < DROWNED * memory.most_held[j]):
            return True
    return False


cdef void sum_products(CompactHessian* memory) noexcept nogil:
    """All inner products, for the groups as they are."""
    cdef Py_ssize_t m = memory.m
    cdef Py_ssize_t stride = 2 * m
    cdef Py_ssize_t count = 2 * memory.pairs
    cdef const double* row = memory.elements
    cdef double* products
    cdef Py_ssize_t i, j
    memset(memory.free_products, 0, 8 * m * m * sizeof(double))
    for i in range(memory.n):
        products = memory.free_products if memory.is_free[i] else memory.held_products
        for j in range(count):
            axpy(row[j], row, products + j * stride, j + 1)
        row += stride
    for j in range(count):
        memory.most_free[j] = memory.free_products[j * stride + j]
        memory.most_held[j] = memory.held_products[j * stride + j]


# --- the small matrices ----------------------------------------------------------------------

cdef inline double product_of(const double* products, Py_ssize_t i, Py_ssize_t j,
                              Py_ssize_t stride) noexcept nogil:
    return products[i * stride + j] if i >= j else products[j * stride + i]


cdef inline Py_ssize_t age(const CompactHessian* memory, Py_ssize_t i) noexcept nogil:
    """The place of pair i among all pairs, the oldest first."""
    if memory.pairs < memory.m:
        return i
    return i - memory.next if i >= memory.next else i - memory.next + memory.m


cdef bint factor_whole(CompactHessian* memory) noexcept nogil:
    """Factor N; False where rounding has made it singular."""
    cdef Py_ssize_t m = memory.m
    cdef Py_ssize_t stride = 2 * m
    cdef const double* free = memory.free_products
    cdef const double* held = memory.held_products
    cdef Indefinite* matrix = &memory.whole
    cdef double weight
    cdef Py_ssize_t i, j
    for i in range(memory.pairs):
        weight = (product_of(free, 2 * i + 1, 2 * i, stride)
                  + product_of(held, 2 * i + 1, 2 * i, stride))
        for j in range(memory.pairs):
            matrix.first[i * m + j] = 0
            matrix.second[i * m + j] = (product_of(free, 2 * i + 1, 2 * j + 1, stride)
                                        + product_of(held, 2 * i + 1, 2 * j + 1, stride))
            matrix.across[j * m + i] = 0
            if age(memory, i) > age(memory, j):
                matrix.across[j * m + i] = (product_of(free, 2 * i + 1, 2 * j, stride)
                                            + product_of(held, 2 * i + 1, 2 * j, stride))
        matrix.first[i * m + i] = memory.theta * memory.ratios[i] * weight
    return factor_indefinite(matrix, m, memory.pairs)


cdef bint factor_reduced(CompactHessian* memory) noexcept nogil:
    """Factor N_F; likewise."""
    cdef Py_ssize_t m = memory.m
    cdef Py_ssize_t stride = 2 * m
    cdef const double* free = memory.free_products
    cdef const double* held = memory.held_products
    cdef Indefinite* matrix = &memory.reduced
    cdef double weight
    cdef Py_ssize_t i, j
    for i in range(memory.pairs):
        weight = (product_of(free, 2 * i + 1, 2 * i, stride)
                  + product_of(held, 2 * i + 1, 2 * i, stride))
        for j in range(memory.pairs):
            matrix.first[i * m + j] = product_of(free, 2 * i, 2 * j, stride)
            matrix.second[i * m + j] = product_of(held, 2 * i + 1, 2 * j + 1, stride)
            if age(memory, i) > age(memory, j):
                matrix.across[j * m + i] = product_of(held, 2 * i + 1, 2 * j, stride)
            else:
                matrix.across[j * m + i] = -product_of(free, 2 * i + 1, 2 * j, stride)
        matrix.first[i * m + i] += memory.theta * memory.ratios[i] * weight
    matrix.triangular = True
    for i in range(memory.pairs):
        matrix.triangular &= matrix.second[i * m + i] == 0
    return matrix.triangular or factor_indefinite(matrix, m, memory.pairs)


cdef bint factor_indefinite(Indefinite* matrix, Py_ssize_t m, Py_ssize_t pairs) noexcept nogil:
    """`first`, `across` and `second` hold A, C' and E, and become what the struct says."""
    cdef double* row
    cdef double scale
    cdef Py_ssize_t i, j
    if not factor_positive(matrix.first, m, pairs):
        return False
    for i in range(pairs):                            # L^-1 C', row by row
        row = matrix.across + i * m
        for j in range(i):
            if matrix.first[i * m + j] != 0:
                axpy(-matrix.first[i * m + j], matrix.across + j * m, row, pairs)
        scale = 1 / matrix.first[i * m + i]
        for j in range(pairs):
            row[j] *= scale
    for i in range(pairs):
        row = matrix.across + i * m
        for j in range(pairs):
            if row[j] != 0:
                axpy(row[j], row, matrix.second + j * m, j + 1)
    return factor_positive(matrix.second, m, pairs)


cdef bint factor_positive(double* matrix, Py_ssize_t m, Py_ssize_t size) noexcept nogil:
    """The Cholesky factor in place, from the lower triangle; False if there is none."""
    cdef double* row
    cdef const double* other
    cdef Py_ssize_t i, j
    for i in range(size):
        row = matrix + i * m
        for j in range(i):
            other = matrix + j * m
            row[j] = (row[j] - dot(row, other, j)) / other[j]
        if not row[i] > 0:
            return False
        # All that is left of a pivot may be rounding errors: as large as these it is no worse.
        row[i] = sqrt(fmax(row[i] - dot(row, row, i), DBL_EPSILON * row[i]))
    return True


cdef void solve_whole(CompactHessian* memory, const double* right, double* out) noexcept nogil:
    """out = N^-1 right, both with an element for y and one for s of each pair in turn."""
    solve_indefinite(&memory.whole, right, out, memory.halves, memory.m, memory.pairs)


cdef void solve_reduced(CompactHessian* memory, const double* right, double* out) noexcept nogil:
    """out = N_F^-1 right."""
    if memory.reduced.triangular:
        solve_triangular(memory, right, out)
    else:
        solve_indefinite(&memory.reduced, right, out, memory.halves, memory.m, memory.pairs)


cdef void solve_triangular(CompactHessian* memory, const double* right, double* out) noexcept nogil:
    """Where held variables have not moved since the oldest pair: R a = -r2, R'b = -(r1 + A a).

    That is Byrd, Nocedal & Schnabel's inverse in compact form, as accurate as the two-loop
    recursion; what is factored otherwise has the square of its condition number.
    """
    cdef const Indefinite* matrix = &memory.reduced
    cdef Py_ssize_t m = memory.m
    cdef Py_ssize_t pairs = memory.pairs
    cdef double* a = memory.halves
    cdef double* b = memory.halves + m
    cdef Py_ssize_t oldest = 0 if pairs < m else memory.next
    cdef double total
    cdef Py_ssize_t i, j, k, other
    for k in range(pairs - 1, -1, -1):
        i = (oldest + k) % m
        total = right[2 * i + 1]
        for other in range(k + 1, pairs):
            j = (oldest + other) % m
            total -= matrix.across[j * m + i] * a[j]
        a[i] = total / matrix.across[i * m + i]
    for k in range(pairs):
        i = (oldest + k) % m
        total = right[2 * i] + dot(matrix.first + i * m, a, pairs)
        for other in range(k):
            j = (oldest + other) % m
            total -= matrix.across[i * m + j] * b[j]
        b[i] = total / matrix.across[i * m + i]
    for i in range(pairs):
        out[2 * i] = a[i]
        out[2 * i + 1] = b[i]


cdef void solve_indefinite(const Indefinite* matrix, const double* right, double* out,
                           double* halves, Py_ssize_t m, Py_ssize_t pairs) noexcept nogil:
    """With N = [[-A, C'], [C, E]] and r = (r1, r2): (E + C A^-1 C') b = r2 + C A^-1 r1 and
    a = A^-1 (C'b - r1).
    """
    cdef double* a = halves
    cdef double* b = halves + m
    cdef Py_ssize_t i
    for i in range(pairs):
        a[i] = (right[2 * i] - dot(matrix.first + i * m, a, i)) / matrix.first[i * m + i]
        b[i] = right[2 * i + 1]
    for i in range(pairs):
        axpy(a[i], matrix.across + i * m, b, pairs)
    for i in range(pairs):
        b[i] = (b[i] - dot(matrix.second + i * m, b, i)) / matrix.second[i * m + i]
    for i in range(pairs - 1, -1, -1):
        b[i] /= matrix.second[i * m + i]
        axpy(-b[i], matrix.second + i * m, b, i)
    for i in range(pairs):
        a[i] = dot(matrix.across + i * m, b, pairs) - a[i]
    for i in range(pairs - 1, -1, -1):
        a[i] /= matrix.first[i * m + i]
        axpy(-a[i], matrix.first + i * m, a, i)
    for i in range(pairs):
        out[2 * i] = a[i]
        out[2 * i + 1] = b[i]
