"""A flag that one thread sets and another reads, neither of them waiting."""

cdef extern from *:
    """
    #ifdef _MSC_VER
    #define fastopt_is_set(flag) (*(const volatile int*)(flag) != 0)
    #define fastopt_set(flag, value) (*(volatile int*)(flag) = (value))
    #else
    #define fastopt_is_set(flag) (__atomic_load_n((flag), __ATOMIC_RELAXED) != 0)
    #define fastopt_set(flag, value) __atomic_store_n((flag), (value), __ATOMIC_RELAXED)
    #endif
    """
    bint is_set "fastopt_is_set"(const int* flag) noexcept nogil
    void set_flag "fastopt_set"(int* flag, int value) noexcept nogil
