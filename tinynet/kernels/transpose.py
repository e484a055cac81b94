"""Transposing a matrix, block by block in vector registers.

A block of as many rows as a vector has lanes is loaded row by row. Riffling two vectors like two
halves of a deck of cards, and doing so with vectors i and i + half, for all i, moves every number
to where log2(lanes) rounds of it make columns out of rows:

    a0 a1 a2 a3      a0 c0 a1 c1      a0 b0 c0 d0
    b0 b1 b2 b3  ->  a2 c2 a3 c3  ->  a1 b1 c1 d1
    c0 c1 c2 c3      b0 d0 b1 d1      a2 b2 c2 d2
    d0 d1 d2 d3      b2 d2 b3 d3      a3 b3 c3 d3

What it bought: number by number, transposing a kernel took as long as the product with it.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from tinynet.kernels.jit import ZERO, entry, jit
from tinynet.kernels.memory import empty
from tinynet.kernels.reference import Array
from tinynet.kernels.threads import pool_for, share
from tinynet.kernels.vectors import REGISTERS, in_either, intrinsic, load_vector, store_vector

_BYTES = REGISTERS.vector_bytes


@in_either
def block_lanes(itemsize: int) -> int:
    """How many rows and columns a block has."""
    return _BYTES // itemsize


@intrinsic
def transpose_block(
    typingctx: Any, x: Any, x_at: Any, x_row: Any, y: Any, y_at: Any, y_row: Any
) -> Any:
    """y[j, i] = x[i, j] for one block: x[i, j] is x[x_at + i * x_row + j], y alike."""

    def transposed(builder: ir.IRBuilder, block: list[ir.Value]) -> list[ir.Value]:
        lanes, half = len(block), len(block) // 2
        for _ in range(lanes.bit_length() - 1):
            riffled = []
            for i in range(half):
                for first in (0, half):
                    order = [lane for j in range(half) for lane in (first + j, lanes + first + j)]
                    pick = ir.Constant(ir.VectorType(ir.IntType(32), lanes), order)
                    riffled.append(builder.shuffle_vector(block[i], block[i + half], pick))
            block = riffled
        return block

    return _move_block(x, y, transposed)


@intrinsic
def copy_block(typingctx: Any, x: Any, x_at: Any, x_row: Any, y: Any, y_at: Any, y_row: Any) -> Any:
    """y[i, j] = x[i, j] for one block, as `transpose_block`."""
    return _move_block(x, y, lambda builder, block: block)


def _move_block(
    x: Any, y: Any, change: Callable[[ir.IRBuilder, list[ir.Value]], list[ir.Value]]
) -> Any:
    """Load the rows of a block of x, and store in y what ``change`` makes of these vectors."""
    size = types.intp
    signature = types.void(x, size, size, y, size, size)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        x, x_at, x_row, y, y_at, y_row = values
        lanes = _BYTES * 8 // signature.args[0].dtype.bitwidth
        vector = ir.VectorType(context.get_data_type(signature.args[0].dtype), lanes)

        def rows(kind: Any, array: ir.Value, at: ir.Value, row: ir.Value) -> list[ir.Value]:
            data = context.make_array(kind)(context, builder, array).data
            offsets = [builder.add(at, builder.mul(row, row.type(i))) for i in range(lanes)]
            return [builder.gep(data, [offset]) for offset in offsets]

        block = [
            load_vector(builder, vector, pointer, None)
            for pointer in rows(signature.args[0], x, x_at, x_row)
        ]
        moved = change(builder, block)
        for value, pointer in zip(moved, rows(signature.args[3], y, y_at, y_row), strict=True):
            store_vector(builder, value, pointer, None)
        return context.get_dummy_value()

    return signature, generate


def transpose(x: Array, y: Array) -> None:
    """y = x.T: x (m, n), y (n, m), both in C order."""
    _transpose(pool_for(x.size), x.reshape(-1), y.reshape(-1), *x.shape)


@entry()
def _transpose(pool: int, x: Array, y: Array, m: int, n: int) -> None:
    lanes = block_lanes(x.itemsize)
    share(pool, -(-n // lanes), _transpose_columns, (x, y, m, n))


@jit()
def _transpose_columns(number: int, x: Array, y: Array, m: int, n: int) -> None:
    """As many columns of x as a vector has lanes."""
    _transpose_some(number, x, n, y, ZERO, m, m, n)


@jit()
def _transpose_some(
    number: int, x: Array, x_row: int, y: Array, y_at: int, y_row: int, m: int, n: int
) -> None:
    lanes = block_lanes(x.itemsize)
    first = number * lanes
    last = min(first + lanes, n)
    whole = m - m % lanes if last - first == lanes else 0
    for i in range(0, whole, lanes):
        transpose_block(x, i * x_row + first, x_row, y, y_at + first * y_row + i, y_row)
    for j in range(first, last):
        for i in range(whole, m):
            y[y_at + j * y_row + i] = x[i * x_row + j]


@jit()
def transpose_into(x: Array, x_row: int, y: Array, y_at: int, y_row: int, m: int, n: int) -> None:
    """`transpose` without threads: x[i * x_row + j] to y[y_at + j * y_row + i]."""
    for number in range(-(-n // block_lanes(x.itemsize))):
        _transpose_some(number, x, x_row, y, y_at, y_row, m, n)


def swap_channels(kernel: Array, backwards: bool = False) -> Array:
    """A kernel (kh, kw, a, b) as (kh, kw, b, a), and from its end to its beginning if so asked."""
    kh, kw, a, b = kernel.shape
    swapped = empty((kh, kw, b, a), kernel.dtype)
    _transpose_each(kernel.reshape(-1, a * b), a, b, swapped.reshape(-1, a * b), backwards)
    return swapped


@entry()
def _transpose_each(x: Array, m: int, n: int, y: Array, backwards: bool) -> None:
    for i in range(len(x)):
        transpose_into(x[i], n, y[len(x) - 1 - i if backwards else i], ZERO, m, m, n)
