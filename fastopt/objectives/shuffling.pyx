"""The order of an epoch: a permutation that depends on a seed and the epoch's number alone.

So a place in a long run is two numbers, epoch and batch, and going there costs one permutation. All
of it is integer arithmetic: the same order on all machines, and in all versions.

Numbers come from SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014): a counter that advances by an odd constant, and a bijection of 64 bits
that mixes it (`mix`, their variant 13). Where the counter starts is mixed from seed and epoch.
Integers below a bound are made without bias by multiplication (Lemire, "Fast random integer
generation in an interval", ACM TOMACS 29, 2019), and the permutation by Durstenfeld's form of the
Fisher-Yates shuffle.
"""

import numpy as np

cimport numpy as cnp

cnp.import_array()

# 2^64 divided by the golden ratio, and odd.
cdef uint64_t INCREMENT = 0x9E3779B97F4A7C15ULL


cdef void permute(uint32_t* order, uint32_t n, uint64_t seed, int64_t epoch) noexcept nogil:
    """Write the numbers 0 ... n - 1 to `order`, in the order of an epoch."""
    cdef uint64_t counter = mix(mix(seed + INCREMENT) + <uint64_t>epoch * INCREMENT)
    cdef uint32_t i, j, kept
    for i in range(n):
        order[i] = i
    for i in range(n, 1, -1):
        j = below(i, &counter)
        kept = order[i - 1]
        order[i - 1] = order[j]
        order[j] = kept


cdef inline uint64_t mix(uint64_t bits) noexcept nogil:
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9ULL
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EBULL
    return bits ^ (bits >> 31)


cdef inline uint32_t below(uint32_t bound, uint64_t* counter) noexcept nogil:
    """One of the integers 0 ... bound - 1, each as likely as the others."""
    cdef uint64_t product = draw(counter) * bound
    cdef uint32_t least
    if <uint32_t>product < bound:      # rarely; then rarely below `least`, what 2^32 leaves over
        least = (<uint32_t>(-bound)) % bound
        while <uint32_t>product < least:
            product = draw(counter) * bound
    return <uint32_t>(product >> 32)


cdef inline uint64_t draw(uint64_t* counter) noexcept nogil:
    """32 random bits."""
    counter[0] += INCREMENT
    return mix(counter[0]) >> 32


def permutation(n, seed, epoch):
    """The order of an epoch.

    Parameters
    ----------
    n : int
        How many samples there are, less than 2**32.
    seed : int
        From 0 to 2**64 - 1.
    epoch : int
        Nonnegative.

    Returns
    -------
    ndarray of shape (n,) and dtype uint32
    """
    cdef uint32_t count = n
    cdef uint64_t key = seed
    cdef int64_t number = epoch
    cdef uint32_t[::1] order = np.empty(n, dtype=np.uint32)
    if count > 0:
        with nogil:
            permute(&order[0], count, key, number)
    return np.asarray(order)
