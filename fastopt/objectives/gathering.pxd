"""Rows of arrays, brought together where compiled code expects them."""

from libc.stdint cimport int64_t, uint32_t


# Where one array of a batch lies, as Numba describes it: owner, parent, number of items, their
# size, data, shape, strides. Owner, parent, size and strides are the same for all batches.
cdef struct Target:
    int64_t* fields
    Py_ssize_t row_items      # items for each step along the first axis
    char* buffer              # rows are copied to here


# What rows are taken from: an array, or a CSR matrix's three.
cdef struct Table:
    bint sparse
    bint direct               # consecutive rows can be served where they are
    const char* rows          # of the array; of the matrix, its elements
    Py_ssize_t stride         # bytes from one row to the next
    Py_ssize_t row_size       # bytes of a row where it has been copied to
    Py_ssize_t itemsize
    bint solid                # a row's items are next to each other, in order
    int dimensions            # of a row, with its shape and strides, if not
    const Py_ssize_t* shape
    const Py_ssize_t* strides
    const char* indices       # column numbers,
    Py_ssize_t index_size     # so many bytes each,
    const char* indptr        # where each row of the matrix begins, by number of elements,
    bint wide                 # in 64 bits and not in 32
    Target data               # the array, or the elements
    Target index_data
    Target indptr_data


cdef void gather(const Table* tables, Py_ssize_t count, Py_ssize_t first, Py_ssize_t rows,
                 const uint32_t* order) noexcept nogil


cdef class Gatherer:

    cdef Table* tables
    cdef Py_ssize_t count
    cdef list kept            # the arrays and the buffers
    cdef object own           # Numba's descriptions, where there is no machine code that has them

    cdef int add(self, Table* table, array, buffer) except -1
    cdef int add_sparse(self, Table* table, matrix, buffer) except -1
    cdef void aim(self, Py_ssize_t k, int64_t* data, int64_t* indices, int64_t* indptr)
