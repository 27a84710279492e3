"""Every numba kernel of SpiralGraph, and the intrinsics under them.

One module, because numba's cache does not notice a change in another file; only `adamem.simd`, which hardly changes, is
one of its own. Kernels take addresses where the row of a matrix is meant for SIMD: whoever calls them has checked that
the row exists.

A code row holds 8-bit components and, in its last 16 bytes, four float32 (`SCALE` ... `SQUARE`): whatever an estimate
needs comes with the same cache lines. Rows are `width` bytes, a multiple of 64, and begin at multiples of 64.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.experimental import structref
from numba.extending import intrinsic

from adamem.simd import BYTE_OPERANDS, dot, dot_path, in_pairs, pointer
from adamem.types import AnyArray, FloatArray, IdArray

L2, COSINE, IP = 0, 1, 2
LINE = 64
"""Bytes of a cache line; code rows are whole lines."""
TAIL_FLOATS = 4
TAIL_BYTES = 4 * TAIL_FLOATS
# What the tail of a code row holds.
SCALE = 0  # a component is scale * (code - 128)
LIFT = 1  # under the inner product, the coordinate that makes all vectors equally long; 0 under the other metrics
OFFSET = 2  # what the estimate of a query's distance starts from
SQUARE = 3  # squared length of the decoded components and the lift
# OFFSET and SQUARE are infinite where a node was detached from the graph: so is each estimate then. First SQUARE alone:
# nodes find no way through it any more, queries do until the links that lead around it are there for all of them.

CELLS = 8
"""Cells of each spiral in the recursive spiral."""
NEAREST_CELLS = 3
"""Leaves whose representatives are seeds: the nearest cells of the last spiral on the way down."""
HANDOVERS = 3
"""The counter of `new_handle` that tells when ids go over to other rows, or their former rows are closed."""
GOING = -3
"""What a row bears whose id was deleted, and that is about to be taken out of the graph."""
NIL = np.uint32(0xFFFFFFFF)
"""No node: fills rows of links, ends chains of twins."""

# A key above that of every finite distance and below that of infinity, which therefore never enters a pool.
_EMPTY = np.uint64(0xFF7FFFFFFFFFFFFF)
_FARTHEST = np.float32(np.finfo(np.float32).max)
_ONE = np.uint64(1)
_NONE = np.int64(0)  # a literal 0, True or False would be a type of its own, for which the callee is compiled anew
_ID_MASK = np.uint64(0x7FFFFFFF)
_AHEAD = 4  # how many neighbours ahead their code rows are prefetched; 12 and 64 measure alike
_AHEAD_VECTORS = 2
_SPARED = 4  # an overflowing row is pruned to three quarters: half the time for edges back, fewer distances a search

ABREAST = 8
"""So many nodes are compared with each column at once."""
COLUMNS = 32
"""So many columns lie together: four bytes of the first, four of the second ..., then the next four of each."""

_I8, _I32, _I64 = (ir.IntType(bits) for bits in (8, 32, 64))

_Function = TypeVar("_Function", bound=Callable[..., Any])
# Sums may be reordered into SIMD lanes; NaN and Inf keep their meaning, so the full `fastmath` is not asked for.
_FLAGS = {"reassoc", "contract"}


def _kernel(function: _Function) -> _Function:
    options = {"cache": True, "nogil": True, "no_cfunc_wrapper": True}
    return cast("_Function", numba.njit(fastmath=_FLAGS, error_model="numpy", **options)(function))


def _helper(function: _Function) -> _Function:
    """For what only kernels call: without a door for Python, which takes as long to compile as the rest."""
    options = {"cache": True, "nogil": True, "no_cfunc_wrapper": True, "no_cpython_wrapper": True}
    return cast("_Function", numba.njit(fastmath=_FLAGS, error_model="numpy", **options)(function))


class Rows(NamedTuple):
    """What is known of every row; rows beyond those in use are allocated and not looked at."""

    codes: AnyArray
    """uint8 (capacity, width)."""
    tails: FloatArray
    """The same memory as float32 (capacity, width / 4)."""
    links: AnyArray
    """uint32 (capacity, R): the out-neighbours, NIL behind the last; all NIL for a row that is no node."""
    vectors: FloatArray
    """float32 (capacity, d): as given, but of length 1 under cosine."""
    labels: IdArray
    """int64 (capacity,): the caller's id, -1 where it was deleted."""
    twins: AnyArray
    """uint32 (capacity,): the next row with the very same vector, NIL at the end. Only the first one is a node."""
    plain: bool
    """Whether the vectors themselves are walked on: a code row is then no more than its tail."""


class Lens(NamedTuple):
    """How a query becomes the components that are coded."""

    centre: FloatArray
    """float32 (d,)."""
    basis: AnyArray
    """uint8 (parts, bytes): orthonormal rows, coded as the rows of the index are; (0, bytes) where the components are
    the centred vector itself."""
    basis_tails: FloatArray
    """The same memory as float32."""
    reach: float
    """The length to which a query is brought before it is coded, so that its own makes no difference, as it does not
    under the inner product; 0 leaves it as it is."""


class Spiral(NamedTuple):
    """The recursive spiral: a tree of lattices, each over the three main directions of its part of the data."""

    axes: AnyArray
    """uint8 (3 t, width): coded as the rows are; an axis's OFFSET is the centre's component along it."""
    axis_tails: FloatArray
    """The same memory as float32."""
    children: AnyArray
    """int32 (t, CELLS): a tree node, or -1 for an empty cell, or -2 - i for the leaf i."""
    lattice: FloatArray
    """float32 (CELLS, 3): the directions of a spiral's cells."""
    leaves: AnyArray
    """uint32 (l,): the row that stands for each leaf."""
    root: AnyArray
    """uint32 (1,): the node from which every other is reachable."""


class Scratch(NamedTuple):
    """What one thread writes while it searches or links."""

    pool: AnyArray  # uint64 (most candidates,)
    visited: AnyArray  # uint64 (words,): one bit a row, all zero between calls
    fresh: AnyArray  # uint32 (R or more,)
    keys: AnyArray  # uint64, as long
    projected: FloatArray  # float32 (parts,)
    code: AnyArray  # int8 (width of a query's code,)
    point: FloatArray  # float32 (d,)
    centred: FloatArray  # float32 (d,)
    wide: AnyArray  # int8 (bytes of a basis row,)
    candidates: AnyArray  # uint32 (most candidates,)
    gaps: FloatArray  # float32, as long
    chosen: AnyArray  # uint32 (R,)
    near: AnyArray  # uint32 (most candidates,)
    offers: AnyArray  # uint32 (R,)
    chosen_codes: AnyArray  # int8 (R, width)
    corrections: AnyArray  # int32 (R,)


class Columns(NamedTuple):
    """Nodes with which others are compared; their codes lie in columns, so that one instruction meets many."""

    nodes: AnyArray
    """uint32 (COLUMNS b,): NIL where there is none."""
    stages: AnyArray
    """int64 (s + 1,): from which block on each stage lies, and where the last one ends."""
    codes: AnyArray
    """uint8 (b, groups, COLUMNS, 4): the codes' first components, in groups of four."""
    scales: FloatArray
    """float32 (b, COLUMNS)."""
    lifts: FloatArray
    """float32 (b, COLUMNS)."""
    squares: FloatArray
    """float32 (b, COLUMNS): infinite where there is no node."""


class Sieve(NamedTuple):
    """What one thread writes while it compares nodes with columns."""

    codes: AnyArray  # int8 (ABREAST, width)
    corrections: AnyArray  # int64 (ABREAST,)
    limits: FloatArray  # float32 (ABREAST,)
    counts: AnyArray  # int64 (ABREAST,)
    products: AnyArray  # int32 (ABREAST, COLUMNS)
    gaps: FloatArray  # float32 (COLUMNS,)
    near_gaps: FloatArray  # float32 (ABREAST, room)
    near: AnyArray  # uint32 (ABREAST, room)
    far: AnyArray  # uint32 (s - 1, ABREAST, few)
    far_gaps: FloatArray  # float32, as large


@structref.register
class _HandleType(types.StructRef):
    """The type of a `Handle`."""


class Handle(structref.StructRefProxy):
    """Several of the above as one reference: handing over an array costs a call a tenth of a microsecond."""


structref.define_proxy(Handle, _HandleType, ["rows", "lens", "spiral", "scratch", "counters"])


# -- intrinsics --------------------------------------------------------------------------------------------------------


@intrinsic
def prefetch(typing_context: Any, address: Any) -> Any:  # noqa: ARG001 -- numba's signature
    """Fetch the cache line at an address (uint64) into the nearest cache; any address will do."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 -- numba's signature
        line = pointer(builder, arguments[0], _I8)
        kind = ir.FunctionType(ir.VoidType(), [line.type, _I32, _I32, _I32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [line, _I32(0), _I32(3), _I32(1)])  # to read, keep near, data
        return context.get_dummy_value()

    return types.void(types.uint64), generate


@intrinsic
def move(typing_context: Any, target: Any, source: Any, count: Any) -> Any:  # noqa: ARG001 -- numba's signature
    """memmove: `count` bytes from address `source` to address `target`, which may overlap."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 -- numba's signature
        to, come = (pointer(builder, address, _I8) for address in arguments[:2])
        kind = ir.FunctionType(ir.VoidType(), [to.type, come.type, _I64, ir.IntType(1)])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.memmove.p0.p0.i64")
        builder.call(function, [to, come, arguments[2], ir.IntType(1)(0)])
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64), generate


@intrinsic
def float_bits(typing_context: Any, value: Any) -> Any:  # noqa: ARG001 -- numba's signature
    """The bits of a float32 as uint32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 -- numba's signature
        return builder.bitcast(arguments[0], _I32)

    return types.uint32(types.float32), generate


@intrinsic
def bits_float(typing_context: Any, bits: Any) -> Any:  # noqa: ARG001 -- numba's signature
    """The float32 of these bits (uint32)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 -- numba's signature
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def products(typing_context: Any, rows: Any, width: Any, columns: Any, groups: Any, out: Any) -> Any:  # noqa: ARG001 -- numba's signature
    """ABREAST rows times COLUMNS columns, of s8 * u8: int32 (ABREAST, COLUMNS) to the address `out`.

    The rows lie at the address `rows`, `width` bytes apart, the columns at `columns` as in `Columns`: `groups` times
    four bytes of each count. As in `dot` no step saturates, and the target decides on the instructions.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 -- numba's signature
        path = dot_path(context.codegen().magic_tuple()[2])
        # As many sums at once as there are registers for.
        lanes, abreast, beside = {"avx512vnni": (16, 8, 2), "avxvnni": (8, 4, 2)}.get(path, (8, 2, 1))
        step = _widening_group if path == "generic" else _vnni_group(32 * lanes)
        for row in range(0, ABREAST, abreast):
            for column in range(0, COLUMNS, lanes * beside):
                _products_loop(builder, arguments, step, lanes, row, abreast, column, beside)
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64, types.uint64, types.uint64, types.uint64), generate


def _products_loop(
    builder: Any, arguments: Any, step: Any, lanes: int, row: int, abreast: int, column: int, beside: int
) -> None:
    """The products of `abreast` rows from `row` on with `beside` times `lanes` columns from `column` on."""
    rows, width, columns, groups, out = arguments
    accumulator, packed = ir.VectorType(_I32, lanes), ir.VectorType(_I8, 4 * lanes)
    nothing = ir.Constant(accumulator, ir.Undefined)
    everywhere = ir.Constant(accumulator, [_I32(0)] * lanes)
    starts = [builder.add(rows, builder.mul(width, _I64(row + one))) for one in range(abreast)]
    entry = builder.block
    body, after = builder.append_basic_block("products.body"), builder.append_basic_block("products.after")
    builder.branch(body)
    builder.position_at_end(body)
    group = builder.phi(_I64)
    group.add_incoming(_I64(0), entry)
    sums = [builder.phi(accumulator) for _ in range(abreast * beside)]
    at = builder.add(columns, builder.add(builder.mul(group, _I64(4 * COLUMNS)), _I64(4 * column)))
    places = [builder.add(at, _I64(4 * lanes * one)) for one in range(beside)]
    met = [builder.load(pointer(builder, place, packed), align=1) for place in places]
    fresh = []
    for start in starts:
        four = builder.load(pointer(builder, builder.add(start, builder.mul(group, _I64(4))), _I32), align=1)
        spread = builder.shuffle_vector(builder.insert_element(nothing, four, _I32(0)), nothing, everywhere)
        fresh += [step(builder, sums[len(fresh) + place], one, spread) for place, one in enumerate(met)]
    onward = builder.add(group, _I64(1))
    group.add_incoming(onward, body)
    for so_far, new in zip(sums, fresh, strict=True):
        so_far.add_incoming(ir.Constant(accumulator, None), entry)
        so_far.add_incoming(new, body)
    builder.cbranch(builder.icmp_unsigned("<", onward, groups), body, after)
    builder.position_at_end(after)
    for place, new in enumerate(fresh):
        one, other = row + place // beside, column + place % beside * lanes
        builder.store(new, pointer(builder, builder.add(out, _I64(4 * (one * COLUMNS + other))), accumulator), align=4)


def _vnni_group(bits: int) -> Any:
    """By vpdpbusd again: in each lane the four bytes of one column meet the row's four."""
    accumulator = ir.VectorType(_I32, bits // 32)
    operand = ir.VectorType(_I8, bits // 8) if BYTE_OPERANDS else accumulator

    def step(builder: Any, so_far: Any, columns: Any, row: Any) -> Any:
        kind = ir.FunctionType(accumulator, [accumulator, operand, operand])
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.avx512.vpdpbusd.{bits}")
        return builder.call(function, [so_far, builder.bitcast(columns, operand), builder.bitcast(row, operand)])

    return step


def _widening_group(builder: Any, so_far: Any, columns: Any, row: Any) -> Any:
    """The same in 32 bits: products of all bytes, added in pairs, and these in pairs."""
    count = columns.type.count
    words = ir.VectorType(_I32, count)
    row = builder.bitcast(row, columns.type)
    products = builder.mul(builder.zext(columns, words), builder.sext(row, words))
    return builder.add(so_far, in_pairs(builder, in_pairs(builder, products)))


@intrinsic
def below(typing_context: Any, address: Any, limit: Any) -> Any:  # noqa: ARG001 -- numba's signature
    """Which of the COLUMNS float32 at an address are less than the limit: a bit each, uint32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 -- numba's signature
        floats = ir.VectorType(ir.FloatType(), COLUMNS)
        nothing = ir.Constant(floats, ir.Undefined)
        values = builder.load(pointer(builder, arguments[0], floats), align=4)
        everywhere = ir.Constant(ir.VectorType(_I32, COLUMNS), [_I32(0)] * COLUMNS)
        limits = builder.shuffle_vector(builder.insert_element(nothing, arguments[1], _I32(0)), nothing, everywhere)
        return builder.bitcast(builder.fcmp_ordered("<", values, limits), _I32)

    return types.uint32(types.uint64, types.float32), generate


@intrinsic
def ones(typing_context: Any, word: Any) -> Any:  # noqa: ARG001 -- numba's signature
    """How many bits of a uint64 are set: uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 -- numba's signature
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


# -- keys: a distance and a node in one number, which sorts as the distance does ---------------------------------------


@_kernel
def _key(distance: Any, node: Any) -> Any:
    """uint64: the float32 in order-preserving bits, then the node (31 bits), then 0 for "not expanded yet"."""
    bits = float_bits(distance)
    # negative floats sort backwards as integers: flip all bits; for the others flip the sign
    flip = np.uint32(0xFFFFFFFF) if bits >> np.uint32(31) else np.uint32(0x80000000)
    return (np.uint64(bits ^ flip) << np.uint64(32)) | (np.uint64(node) << _ONE)


@_kernel
def _key_distance(key: Any) -> Any:
    bits = np.uint32(key >> np.uint64(32))
    flip = np.uint32(0x80000000) if bits >> np.uint32(31) else np.uint32(0xFFFFFFFF)
    return bits_float(np.uint32(bits ^ flip))


@_kernel
def _key_node(key: Any) -> Any:
    return (key >> _ONE) & _ID_MASK


# -- search ------------------------------------------------------------------------------------------------------------


@_helper
def _dot_float(a: Any, b: Any) -> Any:
    total = np.float32(0)
    for i in range(a.shape[0]):
        total += a[i] * b[i]
    return total


@_helper
def _square_gap(a: Any, b: Any) -> Any:
    total = np.float32(0)
    for i in range(a.shape[0]):
        gap = a[i] - b[i]
        total += gap * gap
    return total


@_helper
def _true_distance(vector: Any, point: Any, square: Any) -> Any:
    """The squared distance, or the negated product."""
    return _square_gap(vector, point) if square else -_dot_float(vector, point)


@_helper
def _prefetch_row(address: Any, lines: Any) -> None:
    for line in range(lines):
        prefetch(address + np.uint64(line) * np.uint64(LINE))


@_helper
def _seeds(spiral: Any, code: Any, factor: Any, correction: Any, out: Any) -> Any:
    """Follow the nearest cell from lattice to lattice; the nearest leaves of the last one go into `out`.

    `factor` times a code's product is a component of the point. Returns how many, the root among them, and what they
    cost: the products with axes, each of which is as wide as an estimate of a distance and is counted as one. Comparing
    three numbers with the few directions of a lattice is not counted.
    """
    out[0] = spiral.root[0]
    count = 1
    products = 0
    width = np.uint64(spiral.axes.shape[1])
    base = np.uint64(spiral.axes.ctypes.data)
    here = np.uint64(code.ctypes.data)
    at = np.uint64(spiral.axis_tails.shape[1] - TAIL_FLOATS)
    tree_node = np.int64(0) if spiral.children.shape[0] > 0 else np.int64(-1)
    while tree_node >= 0:
        point = (np.float32(0), np.float32(0), np.float32(0))
        products += 3
        for axis in range(3):
            row = np.uint64(3 * tree_node + axis)
            product = np.float32(dot(base + row * width, here, width) - correction)
            value = factor * spiral.axis_tails[row, at] * product - spiral.axis_tails[row, at + np.uint64(OFFSET)]
            if axis == 0:
                point = (value, point[1], point[2])
            elif axis == 1:
                point = (point[0], value, point[2])
            else:
                point = (point[0], point[1], value)
        # The cells in use by how near their direction is: the best is followed, the next are seeds where it is a leaf.
        best = np.int64(-1)
        best_score = np.float32(-np.inf)
        for cell in range(CELLS):
            if spiral.children[tree_node, cell] != -1:
                score = (
                    point[0] * spiral.lattice[cell, 0]
                    + point[1] * spiral.lattice[cell, 1]
                    + point[2] * spiral.lattice[cell, 2]
                )
                if score > best_score:
                    best_score = score
                    best = cell
        child = np.int64(spiral.children[tree_node, best])
        if child <= -2:
            out[count] = spiral.leaves[-2 - child]
            count += 1
            bound = best_score
            for _ in range(NEAREST_CELLS - 1):
                other, other_score = np.int64(-1), np.float32(-np.inf)
                for cell in range(CELLS):
                    if spiral.children[tree_node, cell] <= -2:
                        score = (
                            point[0] * spiral.lattice[cell, 0]
                            + point[1] * spiral.lattice[cell, 1]
                            + point[2] * spiral.lattice[cell, 2]
                        )
                        if other_score < score < bound:
                            other_score = score
                            other = cell
                if other < 0:
                    break
                out[count] = spiral.leaves[-2 - spiral.children[tree_node, other]]
                count += 1
                bound = other_score
        tree_node = child
    return count, products


@_helper
def _hold(pool: Any, last: Any, key: Any) -> Any:
    """Put a key that is below the last one into the sorted pool, whose last one falls out; returns its place.

    Compacting the keys that pass and searching the place without branches was tried: no faster.
    """
    low, high = np.uint64(0), last
    while low < high:
        middle = (low + high) >> _ONE
        if pool[middle] > key:
            high = middle
        else:
            low = middle + _ONE
    slot = np.uint64(pool.ctypes.data) + (low << np.uint64(3))
    move(slot + np.uint64(8), slot, (last - low) << np.uint64(3))
    pool[low] = key
    return low


@_helper
def _hopeful(walk: Any, fresh: Any, count: Any, worst: Any) -> Any:
    """Keep those of the first `count` of `fresh` that by their signs may be nearer than `worst`; returns how many.

    For the ablation; `walk` is its `_ablated_kernels.Walk`.
    """
    row_words = np.uint64(walk.bits.shape[1])
    words = np.uint64(walk.signs.shape[0])
    base = np.uint64(walk.bits.ctypes.data)
    if walk.prefetch:
        for j in range(count):
            prefetch(base + np.uint64(fresh[j]) * row_words * np.uint64(8))
    kept = np.uint64(0)
    for j in range(count):
        node = np.uint64(fresh[j])
        differ = np.uint64(0)
        for word in range(words):
            differ += ones(walk.bits[node, word] ^ walk.signs[word])
        at = np.uint64(2) * words
        least = walk.bit_floats[node, at + _ONE] - walk.bit_floats[node, at] * walk.shares[differ]
        fresh[kept] = fresh[j]
        if least < worst:
            kept += _ONE
    walk.tested[0] += np.int64(count)
    return kept


@_helper
def _held(pool: Any, ef: Any) -> Any:
    """How many of the pool's `ef` places are taken."""
    found = 0
    while found < ef and pool[np.uint64(found)] != _EMPTY:
        found += 1
    return found


@_helper
def _beam(
    rows: Any, scratch: Any, column: Any, factor: Any, lift: Any, correction: Any, square: Any, seed_count: Any,
    ef: Any, walk: Any,
) -> Any:  # fmt: skip
    """Best-first search on the codes with a sorted pool of `ef` keys; returns (found, distances, hops).

    The query is `scratch.code`, its seeds the first of `scratch.fresh`. The estimate of node v is
    ``tail[column] - factor * scale_v * (dot - correction) - lift * lift_v``. Where the vectors themselves are walked
    on, the query is `scratch.point`, and its distance is the squared one if `square`, else the negated product.
    `walk` is None or, in the ablation, its `Walk`: numba leaves the branches out that None does not take.
    """
    pool, visited, fresh, keys = scratch.pool, scratch.visited, scratch.fresh, scratch.keys
    links, tails = rows.links, rows.tails
    if rows.plain:
        width = np.uint64(rows.vectors.shape[1] * 4)
        base = np.uint64(rows.vectors.ctypes.data)
    else:
        width = np.uint64(rows.codes.shape[1])
        base = np.uint64(rows.codes.ctypes.data)
    here = np.uint64(scratch.code.ctypes.data)
    links_base = np.uint64(links.ctypes.data)
    lines = (width + np.uint64(LINE - 1)) // np.uint64(LINE)
    first = np.uint64(tails.shape[1] - TAIL_FLOATS)
    column_at = first + np.uint64(column)
    lift_at = first + np.uint64(LIFT)
    degree = np.uint64(links.shape[1])
    row_bytes = degree * np.uint64(4)
    size = np.uint64(ef)
    last = size - _ONE
    for i in range(size):
        pool[i] = _EMPTY
    fetched = True
    if walk is not None:
        fetched = walk.prefetch
    distances = 0
    hops = 0
    current = np.uint64(0)
    count = np.uint64(0)
    for s in range(seed_count):
        node = fresh[np.uint64(s)]
        word, bit = np.uint64(node >> np.uint32(6)), _ONE << np.uint64(node & np.uint32(63))
        if visited[word] & bit == np.uint64(0):
            visited[word] |= bit
            fresh[count] = node
            count += _ONE
    while True:
        for j in range(min(np.uint64(_AHEAD), count) if fetched else np.uint64(0)):
            _prefetch_row(base + np.uint64(fresh[j]) * width, lines)
        for j in range(count):
            ahead = j + np.uint64(_AHEAD)
            if fetched and ahead < count:
                _prefetch_row(base + np.uint64(fresh[ahead]) * width, lines)
            node = np.uint64(fresh[j])
            if rows.plain:
                estimate = _true_distance(rows.vectors[node], scratch.point, square)
                if square:
                    over = np.float32(0.5) * lift - tails[node, lift_at]
                    estimate += over * over
                if tails[node, column_at] == np.float32(np.inf):
                    estimate = np.float32(np.inf)
            else:
                product = np.float32(dot(base + node * width, here, width) - correction)
                estimate = tails[node, column_at] - factor * tails[node, first] * product - lift * tails[node, lift_at]
            keys[j] = _key(np.float32(estimate), node)
        distances += np.int64(count)
        for j in range(count):
            if keys[j] < pool[last]:
                current = min(_hold(pool, last, keys[j]), current)
        while current < size and pool[current] & _ONE:  # an empty place counts as expanded
            current += _ONE
        if current == size:
            break
        node = _key_node(pool[current])
        pool[current] |= _ONE
        hops += 1
        count = np.uint64(0)
        for j in range(degree):
            neighbour = links[node, j]
            if neighbour == NIL:
                break
            word, place = np.uint64(neighbour >> np.uint32(6)), np.uint64(neighbour & np.uint32(63))
            seen = visited[word]
            fresh[count] = neighbour
            count += ((seen >> place) & _ONE) ^ _ONE
            visited[word] = seen | (_ONE << place)
        # The links of the node that is likely to come next.
        coming = current + _ONE
        if coming < size:
            address = links_base + _key_node(pool[coming]) * row_bytes
            if fetched and pool[coming] & _ONE == np.uint64(0):
                prefetch(address)
                prefetch(address + np.uint64(LINE))
        if walk is not None and walk.bits.shape[0] > 0 and pool[last] != _EMPTY:
            count = _hopeful(walk, fresh, count, _key_distance(pool[last]))
    for word in range(visited.shape[0]):
        visited[np.uint64(word)] = np.uint64(0)
    return _held(pool, ef), distances, hops


@_helper
def _scan(rows: Any, scratch: Any, wanted: Any, factor: Any, correction: Any, square: Any, ef: Any) -> Any:
    """The `ef` of the rows `wanted` (m,), nodes or not, with the least estimates, into the pool; returns how many."""
    pool = scratch.pool
    tails = rows.tails
    width = np.uint64(rows.codes.shape[1])
    base = np.uint64(rows.codes.ctypes.data)
    here = np.uint64(scratch.code.ctypes.data)
    lines = width // np.uint64(LINE)
    first = np.uint64(tails.shape[1] - TAIL_FLOATS)
    column_at = first + np.uint64(OFFSET)
    size = np.uint64(ef)
    last = size - _ONE
    for i in range(size):
        pool[i] = _EMPTY
    for i in range(wanted.shape[0]):
        if i + _AHEAD < wanted.shape[0]:
            _prefetch_row(base + np.uint64(wanted[i + _AHEAD]) * width, lines)
        node = np.uint64(wanted[i])
        if rows.plain:
            estimate = _true_distance(rows.vectors[node], scratch.point, square)
        else:
            product = np.float32(dot(base + node * width, here, width) - correction)
            estimate = tails[node, column_at] - factor * tails[node, first] * product
        if not estimate < _FARTHEST:  # infinite or no number: not to be left out of a scan of all
            estimate = _FARTHEST
        key = _key(np.float32(estimate), node)
        if key < pool[last]:
            _hold(pool, last, key)
    return _held(pool, ef)


@_helper
def _to_bytes(values: Any, code: Any) -> Any:
    """Round float32 (m,) to signed bytes in `code`; returns (scale, 128 * their sum)."""
    largest = np.float32(0)
    for i in range(values.shape[0]):
        largest = max(largest, abs(values[i]))
    inverse = np.float32(127) / largest if largest > np.float32(1e-30) else np.float32(0)
    total = np.int32(0)
    for i in range(values.shape[0]):
        value = values[i] * inverse
        whole = np.int32(value + np.float32(0.5)) if value >= np.float32(0) else np.int32(value - np.float32(0.5))
        whole = min(max(whole, np.int32(-127)), np.int32(127))
        code[i] = np.int8(whole)
        total += whole
    return largest / np.float32(127), np.int32(128) * total


@_helper
def _prepare(query: Any, unit: Any, stretch: Any, lens: Any, scratch: Any) -> Any:
    """The query, times `unit`, into `scratch.point`, its components as bytes into `scratch.code`; as `_to_bytes`.

    The components are those of the point times `stretch`, float64. The projection is done in bytes too: its error is
    that of the rounding which follows anyway.
    """
    projected, point = scratch.projected, scratch.point
    centred = scratch.centred
    for j in range(query.shape[0]):
        point[j] = unit * query[j]
        centred[j] = point[j] - lens.centre[j]
    if stretch != 1.0:
        for j in range(query.shape[0]):
            centred[j] = np.float32(stretch * np.float64(point[j])) - lens.centre[j]
    if lens.basis.shape[0] == 0:
        return _to_bytes(centred, scratch.code)
    scale, correction = _to_bytes(centred, scratch.wide)
    width = np.uint64(lens.basis.shape[1])
    base = np.uint64(lens.basis.ctypes.data)
    here = np.uint64(scratch.wide.ctypes.data)
    at = np.uint64(lens.basis_tails.shape[1] - TAIL_FLOATS)
    for j in range(lens.basis.shape[0]):
        row = np.uint64(j)
        product = np.float32(dot(base + row * width, here, width) - correction)
        projected[row] = scale * lens.basis_tails[row, at] * product
    return _to_bytes(projected, scratch.code)


@_helper
def _is_admitted(admitted: Any, row: Any) -> Any:
    """Rows beyond the end were inserted after the filter was prepared: not admitted."""
    return admitted.shape[0] == 0 or (np.int64(row) < admitted.shape[0] and admitted[np.uint64(row)] != 0)


@_helper
def _settle(
    rows: Any, point: Any, metric: Any, pool: Any, wanted: Any, twins: Any, admitted: Any, ids: Any,
    distances: Any,
) -> Any:  # fmt: skip
    """True distances of the first `wanted` of the pool; the k best live, admitted ids by (distance, id), padded.

    With `twins`, a node stands for all rows that have its vector;
    `admitted` uint8 is one a row, or empty for all.
    Returns how many were found.
    """
    k = ids.shape[0]
    dim = np.uint64(point.shape[0])
    bytes_ = dim * np.uint64(4)
    base = np.uint64(rows.vectors.ctypes.data)
    lines = (bytes_ + np.uint64(LINE - 1)) // np.uint64(LINE)
    count = 0
    for t in range(min(np.int64(_AHEAD_VECTORS), wanted)):
        _prefetch_row(base + _key_node(pool[np.uint64(t)]) * bytes_, lines)
    for t in range(wanted):
        if t + _AHEAD_VECTORS < wanted:
            _prefetch_row(base + _key_node(pool[np.uint64(t + _AHEAD_VECTORS)]) * bytes_, lines)
        row = np.uint32(_key_node(pool[np.uint64(t)]))
        distance = np.float32(np.inf)
        computed = False
        while row != NIL:
            label = rows.labels[np.uint64(row)]
            if label >= 0 and _is_admitted(admitted, row):
                if not computed:
                    vector = rows.vectors[np.uint64(row)]
                    if metric == L2:
                        distance = _square_gap(vector, point)
                    elif metric == COSINE:
                        distance = max(np.float32(0), np.float32(1) - _dot_float(vector, point))
                    else:
                        distance = -_dot_float(vector, point)
                    computed = True
                if count < k or distance < distances[k - 1] or (distance == distances[k - 1] and label < ids[k - 1]):
                    slot = count if count < k else k - 1
                    while slot > 0 and (
                        distances[slot - 1] > distance or (distances[slot - 1] == distance and ids[slot - 1] > label)
                    ):
                        distances[slot] = distances[slot - 1]
                        ids[slot] = ids[slot - 1]
                        slot -= 1
                    distances[slot] = distance
                    ids[slot] = label
                    if count < k:
                        count += 1
            row = rows.twins[np.uint64(row)] if twins else NIL
    for slot in range(count, k):
        ids[slot] = -1
        distances[slot] = np.inf
    return count


@_helper
def _unit(query: Any, metric: Any) -> Any:
    if metric != COSINE:
        return np.float32(1)
    square = _dot_float(query, query)
    return np.float32(1) / np.sqrt(square) if square > np.float32(0) else np.float32(0)


@_helper
def _stretch(query: Any, lens: Any) -> Any:
    """By how much a query is made longer to be coded, float64."""
    square = np.float64(0)
    for j in range(query.shape[0]):
        square += np.float64(query[j]) * np.float64(query[j])
    return np.float64(lens.reach) / np.sqrt(square) if square > 0.0 else np.float64(1)


@_kernel
def new_handle(rows: Any, lens: Any, spiral: Any, scratch: Any, counters: Any) -> Any:
    """A `Handle`; counters int64 (4,) grow by the estimates and the seeds' products, the hops, the vectors compared.

    The fourth, `HANDOVERS`, is the writer's: it grows before ids go over from rows to others, or the former rows are
    closed, and again after that.
    """
    return Handle(rows, lens, spiral, scratch, counters)


@_kernel
def search(
    queries: Any, metric: Any, handle: Any, ef: Any, rerank: Any, enough: Any, admitted: Any, ids: Any, distances: Any
) -> Any:
    """The k nearest of each query (q, d), by the graph: ids int64 (q, k), distances float32 (q, k), padded.

    `ef` candidates are held, the best `rerank` of them compared by their vectors; `admitted` uint8 is one a row, or
    empty for all. Returns how many queries got fewer than `enough`.
    """
    rows, scratch, counters = handle.rows, handle.scratch, handle.counters
    lens, spiral = handle.lens, handle.spiral
    short = 0
    i = 0
    while i < queries.shape[0]:
        handovers = counters[HANDOVERS]
        query = queries[i]
        unit = _unit(query, metric)
        stretch = _stretch(query, lens) if lens.reach > 0.0 else np.float64(1)
        scale, correction = _prepare(query, unit, stretch, lens, scratch)
        count, products = _seeds(spiral, scratch.code, scale, correction, scratch.fresh)
        factor = scale * (np.float32(2) if metric == L2 else np.float32(1))
        found, compared, hops = _beam(
            rows, scratch, np.uint64(OFFSET), factor, np.float32(0), correction, metric == L2, count, ef, None
        )
        wanted = min(found, rerank)
        got = _settle(rows, scratch.point, metric, scratch.pool, wanted, np.bool_(1), admitted, ids[i], distances[i])
        if counters[HANDOVERS] != handovers or handovers & 1:
            continue  # an id may have been met twice, or not at all: once more
        short += got < enough
        counters[0] += compared + products
        counters[1] += hops
        counters[2] += wanted
        i += 1
    return short


@_kernel
def scan(queries: Any, metric: Any, handle: Any, wanted: Any, ef: Any, admitted: Any, ids: Any, distances: Any) -> None:
    """The k nearest of each query among the rows `wanted` int64 (m,), twins among them, by all of their codes."""
    rows, scratch, counters = handle.rows, handle.scratch, handle.counters
    lens = handle.lens
    for i in range(queries.shape[0]):
        query = queries[i]
        unit = _unit(query, metric)
        stretch = _stretch(query, lens) if lens.reach > 0.0 else np.float64(1)
        scale, correction = _prepare(query, unit, stretch, lens, scratch)
        factor = scale * (np.float32(2) if metric == L2 else np.float32(1))
        found = _scan(rows, scratch, wanted, factor, correction, metric == L2, ef)
        _settle(rows, scratch.point, metric, scratch.pool, found, np.bool_(0), admitted, ids[i], distances[i])
        counters[0] += wanted.shape[0]
        counters[2] += found


# -- build -------------------------------------------------------------------------------------------------------------


@_kernel
def encode(components: Any, offsets: Any, lifts: Any, codes: Any, tails: Any, first: Any) -> None:
    """Write the code rows `first` and on: components float32 (m, parts), offsets and lifts float32 (m,)."""
    parts = components.shape[1]
    at = tails.shape[1] - TAIL_FLOATS
    for i in range(components.shape[0]):
        row = first + i
        largest = np.float32(0)
        for j in range(parts):
            largest = max(largest, abs(components[i, j]))
        scale = largest / np.float32(127) if largest > np.float32(1e-30) else np.float32(1)
        square = np.float32(0)
        for j in range(parts):
            whole = np.int32(np.rint(components[i, j] / scale))
            whole = min(max(whole, np.int32(-127)), np.int32(127))
            codes[row, j] = np.uint8(whole + np.int32(128))
            decoded = scale * np.float32(whole)
            square += decoded * decoded
        for j in range(parts, 4 * at):
            codes[row, j] = np.uint8(128)
        tails[row, at + SCALE] = scale
        tails[row, at + LIFT] = lifts[i]
        tails[row, at + OFFSET] = offsets[i]
        tails[row, at + SQUARE] = square + lifts[i] * lifts[i]


@_helper
def _as_query(rows: Any, node: Any, parts: Any, code: Any) -> Any:
    """The node's own code as a query's: signed bytes into `code`; returns 128 * their sum."""
    total = np.int32(0)
    for j in range(parts):
        whole = np.int32(rows.codes[node, j]) - np.int32(128)
        code[j] = np.int8(whole)
        total += whole
    return np.int32(128) * total


@_helper
def _gap(rows: Any, node: Any, other: Any, here: Any, correction: Any) -> Any:
    """Squared distance of two nodes and their lifts; `here` is the address of `other`'s code as a query's."""
    if rows.plain:
        after = np.uint64(rows.tails.shape[1] - TAIL_FLOATS + LIFT)
        over = rows.tails[node, after] - rows.tails[other, after]
        return _square_gap(rows.vectors[node], rows.vectors[other]) + over * over
    width = np.uint64(rows.codes.shape[1])
    at = np.uint64(rows.tails.shape[1] - TAIL_FLOATS)
    product = np.float32(dot(np.uint64(rows.codes.ctypes.data) + node * width, here, width) - correction)
    return (
        rows.tails[node, at + np.uint64(SQUARE)]
        + rows.tails[other, at + np.uint64(SQUARE)]
        - np.float32(2) * rows.tails[node, at] * rows.tails[other, at] * product
        - np.float32(2) * rows.tails[node, at + np.uint64(LIFT)] * rows.tails[other, at + np.uint64(LIFT)]
    )


@_helper
def _prune(rows: Any, scratch: Any, count: Any, kept: Any, limit: Any, alpha: Any) -> Any:
    """RobustPrune of the first `count` of `scratch.candidates`, sorted by `scratch.gaps`, their distances.

    A candidate is left out if one that was chosen is nearer to it than the point is, by the factor `alpha` on squared
    distances. At most `limit` nodes are in `scratch.chosen` then, of which `kept` were before; returns how many.

    Source: Jayaram Subramanya et al., DiskANN (NeurIPS 2019), algorithm 2.
    """
    width = np.uint64(rows.codes.shape[1])
    here = np.uint64(scratch.chosen_codes.ctypes.data)
    parts = scratch.projected.shape[0]
    base = np.uint64(rows.codes.ctypes.data)
    for i in range(count):
        if kept >= limit:
            break
        if i + _AHEAD < count:
            _prefetch_row(base + np.uint64(scratch.candidates[i + _AHEAD]) * width, width // np.uint64(LINE))
        node = np.uint64(scratch.candidates[i])
        hidden = False
        for j in range(kept):
            other = np.uint64(scratch.chosen[j])
            gap = _gap(rows, node, other, here + np.uint64(j) * width, np.int64(scratch.corrections[j]))
            if alpha * gap <= scratch.gaps[i] or node == other:
                hidden = True
                break
        if not hidden:
            scratch.chosen[kept] = scratch.candidates[i]
            if not rows.plain:
                scratch.corrections[kept] = _as_query(rows, node, parts, scratch.chosen_codes[kept])
            kept += 1
    return kept


@_helper
def _is_live(rows: Any, node: Any) -> Any:
    """Whether the node, or a twin of it, bears a label, or is about to."""
    row = np.uint32(node)
    while row != NIL:
        if rows.labels[np.uint64(row)] != -1:
            return True
        row = rows.twins[np.uint64(row)]
    return False


@_helper
def _stays(rows: Any, node: Any) -> Any:
    """Whether the node, or a twin of it, is live and will be."""
    row = np.uint32(node)
    while row != NIL:
        if rows.labels[np.uint64(row)] != -1 and rows.labels[np.uint64(row)] != GOING:
            return True
        row = rows.twins[np.uint64(row)]
    return False


@_helper
def _candidates(rows: Any, scratch: Any, node: Any, own: Any, found: Any, live: Any) -> Any:
    """The first `found` of the pool, without the node itself, for `_prune`, with `live` the live ones; how many."""
    count = 0
    for t in range(found):
        key = scratch.pool[np.uint64(t)]
        other = _key_node(key)
        if other != node and (not live or _is_live(rows, other)):
            scratch.candidates[count] = np.uint32(other)
            scratch.gaps[count] = _key_distance(key) if rows.plain else own + _key_distance(key)
            count += 1
    return count


@_helper
def _around(rows: Any, lens: Any, spiral: Any, scratch: Any, node: Any, ef: Any) -> Any:
    """Search the graph for the nearest to a node itself: they come into the pool; returns how many."""
    at = np.uint64(rows.tails.shape[1] - TAIL_FLOATS)
    if rows.plain:
        scale, correction = _prepare(rows.vectors[node], np.float32(1), np.float64(1), lens, scratch)
    else:
        correction = _as_query(rows, node, scratch.projected.shape[0], scratch.code)
        scale = rows.tails[node, at]
    seed_count, _ = _seeds(spiral, scratch.code, scale, correction, scratch.fresh)
    lift = np.float32(2) * rows.tails[node, at + np.uint64(LIFT)]
    found, _, _ = _beam(
        rows, scratch, np.uint64(SQUARE), np.float32(2) * scale, lift, correction, np.bool_(1), seed_count, ef, None
    )
    return found


@_helper
def _crowd(rows: Any, scratch: Any, node: Any, own: Any, crowd: Any, ef: Any) -> Any:
    """Let `crowd` uint32 (c,), nodes not in the graph yet, into the pool too; returns how many it holds."""
    here = np.uint64(scratch.code.ctypes.data)
    correction = np.int64(0) if rows.plain else _as_query(rows, node, scratch.projected.shape[0], scratch.code)
    last = np.uint64(ef) - _ONE
    for t in range(crowd.shape[0]):
        other = np.uint64(crowd[t])
        if other != node:
            gap = _gap(rows, other, node, here, correction)
            key = _key(np.float32(gap if rows.plain else gap - own), other)
            if key < scratch.pool[last]:
                _hold(scratch.pool, last, key)
    return _held(scratch.pool, ef)


@_kernel
def link(
    rows: Any, lens: Any, spiral: Any, scratch: Any, nodes: Any, crowd: Any, ef: Any, most: Any, alpha: Any,
    joins: Any, twin_of: Any, out: Any,
) -> None:  # fmt: skip
    """Find the out-neighbours of `nodes` uint32 (m,) in the graph as it is: out uint32 (m, R), padded with NIL.

    `ef` candidates are held, and those in `crowd` uint32 (c,) are let in; the `most` nearest come into question.

    With `joins`, a node whose vector stands in the graph already gets no neighbours, but the node that it is a twin of
    in `twin_of` uint32 (m,), which is NIL for the others.
    """
    at = np.uint64(rows.tails.shape[1] - TAIL_FLOATS)
    limit = out.shape[1]
    for i in range(nodes.shape[0]):
        node = np.uint64(nodes[i])
        own = rows.tails[node, at + np.uint64(SQUARE)]
        found = _around(rows, lens, spiral, scratch, node, ef)
        if crowd.shape[0] > 0:
            found = _crowd(rows, scratch, node, own, crowd, ef)
        twin_of[i] = NIL
        count = _candidates(rows, scratch, node, own, found, np.bool_(1))
        if count == 0:  # all that was met is dead: better than nothing, it leads on
            count = _candidates(rows, scratch, node, own, found, np.bool_(0))
        count = min(count, most)
        for t in range(count if joins else 0):
            if scratch.gaps[t] > np.float32(1e-3) * own:
                break
            other = np.uint64(scratch.candidates[t])
            same = _is_live(rows, other)
            for j in range(rows.vectors.shape[1]):
                if rows.vectors[other, j] != rows.vectors[node, j]:
                    same = False
                    break
            if same:
                twin_of[i] = np.uint32(other)
                break
        kept = _prune(rows, scratch, count, _NONE, limit, alpha) if twin_of[i] == NIL else 0
        for j in range(kept):
            out[i, j] = scratch.chosen[j]
        for j in range(kept, limit):
            out[i, j] = NIL


@_helper
def _link_to(rows: Any, scratch: Any, target: Any, sources: Any, alpha: Any) -> None:
    """Add the edges target -> sources uint32 (m,), but those that are there; a row that overflows is pruned.

    The places of edges to what is closed are free. What was only detached does not come into question for pruning; the
    edges to it stay, as far as there is room: a search may be on its way there. (To give their places away as well was
    measured: a hundredth more distances and the same recall, and moments without a way.)
    """
    limit = rows.links.shape[1]
    most = limit - limit // _SPARED
    at_square = np.uint64(rows.tails.shape[1] - TAIL_FLOATS + SQUARE)
    at_offset = np.uint64(rows.tails.shape[1] - TAIL_FLOATS + OFFSET)
    degree = idle = _NONE
    while degree < limit and rows.links[target, np.uint64(degree)] != NIL:
        degree += 1
    if degree + sources.shape[0] > limit:
        for j in range(degree):
            idle += rows.tails[np.uint64(rows.links[target, np.uint64(j)]), at_offset] == np.float32(np.inf)
    if degree - idle + sources.shape[0] <= limit:
        place = _NONE
        for e in range(sources.shape[0]):
            present = False
            for j in range(degree):
                present |= rows.links[target, np.uint64(j)] == sources[e]
            if present:
                continue
            if degree < limit:
                rows.links[target, np.uint64(degree)] = sources[e]
                degree += 1
                continue
            while rows.tails[np.uint64(rows.links[target, np.uint64(place)]), at_offset] != np.float32(np.inf):
                place += 1
            rows.links[target, np.uint64(place)] = sources[e]
        return
    here = np.uint64(scratch.code.ctypes.data)
    candidates, gaps = scratch.candidates, scratch.gaps
    correction = np.int64(0) if rows.plain else _as_query(rows, target, scratch.projected.shape[0], scratch.code)
    # A crowd of new neighbours is looked at in portions that the scratch can hold.
    count = leaving = _NONE
    for at in range(degree + sources.shape[0]):
        node = rows.links[target, np.uint64(at)] if at < degree else sources[at - degree]
        if rows.tails[np.uint64(node), at_square] == np.float32(np.inf):
            if leaving < limit - most and rows.tails[np.uint64(node), at_offset] != np.float32(np.inf):
                scratch.fresh[leaving] = node
                leaving += 1
            continue
        gap = _gap(rows, np.uint64(node), target, here, correction)
        place = count
        while place > 0 and (gaps[place - 1] > gap or (gaps[place - 1] == gap and candidates[place - 1] > node)):
            gaps[place] = gaps[place - 1]
            candidates[place] = candidates[place - 1]
            place -= 1
        gaps[place] = gap
        candidates[place] = node
        count += 1
        if count == candidates.shape[0] and at + 1 < degree + sources.shape[0]:
            count = _prune(rows, scratch, count, _NONE, limit, alpha)
            for j in range(count):
                candidates[j] = scratch.chosen[j]
                gaps[j] = _gap(rows, np.uint64(candidates[j]), target, here, correction)
    kept = _prune(rows, scratch, count, _NONE, most, alpha)
    for j in range(limit):
        node = NIL
        if j < kept:
            node = scratch.chosen[j]
        elif j < kept + leaving:
            node = scratch.fresh[j - kept]
        rows.links[target, np.uint64(j)] = node


@_kernel
def link_back(rows: Any, scratch: Any, targets: Any, sources: Any, alpha: Any) -> None:
    """Add the edges targets[e] -> sources[e], sorted by target; a row that overflows is pruned."""
    start = 0
    while start < targets.shape[0]:
        stop = start
        while stop < targets.shape[0] and targets[stop] == targets[start]:
            stop += 1
        _link_to(rows, scratch, np.uint64(targets[start]), sources[start:stop], alpha)
        start = stop


# -- all with all ------------------------------------------------------------------------------------------------------


@_kernel
def fill_columns(rows: Any, columns: Any) -> None:
    """Write what is known of the columns' nodes, in columns."""
    at = np.uint64(rows.tails.shape[1] - TAIL_FLOATS)
    for i in range(columns.nodes.size):
        block, place = np.uint64(i // COLUMNS), np.uint64(i % COLUMNS)
        if columns.nodes[i] == NIL:
            columns.squares[block, place] = np.inf
            continue
        node = np.uint64(columns.nodes[i])
        columns.scales[block, place] = rows.tails[node, at]
        columns.lifts[block, place] = rows.tails[node, at + np.uint64(LIFT)]
        columns.squares[block, place] = rows.tails[node, at + np.uint64(SQUARE)]
        for group in range(columns.codes.shape[1]):
            for j in range(4):
                columns.codes[block, np.uint64(group), place, np.uint64(j)] = rows.codes[node, 4 * group + j]


@_kernel
def cell_of(rows: Any, spiral: Any, scratch: Any, nodes: Any, out: Any) -> None:
    """The leaf of the spiral where each of `nodes` uint32 (m,) belongs: the node that stands for it, uint32 (m,)."""
    at = np.uint64(rows.tails.shape[1] - TAIL_FLOATS)
    for i in range(nodes.shape[0]):
        node = np.uint64(nodes[i])
        correction = _as_query(rows, node, scratch.projected.shape[0], scratch.code)
        count, _ = _seeds(spiral, scratch.code, rows.tails[node, at], correction, scratch.fresh)
        out[i] = scratch.fresh[1] if count > 1 else scratch.fresh[0]


@_kernel
def _sift(gaps: Any, nodes: Any, count: Any, limit: Any, most: Any) -> Any:
    """Keep the `most` nearest of the first `count`, and up to an eighth more; returns how many, and the new limit.

    All gaps are below the `limit`, and those to come are of no interest from the new one on. It is found by halving,
    and not by sorting: counting costs a tenth of a nanosecond a gap. Of gaps that this does not tell apart, the first
    stay.
    """
    allowed = most + most // 8
    high = limit
    if limit == _FARTHEST:
        high = np.float32(0)
        for t in range(count):
            high = max(high, gaps[t])
        high = high * np.float32(1.001) + np.float32(1e-30)
    low = -high  # gaps are squares, less what rounding takes
    for _ in range(24):
        middle = np.float32(0.5) * (low + high)
        under = np.int32(0)
        for t in range(count):
            under += np.int32(gaps[np.uint64(t)] < middle)
        if under >= most:
            high = middle
            if under <= allowed:
                break
        else:
            low = middle
    spare = np.int64(allowed)
    for t in range(count):
        spare -= np.int64(gaps[np.uint64(t)] < low)
    kept = np.int64(0)
    for t in range(count):
        gap, node = gaps[np.uint64(t)], nodes[np.uint64(t)]
        equal = (gap >= low) & (gap < high) & (spare > 0)
        spare -= np.int64(equal)
        gaps[np.uint64(kept)] = gap
        nodes[np.uint64(kept)] = node
        kept += np.int64(((gap < low) | equal) & (kept < allowed))
    return kept, high


@_helper
def _compare(
    rows: Any, scratch: Any, columns: Any, order: Any, sieve: Any, first: Any, count: Any, most: Any, few: Any
) -> None:
    """Find the `most` nearest columns, and some more, to `count` nodes of `order` from `first` on.

    They are in `sieve.near` and `sieve.near_gaps`, the node itself among them, and `sieve.counts` says how many. Behind
    each stage but the last, the `few` nearest so far go into `sieve.far` and `sieve.far_gaps`.
    """
    at = np.uint64(rows.tails.shape[1] - TAIL_FLOATS)
    width = np.uint64(sieve.codes.shape[1])
    groups = np.uint64(columns.codes.shape[1])
    full = sieve.near.shape[1] - COLUMNS
    gaps = sieve.gaps
    corrections, counts, limits = sieve.corrections, sieve.counts, sieve.limits
    for r in range(count):
        node = np.uint64(order[first + r])
        corrections[r] = _as_query(rows, node, scratch.projected.shape[0], sieve.codes[r])
        counts[r], limits[r] = 0, _FARTHEST
    for stage in range(columns.stages.size - 1):
        blocks = columns.stages[stage + 1] - columns.stages[stage]
        for step in range(blocks):
            # First those at the same place in their order: the nearest are there, and few others are let in then.
            block = columns.stages[stage] + (first * blocks // order.size + step) % blocks
            scales, lifts, squares = columns.scales[block], columns.lifts[block], columns.squares[block]
            here = np.uint64(columns.codes.ctypes.data) + np.uint64(block) * groups * np.uint64(4 * COLUMNS)
            products(np.uint64(sieve.codes.ctypes.data), width, here, groups, np.uint64(sieve.products.ctypes.data))
            for r in range(count):
                node = np.uint64(order[first + r])
                scale = np.float32(2) * rows.tails[node, at]
                lift = np.float32(2) * rows.tails[node, at + np.uint64(LIFT)]
                square = rows.tails[node, at + np.uint64(SQUARE)]
                correction = corrections[r]
                row = sieve.products[r]
                for c in range(COLUMNS):
                    product = np.float32(row[c] - correction)
                    gaps[c] = squares[c] + square - scale * scales[c] * product - lift * lifts[c]
                hits = below(np.uint64(gaps.ctypes.data), limits[r])
                if hits:
                    held = np.uint64(counts[r])
                    while hits:
                        c = ones(np.uint64((hits & -hits) - np.uint32(1)))
                        hits &= hits - np.uint32(1)
                        sieve.near_gaps[r, held] = gaps[c]
                        sieve.near[r, held] = columns.nodes[np.uint64(block * COLUMNS) + c]
                        held += _ONE
                    counts[r] = held
                    if counts[r] > full:
                        counts[r], limits[r] = _sift(sieve.near_gaps[r], sieve.near[r], counts[r], limits[r], most)
        if stage + 2 < columns.stages.size:
            for r in range(count):
                found = _nearest(scratch, sieve, np.uint64(order[first + r]), r, counts[r], few)
                for t in range(few):
                    sieve.far[stage, r, t] = scratch.candidates[t] if t < found else NIL
                    sieve.far_gaps[stage, r, t] = scratch.gaps[t]


@_helper
def _nearest(scratch: Any, sieve: Any, node: Any, r: Any, count: Any, most: Any) -> Any:
    """Make candidates of the `most` nearest of the first `count` in the sieve's row `r`, but the node; how many."""
    pool, last = scratch.pool, np.uint64(most - 1)
    for t in range(most):
        pool[np.uint64(t)] = _EMPTY
    for t in range(count):
        key = _key(sieve.near_gaps[r, t], sieve.near[r, t])
        if key < pool[last] and np.uint64(sieve.near[r, t]) != node:
            _hold(pool, last, key)
    found = _held(pool, most)
    for t in range(found):
        scratch.candidates[t] = np.uint32(_key_node(pool[np.uint64(t)]))
        scratch.gaps[t] = _key_distance(pool[np.uint64(t)])
    return found


@_kernel
def link_among(
    rows: Any, scratch: Any, columns: Any, order: Any, sieve: Any, first: Any, stop: Any, most: Any, places: Any,
    alpha: Any,
) -> None:  # fmt: skip
    """Give the nodes of `order` uint32 (m,) from `first` to `stop` their out-neighbours; no two are equal.

    In question come the `most` nearest of all columns. Of a cluster that is larger nothing would lead away: therefore
    the nearest of each sample, which the stages but the last make up, have `places` of the row for themselves.
    No row but the node's own is written, and none is looked at.
    """
    limit = rows.links.shape[1]
    samples, few = sieve.far.shape[0], sieve.far.shape[2]
    for start in range(first, stop, ABREAST):
        several = min(ABREAST, stop - start)
        _compare(rows, scratch, columns, order, sieve, start, several, most + 1, few)
        for r in range(several):
            node = np.uint64(order[start + r])
            count, _ = _sift(sieve.near_gaps[r], sieve.near[r], sieve.counts[r], _FARTHEST, most + 1)
            count = _nearest(scratch, sieve, node, r, count, most)
            kept = _prune(rows, scratch, count, _NONE, limit - places * samples, alpha)
            for sample in range(samples):
                count = 0
                while count < few and sieve.far[sample, r, count] != NIL:
                    scratch.candidates[count] = sieve.far[sample, r, count]
                    scratch.gaps[count] = sieve.far_gaps[sample, r, count]
                    count += 1
                kept = _prune(rows, scratch, count, kept, kept + places, alpha)
            for j in range(limit):
                rows.links[node, np.uint64(j)] = scratch.chosen[j] if j < kept else NIL


# -- repair ------------------------------------------------------------------------------------------------------------


@_helper
def _leads(rows: Any, node: Any, other: Any) -> Any:
    """Whether there is a link node -> other."""
    for j in range(rows.links.shape[1]):  # noqa: SIM110 -- numba has no generators here
        if rows.links[node, np.uint64(j)] == other:
            return True
    return False


@_helper
def _unlink(rows: Any, node: Any, dead: Any) -> None:
    """Take the link node -> dead away, if there is one."""
    limit = rows.links.shape[1]
    place, degree = -1, 0
    while degree < limit and rows.links[node, np.uint64(degree)] != NIL:
        if rows.links[node, np.uint64(degree)] == dead:
            place = degree
        degree += 1
    if place >= 0:
        rows.links[node, np.uint64(place)] = rows.links[node, np.uint64(degree - 1)]
        rows.links[node, np.uint64(degree - 1)] = NIL


@_helper
def _nearest_of(rows: Any, scratch: Any, node: Any, among: Any, out: Any) -> Any:
    """Which of the first `among` of `scratch.near`, but the node itself, are nearest to it: into `out`; how many."""
    here = np.uint64(scratch.code.ctypes.data)
    correction = np.int64(0) if rows.plain else _as_query(rows, node, scratch.projected.shape[0], scratch.code)
    count = 0
    for t in range(among):
        other = scratch.near[t]
        if np.uint64(other) == node:
            continue
        gap = _gap(rows, np.uint64(other), node, here, correction)
        place = count
        while place > 0 and scratch.gaps[place - 1] > gap:
            if place < out.shape[0]:
                scratch.gaps[place] = scratch.gaps[place - 1]
                out[place] = out[place - 1]
            place -= 1
        if place < out.shape[0]:
            scratch.gaps[place] = gap
            out[place] = other
            count = min(count + 1, out.shape[0])
    return count


@_kernel
def detach(
    rows: Any, lens: Any, spiral: Any, scratch: Any, nodes: Any, ef: Any, among: Any, ties: Any, alpha: Any,
    nearest: Any, sources: Any,
) -> None:  # fmt: skip
    """Lay ways around `nodes` uint32 (m,), whose rows are `GOING`, for the living, one after the other.

    Until its turn, each of them counts as live: what can be reached through it alone can be reached so far.

    The graph is searched for the node with `ef` candidates. Those that are live and lead to it get `ties` links to the
    live ones nearest to them of the `among` nearest to the node; where it leads, `ties` of these lead as well. From
    then on no search for a node goes through it. Those for queries do: links to it stay until `close`, or there would
    be moments without a way.

    `nearest` uint32 (m,) takes the nearest live node to each, or NIL where there is none, and all stays as it is;
    `sources` uint32 (m, ef), all NIL, those that were found to lead to each.

    Source: Xu et al. 2025, "In-Place Updates of a Graph Index for Streaming Approximate Nearest Neighbor Search"
    (IP-DiskANN), arXiv 2502.13826.
    """
    at = np.uint64(rows.tails.shape[1] - TAIL_FLOATS)
    for i in range(nodes.shape[0]):
        node = np.uint64(nodes[i])
        rows.labels[node] = -1
        found = _around(rows, lens, spiral, scratch, node, ef)
        live = 0
        nearest[i] = NIL
        for t in range(found):
            other = _key_node(scratch.pool[np.uint64(t)])
            if other != node and _is_live(rows, other):
                scratch.near[live] = np.uint32(other)
                live += 1
                if nearest[i] == NIL and _stays(rows, other):
                    nearest[i] = np.uint32(other)
        if nearest[i] == NIL:
            continue
        rows.tails[node, at + np.uint64(SQUARE)] = np.float32(np.inf)
        few = min(live, among)
        leading = 0
        for t in range(live):
            other = np.uint64(scratch.near[t])
            if _leads(rows, other, nodes[i]):
                count = _nearest_of(rows, scratch, other, few, scratch.offers[:ties])
                _link_to(rows, scratch, other, scratch.offers[:count], alpha)
                sources[i, leading] = scratch.near[t]
                leading += 1
        for j in range(rows.links.shape[1]):
            other = rows.links[node, np.uint64(j)]
            if other == NIL:
                break
            if _is_live(rows, other):
                count = _nearest_of(rows, scratch, np.uint64(other), few, scratch.offers[1 : ties + 1])
                scratch.offers[0] = other
                for t in range(count):
                    _link_to(rows, scratch, np.uint64(scratch.offers[t + 1]), scratch.offers[:1], alpha)


@_kernel
def close(rows: Any, nodes: Any, sources: Any) -> None:
    """Let no search go through `nodes` uint32 (m,) any more, nor their `sources` uint32 (m, ef) lead to them.

    Both as of `detach`. Links to a node that were not found there lead nowhere from now on.
    """
    at = np.uint64(rows.tails.shape[1] - TAIL_FLOATS)
    for i in range(nodes.shape[0]):
        for t in range(sources.shape[1]):
            if sources[i, t] == NIL:
                break
            _unlink(rows, np.uint64(sources[i, t]), nodes[i])
        rows.tails[np.uint64(nodes[i]), at + np.uint64(OFFSET)] = np.float32(np.inf)


@_kernel
def mend(rows: Any, scratch: Any, nodes: Any, alpha: Any) -> None:
    """Replace the links of live `nodes` uint32 (m,) to dead ones by those of the dead ones to the living.

    Each node's own row is all that is written, and the rows of dead ones all that is read: the order does not matter.

    Source: Singh et al. 2021, FreshDiskANN, arXiv 2105.09613.
    """
    limit = rows.links.shape[1]
    for i in range(nodes.shape[0]):
        node = np.uint64(nodes[i])
        gone = 0
        for j in range(limit):
            other = rows.links[node, np.uint64(j)]
            if other == NIL:
                break
            if not _is_live(rows, other):
                scratch.near[gone] = other
                gone += 1
        for t in range(gone):
            dead = np.uint64(scratch.near[t])
            _unlink(rows, node, scratch.near[t])
            count = 0
            for j in range(limit):
                other = rows.links[dead, np.uint64(j)]
                if other == NIL:
                    break
                if np.uint64(other) != node and _is_live(rows, other):
                    scratch.offers[count] = other
                    count += 1
            _link_to(rows, scratch, node, scratch.offers[:count], alpha)


@_kernel
def way_to(rows: Any, scratch: Any, node: Any, came_from: Any) -> Any:
    """The nearest node to `node` that `reach` has come by and that can have an edge more, else NIL.

    It has an empty place, or an edge by which `reach` did not come.
    """
    here = np.uint64(scratch.code.ctypes.data)
    correction = np.int64(0) if rows.plain else _as_query(rows, node, scratch.projected.shape[0], scratch.code)
    best, best_gap = NIL, np.float32(np.inf)
    for other in range(came_from.shape[0]):
        if came_from[other] != NIL:
            gap = _gap(rows, np.uint64(other), node, here, correction)
            if gap < best_gap:
                for j in range(rows.links.shape[1]):
                    leads = rows.links[other, np.uint64(j)]
                    if leads == NIL or came_from[np.uint64(leads)] != np.uint32(other):
                        best, best_gap = np.uint32(other), gap
                        break
    return best


@_kernel
def reach(links: Any, start: Any, came_from: Any, queue: Any) -> None:
    """Write into `came_from` uint32 (n,), NIL as yet, for each node that links lead to from `start` the one before."""
    queue[0] = start
    head, tail = 0, 1
    while head < tail:
        node = np.uint64(queue[head])
        head += 1
        for j in range(links.shape[1]):
            other = links[node, np.uint64(j)]
            if other == NIL:
                break
            if came_from[np.uint64(other)] == NIL:
                came_from[np.uint64(other)] = np.uint32(node)
                queue[tail] = other
                tail += 1


@_kernel
def unanswered(links: Any, nodes: Any, out: Any) -> None:
    """Mark in `out` uint8 (m,) the `nodes` uint32 (m,) that have links, and to which no out-neighbour leads back."""
    for i in range(nodes.size):
        out[i] = links[nodes[i], 0] != NIL
        for place in range(links.shape[1]):
            near = links[nodes[i], place]
            if near == NIL or out[i] == 0:
                break
            for back in range(links.shape[1]):
                if links[near, back] == nodes[i]:
                    out[i] = 0
                    break
