"""Rows of arrays, brought together where compiled code expects them.

Owns the buffers that rows are copied to, and the copying, which needs no interpreter. Buffers are
made once and used for every batch. Knows nothing of epochs, nor of what is done with a batch.

The loops are plain: rows far apart are copied as fast as memory delivers them (measured on 60 000 x
784 doubles, 11 GB/s, as much as a pass in order), because the processor itself looks many rows
ahead. To prefetch them by instructions, or to sort a batch's rows by place, gained nothing there,
and on narrow rows cost up to a third: see asv_benchmarks/benchmarks/minibatches.py.

Consecutive rows are not copied if they lie in memory as a batch would, and may be written to: what
compiled code gets are arrays that can be.
"""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

cnp.import_array()

cdef enum:
    NITEMS = 2                # places in Numba's description of an array
    DATA = 4
    LENGTH = 5


cdef void gather(const Table* tables, Py_ssize_t count, Py_ssize_t first, Py_ssize_t rows,
                 const uint32_t* order) noexcept nogil:
    """Serve `rows` rows of each table: those that `order` has from its place `first` on.

    Without an order, the rows from `first` on.
    """
    cdef Py_ssize_t k
    if order != NULL:
        order += first
    for k in range(count):
        if tables[k].sparse:
            gather_sparse(&tables[k], first, rows, order)
        elif order == NULL and tables[k].direct:
            show(&tables[k].data, tables[k].rows + first * tables[k].stride, rows)
        else:
            gather_dense(&tables[k], first, rows, order)
            show(&tables[k].data, tables[k].data.buffer, rows)


cdef inline void show(const Target* target, const char* data, Py_ssize_t length) noexcept nogil:
    """Have the array that compiled code gets be `length` rows at `data`."""
    target.fields[NITEMS] = length * target.row_items
    target.fields[DATA] = <int64_t><size_t>data
    target.fields[LENGTH] = length


# --- arrays ----------------------------------------------------------------------------------

cdef void gather_dense(const Table* table, Py_ssize_t first, Py_ssize_t rows,
                       const uint32_t* order) noexcept nogil:
    cdef char* buffer = table.data.buffer
    cdef const char* row
    cdef Py_ssize_t i
    for i in range(rows):
        row = table.rows + (first + i if order == NULL else <Py_ssize_t>order[i]) * table.stride
        if not table.solid:
            copy_strided(buffer, row, table.dimensions, table.shape, table.strides, table.itemsize)
        elif table.row_size == 8:      # labels, mostly: a call of memcpy would take longer
            memcpy(buffer, row, 8)
        else:
            memcpy(buffer, row, table.row_size)
        buffer += table.row_size


cdef char* copy_strided(char* buffer, const char* source, int dimensions, const Py_ssize_t* shape,
                        const Py_ssize_t* strides, Py_ssize_t itemsize) noexcept nogil:
    """Copy items that are anywhere to `buffer`, in order; answers the end of the copy."""
    cdef Py_ssize_t i
    if dimensions == 0:
        memcpy(buffer, source, itemsize)
        return buffer + itemsize
    if dimensions == 1 and itemsize == 8:
        for i in range(shape[0]):
            memcpy(buffer + 8 * i, source + i * strides[0], 8)
        return buffer + 8 * shape[0]
    for i in range(shape[0]):
        buffer = copy_strided(buffer, source + i * strides[0], dimensions - 1, shape + 1,
                              strides + 1, itemsize)
    return buffer


# --- CSR matrices ----------------------------------------------------------------------------

cdef inline Py_ssize_t start_of(const Table* table, Py_ssize_t row) noexcept nogil:
    if table.wide:
        return (<const int64_t*>table.indptr)[row]
    return (<const int32_t*>table.indptr)[row]


cdef inline void put_end(const Table* table, Py_ssize_t row, Py_ssize_t end) noexcept nogil:
    """Note where the elements of a row of the batch end."""
    if table.wide:
        (<int64_t*>table.indptr_data.buffer)[row + 1] = end
    else:
        (<int32_t*>table.indptr_data.buffer)[row + 1] = <int32_t>end


cdef void gather_sparse(const Table* table, Py_ssize_t first, Py_ssize_t rows,
                        const uint32_t* order) noexcept nogil:
    cdef bint copied = order != NULL or not table.direct
    cdef const char* values = table.data.buffer
    cdef const char* indices = table.index_data.buffer
    cdef Py_ssize_t i, row, start, size
    cdef Py_ssize_t filled = 0
    put_end(table, -1, 0)
    for i in range(rows):
        row = first + i if order == NULL else <Py_ssize_t>order[i]
        start = start_of(table, row)
        size = start_of(table, row + 1) - start
        if copied:
            memcpy(table.data.buffer + filled * table.itemsize, table.rows + start * table.itemsize,
                   size * table.itemsize)
            memcpy(table.index_data.buffer + filled * table.index_size,
                   table.indices + start * table.index_size, size * table.index_size)
        filled += size
        put_end(table, i, filled)
    if not copied:
        values = table.rows + start_of(table, first) * table.itemsize
        indices = table.indices + start_of(table, first) * table.index_size
    show(&table.data, values, filled)
    show(&table.index_data, indices, filled)
    show(&table.indptr_data, table.indptr_data.buffer, rows + 1)


# --- the Python side -------------------------------------------------------------------------

cdef class Gatherer:
    """Tables, each with buffers for the rows of a batch.

    Parameters
    ----------
    tables : tuple
        Arrays, and CSR matrices whose parts are contiguous and consistent.
    buffers : tuple
        For each of them what a batch is to be: C-contiguous arrays of its types, or a tuple that
        begins with three of them, with room for the largest batch.
    direct : bool, default True
        Whether consecutive rows may be served where they are.
    """

    def __cinit__(self, tuple tables not None, tuple buffers not None, bint direct=True):
        cdef Py_ssize_t k
        self.kept = [tables, buffers]
        self.count = len(tables)
        self.tables = <Table*>calloc(max(1, self.count), sizeof(Table))
        if self.tables == NULL:
            raise MemoryError
        for k in range(self.count):
            if isinstance(tables[k], np.ndarray):
                self.add(&self.tables[k], tables[k], buffers[k])
            else:
                self.add_sparse(&self.tables[k], tables[k], buffers[k])
            self.tables[k].direct &= direct

    def __dealloc__(self):
        free(self.tables)

    cdef int add(self, Table* table, array, buffer) except -1:
        cdef cnp.ndarray source = <cnp.ndarray?>array
        table.rows = cnp.PyArray_BYTES(source)
        table.stride = cnp.PyArray_STRIDE(source, 0)
        table.itemsize = cnp.PyArray_ITEMSIZE(source)
        table.dimensions = cnp.PyArray_NDIM(source) - 1
        table.shape = <const Py_ssize_t*>cnp.PyArray_DIMS(source) + 1
        table.strides = <const Py_ssize_t*>cnp.PyArray_STRIDES(source) + 1
        table.data.row_items = np.prod(array.shape[1:], dtype=np.intp)
        table.row_size = table.data.row_items * table.itemsize
        table.solid = array[:1].flags.c_contiguous
        table.direct = array.flags.carray
        table.data.buffer = cnp.PyArray_BYTES(<cnp.ndarray?>buffer)
        return 0

    cdef int add_sparse(self, Table* table, matrix, buffer) except -1:
        values, indices, indptr = matrix.data, matrix.indices, matrix.indptr
        self.kept.append((values, indices, indptr))
        table.sparse = True
        table.direct = values.flags.carray and indices.flags.carray
        table.rows = cnp.PyArray_BYTES(<cnp.ndarray?>values)
        table.itemsize = values.itemsize
        table.indices = cnp.PyArray_BYTES(<cnp.ndarray?>indices)
        table.index_size = indices.itemsize
        table.indptr = cnp.PyArray_BYTES(<cnp.ndarray?>indptr)
        table.wide = indptr.itemsize == sizeof(int64_t)
        table.data.row_items = table.index_data.row_items = table.indptr_data.row_items = 1
        table.data.buffer = cnp.PyArray_BYTES(<cnp.ndarray?>buffer[0])
        table.index_data.buffer = cnp.PyArray_BYTES(<cnp.ndarray?>buffer[1])
        table.indptr_data.buffer = cnp.PyArray_BYTES(<cnp.ndarray?>buffer[2])
        return 0

    cdef void aim(self, Py_ssize_t k, int64_t* data, int64_t* indices, int64_t* indptr):
        """Say where Numba's descriptions of a table's parts are, to be kept up to date."""
        self.tables[k].data.fields = data
        self.tables[k].index_data.fields = indices
        self.tables[k].indptr_data.fields = indptr

    def gather(self, Py_ssize_t first, Py_ssize_t rows, const uint32_t[::1] order=None):
        """Gather a batch and leave it where it is: what benchmarks time."""
        cdef const uint32_t* places = NULL if order is None else &order[0]
        cdef int64_t[:, ::1] own
        cdef Py_ssize_t k
        if self.own is None:
            self.own = np.zeros((3 * self.count, LENGTH + 1), dtype=np.int64)
            own = self.own
            for k in range(self.count):
                self.aim(k, &own[3 * k, 0], &own[3 * k + 1, 0], &own[3 * k + 2, 0])
        with nogil:
            gather(self.tables, self.count, first, rows, places)
