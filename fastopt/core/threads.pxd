"""How many threads a loop of OpenMP may use. Where fastopt was built without it, one."""

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define fastopt_processors() omp_get_num_procs()
    #else
    #define fastopt_processors() 1
    #endif
    #ifdef _WIN32
    #define fastopt_process() 0
    #else
    #include <unistd.h>
    #define fastopt_process() ((int)getpid())
    #endif
    """
    int processors "fastopt_processors"() noexcept nogil
    int this_process "fastopt_process"() noexcept nogil


cdef inline int usable_threads(int wanted, Py_ssize_t parts, int home) noexcept nogil:
    """At most `wanted`, for so many parts of work; `home` is the process that loaded the module.

    One in a process that was forked: gcc's OpenMP waits for ever for threads that it has left in
    the parent. No more than there are processors: where it cannot start one, it ends the process.
    """
    if wanted == 1 or parts == 1 or this_process() != home:
        return 1
    return <int>min(min(parts, <Py_ssize_t>wanted), <Py_ssize_t>processors())
