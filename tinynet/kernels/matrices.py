"""The product of two matrices: which strips, and what is copied first.

                      B  (k, n)
                    [ p0 | p1 | p2 ]
    A (m, k)        +----+----+----+
     rows 0..       | s0 | s2 | s4 |       strips, in the order in which they are computed: the
     rows 112..     | s1 | s3 | s5 |       next one finds its columns of B in the cache
                    +----+----+----+

A tile reads A along either axis, and B along its rows. So ``a.T @ b`` needs no copy, ``a @ b.T``
needs one of a matrix transposed, and large matrices, whose rows are too far apart for the cache,
are copied into the order in which the tiles read them.
"""

from functools import lru_cache

import numpy as np
from numba import prange

from tinynet.kernels.jit import jit, launch, plain
from tinynet.kernels.memory import empty
from tinynet.kernels.products import Plan, Strip, multiply, plan
from tinynet.kernels.reference import Array
from tinynet.kernels.tile import MAX_ROWS, panel_width

_STRIP_ROWS = 8 * MAX_ROWS

# From here on, copying pays: B is larger than a second-level cache, and A has rows enough.
_LARGE_BYTES = 2_000_000
_LARGE_ROWS = 128

# Rows that lie a power of two apart compete for the same few places in the cache.
_GAP = 16


def matmul(
    a: Array,
    b: Array,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
) -> Array:
    """``op(a) @ op(b)``, where op transposes or not: (m, k) and (k, n) -> (m, n)."""
    a, transpose_a = _c_order(a, transpose_a)
    b, transpose_b = _c_order(b, transpose_b)
    m = a.shape[1] if transpose_a else a.shape[0]
    n = b.shape[0] if transpose_b else b.shape[1]
    if out is not None and out.flags.carray and not _overlap(out, a, b):
        _fill(a, b, transpose_a, transpose_b, out)
        return out
    c = empty((m, n), a.dtype)
    _fill(a, b, transpose_a, transpose_b, c)
    if out is None:
        return c
    out[...] = c
    return out


def _c_order(x: Array, transpose: bool) -> tuple[Array, bool]:
    """The same operand as an array in C order: that of a matrix in Fortran order is x.T."""
    if x.flags.f_contiguous and not x.flags.c_contiguous:
        return plain(x.T), not transpose
    return plain(x), transpose


def _overlap(out: Array, a: Array, b: Array) -> bool:
    return np.may_share_memory(out, a) or np.may_share_memory(out, b)


def _fill(a: Array, b: Array, transpose_a: bool, transpose_b: bool, c: Array) -> None:
    """c = op(a) @ op(b), all three `plain`."""
    m, n = c.shape
    k = a.shape[0] if transpose_a else a.shape[1]
    size = c.itemsize
    if k == 0:
        c[...] = 0
    elif b.nbytes > _LARGE_BYTES and m >= _LARGE_ROWS and launch.threads:
        rows, panels = _packed(a, b, transpose_a, transpose_b)
        multiply(rows, panels, c, _packed_plan(m, k, n, size))
    elif not transpose_b:
        multiply(a, b, c, _plan(m, k, n, transpose_a, size))
    elif k * n < m * (k + n):
        multiply(a, _transposed(b), c, _plan(m, k, n, transpose_a, size))
    else:
        # With few rows, C.T = op(b).T @ op(a).T has less to transpose: a and c instead of b.
        c_transposed = empty((n, m), c.dtype)
        multiply(b, a if transpose_a else _transposed(a), c_transposed, _plan(n, k, m, False, size))
        _transpose(c_transposed, c)


@lru_cache(maxsize=256)
def _plan(m: int, k: int, n: int, transpose_a: bool, itemsize: int) -> Plan:
    """For a in C order, or its transpose, and b (k, n)."""
    a_row, a_inner = (1, m) if transpose_a else (k, 1)
    width = panel_width(itemsize)
    return plan([
        Strip(
            a_at=row * a_row, a_row=a_row, a_outer=0, a_inner=a_inner,
            b_at=column, b_outer=0, b_inner=n, c_at=row * n + column, c_row=n,
            rows=min(_STRIP_ROWS, m - row), columns=min(width, n - column), outer=1, inner=k,
        )
        for column in range(0, n, width)
        for row in range(0, m, _STRIP_ROWS)
    ])  # fmt: skip


def _transposed(x: Array) -> Array:
    y = empty(x.shape[::-1], x.dtype)
    _transpose(x, y)
    return y


@jit()
def _transpose(x: Array, y: Array) -> None:
    """y = x.T, block by block, so that what was read and written last is still in the cache."""
    block = 16
    for i in range(0, x.shape[0], block):
        for j in range(0, x.shape[1], block):
            for jj in range(j, min(j + block, x.shape[1])):
                for ii in range(i, min(i + block, x.shape[0])):
                    y[jj, ii] = x[ii, jj]


# --- large matrices ------------------------------------------------------------------------------


def _packed(a: Array, b: Array, transpose_a: bool, transpose_b: bool) -> tuple[Array, Array]:
    """op(a) with a gap after each row, and op(b) cut into panels: (panels, k, width)."""
    k, n = b.shape[::-1] if transpose_b else b.shape
    m = a.shape[1] if transpose_a else a.shape[0]
    width = panel_width(b.itemsize)
    rows = empty((m, k + _GAP), a.dtype)
    panels = empty((-(-n // width), k, width), b.dtype)
    with launch:
        _pack_rows(a, transpose_a, rows[:, :k])
        _pack_panels(b, transpose_b, panels)
    return rows, panels


@jit(parallel=True)
def _pack_rows(a: Array, transpose_a: bool, rows: Array) -> None:
    m, k = rows.shape
    block = 16
    for part in prange(-(-m // block)):
        first, last = part * block, min((part + 1) * block, m)
        if transpose_a:
            for j in range(k):
                for i in range(first, last):
                    rows[i, j] = a[j, i]
        else:
            for i in range(first, last):
                for j in range(k):
                    rows[i, j] = a[i, j]


@jit(parallel=True)
def _pack_panels(b: Array, transpose_b: bool, panels: Array) -> None:
    count, k, width = panels.shape
    n = b.shape[0] if transpose_b else b.shape[1]
    for p in prange(count):
        columns = min(width, n - p * width)
        if transpose_b:
            for i in range(k):
                for j in range(columns):
                    panels[p, i, j] = b[p * width + j, i]
        else:
            for i in range(k):
                for j in range(columns):
                    panels[p, i, j] = b[i, p * width + j]


@lru_cache(maxsize=64)
def _packed_plan(m: int, k: int, n: int, itemsize: int) -> Plan:
    """All panels for some rows, before the next rows: these then stay in the cache."""
    width, height = panel_width(itemsize), _STRIP_ROWS // 2
    return plan([
        Strip(
            a_at=row * (k + _GAP), a_row=k + _GAP, a_outer=0, a_inner=1,
            b_at=column * k, b_outer=0, b_inner=width, c_at=row * n + column, c_row=n,
            rows=min(height, m - row), columns=min(width, n - column), outer=1, inner=k,
        )
        for row in range(0, m, height)
        for column in range(0, n, width)
    ])  # fmt: skip
