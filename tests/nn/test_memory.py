"""Blocks in one arena."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fastopt.nn.memory import ALIGNMENT, Block, empty_arena, place, view

BLOCKS = st.lists(
    st.tuples(st.integers(0, 500), st.integers(0, 20), st.integers(0, 20)).map(
        lambda drawn: Block(drawn[0], min(drawn[1:]), max(drawn[1:]))
    ),
    max_size=25,
)


@given(BLOCKS)
def test_blocks_needed_at_one_moment_do_not_overlap(blocks):
    size = place(blocks)
    assert all(block.offset + block.size <= size for block in blocks)
    assert all(block.offset % ALIGNMENT == 0 for block in blocks)
    for i, a in enumerate(blocks):
        for b in blocks[:i]:
            together = a.first <= b.last and b.first <= a.last
            apart = a.offset + a.size <= b.offset or b.offset + b.size <= a.offset
            assert apart or not together


def test_a_place_is_used_again():
    chain = [Block(1000 * ALIGNMENT, moment, moment + 1) for moment in range(10)]
    assert place(chain) == 2000 * ALIGNMENT


def test_arrays_begin_at_cache_lines():
    block = Block(40, 0, 0, offset=ALIGNMENT)
    array = view(empty_arena(2 * ALIGNMENT), block, (2, 5), np.float32)
    assert array.shape == (2, 5)
    assert array.flags.c_contiguous
    assert array.ctypes.data % ALIGNMENT == 0
