"""The product of two matrices: which strips, and what is copied first.

                      B  (k, n)
                    [ p0 | p1 | p2 ]
    A (m, k)        +----+----+----+
     some rows      | s0 | s2 | s4 |       strips, in the order in which they are computed: the
     the next       | s1 | s3 | s5 |       next one finds its columns of B in the cache, or, if all
                    +----+----+----+       of B is there anyway, its rows of A: s0 s2 s4 s1 s3 s5

Where it pays (`tile.TILES_FIRST`), s0 s2 s4 are one strip: each of its tiles meets all panels.

A tile reads A along either axis, and B along its rows. So ``a.T @ b`` needs no copy, ``a @ b.T``
needs one of a matrix transposed, and a large B, whose rows are too far apart for the cache, is
copied into the order in which the tiles read it, and A with it where that pays.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.jit import ZERO, entry, jit, not_noted, plain
from tinynet.kernels.memory import empty, give, own
from tinynet.kernels.operands import check_dtype, check_product
from tinynet.kernels.outline import outlined
from tinynet.kernels.products import Plan, Strip, multiply, plan, share_strips, strip
from tinynet.kernels.recording import not_recorded, recordings
from tinynet.kernels.reference import Array
from tinynet.kernels.thread_count import get_num_threads, on_change
from tinynet.kernels.threads import pool_for, share, threads_of
from tinynet.kernels.tile import (
    MAX_ROWS,
    TILES_FIRST,
    address_of,
    empty_lines,
    multiply_strip,
    next_columns,
    panel_width,
    panels,
    strips_across,
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
from tinynet.kernels.vectors import REGISTERS

# How many tiles a strip has at most, and of how many rows its height is a multiple. With AVX-512
# (which has masks) tiles are high; where they are low, more of them use what is read of B, and
# strips are of whole ones.
_STRIP_TILES = 8 if REGISTERS.has_masks else 16
_STRIP_ROWS = _STRIP_TILES * MAX_ROWS
_STEP = 1 if REGISTERS.has_masks else MAX_ROWS

# Strips are lower than that where tasks would be fewer than so many, for threads to share them out
# evenly. The fewer, the less often B is read.
_LEAST_TASKS = 8

# All threads have the same number of strips if these have so many rows then.
_LEAST_ROWS = MAX_ROWS if REGISTERS.has_masks else 4 * MAX_ROWS

# A matrix B of this size stays in a second-level cache, so that all of its columns are used for
# some rows of A before the next ones, and each thread has rows of its own of A and C. It takes a
# Xeon 8% less for (32, 784) @ (784, 128).
_SMALL_BYTES = 450_000

# With so few k, where writing C takes as long as computing it, all columns of some rows are a task:
# columns side by side may share a cache line, and two threads that write to it at the same time
# wait for each other. (784, 32) @ (32, 128) took a Xeon 30 microseconds instead of 25.
_SHORT = 64

# From here on, copying pays: B fills a second-level cache (of 1 or 2 MB in CPUs with AVX-512, 0.25
# or 0.5 in others), and A has rows enough.
_LARGE_ROWS = 128
_LARGE_BYTES = 2_000_000 if REGISTERS.has_masks else 450_000

# k is then cut into blocks. Without AVX-512 the rows of a tile stay in the first-level cache while
# all of B's block passes, which should stay in the third-level one, and A is read as it is: copying
# it took longer than it saved. An EPYC takes 5% less for (512, 512), and 7 to 15% for larger ones,
# than with one panel for all rows first, and that took it 15 to 30% less than all as for AVX-512.
if REGISTERS.has_masks:
    _COPIES_ROWS, _LARGE_TILES, _LONGEST_BLOCK, _BLOCK_BYTES = True, 8, 2048, 1 << 40
else:
    _COPIES_ROWS, _LARGE_TILES, _LONGEST_BLOCK, _BLOCK_BYTES = False, 2, 1024, 1 << 22
_SHORTEST_BLOCK = 256

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

    Raises ValueError and TypeError as `reference.matmul`. Other kernels leave that to the layers;
    this one is called by hand, and would read and write past the ends of arrays.
    """
    if out is None or recordings or not type(a) is type(b) is type(out) is np.ndarray:
        return _checked_matmul(a, b, transpose_a, transpose_b, out)
    key = a.shape, b.shape, out.shape, a.dtype, b.dtype, out.dtype, transpose_a, transpose_b
    known = _known.get(key)
    if (
        known is not None
        and (a.flags.carray and b.flags.carray and out.flags.carray)
        and _multiply_at_once(*known, a, b, out)
    ):
        return out
    return _checked_matmul(a, b, transpose_a, transpose_b, out, key)


# What `_multiply_directly` takes for products that `_checked_matmul` has found to fit, by shapes
# and dtypes; how the arrays lie in memory is looked at each time. For small products, Python takes
# a tenth of the time or more: with one look-up in a dictionary (32, 300) @ (300, 100) takes a Xeon
# 7% less, and with lru_cache 2%.
_known: dict[tuple[Any, ...], tuple[Any, ...]] = {}
_MOST_KNOWN = 256


def _checked_matmul(
    a: Array, b: Array, transpose_a: bool, transpose_b: bool, out: Array | None = None,
    key: tuple[Any, ...] = (),
) -> Array:  # fmt: skip
    """`matmul`; what it finds is kept under the key, if C can be filled as it is."""
    check_product(a, b, transpose_a, transpose_b, out)
    x, transpose_x = _c_order(a, transpose_a)
    y, transpose_y = _c_order(b, transpose_b)
    m, k = a.shape[::-1] if transpose_a else a.shape
    n, dtype = b.shape[0 if transpose_b else 1], a.dtype
    c = own(out, (m, n), dtype)
    if c is out and (np.may_share_memory(c, x) or np.may_share_memory(c, y)):
        c = empty((m, n), dtype)
    fill(x, y, transpose_x, transpose_y, c)
    if key and x is a and y is b and c is out:
        way = direct(m, k, n, transpose_a, transpose_b, dtype)
        if way is not None:
            if len(_known) >= _MOST_KNOWN:
                _known.clear()
            _known[key] = tuple(way)  # quicker to take apart
    return give(c, out)


def _c_order(x: Array, transpose: bool) -> tuple[Array, bool]:
    """The same operand as an array in C order: that of a matrix in Fortran order is x.T."""
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        return plain(x.T), not transpose
    return plain(x), transpose


def is_large(m: int, size: int) -> bool:
    """Whether a product of m rows with a matrix of so many bytes is one of large ones, below."""
    return size > _LARGE_BYTES and m >= _LARGE_ROWS


def fill(a: Array, b: Array, transpose_a: bool, transpose_b: bool, c: Array) -> None:
    """c = op(a) @ op(b), all three `plain`, and c apart from a and b."""
    m, n = c.shape
    k = a.shape[0] if transpose_a else a.shape[1]
    way = direct(m, k, n, transpose_a, transpose_b, c.dtype)
    if way is not None:
        _multiply_directly(*way, a, b, c)
    elif k == 0:
        not_recorded()
        c[...] = 0
    elif is_large(m, b.nbytes):
        _multiply_large(a, b, transpose_a, transpose_b, c)
    elif _is_right_smaller(m, k, n):
        fill(a, _transposed(b), transpose_a, False, c)
    else:
        c_transposed = empty((n, m), c.dtype)
        fill(b, a if transpose_a else _transposed(a), False, False, c_transposed)
        transpose(c_transposed, c)


def _is_right_smaller(m: int, k: int, n: int) -> bool:
    """Whether a @ b.T should transpose b.

    With few rows, C.T = b @ a.T has less to transpose: a and c instead of b.
    """
    return k * n < m * (k + n)


# --- products that are one call of compiled code --------------------------------------------------

_AS_PLANNED, _RIGHT_TRANSPOSED, LEFT_TRANSPOSED = range(3)
_NO_STRIPS = np.empty((0, 1, len(Strip._fields)), np.int64)


class Direct(NamedTuple):
    """What `_multiply_directly` needs to know."""

    pool: int
    kind: int  # one of those above
    strips: NDArray[np.int64]


@lru_cache(maxsize=256)
def direct(
    m: int, k: int, n: int, transpose_a: bool, transpose_b: bool, dtype: np.dtype[Any]
) -> Direct | None:
    """For products of which nothing, or only a small matrix, is to be copied first; or None."""
    check_dtype(dtype)
    size = dtype.itemsize
    if k == 0 or is_large(m, k * n * size):
        return None
    kind, strips = _AS_PLANNED, _NO_STRIPS
    if transpose_b:
        right = _is_right_smaller(m, k, n)
        if transpose_a or k * (n if right else m) * size > _OWN_COPY_BYTES:
            return None
        kind = _RIGHT_TRANSPOSED if right else LEFT_TRANSPOSED
    else:
        strips = product_plan(m, k, n, transpose_a, size).strips
    return Direct(pool_for(m * k * n), kind, strips)


@entry()
def _multiply_directly(
    pool: int, kind: int, strips: NDArray[np.int64], a: Array, b: Array, c: Array
) -> bool:
    """Fill c; False, and nothing is done, where c shares memory with a or b."""
    if _overlap(a, c) or _overlap(b, c):
        return False
    (m, n), k = c.shape, a.shape[1]  # of k there is use only where a is not transposed
    x, y, z = a.reshape(-1), b.reshape(-1), c.reshape(-1)
    if kind == _AS_PLANNED:
        share_strips(pool, x, y, z, strips)
    elif kind == _RIGHT_TRANSPOSED:
        times_transposed(pool, x, k, y, k, z, m, k, n, False)
    else:
        times_transposed(pool, y, k, x, k, z, n, k, m, True)
    return True


_multiply_at_once: Any = not_noted(_multiply_directly)


@jit()
def _overlap(x: Array, y: Array) -> bool:
    return x.ctypes.data < y.ctypes.data + y.nbytes and y.ctypes.data < x.ctypes.data + x.nbytes


@lru_cache(maxsize=256)
def product_plan(
    m: int, k: int, n: int, transpose_a: bool, itemsize: int, b_row: int | None = None
) -> Plan:
    """For a in C order, or its transpose, and b (k, n), whose rows are b_row apart, n by default.

    It depends on the number of threads, but the bits of the product do not: in any strip, every
    number of C is one chain of multiply-adds.
    """
    a_row, a_inner = (1, m) if transpose_a else (k, 1)
    is_small = k * n * itemsize <= _SMALL_BYTES
    whole_rows = is_small and k <= _SHORT
    cuts = strips_across(n, itemsize) if whole_rows else panels(n, itemsize)
    threads = get_num_threads()
    count = max(1, -(-m // _STRIP_ROWS))
    if whole_rows:
        count = max(count, min(_LEAST_TASKS, m // MAX_ROWS))
    else:
        while count * len(cuts) < _LEAST_TASKS and -(-m // count) > MAX_ROWS:
            count *= 2
    even = -(-count // threads) * threads
    if m >= even * _LEAST_ROWS:
        count = even
    steps = -(-m // _STEP)
    bounds = [min(steps * i // count * _STEP, m) for i in range(count + 1)]
    places = [(rows, *cut) for cut in cuts for rows in pairwise(bounds) if rows[0] < rows[1]]
    if is_small:
        places.sort()
    strips = [
        strip(
            a_at=row * a_row, a_row=a_row, a_outer=0, a_inner=a_inner,
            b_at=column, b_outer=0, b_inner=n if b_row is None else b_row,
            c_at=row * n + column, c_row=n, rows=end - row, columns=width,
            outer=1, inner=k, itemsize=itemsize,
        )
        for (row, end), column, width in places
    ]  # fmt: skip
    return plan(strips, together=len(cuts) if whole_rows else 1)


@on_change.append
def _forget_plans(threads: int) -> None:
    product_plan.cache_clear()
    direct.cache_clear()
    _known.clear()


def _transposed(x: Array) -> Array:
    y = empty(x.shape[::-1], x.dtype)
    transpose(x, y)
    return y


# --- a product with the transpose of a small matrix -----------------------------------------------


@jit()
def times_transposed(
    pool: int, x: Array, x_row: int, y: Array, y_row: int, c: Array, m: int, k: int, n: int,
    turned: bool,
) -> None:  # fmt: skip
    """c = x @ y.T, or ``turned`` the transpose of that, y @ x.T: x (m, k), y (n, k).

    All in one dimension; rows of x and y are x_row and y_row apart.

    The tiles need y.T in memory. What one thread has written comes slowly to another: the product
    of (32, 784) and (128, 784).T took 52 microseconds when one made the copy for all, of which the
    multiplications are 33. So each thread makes one of its own, and the result of its own rows of
    x is turned at once, and it takes 40.
    """
    parts = threads_of(pool)
    arguments = parts, x, x_row, y, y_row, c, m, k, n, turned
    share(pool, parts, _times_transposed_part, arguments)


@jit()
def _times_transposed_part(
    part: int, parts: int, x: Array, x_row: int, y: Array, y_row: int, c: Array, m: int, k: int,
    n: int, turned: bool,
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
    transpose_into(y, y_row, y_transposed, ZERO, room, n, k)
    result, at = (np.empty(rows * n, c.dtype), 0) if turned else (c, first * n)
    column = 0
    while column < n:
        width = next_columns(n - column, x.itemsize)
        columns = n if TILES_FIRST else width
        height = tile_rows(rows, width, x.itemsize)
        outlined(multiply_strip, (
            address_of(x, first * x_row), height * x_row, x_row, 0, 1,
            address_of(y_transposed, column), width, 0, room, address_of(result, at + column), n,
            rows, height, columns, width, 1, k, False,
        ))  # fmt: skip
        column += columns
    if turned:
        transpose_into(result, n, c, first, m, rows, n)


# --- large matrices ------------------------------------------------------------------------------


def _multiply_large(a: Array, b: Array, transpose_a: bool, transpose_b: bool, c: Array) -> None:
    """One block of k after another, each of which is added to what C has by then."""
    (m, n), k, size = c.shape, a.shape[0] if transpose_a else a.shape[1], c.itemsize
    copied = transpose_a or _COPIES_ROWS
    height, width = _large_height(m, size), panel_width(size)
    a_row, a_inner = (1, m) if transpose_a else (k, 1)
    b_inner, b_column = (1, k) if transpose_b else (n, 1)
    longest = min(max(_BLOCK_BYTES // (n * size), _SHORTEST_BLOCK), _LONGEST_BLOCK)
    block = -(-k // -(-k // longest))  # all of about the same length
    for start in range(0, k, block):
        length = min(block, k - start)
        rows = _packed(a, m, height, a_row, a_inner, start, length) if copied else a
        columns = _packed(b, n, width, b_column, b_inner, start, length)
        multiply(rows, columns, c, _large_plan(m, k, n, start, length, size, copied))


def _large_height(m: int, itemsize: int) -> int:
    return tile_rows(m, panel_width(itemsize), itemsize)


def _room(width: int, itemsize: int) -> int:
    """What so many rows or columns take: whole vectors, which can be transposed into it."""
    lanes = block_lanes(itemsize)
    return -(-width // lanes) * lanes


def _packed(
    x: Array, count: int, width: int, step: int, k_step: int, start: int, length: int
) -> Array:
    """The rows of op(a), or columns of op(b), in the order in which the tiles read them.

    There are count of them, step apart, and packed they are (tiles or panels, k, width of them),
    for length k from start on. In memory, k are k_step apart.
    """
    packed = empty((-(-count // width), length, _room(width, x.itemsize)), x.dtype)
    pool = pool_for(_PACK_OPERATIONS * packed.size)
    _pack(pool, x.reshape(-1), start * k_step, count, width, step, k_step, packed)
    return packed


@entry()
def _pack(
    pool: int, x: Array, x_at: int, count: int, width: int, step: int, k_step: int, packed: Array
) -> None:
    groups = -(-len(packed) // _TOGETHER)
    share(pool, groups, _pack_some, (x, x_at, count, width, step, k_step, packed))


@jit()
def _pack_some(
    group: int, x: Array, x_at: int, count: int, width: int, step: int, k_step: int, packed: Array
) -> None:
    pieces, length, room = packed.shape  # tiles or panels
    flat = packed.reshape(-1)
    lanes = block_lanes(x.itemsize)
    for start in range(0, length, lanes):
        for p in range(group * _TOGETHER, min((group + 1) * _TOGETHER, pieces)):
            to, left = (p * length + start) * room, count - p * width
            corner = x_at + p * width * step + start * k_step
            # Whole vectors, and so some rows of the next tile, too: nobody reads them.
            if room <= left and start + lanes <= length:
                for r in range(0, room, lanes):
                    if k_step == 1:
                        transpose_block(x, corner + r * step, step, flat, to + r, room)
                    else:
                        copy_block(x, corner + r * step, k_step, flat, to + r, room)
            else:
                for i in range(min(lanes, length - start)):
                    for r in range(min(width, left)):
                        flat[to + i * room + r] = x[corner + r * step + i * k_step]


@lru_cache(maxsize=256)
def _large_plan(
    m: int, k: int, n: int, start: int, length: int, itemsize: int, copied: bool
) -> Plan:
    """All panels for some rows, before the next rows: these then stay in the cache."""
    width, height = panel_width(itemsize), _large_height(m, itemsize)
    a_at, a_tile, a_row, a_inner = start, height * k, k, 1
    if copied:
        room = _room(height, itemsize)
        a_at, a_tile, a_row, a_inner = 0, length * room, 1, room
    columns = n if TILES_FIRST else width
    return plan([
        Strip(
            a_at=a_at + tile * a_tile, a_tile=a_tile, a_row=a_row, a_outer=0, a_inner=a_inner,
            b_at=column * length, b_panel=length * width, b_outer=0, b_inner=width,
            c_at=tile * height * n + column, c_row=n,
            rows=min(_LARGE_TILES * height, m - tile * height), tile_rows=height,
            columns=min(columns, n - column), panel=width, outer=1, inner=length,
            accumulate=start > 0,
        )
        for tile in range(0, -(-m // height), _LARGE_TILES)
        for column in range(0, n, columns)
    ])  # fmt: skip
