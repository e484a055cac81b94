"""Small linear maps of image tiles: ``Y = M @ X @ M.T`` for each channel, M a constant matrix.

X is a tile of s x s pixels with many channels, which lie side by side in memory; so a vector holds
one pixel of several channels, and the map is a few dozen vectors' worth of additions:

                channels ->
    X[0,0]  [ v v v v v v v v ]   first along each row,     t[i, q] = sum over j of M[q, j] X[i, j]
    X[0,1]  [ v v v v v v v v ]   then along each column,   Y[p, q] = sum over i of M[p, i] t[i, q]
    ...

The matrices are known when the code is made, so zeros cost nothing, ones cost an addition, and
where two rows (or columns) of M differ in signs only, what they share is computed once:

    a + b + c   and   a - b + c     from     a + c   and   b

What it bought is told in `winograd`, which is built of it.
"""

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray

from tinynet.kernels.vectors import (
    REGISTERS,
    Channels,
    array_data,
    cgutils,
    channels_at_once,
    intrinsic,
    load_vector,
    multiply_add,
    store_vector,
)

Matrix = NDArray[np.float64]


def both_sides(matrix: Matrix, add: bool = False) -> Any:
    """A function for compiled code that computes ``Y = M @ X @ M.T``, or ``Y += M @ X @ M.T``.

    Its arguments are (x, x_place, y, y_place, channels): arrays of one dimension, and where in
    them X and Y are, each a `Place`. Pixels outside of a place count as 0 and are not written.
    There must be `vectors.LEAST_CHANNELS`.

    The result must be a global of a module, or what uses it is not found in the compile cache.
    """

    @intrinsic
    def apply(
        typingctx: Any, x: Any, x_place: Any, y: Any, y_place: Any, channels: Any
    ) -> Any:  # fmt: skip
        signature = types.void(x, x_place, y, y_place, types.intp)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
            x_place, y_place, channels = values[1], values[3], values[4]
            dtype = signature.args[0].dtype
            lanes = REGISTERS.vector_bytes * 8 // dtype.bitwidth
            wide = ir.VectorType(context.get_data_type(dtype), lanes)
            nowhere = cgutils.alloca_once_value(builder, ir.Constant(wide, [0.0] * lanes))

            def tile(position: int, place: ir.Value, size: int) -> _Tile:
                data = array_data(context, builder, signature, values, position)
                at, row, column, *limits = cgutils.unpack_tuple(builder, place)
                exists = _exist(builder, limits, size)
                return _Tile(builder.gep(data, [at]), row, column, exists, nowhere)

            source = tile(0, x_place, matrix.shape[1])
            target = tile(2, y_place, matrix.shape[0])
            for loop in channels_at_once(context, builder, dtype, channels):
                _emit(builder, matrix, add, source, target, loop)
            return context.get_dummy_value()

        return signature, generate

    return apply


class Place(NamedTuple):
    """Where a tile is: pixel i, j of channel c is at + i * row + j * column + c, if it exists.

    It does for first_row <= i < end_row and first_column <= j < end_column.
    """

    at: int
    row: int
    column: int
    first_row: int
    end_row: int
    first_column: int
    end_column: int


class _Tile(NamedTuple):
    """A place as LLVM values: whether each pixel exists, and what stands in for those that do not.

    What does not exist is read from ``nowhere``, where zeros are, and never written.
    """

    start: ir.Value
    row: ir.Value
    column: ir.Value
    exists: list[list[ir.Value]]
    nowhere: ir.Value


def _exist(builder: ir.IRBuilder, limits: list[ir.Value], size: int) -> list[list[ir.Value]]:
    """Whether the pixels of a tile of size x size lie within first and end row and column."""
    first_row, end_row, first_column, end_column = limits

    def within(i: int, first: ir.Value, end: ir.Value) -> ir.Value:
        i = first.type(i)
        return builder.and_(builder.icmp_signed(">=", i, first), builder.icmp_signed("<", i, end))

    rows = [within(i, first_row, end_row) for i in range(size)]
    columns = [within(j, first_column, end_column) for j in range(size)]
    return [[builder.and_(row, column) for column in columns] for row in rows]


def _emit(
    builder: ir.IRBuilder, matrix: Matrix, add: bool, source: _Tile, target: _Tile, at: Channels
) -> None:
    """The map for one vector of channels."""
    vector, channel, mask, fresh = at
    index = channel.type
    nowhere = builder.bitcast(source.nowhere, source.start.type)

    def pixels(tile: _Tile) -> list[list[ir.Value]]:
        """Pointers to the channels of each pixel."""
        count = range(len(tile.exists))
        columns = [builder.mul(tile.column, index(j)) for j in count]
        starts = [builder.add(channel, builder.mul(tile.row, index(i))) for i in count]
        rows = [builder.gep(tile.start, [start]) for start in starts]
        return [
            [
                builder.select(exists, builder.gep(row, [column]), nowhere)
                for exists, column in zip(tile.exists[i], columns, strict=True)
            ]
            for i, row in enumerate(rows)
        ]

    along_rows = [
        _emit_map(builder, matrix, [load_vector(builder, vector, place, mask) for place in row])
        for row in pixels(source)
    ]
    places = pixels(target)
    for q in range(len(matrix)):
        for p, value in enumerate(_emit_map(builder, matrix, [t[q] for t in along_rows])):
            place = places[p][q]
            if add:
                old = load_vector(builder, vector, place, mask)
                total = builder.fadd(old, value)
                value = total if fresh is None else builder.select(fresh, total, old)
            with builder.if_then(target.exists[p][q], likely=True):
                store_vector(builder, value, place, mask)


def _emit_map(builder: ir.IRBuilder, matrix: Matrix, x: list[ir.Value]) -> list[ir.Value]:
    """y = M @ x, each entry a vector."""
    x, matrix = list(x), matrix.copy()
    for j in range(matrix.shape[1] - 1):
        left, right = matrix[:, j].copy(), matrix[:, j + 1].copy()
        if _differ_in_signs(left, right):
            x[j], x[j + 1] = builder.fadd(x[j], x[j + 1]), builder.fsub(x[j], x[j + 1])
            matrix[:, j] = np.where(left == right, left, 0)
            matrix[:, j + 1] = np.where(left == right, 0, left)
    y: list[ir.Value] = []
    while len(y) < len(matrix):
        i = len(y)
        if i + 1 < len(matrix) and _differ_in_signs(matrix[i], matrix[i + 1]):
            same = matrix[i] == matrix[i + 1]
            shared = _emit_sum(builder, np.where(same, matrix[i], 0), x)
            other = _emit_sum(builder, np.where(same, 0, matrix[i]), x)
            y += [builder.fadd(shared, other), builder.fsub(shared, other)]
        else:
            y.append(_emit_sum(builder, matrix[i], x))
    return y


def _differ_in_signs(a: Matrix, b: Matrix) -> bool:
    """Whether |a| = |b|, with some entries equal and some opposite."""
    same, opposite = (a == b) & (a != 0), (a == -b) & (a != 0)
    return bool(same.any() and opposite.any() and (np.abs(a) == np.abs(b)).all())


def _emit_sum(builder: ir.IRBuilder, weights: Matrix, x: list[ir.Value]) -> ir.Value:
    """The sum of weights[j] * x[j]; a weight of one, if there is one, comes first."""
    terms = sorted((j for j in range(len(x)) if weights[j]), key=lambda j: weights[j] != 1)
    total = None
    for j in terms:
        if total is None:
            total = x[j] if weights[j] == 1 else builder.fmul(x[j], _constant(x[j], weights[j]))
        elif abs(weights[j]) == 1:
            total = (builder.fadd if weights[j] > 0 else builder.fsub)(total, x[j])
        else:
            total = multiply_add(builder, x[j], _constant(x[j], weights[j]), total)
    if total is None:
        return _constant(x[0], 0.0)
    return total


def _constant(like: ir.Value, value: float) -> ir.Constant:
    return ir.Constant(like.type, [float(value)] * like.type.count)
