"""The matrix product of one small tile, held in vector registers, and lists of such products.

Everything that multiplies matrices here, convolution included, comes down to this file.

**What a tile is.** To compute ``C = A @ B`` entry by entry reads two numbers for each
multiplication, and reading is slower than multiplying. So a block of C with several rows and
columns is computed at once: each number read is then used several times. The block stays in the
CPU's vector registers for all k, or some hundreds of them, and memory sees only A and B:

                       B, one row at a time
                     [  vector  ][  vector  ]      <- loaded once for each k
      A, one column  +----------+-----------+
      at a time  a0  |  acc 0,0 |  acc 0,1  |
                 a1  |  acc 1,0 |  acc 1,1  |      acc r,v += a_r * vector v
                 a2  |  acc 2,0 |  acc 2,1  |      (one fused multiply-add for each
                 ..  |    ...   |    ...    |       accumulator and k)
                     +----------+-----------+

**Why these sizes.** With rows x vectors accumulators, the loop needs ``vectors`` registers more
for B and one for the broadcast ``a_r``, and must not need more registers than there are. It does
rows x vectors multiply-adds for rows + vectors loads, and ten independent sums or more hide the
four or five cycles that one multiply-add takes. Two vectors wide is enough for that, and suits
layers of 32 or 64 units without a tail; the rows then fill the registers. AVX2 has 16 of 32 bytes:
6 x 2 + 2 + 1 = 15. SSE has 16 of 16 bytes and tiles of as many rows; the one left over holds a
product before it is added. ARM has 32 of 16 bytes: 12 x 2 + 2 + 1 = 27. AVX-512 has 32 of 64 bytes,
and two shapes: 14 x 2 + 2 + 1 = 31 and, for more columns, 9 x 3 + 3 + 1 = 31, which reads less for
each multiply-add (12 / 27 against 16 / 28). With both, a Xeon takes 7 to 20% less than with the
first alone. 8 vectors are 3 + 3 + 2; a tile of one, with few sums and many loads, is avoided.

**Strides.** The distance from one entry of A to the next is an argument in each direction, so
that A and A.T cost the same, and k is counted by two loops with strides of their own, so that a
window of an image (a few rows, some pixels of each) is a row of A without being copied.

**Why not plain loops.** Compilers do not keep a block of C in registers by themselves. So the loop
is written here as LLVM instructions, which numba compiles for this machine: see `_emit_tile`.

What it bought: (32, 784) @ (784, 128) takes one thread 59 microseconds, and 150 to 320 by three
loops of which the compiler vectorizes the innermost.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types

from tinynet.kernels.jit import jit
from tinynet.kernels.vectors import (
    REGISTERS,
    array_data,
    first_lanes,
    in_either,
    intrinsic,
    load_vector,
    multiply_add,
    opaque,
    pointer_to,
    prefetch,
    splat,
    store_vector,
)

VECTOR_BYTES = REGISTERS.vector_bytes
ROWS = REGISTERS.rows  # how many a tile has at most, by its width in vectors
MAX_ROWS = ROWS[0]
PANEL_BYTES = 2 * VECTOR_BYTES

# So many rows of A are reached from one pointer. If LLVM saw how far all rows are apart, it would
# step one pointer from row to row, 14 additions that wait for each other, or keep one for each,
# which are more than there are registers: products took up to 8% longer, of few columns 60%. Six
# rows an x86 instruction reaches by itself: it can add 1, 2 or 4 times what a register holds, here
# the distance, or 3 or 5 times the distance, which stand ready in two more.
_POINTER_ROWS = 4 if MAX_ROWS > 6 else 6

# A and B are fetched into the cache so many k before they are needed: CPUs see by themselves which
# lines come next, but not beyond a page, which may be 8 rows of B, or 1 of the A of A.T @ B. That
# takes a Xeon 10 to 20% less for (784, 256) @ (256, 300) with A transposed, and 2% more where k is
# 32 and all is in the cache. A row of B that begins inside a line ends in one more: without that,
# products took up to 11% longer where B has 300 columns. Where the rows of A lie one after another,
# those of the next tile are fetched instead, a part with each k: all rows of a tile come to the end
# of a line at the same k, and wait for the next ones. A Xeon takes 4 to 10% less with 14 rows. Flat
# tiles do little else than read, and are left out.
_AHEAD = 8
_LINE_BYTES = 64

# Only CPUs with AVX-512 have masks in registers. Tiles of others have shorter vectors and fewer
# rows, too few multiply-adds for each k to fetch beside. For them, strips of one panel cut k into
# blocks instead: so many rows of B stay in a first-level cache of 32 KB while all tiles pass.
# (32, 1600) @ (1600, 128) takes an EPYC without AVX-512 (Zen 3) 20 to 30% less. And they do two k
# in each round of the loop, which then has fewer instructions for each: 5 to 10% less while another
# program's thread shares the core.
if REGISTERS.has_masks:
    _FETCHING_ROWS, _BLOCK, _UNROLLED = range(5, MAX_ROWS + 1), 1 << 40, False
else:
    _FETCHING_ROWS, _BLOCK, _UNROLLED = range(0), 320, True

# Blocks of A.T @ B are half as long: each k then reads a line of A, or two, in which there are
# numbers of the next tiles, too, and these lines are to stay beside the rows of B. That takes the
# EPYC 5 to 12% less for (32, 784) @ (784, 300), (32, 1600) @ (1600, 128) and (784, 256) @
# (256, 300) with A transposed. Rows of B that are a multiple of _CROWDED numbers apart share so few
# places in that cache that they do not stay there anyway: to cut a k that is not cut otherwise
# would take 4 to 7% more.
_BLOCK_ACROSS = _BLOCK // 2
_CROWDED = 64

# Whether the rows of one tile pass all panels of a strip before those of the next, or one panel
# serves all tiles first. Tiles first, C is written row by row, and B, if its panels lie one after
# another, read from beginning to end: as CPUs foresee it. That takes the EPYC 5 to 15% less for
# (512, 512) and larger ones, and for (784, 32) @ (32, 128). With AVX-512, tiles of different widths
# have different heights, and it was not tried.
TILES_FIRST = not REGISTERS.has_masks


@in_either
def panel_width(itemsize: int) -> int:
    """How many columns a tile of MAX_ROWS rows has."""
    return PANEL_BYTES // itemsize


@in_either
def next_columns(left: int, itemsize: int) -> int:
    """How many columns of C to do at once, where so many are left: 10 vectors are 3 + 3 + 2 + 2."""
    lanes, vectors = VECTOR_BYTES // itemsize, len(ROWS)
    if vectors > 2 and vectors * lanes < left <= (vectors + 1) * lanes:  # or one would be left
        vectors -= 1
    return min(vectors * lanes, left)


def panels(columns: int, itemsize: int) -> list[tuple[int, int]]:
    """All columns of C, as `next_columns` cuts them: the first of each panel, and how many."""
    found, first = [], 0
    while first < columns:
        found.append((first, next_columns(columns - first, itemsize)))
        first += found[-1][1]
    return found


def strips_across(columns: int, itemsize: int) -> list[tuple[int, int]]:
    """The first column of each strip, and how many: all in one strip if `TILES_FIRST`, or a panel
    in each."""
    return [(0, columns)] if TILES_FIRST and columns else panels(columns, itemsize)


@in_either
def tile_rows(rows: int, columns: int, itemsize: int) -> int:
    """How many rows to do at once: of at most 14, 32 are 11 + 11 + 10; flat tiles do few sums."""
    vectors = -(-columns * itemsize // VECTOR_BYTES)
    return -(-rows // -(-rows // ROWS[vectors - 1]))


@in_either
def whole_vectors(columns: int, itemsize: int) -> int:
    """Room for so many columns in a row of whole vectors."""
    lanes = VECTOR_BYTES // itemsize
    return -(-columns // lanes) * lanes


@in_either
def line(itemsize: int) -> int:
    """How many numbers a cache line has."""
    return _LINE_BYTES // itemsize


@jit()
def from_line(array: Any) -> Any:
    """What there is of an array of one dimension from its first whole cache line on.

    Vectors of a line's length are then in one line each and not in two. A @ B.T, with a copy of B
    of whole vectors that begins so, takes a Xeon up to 8% less, and an epoch of the CNN 5%.
    """
    return array[-array.ctypes.data % _LINE_BYTES // array.itemsize :]


@jit()
def empty_lines(size: int, like: Any) -> Any:
    """np.empty in the dtype of an array, `from_line`."""
    return from_line(np.empty(size + line(like.itemsize), like.dtype))[:size]


# --- the tile ------------------------------------------------------------------------------------


class _Operands(NamedTuple):
    """Pointers to the first entry of each operand, and distances between entries, as LLVM values.

    A is (rows, outer, inner), B (outer, inner, columns with distance 1), C (rows, columns). Of
    several panels, B is b_panel further for each next one. What is fetched begins fetch_at after
    A, and is fetch_step further for each next k.
    """

    a: ir.Value
    a_row: ir.Value
    a_outer: ir.Value
    a_inner: ir.Value
    b: ir.Value
    b_panel: ir.Value
    b_outer: ir.Value
    b_inner: ir.Value
    c: ir.Value
    c_row: ir.Value
    panels: ir.Value
    outer: ir.Value
    inner: ir.Value
    accumulate: ir.Value
    fetch_at: ir.Value
    fetch_step: ir.Value
    mask: ir.Value | None  # which lanes of the last vector of a row of B and C exist; None: all


@intrinsic
def _tile(
    typingctx: Any, a: Any, a_row: Any, a_outer: Any, a_inner: Any, b: Any, b_panel: Any,
    b_outer: Any, b_inner: Any, c: Any, c_row: Any, rows: Any, columns: Any, panels: Any,
    outer: Any, inner: Any, accumulate: Any, fetch_at: Any, fetch_step: Any,
) -> Any:  # fmt: skip
    """``C = A @ B``, or ``C += A @ B``, for at most so many rows and columns as a tile has. If
    `TILES_FIRST` the same for so many panels of whole vectors, one beside the other in C, of which
    each has its B b_panel further; otherwise panels is 1.

    a, b and c point to the first entries of A, B and C. Each entry of C is one chain of
    multiply-adds over k from first to last, whatever the tile's size: the same bits come out
    however a product is cut into tiles.

    Tiles that fetch begin with the entry of A that is fetch_at after its first, and move on by
    fetch_step for each k.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        (a, a_row, a_outer, a_inner, b, b_panel, b_outer, b_inner, c, c_row, rows, columns, panels,
         outer, inner, accumulate, fetch_at, fetch_step) = values  # fmt: skip
        operands = _Operands(
            a, a_row, a_outer, a_inner, b, b_panel, b_outer, b_inner, c, c_row,
            panels, outer, inner, accumulate, fetch_at, fetch_step, None,
        )  # fmt: skip
        dtype = signature.args[0].dtype
        lanes = REGISTERS.vector_bytes * 8 // dtype.bitwidth
        vector = ir.VectorType(context.get_data_type(dtype), lanes)
        _emit_switch(builder, vector, operands, rows, columns)
        return context.get_dummy_value()

    size = types.intp
    return types.void(
        a, size, size, size, a, size, size, size, a, size, size, size, size, size, size,
        types.boolean, size, size,
    ), generate  # fmt: skip


def _emit_switch(
    builder: ir.IRBuilder,
    vector: ir.VectorType,
    operands: _Operands,
    rows: ir.Value,
    columns: ir.Value,
) -> None:
    """One loop for each size a tile can have, since a register has no index; jump to the one."""
    index = rows.type
    widths, width = _widths(builder, vector, columns)
    size = builder.add(builder.mul(width, index(MAX_ROWS)), builder.sub(rows, index(1)))
    end = builder.append_basic_block("tile.end")
    switch = builder.switch(size, end)
    for number, (kind, vectors, mask) in enumerate(widths):
        for r in range(ROWS[vectors - 1]):
            block = builder.append_basic_block(f"tile.{r + 1}x{vectors}")
            switch.add_case(index(number * MAX_ROWS + r), block)
            builder.position_at_end(block)
            _emit_tile(builder, kind, operands._replace(mask=mask), r + 1, vectors)
            builder.branch(end)
    builder.position_at_end(end)


class _Width(NamedTuple):
    vector: ir.VectorType
    vectors: int
    mask: ir.Value | None  # of the last one


def _widths(
    builder: ir.IRBuilder, vector: ir.VectorType, columns: ir.Value
) -> tuple[list[_Width], ir.Value]:
    """The widths that there are loops for, and the number of the one for so many columns."""
    lanes, index = vector.count, columns.type
    full = builder.sdiv(builder.sub(columns, index(1)), index(lanes))  # vectors before the last
    tail = builder.sub(columns, builder.mul(full, index(lanes)))
    mask = first_lanes(builder, vector, tail)
    # Whole vectors have loops without a mask: to load under one takes one of the two units that
    # multiply. It takes a Xeon 2 to 4% less.
    masked = builder.icmp_signed("<", tail, index(lanes))
    width = builder.add(builder.mul(full, index(2)), builder.zext(masked, index))
    counts = range(1, len(ROWS) + 1)
    widths = [_Width(vector, count, m) for count in counts for m in (None, mask)]
    if REGISTERS.has_masks:
        # Few columns, such as the last 4 of 100, take vectors of half the length: a CPU with units
        # of 32 bytes (Zen 4) does two of them in the time of a whole one.
        half = ir.VectorType(vector.element, lanes // 2)
        is_half = builder.icmp_signed("<=", columns, index(half.count))
        width = builder.select(is_half, index(len(widths)), width)
        widths.append(_Width(half, 1, first_lanes(builder, half, tail)))
    return widths, width


State = list[ir.Value]  # the variables of a loop
Body = Callable[[State], State]


def _repeat(builder: ir.IRBuilder, count: ir.Value, state: State, body: Body) -> State:
    """``for _ in range(count): state = body(state)``, for a count of at least 1."""
    entry, head = builder.block, builder.append_basic_block("tile.loop")
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(count.type)
    variables = [builder.phi(value.type) for value in state]
    for variable, value in zip((i, *variables), (count.type(0), *state), strict=True):
        variable.add_incoming(value, entry)
    result = body(list(variables))
    i_next = builder.add(i, count.type(1))
    for variable, value in zip((i, *variables), (i_next, *result), strict=True):
        variable.add_incoming(value, builder.block)
    end = builder.append_basic_block("tile.end")
    again = builder.cbranch(builder.icmp_signed("<", i_next, count), head, end)
    again.set_metadata("llvm.loop", _aligned(builder.module))
    builder.position_at_end(end)
    return result


def _aligned(module: ir.Module) -> ir.MDValue:
    """Tells LLVM to begin a loop's code with a line of the cache.

    The loop for 6 x 2 vectors has 237 to 249 bytes. Where these lie in five lines instead of four,
    products take an EPYC 2 to 4% longer, and any change to the code around it could do that.
    """
    align = module.add_metadata(["llvm.loop.align", ir.IntType(32)(_LINE_BYTES)])
    loop = module.add_metadata([f"loop {len(module.metadata)}", align])
    loop.operands = (loop, align)  # what begins with itself is a loop to LLVM, and like no other
    return loop


def _when(builder: ir.IRBuilder, condition: ir.Value, state: State, body: Body) -> State:
    """``if condition: state = body(state)``"""
    entry = builder.block
    then, end = builder.append_basic_block("tile.then"), builder.append_basic_block("tile.else")
    builder.cbranch(condition, then, end)
    builder.position_at_end(then)
    result = body(state)
    builder.branch(end)
    last = builder.block
    builder.position_at_end(end)
    merged = [builder.phi(value.type) for value in state]
    for variable, changed, value in zip(merged, result, state, strict=True):
        variable.add_incoming(changed, last)
        variable.add_incoming(value, entry)
    return list(merged)


def _emit_tile(
    builder: ir.IRBuilder, vector: ir.VectorType, at: _Operands, rows: int, vectors: int
) -> None:
    """The loops over k for a tile of one size.

        for each of panels:                 B moves by b_panel, C by the tile's width
            acc = C if accumulate else 0
            for each of outer:              A moves by a_outer, B by b_outer
                for each of inner:          A moves by a_inner, B by b_inner  (may be unrolled)
                    fetch later ones of A and B into the cache  (some heights)
                    B_v   = load vector v of B's row            (vectors loads)
                    a     = load A's row r, in all lanes        (rows loads)
                    acc_rv = a * B_v + acc_rv                   (rows * vectors multiply-adds)
            C = acc

    In LLVM's form a variable that a loop changes is a "phi": a value for each block that can
    jump to the loop's head. The accumulators are phis of both loops and so stay registers. So are
    the pointers: one to a row of B, then one to each `_POINTER_ROWS` rows of A, and after these, in
    tiles that fetch, one to what is fetched of A.
    """
    index = at.outer.type
    lanes = vector.count
    fetches = rows in _FETCHING_ROWS
    cells = [(r, v) for r in range(rows) for v in range(vectors)]

    def mask(v: int) -> ir.Value | None:
        return at.mask if v == vectors - 1 else None

    def cell(c: ir.Value, r: int, v: int) -> tuple[ir.Value, ir.Value | None]:
        row = builder.gep(c, [builder.mul(at.c_row, index(r))])
        return builder.gep(row, [index(v * lanes)]), mask(v)

    a_starts = [
        opaque(builder, builder.gep(at.a, [builder.mul(at.a_row, index(r))]))
        for r in range(0, rows, _POINTER_ROWS)
    ]
    if fetches:
        a_starts.append(builder.gep(at.a, [at.fetch_at]))
    pointers = 1 + len(a_starts)
    moves = [at.b_outer] + [at.a_outer] * len(a_starts)
    steps = [at.b_inner] + [at.a_inner] * len(a_starts)
    if fetches:
        steps[-1] = at.fetch_step

    def one_k(state: State) -> State:
        b, a, sums = state[0], state[1:pointers], state[pointers:]
        b_vectors = [
            load_vector(builder, vector, builder.gep(b, [index(v * lanes)]), mask(v))
            for v in range(vectors)
        ]
        if fetches:
            later = builder.gep(b, [builder.mul(at.b_inner, index(_AHEAD))])
            width = vectors * VECTOR_BYTES
            for byte in (*range(0, width, _LINE_BYTES), width - 1):
                prefetch(builder, later, byte)
            for r in (0, rows - 1):  # both ends of a column that lies in one line or two
                prefetch(builder, builder.gep(a[-1], [index(r)]), 0)
        new_sums = []
        for r in range(rows):
            pointer, row = divmod(r, _POINTER_ROWS)
            entry = builder.gep(a[pointer], [builder.mul(at.a_row, index(row))])
            a_lanes = splat(builder, builder.load(entry), lanes)
            new_sums += [
                multiply_add(builder, a_lanes, b_vectors[v], sums[r * vectors + v])
                for v in range(vectors)
            ]
        moved = zip((b, *a), steps, strict=True)
        return [opaque(builder, builder.gep(p, [step])) for p, step in moved] + new_sums

    def all_inner(state: State) -> State:
        if not _UNROLLED:
            return _repeat(builder, at.inner, state, one_k)
        inner = opaque(builder, at.inner, stays=True)  # or there would be other loops for inner < 2
        pairs, odd = builder.ashr(inner, index(1)), builder.trunc(inner, ir.IntType(1))

        def all_pairs(state: State) -> State:
            return _repeat(builder, pairs, state, lambda state: one_k(one_k(state)))

        state = _when(builder, builder.icmp_signed(">", pairs, index(0)), state, all_pairs)
        return _when(builder, odd, state, one_k)

    def one_outer(state: State) -> State:
        sums = all_inner(state)[pointers:]
        moved = zip(state[:pointers], moves, strict=True)
        return [builder.gep(p, [move]) for p, move in moved] + sums

    def one_panel(state: State) -> State:
        b, c = state
        sums = _when(
            builder, at.accumulate, [ir.Constant(vector, [0.0] * lanes)] * len(cells),
            lambda _: [load_vector(builder, vector, *cell(c, r, v)) for r, v in cells],
        )  # fmt: skip
        sums = _repeat(builder, at.outer, [b, *a_starts, *sums], one_outer)[pointers:]
        for (r, v), value in zip(cells, sums, strict=True):
            store_vector(builder, value, *cell(c, r, v))
        return [builder.gep(b, [at.b_panel]), builder.gep(c, [index(vectors * lanes)])]

    if TILES_FIRST:
        _repeat(builder, at.panels, [at.b, at.c], one_panel)
    else:
        one_panel([at.b, at.c])


# --- a strip of tiles -----------------------------------------------------------------------------
#
# The loops above are long: compiling them takes one to three seconds for each dtype. So a strip is
# to be called by its name (see `outline`), or there would be a copy in every function that does.


@jit()
def multiply_strip(
    a: Any, a_tile: int, a_row: int, a_outer: int, a_inner: int, b: Any, b_panel: int,
    b_outer: int, b_inner: int, c: Any, c_row: int, rows: int, tile_rows: int, columns: int,
    panel: int, outer: int, inner: int, accumulate: bool,
) -> None:  # fmt: skip
    """As `_tile`, for any number of rows: tile_rows at once, and A moves by a_tile after each; and
    for any number of columns: a panel at once, and B moves by b_panel after each.

    Where outer is 1, the inner of a single panel may be cut into blocks, of which each is added to
    what C has by then.
    """
    fetch_at, fetch_step = _AHEAD * a_inner, a_inner
    if a_inner == 1 and a_row == inner and rows > tile_rows:
        fetch_at, fetch_step = a_tile, tile_rows  # through the next tile in inner steps
    block = longest = inner
    if inner > _BLOCK or (a_inner != 1 and b_inner % _CROWDED > 0):
        longest = _BLOCK if a_inner == 1 else _BLOCK_ACROSS
    if outer == 1 and inner > longest and columns == panel:
        block = -(-inner // -(-inner // longest))  # all of about the same length
    start = 0
    while start < inner:
        length = min(block, inner - start)
        b_at, column = b, 0
        while column < columns:
            width = min(panel, columns - column)
            count = (columns - column) // width if TILES_FIRST else 1
            if TILES_FIRST and width < panel <= column and b_panel == panel and not accumulate:
                # The rest is whole vectors, too, and does some columns again, to the same bits: to
                # store under a mask takes a CPU without registers for masks several times as long.
                back = -width % (panel // 2)
                b_at, column, width = _advance(b_at, -back), column - back, width + back
            tile, first = a, 0
            while first < rows:
                _tile(
                    tile, a_row, a_outer, a_inner, b_at, b_panel, b_outer, b_inner,
                    _advance(c, first * c_row + column), c_row, min(tile_rows, rows - first),
                    width, count, outer, length, accumulate, fetch_at, fetch_step,
                )  # fmt: skip
                tile = _advance(tile, a_tile)
                first += tile_rows
            b_at = _advance(b_at, count * b_panel)
            column += count * width
        a, b = _advance(a, block * a_inner), _advance(b, block * b_inner)
        accumulate = True
        start += block


@intrinsic
def address_of(typingctx: Any, array: Any, at: Any) -> Any:
    """A pointer to an entry of an array of one dimension."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        data = array_data(context, builder, signature, values, 0)
        return builder.gep(data, [values[1]])

    return pointer_to(array.dtype)(array, types.intp), generate


@intrinsic
def _advance(typingctx: Any, pointer: Any, entries: Any) -> Any:
    """The pointer, that many entries further."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.gep(values[0], [values[1]])

    return pointer(pointer, types.intp), generate
