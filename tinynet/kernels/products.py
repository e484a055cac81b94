"""Matrix products as lists of tiles, and the list for a product of two matrices.

A product is cut into strips of C, each as wide as a tile: the same columns of B serve all rows of
the strip. A `Plan` lists the strips; it depends on shapes alone and is made once for each.

                      B  (k, n)
                    [ p0 | p1 | p2 ]
    A (m, k)        +----+----+----+
     rows 0..       | s0 | s2 | s4 |       strips, in the order of the list: the next one on the
     rows 112..     | s1 | s3 | s5 |       same thread finds the columns of B in the cache
                    +----+----+----+
"""

from functools import lru_cache
from threading import Lock
from typing import Any, NamedTuple

import numba
import numpy as np
from numba import prange
from numpy.typing import NDArray

from tinynet.kernels.jit import jit, plain
from tinynet.kernels.reference import Array
from tinynet.kernels.tile import MAX_ROWS, call_strip, panel_width, strip_address

# Waking the other threads takes as long as half a million multiplications.
_WORTH_THREADS = 500_000 if numba.config.NUMBA_NUM_THREADS > 1 else 1 << 62
_STRIP_ROWS = 8 * MAX_ROWS

# Some of numba's threading layers end the process when two Python threads start parallel work.
launch = Lock()


class Strip(NamedTuple):
    """One entry of a plan. Offsets and distances are counted in array entries.

    C[r, s] = sum over o, i of A[r, o, i] * B[o, i, s], where
    A[r, o, i] is a[a_at + r * a_row + o * a_outer + i * a_inner],
    B[o, i, s] is b[b_at + o * b_outer + i * b_inner + s] and C[r, s] is c[c_at + r * c_row + s].
    """

    a_at: int
    a_row: int
    a_outer: int
    a_inner: int
    b_at: int
    b_outer: int
    b_inner: int
    c_at: int
    c_row: int
    rows: int
    columns: int
    outer: int
    inner: int


class Plan(NamedTuple):
    """What `multiply` is to do: a list of strips, for each of ``items`` (images, for example).

    An item's A and B start a_step and b_step after those of the item before. Items are in
    ``groups``: those of one group are added up, in order, in one C, and the C of the next group
    starts c_step further. The groups are a matter of the plan, never of the number of threads, so
    sums have the same bits for any number.
    """

    strips: NDArray[np.int64]
    items: int
    groups: int
    a_step: int
    b_step: int
    c_step: int
    parallel: bool
    complete: bool  # or some of C is not written to, and stays zero


def plan(
    strips: list[Strip],
    items: int = 1,
    groups: int = 1,
    a_step: int = 0,
    b_step: int = 0,
    c_step: int = 0,
) -> Plan:
    """The plan with these strips; it uses several threads if there is work enough for them."""
    written = [strip for strip in strips if strip.outer > 0 and strip.inner > 0]
    work = items * sum(s.rows * s.columns * s.outer * s.inner for s in written)
    table = np.array(written, np.int64).reshape(-1, len(Strip._fields))
    parallel, complete = work > _WORTH_THREADS, len(written) == len(strips)
    return Plan(table, items, groups, a_step, b_step, c_step, parallel, complete)


def new_result(plan: Plan, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array for `multiply` to fill."""
    return np.empty(shape, dtype) if plan.complete else np.zeros(shape, dtype)


def multiply(a: Array, b: Array, c: Array, plan: Plan) -> None:
    """Fill c, a new array, as the plan says; a, b and c are `plain`."""
    address = strip_address(c.dtype)
    arrays = a.reshape(-1), b.reshape(-1), c.reshape(-1)
    if plan.parallel:
        with launch:
            _run(address, *arrays, *plan[:-1])
    else:
        _run(address, *arrays, *plan[:-1])


@jit(parallel=True)
def _run(
    address: int, a: Array, b: Array, c: Array, strips: NDArray[np.int64], items: int, groups: int,
    a_step: int, b_step: int, c_step: int, parallel: bool,
) -> None:  # fmt: skip
    tasks = groups * len(strips)
    if parallel:
        for task in prange(tasks):
            _run_task(task, address, a, b, c, strips, items, groups, a_step, b_step, c_step)
    else:
        for task in range(tasks):
            _run_task(task, address, a, b, c, strips, items, groups, a_step, b_step, c_step)


@jit()
def _run_task(
    task: int, address: int, a: Array, b: Array, c: Array, strips: NDArray[np.int64], items: int,
    groups: int, a_step: int, b_step: int, c_step: int,
) -> None:  # fmt: skip
    group, s = task // len(strips), strips[task % len(strips)]
    first, last = items * group // groups, items * (group + 1) // groups
    for item in range(first, last):
        call_strip(
            address, a, s[0] + item * a_step, s[1], s[2], s[3],
            b, s[4] + item * b_step, s[5], s[6], c, s[7] + group * c_step, s[8],
            s[9], s[10], s[11], s[12], item > first,
        )  # fmt: skip


# --- the product of two matrices -----------------------------------------------------------------


def matmul(
    a: Array,
    b: Array,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
) -> Array:
    """``op(a) @ op(b)``, where op transposes or not: (m, k) and (k, n) -> (m, n)."""
    if a.flags.f_contiguous:  # a.T is in C order, then, and the tile reads A along either axis
        a, transpose_a = a.T, not transpose_a
    if b.flags.f_contiguous:
        b, transpose_b = b.T, not transpose_b
    a, b = plain(a), plain(b)
    m, k = (a.shape[1], a.shape[0]) if transpose_a else (a.shape[0], a.shape[1])
    n = b.shape[0] if transpose_b else b.shape[1]
    usable = out is not None and out.flags.carray and not _overlap(out, a, b)
    c = out if out is not None and usable else np.empty((m, n), a.dtype)
    size = a.itemsize
    if k == 0:
        c[...] = 0
    elif m == 0 or n == 0:
        pass
    elif transpose_b and m * (k + n) < k * n:
        # C.T = op(b).T @ op(a).T needs two smaller matrices transposed in place of b.
        c_transposed = np.empty((n, m), a.dtype)
        multiply(
            b, a if transpose_a else transposed(a), c_transposed, _matmul_plan(n, k, m, False, size)
        )
        transpose(c_transposed, c)
    else:
        multiply(
            a, transposed(b) if transpose_b else b, c, _matmul_plan(m, k, n, transpose_a, size)
        )
    if out is None or c is out:
        return c
    out[...] = c
    return out


def _overlap(out: Array, a: Array, b: Array) -> bool:
    return np.may_share_memory(out, a) or np.may_share_memory(out, b)


@lru_cache(maxsize=256)
def _matmul_plan(m: int, k: int, n: int, transpose_a: bool, itemsize: int) -> Plan:
    a_row, a_inner = (1, m) if transpose_a else (k, 1)
    width = panel_width(itemsize)
    return plan(
        [
            Strip(
                a_at=row * a_row, a_row=a_row, a_outer=0, a_inner=a_inner,
                b_at=column, b_outer=0, b_inner=n,
                c_at=row * n + column, c_row=n,
                rows=min(_STRIP_ROWS, m - row), columns=min(width, n - column), outer=1, inner=k,
            )
            for column in range(0, n, width)
            for row in range(0, m, _STRIP_ROWS)
        ]
    )  # fmt: skip


def transposed(x: Array) -> Array:
    """x.T in C order."""
    y = np.empty(x.shape[::-1], x.dtype)
    transpose(x, y)
    return y


@jit()
def transpose(x: Array, y: Array) -> None:
    """y = x.T, block by block, so that what was read and written last is still in the cache."""
    block = 16
    for i in range(0, x.shape[0], block):
        for j in range(0, x.shape[1], block):
            for jj in range(j, min(j + block, x.shape[1])):
                for ii in range(i, min(i + block, x.shape[0])):
                    y[jj, ii] = x[ii, jj]
