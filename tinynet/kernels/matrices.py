"""The product of two matrices: which strips, and what is copied first.

                      B  (k, n)
                    [ p0 | p1 | p2 ]
    A (m, k)        +----+----+----+
     rows 0..       | s0 | s2 | s4 |       strips, in the order in which they are computed: the
     rows 112..     | s1 | s3 | s5 |       next one finds its columns of B in the cache, or, if all
                    +----+----+----+       of B is there anyway, its rows of A: s0 s2 s4 s1 s3 s5

A tile reads A along either axis, and B along its rows. So ``a.T @ b`` needs no copy, ``a @ b.T``
needs one of a matrix transposed, and large matrices, whose rows are too far apart for the cache,
are copied into the order in which the tiles read them. What it bought is told in `tile`.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.jit import ZERO, entry, jit, plain
from tinynet.kernels.memory import empty, give
from tinynet.kernels.products import Plan, Strip, multiply, plan, share_strips, strip
from tinynet.kernels.reference import Array
from tinynet.kernels.thread_count import get_num_threads, on_change
from tinynet.kernels.threads import pool_for, share
from tinynet.kernels.tile import (
    MAX_ROWS,
    call_strip,
    empty_lines,
    next_columns,
    panel_width,
    panels,
    strip_address,
    tile_rows,
    whole_vectors,
)
from tinynet.kernels.transpose import (
    block_lanes,
    copy_block,
    transpose,
    transpose_block,
    transpose_into,
)

_STRIP_TILES = 8
_STRIP_ROWS = _STRIP_TILES * MAX_ROWS

# Strips are lower than that where tasks would be fewer than so many, for threads to share them out
# evenly. The fewer, the less often B is read.
_LEAST_TASKS = 8

# A matrix B of this size stays in a second-level cache, so that all of its columns are used for
# some rows of A before the next ones, and each thread has rows of its own of A and C. It takes a
# Xeon 8% less for (32, 784) @ (784, 128).
_SMALL_BYTES = 450_000

# With so few k, where writing C takes as long as computing it, all columns of some rows are a task:
# columns side by side may share a cache line, and two threads that write to it at the same time
# wait for each other. (784, 32) @ (32, 128) took a Xeon 30 microseconds instead of 25.
_SHORT = 64

# From here on, copying pays: B is larger than a second-level cache, and A has rows enough.
_LARGE_BYTES = 2_000_000
_LARGE_ROWS = 128

# So many of k at once: panels of B of this height, and some tiles of A, fit a second-level cache.
_BLOCK = 2048

# A matrix of this size is transposed by each thread for itself.
_OWN_COPY_BYTES = 400_000

# So many tiles or panels are copied together, since they come from the same pages of memory.
_TOGETHER = 8

# What it takes to copy one number, in multiply-adds.
_PACK_OPERATIONS = 30


def matmul(
    a: Array,
    b: Array,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
) -> Array:
    """``op(a) @ op(b)``, where op transposes or not: (m, k) and (k, n) -> (m, n).

    Raises ValueError where shapes or dtypes do not fit, and TypeError where the dtype is neither
    float32 nor float64. Other kernels leave that to the layers; this one is called by hand, and
    would read and write past the ends of arrays.
    """
    if not a.flags.carray:
        a, transpose_a = _c_order(a, transpose_a)
    if not b.flags.carray:
        b, transpose_b = _c_order(b, transpose_b)
    try:
        (m, k), (rows, n) = a.shape, b.shape
    except ValueError:  # not two axes
        raise ValueError(_misfit(a, b, transpose_a, transpose_b)) from None
    if transpose_a:
        m, k = k, m
    if transpose_b:
        rows, n = n, rows
    if k != rows or a.dtype != b.dtype:
        raise ValueError(_misfit(a, b, transpose_a, transpose_b))
    strip_address(a.dtype)  # or TypeError
    if out is not None:
        if out.shape != (m, n) or out.dtype != a.dtype:
            raise ValueError(f"out must be {(m, n)} in {a.dtype}, got {out.shape} in {out.dtype}")
        if out.flags.carray and not _overlap(out, a, b):
            fill(a, b, transpose_a, transpose_b, out)
            return out
    c = empty((m, n), a.dtype)
    fill(a, b, transpose_a, transpose_b, c)
    return give(c, out)


def _misfit(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> str:
    a, b = a.T if transpose_a else a, b.T if transpose_b else b
    return (
        "matmul takes (m, k) and (k, n) of one dtype, got "
        f"{a.shape} in {a.dtype} and {b.shape} in {b.dtype}"
    )


def _c_order(x: Array, transpose: bool) -> tuple[Array, bool]:
    """The same operand as an array in C order: that of a matrix in Fortran order is x.T."""
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        return plain(x.T), not transpose
    return plain(x), transpose


def _overlap(out: Array, a: Array, b: Array) -> bool:
    if out.base is None and a.base is None and b.base is None:  # each has memory of its own
        return out is a or out is b
    return np.may_share_memory(out, a) or np.may_share_memory(out, b)


def is_large(m: int, b: Array) -> bool:
    """Whether a product of m rows with b is one of large matrices, below."""
    return _is_large(m, b.nbytes)


def _is_large(m: int, size: int) -> bool:
    return size > _LARGE_BYTES and m >= _LARGE_ROWS


def fill(a: Array, b: Array, transpose_a: bool, transpose_b: bool, c: Array) -> None:
    """c = op(a) @ op(b), all three `plain`."""
    m, n = c.shape
    k = a.shape[0] if transpose_a else a.shape[1]
    size = c.itemsize
    direct = None if transpose_b else _direct_plan(m, k, n, transpose_a, size)
    if direct is not None:
        _share_strips(pool_for(direct.work), strip_address(c.dtype), a, b, c, direct.strips)
    elif k == 0:
        c[...] = 0
    elif is_large(m, b):
        rows, panels = _packed(a, b, transpose_a, transpose_b)
        multiply(rows, panels, c, _packed_plan(m, k, n, size))
    elif k * n < m * (k + n):
        if not transpose_a and k * n * size <= _OWN_COPY_BYTES:
            _times_transposed(a, b, c, turned=False)
        else:
            fill(a, _transposed(b), transpose_a, False, c)
    # With few rows, C.T = op(b).T @ op(a).T has less to transpose: a and c instead of b.
    elif not transpose_a and m * k * size <= _OWN_COPY_BYTES:
        _times_transposed(b, a, c, turned=True)
    else:
        c_transposed = empty((n, m), c.dtype)
        fill(b, a if transpose_a else _transposed(a), False, False, c_transposed)
        transpose(c_transposed, c)


@entry()
def _share_strips(
    pool: int, address: int, a: Array, b: Array, c: Array, strips: NDArray[np.int64]
) -> None:
    share_strips(pool, address, a.reshape(-1), b.reshape(-1), c.reshape(-1), strips)


@lru_cache(maxsize=256)
def product_plan(m: int, k: int, n: int, transpose_a: bool, itemsize: int) -> Plan:
    """For a in C order, or its transpose, and b (k, n).

    It depends on the number of threads, but the bits of the product do not: in any strip, every
    number of C is one chain of multiply-adds.
    """
    a_row, a_inner = (1, m) if transpose_a else (k, 1)
    cuts, threads = panels(n, itemsize), get_num_threads()
    is_small = k * n * itemsize <= _SMALL_BYTES
    whole_rows = is_small and k <= _SHORT
    count = max(1, -(-m // _STRIP_ROWS))
    if whole_rows:
        count = max(count, min(_LEAST_TASKS, m // MAX_ROWS))
    else:
        while count * len(cuts) < _LEAST_TASKS and -(-m // count) > MAX_ROWS:
            count *= 2
    even = -(-count // threads) * threads
    if m >= even * MAX_ROWS:  # the same for each thread
        count = even
    height = max(1, -(-m // count))
    places = [(row, *cut) for cut in cuts for row in range(0, m, height)]
    if is_small:
        places.sort()
    strips = [
        strip(
            a_at=row * a_row, a_row=a_row, a_outer=0, a_inner=a_inner,
            b_at=column, b_outer=0, b_inner=n, c_at=row * n + column, c_row=n,
            rows=min(height, m - row), columns=width, outer=1, inner=k, itemsize=itemsize,
        )
        for row, column, width in places
    ]  # fmt: skip
    return plan(strips, together=len(cuts) if whole_rows else 1)


@lru_cache(maxsize=256)
def _direct_plan(m: int, k: int, n: int, transpose_a: bool, itemsize: int) -> Plan | None:
    """The `product_plan` where nothing is to be copied first."""
    if k == 0 or _is_large(m, k * n * itemsize):
        return None
    return product_plan(m, k, n, transpose_a, itemsize)


@on_change.append
def _forget_plans(threads: int) -> None:
    product_plan.cache_clear()
    _direct_plan.cache_clear()


def _transposed(x: Array) -> Array:
    y = empty(x.shape[::-1], x.dtype)
    transpose(x, y)
    return y


# --- a product with the transpose of a small matrix -----------------------------------------------


def _times_transposed(x: Array, y: Array, c: Array, turned: bool) -> None:
    """c = x @ y.T, or ``turned`` the transpose of that, y @ x.T: x (m, k), y (n, k).

    The tiles need y.T in memory. What one thread has written comes slowly to another: the product
    of (32, 784) and (128, 784).T took 52 microseconds when one made the copy for all, of which the
    multiplications are 33. So each thread makes one of its own, and the result of its own rows of
    x is turned at once, and it takes 40.
    """
    (m, k), n = x.shape, len(y)
    pool = pool_for(m * k * n)
    _share_rows(pool, rows_parts(pool), strip_address(c.dtype), x, y, c, turned)


def rows_parts(pool: int) -> int:
    """How many parts for `times_transposed_part`: the results have the same bits for any number."""
    return get_num_threads() if pool else 1


@entry()
def _share_rows(
    pool: int, parts: int, address: int, x: Array, y: Array, c: Array, turned: bool
) -> None:
    (m, k), n = x.shape, len(y)
    share(
        pool, parts, times_transposed_part,
        (parts, address, x.reshape(-1), y.reshape(-1), c.reshape(-1), m, k, n, turned),
    )  # fmt: skip


@jit()
def times_transposed_part(
    part: int, parts: int, address: int, x: Array, y: Array, c: Array, m: int, k: int, n: int,
    turned: bool,
) -> None:  # fmt: skip
    """One part of the rows of x, whole tiles of them: c[rows] = x[rows] @ y.T, or c[:, rows]."""
    height = tile_rows(m, min(n, panel_width(x.itemsize)), x.itemsize)
    tiles = -(-m // height)
    first, last = tiles * part // parts * height, min(tiles * (part + 1) // parts * height, m)
    if first == last:
        return
    rows = last - first
    room = whole_vectors(n, y.itemsize)
    y_transposed = empty_lines(k * room, y)
    transpose_into(y, y_transposed, ZERO, room, n, k)
    result, at = (np.empty(rows * n, c.dtype), 0) if turned else (c, first * n)
    column = 0
    while column < n:
        width = next_columns(n - column, x.itemsize)
        height = tile_rows(rows, width, x.itemsize)
        call_strip(
            address, x, first * k, height * k, k, 0, 1, y_transposed, column, 0, room,
            result, at + column, n, rows, height, width, 1, k, False,
        )  # fmt: skip
        column += width
    if turned:
        transpose_into(result, c, first, m, rows, n)


# --- large matrices ------------------------------------------------------------------------------


def _packed(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> tuple[Array, Array]:
    """op(a) and op(b) in the order in which the tiles read them.

    op(a) becomes (blocks of k, tiles, k in the block, rows of the tile), op(b) becomes (panels, k,
    columns of the panel), with zeros for the k that are not there.
    """
    m, k = a.shape[::-1] if transpose_a else a.shape
    n = b.shape[0] if transpose_b else b.shape[1]
    width = panel_width(b.itemsize)
    height = tile_rows(m, width, b.itemsize)
    blocks, block = _k_blocks(k)
    tiles = empty((blocks, -(-m // height), block, _tile_width(height, a.itemsize)), a.dtype)
    panels = empty((-(-n // width), blocks * block, width), b.dtype)
    pool = pool_for(_PACK_OPERATIONS * (tiles.size + panels.size))
    a_row, a_inner = (1, m) if transpose_a else (k, 1)
    _pack_tiles(pool, a.reshape(-1), a_row, a_inner, m, k, height, tiles)
    b_row, b_inner = (1, k) if transpose_b else (n, 1)
    _pack_panels(pool, b.reshape(-1), b_row, b_inner, k, n, panels)
    return tiles, panels


def _k_blocks(k: int) -> tuple[int, int]:
    """How many blocks, all of the same length, k is cut into, and their length."""
    blocks = -(-k // _BLOCK)
    return blocks, -(-k // blocks)


def _tile_width(height: int, itemsize: int) -> int:
    """The room for the rows of a tile: whole vectors, which can be transposed into it."""
    lanes = block_lanes(itemsize)
    return -(-height // lanes) * lanes


@entry()
def _pack_tiles(
    pool: int, a: Array, a_row: int, a_inner: int, m: int, k: int, height: int, tiles: Array
) -> None:
    groups = -(-tiles.shape[1] // _TOGETHER)
    share(pool, groups, _pack_some_tiles, (a, a_row, a_inner, m, k, height, tiles))


@jit()
def _pack_some_tiles(
    group: int, a: Array, a_row: int, a_inner: int, m: int, k: int, height: int, tiles: Array
) -> None:
    zero = tiles.dtype.type(0)
    blocks, count, block, room = tiles.shape
    flat = tiles.reshape(-1)
    lanes = block_lanes(a.itemsize)
    for o in range(blocks):
        last = min(block, k - o * block)
        for start in range(0, block, lanes):
            for t in range(group * _TOGETHER, min((group + 1) * _TOGETHER, count)):
                at, first = (o * count + t) * block * room, t * height
                end = min(start + lanes, last)
                if first + room <= m and start + lanes <= last:
                    for r in range(0, room, lanes):
                        corner = (first + r) * a_row + (o * block + start) * a_inner
                        to = at + start * room + r
                        if a_inner == 1:
                            transpose_block(a, corner, a_row, flat, to, room)
                        else:
                            copy_block(a, corner, a_inner, flat, to, room)
                else:
                    for i in range(start, end):
                        for r in range(min(height, m - first)):
                            entry = (first + r) * a_row + (o * block + i) * a_inner
                            flat[at + i * room + r] = a[entry]
                for i in range(max(start, last), min(start + lanes, block)):
                    for r in range(height):
                        flat[at + i * room + r] = zero


@entry()
def _pack_panels(
    pool: int, b: Array, b_row: int, b_inner: int, k: int, n: int, panels: Array
) -> None:
    groups = -(-len(panels) // _TOGETHER)
    share(pool, groups, _pack_some_panels, (b, b_row, b_inner, k, n, panels))


@jit()
def _pack_some_panels(
    group: int, b: Array, b_row: int, b_inner: int, k: int, n: int, panels: Array
) -> None:
    zero = panels.dtype.type(0)
    count, height, width = panels.shape
    flat = panels.reshape(-1)
    lanes = block_lanes(b.itemsize)
    for start in range(0, height, lanes):
        for p in range(group * _TOGETHER, min((group + 1) * _TOGETHER, count)):
            at, first = p * height * width, p * width
            columns, end = min(width, n - first), min(start + lanes, k)
            if columns == width and start + lanes <= k:
                for j in range(0, width, lanes):
                    corner, to = start * b_row + (first + j) * b_inner, at + start * width + j
                    if b_inner == 1:
                        copy_block(b, corner, b_row, flat, to, width)
                    else:
                        transpose_block(b, corner, b_inner, flat, to, width)
            else:
                for i in range(start, end):
                    for j in range(columns):
                        flat[at + i * width + j] = b[i * b_row + (first + j) * b_inner]
            for i in range(max(start, k), min(start + lanes, height)):
                for j in range(columns):
                    flat[at + i * width + j] = zero


@lru_cache(maxsize=64)
def _packed_plan(m: int, k: int, n: int, itemsize: int) -> Plan:
    """All panels for some rows, before the next rows: these then stay in the cache."""
    width = panel_width(itemsize)
    height = tile_rows(m, width, itemsize)
    blocks, block = _k_blocks(k)
    tiles, room = -(-m // height), _tile_width(height, itemsize)
    return plan([
        Strip(
            a_at=tile * block * room, a_tile=block * room, a_row=1, a_outer=0, a_inner=room,
            b_at=column * blocks * block, b_outer=0, b_inner=width,
            c_at=tile * height * n + column, c_row=n,
            rows=min(_STRIP_TILES * height, m - tile * height), tile_rows=height,
            columns=min(width, n - column), outer=1, inner=block,
        )
        for tile in range(0, tiles, _STRIP_TILES)
        for column in range(0, n, width)
    ], items=blocks, a_step=tiles * block * room, b_step=block * width)  # fmt: skip
