"""Level-1 loops on flat vectors.

Reductions keep eight accumulators and add them in a fixed order: the same bits everywhere, and
something for the compiler to vectorise, which may not reorder sums by itself.

The others go by fours, and one by one over the rest, which is all there is of a short vector.
"""

from libc.math cimport INFINITY, fabs, isfinite, pow, sqrt

from fastopt.core.four cimport Four, add_up, load, minus, plus_product, repeat, store

cdef extern from *:
    """
    #ifdef __GNUC__
    #define fastopt_one_by_one() __asm__ volatile ("")
    #else
    #define fastopt_one_by_one() ((void)0)
    #endif
    #ifdef __clang__
    #define fastopt_four_at_once() __asm__ volatile ("")
    #else
    #define fastopt_four_at_once() ((void)0)
    #endif
    """
    # Overlaps no other argument, so nothing has to be looked at before a loop is vectorised: else
    # BFGS takes 4 % longer for ten variables.
    ctypedef double* unshared "double* __restrict"
    # Keeps the loop it stands in from being vectorised. To load two numbers at once that were
    # stored one by one a moment ago is to wait for both to reach the cache: with such loads BFGS
    # takes 2.3 us instead of 1.7 for Rosenbrock's function of two variables.
    void one_by_one "fastopt_one_by_one"() noexcept nogil
    # Keeps clang from gathering numbers from several blocks of four, which costs BFGS 40 % for a
    # hundred variables; gcc does not, and would not vectorise a block with this in it.
    void four_at_once "fastopt_four_at_once"() noexcept nogil


cdef enum:
    LINE = 8                  # doubles in a cache line

ctypedef fused real:
    float
    double


cdef inline Py_ssize_t whole_lines(Py_ssize_t n) noexcept nogil:
    """n, rounded up to whole cache lines."""
    return (n + LINE - 1) & ~<Py_ssize_t>(LINE - 1)


cdef inline double* next_line(double* block) noexcept nogil:
    """The first double of the block that begins a cache line.

    Where long vectors begin elsewhere, every other load of four doubles lies across two lines: from
    the second cache they come a fifth more slowly.
    """
    return block + (-<Py_ssize_t>block // <Py_ssize_t>sizeof(double) & (LINE - 1))


cdef inline double dot(const double* a, const double* b, Py_ssize_t n) noexcept nogil:
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0
    cdef double eights = 0, rest = 0
    cdef Py_ssize_t i = 0
    if n >= 8:                  # to add up sums of nothing is 2 % of L-BFGS in two variables
        while i + 8 <= n:
            s0 += a[i] * b[i]
            s1 += a[i + 1] * b[i + 1]
            s2 += a[i + 2] * b[i + 2]
            s3 += a[i + 3] * b[i + 3]
            s4 += a[i + 4] * b[i + 4]
            s5 += a[i + 5] * b[i + 5]
            s6 += a[i + 6] * b[i + 6]
            s7 += a[i + 7] * b[i + 7]
            i += 8
        eights = ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))
    while i < n:
        one_by_one()
        rest += a[i] * b[i]
        i += 1
    return eights + rest


cdef inline double norm_max(const double* a, Py_ssize_t n) noexcept nogil:
    """The largest magnitude; NaN if there is one."""
    cdef double m0 = 0, m1 = 0, m2 = 0, m3 = 0
    cdef double t0 = 0, t1 = 0, t2 = 0, t3 = 0     # sums of magnitudes: NaN only if one is
    cdef double total
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        m0 = fabs(a[i]) if fabs(a[i]) > m0 else m0
        m1 = fabs(a[i + 1]) if fabs(a[i + 1]) > m1 else m1
        m2 = fabs(a[i + 2]) if fabs(a[i + 2]) > m2 else m2
        m3 = fabs(a[i + 3]) if fabs(a[i + 3]) > m3 else m3
        t0 += fabs(a[i])
        t1 += fabs(a[i + 1])
        t2 += fabs(a[i + 2])
        t3 += fabs(a[i + 3])
        i += 4
    while i < n:
        one_by_one()
        m0 = fabs(a[i]) if fabs(a[i]) > m0 else m0
        t0 += fabs(a[i])
        i += 1
    total = (t0 + t1) + (t2 + t3)
    if total != total:
        return total
    return max(max(m0, m1), max(m2, m3))


cdef inline double norm_two(const double* a, Py_ssize_t n) noexcept nogil:
    """Euclidean length, rescaled where the squares would leave the range of a double."""
    return length_of(a, dot(a, a, n), n)


cdef inline double length_of(const double* a, double squares, Py_ssize_t n) noexcept nogil:
    """As `norm_two`, from the sum of squares."""
    cdef double largest, ratio
    cdef double total = 0
    cdef Py_ssize_t i
    if 1e-280 < squares < INFINITY:
        return sqrt(squares)
    largest = norm_max(a, n)
    if largest == 0 or not isfinite(largest):
        return largest
    for i in range(n):
        ratio = a[i] / largest
        total += ratio * ratio
    return largest * sqrt(total)


cdef inline double norm_order(const double* a, Py_ssize_t n, double order) noexcept nogil:
    """The norm that SciPy's `norm` option names: inf, -inf (the smallest magnitude) or any p."""
    cdef double total = 0
    cdef double smallest = INFINITY
    cdef Py_ssize_t i
    if order == INFINITY:
        return norm_max(a, n)
    if order == 2:
        return norm_two(a, n)
    if order == -INFINITY:
        for i in range(n):
            smallest = min(smallest, fabs(a[i]))
        return smallest
    for i in range(n):
        total += pow(fabs(a[i]), order)
    return pow(total, 1 / order)


cdef inline bint add_scaled(const double* a, double scale, const double* b, unshared out,
                            Py_ssize_t n) noexcept nogil:
    """out = a + scale b; says whether all of it is finite (inf and NaN times 0 are NaN)."""
    cdef double p0 = 0, p1 = 0, p2 = 0, p3 = 0
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        four_at_once()
        out[i] = a[i] + scale * b[i]
        out[i + 1] = a[i + 1] + scale * b[i + 1]
        out[i + 2] = a[i + 2] + scale * b[i + 2]
        out[i + 3] = a[i + 3] + scale * b[i + 3]
        p0 += 0 * out[i]
        p1 += 0 * out[i + 1]
        p2 += 0 * out[i + 2]
        p3 += 0 * out[i + 3]
        i += 4
    while i < n:
        one_by_one()
        out[i] = a[i] + scale * b[i]
        p0 += 0 * out[i]
        i += 1
    return (p0 + p1) + (p2 + p3) == 0


cdef inline double distance(const double* a, const double* b, Py_ssize_t n) noexcept nogil:
    """|a - b|, rescaled where the squares would leave the range of a double."""
    cdef double s0 = 0, s1 = 0, s2 = 0, s3 = 0
    cdef double squares, ratio
    cdef double largest = 0
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        s0 += (a[i] - b[i]) * (a[i] - b[i])
        s1 += (a[i + 1] - b[i + 1]) * (a[i + 1] - b[i + 1])
        s2 += (a[i + 2] - b[i + 2]) * (a[i + 2] - b[i + 2])
        s3 += (a[i + 3] - b[i + 3]) * (a[i + 3] - b[i + 3])
        i += 4
    while i < n:
        one_by_one()
        s0 += (a[i] - b[i]) * (a[i] - b[i])
        i += 1
    squares = (s0 + s2) + (s1 + s3)
    if 1e-280 < squares < INFINITY:
        return sqrt(squares)
    for i in range(n):
        largest = max(largest, fabs(a[i] - b[i]))
    if largest == 0 or not isfinite(largest):
        return largest
    squares = 0
    for i in range(n):
        ratio = (a[i] - b[i]) / largest
        squares += ratio * ratio
    return largest * sqrt(squares)


cdef inline bint all_finite(const real* a, Py_ssize_t n) noexcept nogil:
    """Whether there is no NaN and no infinity: 0 times either is NaN."""
    cdef real s0 = 0, s1 = 0, s2 = 0, s3 = 0, s4 = 0, s5 = 0, s6 = 0, s7 = 0
    cdef Py_ssize_t i = 0
    while i + 8 <= n:
        s0 += 0 * a[i]
        s1 += 0 * a[i + 1]
        s2 += 0 * a[i + 2]
        s3 += 0 * a[i + 3]
        s4 += 0 * a[i + 4]
        s5 += 0 * a[i + 5]
        s6 += 0 * a[i + 6]
        s7 += 0 * a[i + 7]
        i += 8
    while i < n:
        one_by_one()
        s0 += 0 * a[i]
        i += 1
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7)) == 0


# The inner products of two vectors s and y.
cdef struct Products:
    double ss
    double sy
    double yy


cdef inline Products subtract_both(const double* a, const double* b, unshared s, const double* c,
                                   const double* d, unshared y, Py_ssize_t n) noexcept nogil:
    """s = a - b, y = c - d, and their products, while they are at hand."""
    cdef Four ss, sy, yy, s_four, y_four
    cdef double s_i, y_i
    cdef Products found
    cdef Py_ssize_t i = 0
    found.ss = found.sy = found.yy = 0
    if n >= 4:
        ss = sy = yy = repeat(0)
        while i + 4 <= n:
            s_four = minus(load(a + i), load(b + i))
            y_four = minus(load(c + i), load(d + i))
            store(s_four, s + i)
            store(y_four, y + i)
            ss = plus_product(ss, s_four, s_four)
            sy = plus_product(sy, s_four, y_four)
            yy = plus_product(yy, y_four, y_four)
            i += 4
        found.ss, found.sy, found.yy = add_up(ss), add_up(sy), add_up(yy)
    while i < n:
        one_by_one()
        s_i = a[i] - b[i]
        y_i = c[i] - d[i]
        s[i] = s_i
        y[i] = y_i
        found.ss += s_i * s_i
        found.sy += s_i * y_i
        found.yy += y_i * y_i
        i += 1
    return found


cdef inline void axpy(double scale, const double* a, unshared out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        four_at_once()
        out[i] += scale * a[i]
        out[i + 1] += scale * a[i + 1]
        out[i + 2] += scale * a[i + 2]
        out[i + 3] += scale * a[i + 3]
        i += 4
    while i < n:
        one_by_one()
        out[i] += scale * a[i]
        i += 1


cdef inline void combine(double alpha, const double* a, double beta, const double* b, unshared out,
                         Py_ssize_t n) noexcept nogil:
    """out = alpha a + beta b"""
    cdef Py_ssize_t i
    for i in range(n & ~3):
        out[i] = alpha * a[i] + beta * b[i]
    for i in range(n & ~3, n):
        one_by_one()
        out[i] = alpha * a[i] + beta * b[i]


cdef inline void combine_without(double alpha, const double* a, double beta, const double* b,
                                 const double* c, unshared out, Py_ssize_t n) noexcept nogil:
    """out = (alpha a + beta b) - c"""
    cdef Py_ssize_t i
    for i in range(n & ~3):
        out[i] = (alpha * a[i] + beta * b[i]) - c[i]
    for i in range(n & ~3, n):
        one_by_one()
        out[i] = (alpha * a[i] + beta * b[i]) - c[i]


cdef inline void combine_onto(double alpha, const double* a, double beta, const double* b,
                              double keep, unshared out, Py_ssize_t n) noexcept nogil:
    """out = keep out + (alpha a + beta b)"""
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        four_at_once()
        out[i] = keep * out[i] + (alpha * a[i] + beta * b[i])
        out[i + 1] = keep * out[i + 1] + (alpha * a[i + 1] + beta * b[i + 1])
        out[i + 2] = keep * out[i + 2] + (alpha * a[i + 2] + beta * b[i + 2])
        out[i + 3] = keep * out[i + 3] + (alpha * a[i + 3] + beta * b[i + 3])
        i += 4
    while i < n:
        one_by_one()
        out[i] = keep * out[i] + (alpha * a[i] + beta * b[i])
        i += 1


cdef inline void scale_by(double scale, unshared out, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n & ~3):
        out[i] *= scale
    for i in range(n & ~3, n):
        one_by_one()
        out[i] *= scale


cdef inline void copy_scaled(double scale, const double* a, unshared out,
                             Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n & ~3):
        out[i] = scale * a[i]
    for i in range(n & ~3, n):
        one_by_one()
        out[i] = scale * a[i]


cdef inline void swap(double* a, unshared b, Py_ssize_t n) noexcept nogil:
    cdef double kept
    cdef Py_ssize_t i
    for i in range(n):
        kept = a[i]
        a[i] = b[i]
        b[i] = kept


cdef inline void multiply_lower(const double* matrix, const double* x, double* out,
                                Py_ssize_t n) noexcept nogil:
    """out = A x for a symmetric A whose lower triangle is given, row-major (n, n)."""
    cdef Py_ssize_t i
    for i in range(n):
        out[i] = dot(matrix, x, i + 1)
        axpy(x[i], matrix, out, i)
        matrix += n
