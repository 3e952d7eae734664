"""The vector registers of the processor that Numba compiles for, and LLVM code that uses them.

Read from the features that Numba hands to LLVM, so that ``NUMBA_CPU_NAME`` and
``NUMBA_CPU_FEATURES`` change what is compiled as they should. Knows no kernel, but what inner loops
in LLVM's language are made of. Import `lanes_of` by its name, and use it in a function that kernels
call: what is compiled is then compiled again when this file changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.np.arrayobj import make_array

__all__ = [
    "COUNT",
    "FUSES",
    "INT32",
    "INTP",
    "WIDTH",
    "Vectors",
    "address",
    "begun",
    "described",
    "lanes_of",
    "times",
]

INT32 = ir.IntType(32)
INTP = ir.IntType(types.intp.bitwidth)

# A product and the sum that it goes into may be rounded once, where there is an instruction for
# it. (The intrinsic `llvm.fma` asks for it everywhere, and calls a function elsewhere.)
_CONTRACT = ("contract",)


def described(triple: str, features: str) -> tuple[int, int, bool]:
    """Bytes in a register, how many there are, and whether one instruction multiplies and adds.

    Parameters
    ----------
    triple, features : str
        A target in LLVM's words.

    Examples
    --------
    >>> described("x86_64-unknown-linux-gnu", "+fma,+avx,+avx2")
    (32, 16, True)
    """
    # "+avx2,-avx512f": of a feature that is named twice the last holds.
    has = {name[1:]: name[0] == "+" for name in features.split(",") if name}
    if has.get("avx512f", False):
        return 64, 32, True
    if has.get("avx", False) or has.get("avx2", False):
        return 32, 16, has.get("fma", False)
    if triple.startswith(("aarch64", "arm64")):
        return 16, 32, True
    return 16, 16, False


_TRIPLE, _, _FEATURES = cpu_target.target_context.codegen().magic_tuple()
WIDTH, COUNT, FUSES = described(_TRIPLE, _FEATURES)


def lanes_of(dtype: Any) -> int:
    """How many numbers of a dtype a register holds."""
    return WIDTH // int(np.dtype(dtype).itemsize)


# --- in LLVM's language ----------------------------------------------------------------------


def address(context: Any, builder: Any, type_: Any, array: Any, place: Any) -> Any:
    """The address of an element of a flat array that an intrinsic was given."""
    return builder.gep(make_array(type_)(context, builder, value=array).data, [place])


def times(builder: Any, value: Any, factor: int) -> Any:
    """value factor, of an index."""
    return builder.mul(value, ir.Constant(INTP, factor))


def begun(module: Any, name: str, arguments: Sequence[Any], inline: bool = False) -> Any:
    """The function of a module with that name, and where its code goes; None if it has some.

    Parameters
    ----------
    module, arguments : LLVM module, sequence of LLVM types
    name : str
    inline : bool, default False
        Whether callers may take it in: each would have to keep its registers free.

    Returns
    -------
    function : LLVM function
    builder : LLVM builder or None
    """
    if name in module.globals:
        return module.globals[name], None
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    function.linkage = "internal"
    if not inline:
        function.attributes.add("noinline")
    return function, ir.IRBuilder(function.append_basic_block("entry"))


class Vectors:
    """Code for vectors of one type of number, each as long as a register.

    A place in memory is a pointer to a number and an index to add; loads and stores need no more
    alignment than the number's.

    Parameters
    ----------
    builder : LLVM builder
    number : LLVM type
    """

    def __init__(self, builder: Any, number: Any) -> None:
        self.builder, self._number = builder, number
        self._align = int(number.get_abi_size(cpu_target.target_context.target_data))
        self.lanes = WIDTH // self._align
        self.type = ir.VectorType(number, self.lanes)
        self.chosen = ir.VectorType(ir.IntType(1), self.lanes)  # a bit for each lane
        self.zero = ir.Constant(self.type, [0.0] * self.lanes)
        self.nothing = ir.Constant(self.type, ir.Undefined)

    def everywhere(self, value: Any, type_: Any = None) -> Any:
        """`value` in all lanes of a vector, of numbers unless another type is given."""
        nothing = ir.Constant(type_ or self.type, ir.Undefined)
        first = self.builder.insert_element(nothing, value, INT32(0))
        return self.shuffled(first, nothing, [0] * self.lanes)

    def shuffled(self, a: Any, b: Any, lanes: Sequence[int]) -> Any:
        """Those lanes of a, then b, counted through."""
        mask = ir.Constant(ir.VectorType(INT32, self.lanes), list(lanes))
        return self.builder.shuffle_vector(a, b, mask)

    def add_product(self, total: Any, a: Any, b: Any) -> None:
        """Add a b to the vector at `total`."""
        product = self.builder.fmul(a, b, flags=_CONTRACT)
        sum_ = self.builder.fadd(self.builder.load(total), product, flags=_CONTRACT)
        self.builder.store(sum_, total)

    def load(self, base: Any, place: Any) -> Any:
        return self.builder.load(self._address(base, place), align=self._align)

    def store(self, value: Any, base: Any, place: Any) -> None:
        self.builder.store(value, self._address(base, place), align=self._align)

    def load_chosen(self, base: Any, place: Any, mask: Any, others: Any) -> Any:
        """Lanes that `mask` chooses; those of `others` for the rest, whose memory is not read."""
        pointer = self.type.as_pointer()
        load = self._intrinsic("load", self.type, [pointer, INT32, self.chosen, self.type])
        arguments = self._address(base, place), INT32(self._align), mask, others
        return self.builder.call(load, arguments)

    def store_chosen(self, value: Any, base: Any, place: Any, mask: Any) -> None:
        """Lanes that `mask` chooses. The memory of others is not touched."""
        pointer = self.type.as_pointer()
        store = self._intrinsic("store", ir.VoidType(), [self.type, pointer, INT32, self.chosen])
        self.builder.call(store, [value, self._address(base, place), INT32(self._align), mask])

    def load_first(self, base: Any, place: Any, count: Any) -> Any:
        """The first `count` lanes, if there are so many, and zero in the others."""
        return self.load_chosen(base, place, self._first(count), self.zero)

    def store_first(self, value: Any, base: Any, place: Any, count: Any) -> None:
        """The first `count` lanes, if there are so many."""
        self.store_chosen(value, base, place, self._first(count))

    def below(self, numbers: Sequence[int], limit: Any) -> Any:
        """The mask that chooses lanes whose number is less than `limit`, an index below 2**31."""
        type_ = ir.VectorType(INT32, self.lanes)
        limits = self.everywhere(self.builder.trunc(limit, INT32), type_)
        return self.builder.icmp_signed("<", ir.Constant(type_, list(numbers)), limits)

    def _first(self, count: Any) -> Any:
        return self.below(range(self.lanes), count)

    def _address(self, base: Any, place: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(base, [place]), self.type.as_pointer())

    def _intrinsic(self, name: str, result: Any, arguments: list[Any]) -> Any:
        return cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(result, arguments),
            f"llvm.masked.{name}.v{self.lanes}{self._number.intrinsic_name}.p0",
        )
