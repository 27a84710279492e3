"""Products of bytes, which numba has no instruction for: LLVM's own, as an intrinsic for kernels.

Whoever changes this file removes the caches of numba: those of the kernels that call it do not notice.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

TURN = 64
"""Bytes that `dot` takes at a time."""
BYTE_OPERANDS = llvm.llvm_version_info[0] >= 22
"""Whether vpdpbusd takes vectors of bytes, as since LLVM 22; before that, of 32-bit integers."""

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))


def dot_path(features: str) -> str:
    """Which instructions `dot` is made of on a target with such a feature string, as LLVM writes it."""
    have = set(features.split(","))
    if {"+avx512vnni", "+avx512bw", "+avx512f"} <= have:
        return "avx512vnni"
    if "+avxvnni" in have:
        return "avxvnni"
    return "generic"


def pointer(builder: ir.IRBuilder, address: ir.Value, to: ir.Type) -> ir.Value:
    """An address (uint64) as a pointer."""
    return builder.inttoptr(address, to.as_pointer())


@intrinsic
def dot(typing_context: Any, row: Any, query: Any, width: Any) -> Any:  # noqa: ARG001 -- numba's signature
    """Sum of u8 * s8 over `width` bytes (a multiple of `TURN`, above 0) at the addresses `row` and `query`: int32.

    No step saturates, and int32 holds the sum up to a width of 66,000. The instructions are chosen by the features of
    the target that is compiled for, never by the processor at hand: NUMBA_CPU_NAME may name another.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 -- numba's signature
        path = dot_path(context.codegen().magic_tuple()[2])
        if path == "avx512vnni":
            return _sum_loop(builder, arguments, _vnni_step(512), step_bytes=64, lanes=16)
        if path == "avxvnni":
            return _sum_loop(builder, arguments, _vnni_step(256), step_bytes=32, lanes=8)
        return _sum_loop(builder, arguments, _widening_step, step_bytes=16, lanes=8)

    return types.int32(types.uint64, types.uint64, types.uint64), generate


def _sum_loop(builder: Any, arguments: Any, step: Any, *, step_bytes: int, lanes: int) -> Any:
    """A loop over both rows, `TURN` bytes a turn; `step` adds the products of `step_bytes` bytes to an accumulator."""
    row, query, width = arguments
    accumulator = ir.VectorType(_I32, lanes)
    count = TURN // step_bytes
    entry = builder.block
    body, after = builder.append_basic_block("dot.body"), builder.append_basic_block("dot.after")
    builder.branch(body)
    builder.position_at_end(body)
    at = builder.phi(_I64)
    at.add_incoming(_I64(0), entry)
    sums = [builder.phi(accumulator) for _ in range(count)]
    fresh = []
    for place, so_far in enumerate(sums):
        so_far.add_incoming(ir.Constant(accumulator, None), entry)
        offset = builder.add(at, _I64(place * step_bytes))
        fresh.append(step(builder, so_far, builder.add(row, offset), builder.add(query, offset)))
    onward = builder.add(at, _I64(TURN))
    at.add_incoming(onward, body)
    for so_far, new in zip(sums, fresh, strict=True):
        so_far.add_incoming(new, body)
    builder.cbranch(builder.icmp_unsigned("<", onward, width), body, after)
    builder.position_at_end(after)
    total = fresh[0]
    for one in fresh[1:]:
        total = builder.add(total, one)
    kind = ir.FunctionType(_I32, [accumulator])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.add.v{lanes}i32")
    return builder.call(function, [total])


def _vnni_step(bits: int) -> Any:
    """vpdpbusd: in each of `bits` / 32 lanes, four products u8 * s8 are added without saturation."""
    lanes = bits // 32
    accumulator = ir.VectorType(_I32, lanes)
    operand = ir.VectorType(_I8, 4 * lanes) if BYTE_OPERANDS else accumulator

    def step(builder: Any, so_far: Any, row: Any, query: Any) -> Any:
        left, right = (builder.load(pointer(builder, address, operand), align=1) for address in (row, query))
        kind = ir.FunctionType(accumulator, [accumulator, operand, operand])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.avx512.vpdpbusd.{bits}")
        return builder.call(function, [so_far, left, right])

    return step


def _widening_step(builder: Any, so_far: Any, row: Any, query: Any) -> Any:
    """16 products in 32 bits, added in pairs: LLVM makes vpmaddwd of it on x86, and what it has elsewhere."""
    bytes_, shorts, words = (ir.VectorType(kind, 16) for kind in (_I8, _I16, _I32))
    left = builder.zext(builder.load(pointer(builder, row, bytes_), align=1), shorts)
    right = builder.sext(builder.load(pointer(builder, query, bytes_), align=1), shorts)
    products = builder.mul(builder.sext(left, words), builder.sext(right, words))
    return builder.add(so_far, in_pairs(builder, products))


def in_pairs(builder: Any, words: Any) -> Any:
    """The sums of the vector's neighbours: half as many."""
    nothing = ir.Constant(words.type, ir.Undefined)
    half = words.type.count // 2
    even, odd = (
        builder.shuffle_vector(
            words, nothing, ir.Constant(ir.VectorType(_I32, half), [_I32(2 * i + first) for i in range(half)])
        )
        for first in (0, 1)
    )
    return builder.add(even, odd)
