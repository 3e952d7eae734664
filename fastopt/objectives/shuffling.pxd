"""The order of an epoch: a permutation that depends on a seed and the epoch's number alone."""

from libc.stdint cimport int64_t, uint32_t, uint64_t


cdef void permute(uint32_t* order, uint32_t n, uint64_t seed, int64_t epoch) noexcept nogil
