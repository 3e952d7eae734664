"""Four doubles at once, in one register where the processor has one as wide.

For loops that compilers do not vectorise by themselves, or only with many shuffles. Each element is
rounded as it would be alone, so the bits are the same everywhere.
"""

cdef extern from *:
    """
    #if defined(FASTOPT_AVX2) && defined(__GNUC__) && defined(__x86_64__)
    #define fastopt_wide __attribute__((target("avx2")))
    #else
    #define fastopt_wide
    #endif
    #ifdef __GNUC__
    #define fastopt_apart fastopt_wide __attribute__((noinline))
    #define fastopt_prefetch(p) __builtin_prefetch(p)
    typedef double fastopt_four __attribute__((vector_size(32)));
    typedef double fastopt_four_at_any_address
        __attribute__((vector_size(32), aligned(8), may_alias));
    #define fastopt_repeat(number) ((fastopt_four){(number), (number), (number), (number)})
    #define fastopt_load(from) (*(const fastopt_four_at_any_address*)(from))
    #define fastopt_store(four, to) (*(fastopt_four_at_any_address*)(to) = (four))
    #define fastopt_plus_product(sum, a, b) ((sum) + (a) * (b))
    #define fastopt_minus(a, b) ((a) - (b))
    #define fastopt_add_up(four) (((four)[0] + (four)[2]) + ((four)[1] + (four)[3]))
    #else
    #define fastopt_prefetch(p) ((void)0)
    #define fastopt_apart
    typedef struct { double at[4]; } fastopt_four;
    static inline fastopt_four fastopt_repeat(double number) {
        fastopt_four made = {{number, number, number, number}};
        return made;
    }
    static inline fastopt_four fastopt_load(const double* from) {
        fastopt_four made = {{from[0], from[1], from[2], from[3]}};
        return made;
    }
    static inline void fastopt_store(fastopt_four four, double* to) {
        for (int i = 0; i < 4; i++) to[i] = four.at[i];
    }
    static inline fastopt_four fastopt_plus_product(fastopt_four sum, fastopt_four a,
                                                    fastopt_four b) {
        for (int i = 0; i < 4; i++) sum.at[i] += a.at[i] * b.at[i];
        return sum;
    }
    static inline fastopt_four fastopt_minus(fastopt_four a, fastopt_four b) {
        for (int i = 0; i < 4; i++) a.at[i] -= b.at[i];
        return a;
    }
    static inline double fastopt_add_up(fastopt_four four) {
        return (four.at[0] + four.at[2]) + (four.at[1] + four.at[3]);
    }
    #endif
    """
    # Returned by what uses registers of four doubles where the source is compiled for processors
    # that have them. Nothing else of such a module does, so that every processor can load it.
    ctypedef void wide "fastopt_wide void"

    # Returned by a loop that shall keep the registers for itself: compilers that put it into the
    # loops around it run out of them, and it takes a third longer.
    ctypedef void apart "fastopt_apart void"

    ctypedef struct Four "fastopt_four":
        pass

    Four repeat "fastopt_repeat"(double number) noexcept nogil
    Four load "fastopt_load"(const double* four) noexcept nogil
    void store "fastopt_store"(Four four, double* to) noexcept nogil
    Four plus_product "fastopt_plus_product"(Four total, Four a, Four b) noexcept nogil
    Four minus "fastopt_minus"(Four a, Four b) noexcept nogil
    # Fetches the line around it into the cache: where many vectors are read by turns, a processor
    # sees too late that it will be needed. Never fails, whatever the address.
    void prefetch "fastopt_prefetch"(const double* address) noexcept nogil
    double add_up "fastopt_add_up"(Four four) noexcept nogil
