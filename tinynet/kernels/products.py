"""Matrix products as lists of strips.

A strip is some rows of C, as wide as a tile or as several: the same columns of B serve all of its
rows. A `Plan` lists the strips of a product; it depends on shapes and the number of threads, and is
made once for each.

What it bought is told in `tile`: strips are how threads share out the tiles of a product.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinynet.kernels.bias import add_bias
from tinynet.kernels.jit import entry, jit
from tinynet.kernels.memory import empty, give, own, zeros
from tinynet.kernels.operands import check_dtype
from tinynet.kernels.outline import outlined
from tinynet.kernels.recording import not_recorded
from tinynet.kernels.reference import Array
from tinynet.kernels.threads import block_slice, blocks, pool_for, share
from tinynet.kernels.tile import address_of, multiply_strip, next_columns, tile_rows


class Strip(NamedTuple):
    """One entry of a plan. Offsets and distances are counted in array entries.

    C[r, s] = sum over o, i of A[r, o, i] * B[o, i, s], or, to accumulate, C[r, s] += that, where
    C[r, s] is c[c_at + r * c_row + s] and, for the first tile_rows rows and the first panel,
    A[r, o, i] is a[a_at + r * a_row + o * a_outer + i * a_inner] and
    B[o, i, s] is b[b_at + o * b_outer + i * b_inner + s]. Those after them begin a_tile or b_panel
    further each time.
    """

    a_at: int
    a_tile: int
    a_row: int
    a_outer: int
    a_inner: int
    b_at: int
    b_panel: int
    b_outer: int
    b_inner: int
    c_at: int
    c_row: int
    rows: int
    tile_rows: int
    columns: int
    panel: int  # how many columns a panel has
    outer: int
    inner: int
    accumulate: bool = False


def strip(
    a_at: int, a_row: int, a_outer: int, a_inner: int, b_at: int, b_outer: int, b_inner: int,
    c_at: int, c_row: int, rows: int, columns: int, outer: int, inner: int, itemsize: int,
) -> Strip:  # fmt: skip
    """The strip whose rows of A are all a_row apart, and whose panels of B lie side by side.

    For example, of (20, 7) @ (7, 3), in C order, the last 4 rows, and all columns: a_at=16 * 7,
    a_row=7, a_outer=0, a_inner=1, b_at=0, b_outer=0, b_inner=3, c_at=16 * 3, c_row=3, rows=4,
    columns=3, outer=1, inner=7. With A transposed, (7, 20), a_at=16, a_row=1 and a_inner=20.
    """
    panel = next_columns(columns, itemsize)
    height = tile_rows(rows, panel, itemsize)
    return Strip(
        a_at, height * a_row, a_row, a_outer, a_inner, b_at, panel, b_outer, b_inner,
        c_at, c_row, rows, height, columns, panel, outer, inner,
    )  # fmt: skip


class Plan(NamedTuple):
    """What `multiply` is to do: a list of strips, for each of ``items`` (images, for example).

    The strips are in tasks, (tasks, strips of each, fields), which threads share out.

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
    work: int  # multiply-adds
    complete: bool  # or some of C is not written to, and stays zero


def plan(
    strips: list[Strip],
    items: int = 1,
    groups: int = 1,
    a_step: int = 0,
    b_step: int = 0,
    c_step: int = 0,
    together: int = 1,
) -> Plan:
    """The plan with these strips. A task is ``together`` of them, or one if not all have work."""
    written = [strip for strip in strips if strip.outer > 0 and strip.inner > 0]
    complete = len(written) == len(strips)
    work = items * sum(s.rows * s.columns * s.outer * s.inner for s in written)
    table = np.array(written, np.int64)
    table = table.reshape(-1, max(1, together if complete else 1), len(Strip._fields))
    return Plan(table, items, groups, a_step, b_step, c_step, work, complete)


def new_result(plan: Plan, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array for `multiply` to fill."""
    if plan.complete:
        return empty(shape, dtype)
    not_recorded()
    return zeros(shape, dtype)


def multiply(
    a: Array, b: Array, c: Array, plan: Plan, bias: Array | None = None, relu: bool = False
) -> None:
    """Fill c, a new array, as the plan says; a, b and c are `plain`.

    With bias or relu, every strip of C is finished by ``max(c + bias, 0)``, or what of it is asked
    for, while it is in the cache; the bias is that of C's columns. The plan must be `complete`.
    """
    check_dtype(c.dtype)
    finish = relu or bias is not None
    flat = c.reshape(-1)
    if bias is None:
        bias = zero_bias(c.shape[-1], c.dtype) if relu else flat  # which is then not read
    strips, items, groups, a_step, b_step, c_step, work, _ = plan
    _multiply(
        pool_for(work), a.reshape(-1), b.reshape(-1), flat, strips, items, groups,
        a_step, b_step, c_step, finish, bias, relu,
    )  # fmt: skip


@lru_cache(maxsize=64)
def zero_bias(columns: int, dtype: np.dtype[Any]) -> Array:
    """A bias that changes nothing."""
    return np.zeros(columns, dtype)


@jit()
def share_strips(pool: int, a: Array, b: Array, c: Array, strips: NDArray[np.int64]) -> None:
    """`multiply` for compiled code: a plan of these strips alone, and arrays of one dimension."""
    share(pool, len(strips), _task, (a, b, c, strips, 1, 1, 0, 0, 0, False, c, False))


@entry()
def _multiply(
    pool: int, a: Array, b: Array, c: Array, strips: NDArray[np.int64], items: int, groups: int,
    a_step: int, b_step: int, c_step: int, finish: bool, bias: Array, relu: bool,
) -> None:  # fmt: skip
    arguments = a, b, c, strips, items, groups, a_step, b_step, c_step, finish, bias, relu
    share(pool, groups * len(strips), _task, arguments)


@jit()
def _task(
    number: int, a: Array, b: Array, c: Array, strips: NDArray[np.int64], items: int, groups: int,
    a_step: int, b_step: int, c_step: int, finish: bool, bias: Array, relu: bool,
) -> None:  # fmt: skip
    """The strips of one task, for one group of items."""
    group, task = number // len(strips), strips[number % len(strips)]
    first, last = items * group // groups, items * (group + 1) // groups
    for s in task:
        c_at, c_row, rows, columns = s[9] + group * c_step, s[10], s[11], s[13]
        for item in range(first, last):
            outlined(multiply_strip, (
                address_of(a, s[0] + item * a_step), s[1], s[2], s[3], s[4],
                address_of(b, s[5] + item * b_step), s[6], s[7], s[8],
                address_of(c, c_at), c_row, rows, s[12], columns, s[14], s[15], s[16],
                item > first or s[17] > 0,
            ))  # fmt: skip
        if finish:
            add_bias(c, c_at, c_row, rows, columns, bias, c_at % c_row, relu)


def sum_of_parts(parts: Array, out: Array | None = None) -> Array:
    """The sum over the first axis, from first to last."""
    total = own(out, parts.shape[1:], parts.dtype)
    _sum(pool_for(parts.size), parts.reshape(len(parts), -1), total.reshape(-1))
    return give(total, out)


@entry()
def _sum(pool: int, parts: Array, total: Array) -> None:
    share(pool, blocks(total), _sum_block, (parts, total))


@jit()
def _sum_block(block: int, parts: Array, total: Array) -> None:
    part = block_slice(block)
    sums, first = total[part], parts[0, part]
    for i in range(len(sums)):
        sums[i] = first[i]
    for p in range(1, len(parts)):
        added = parts[p, part]
        for i in range(len(sums)):
            sums[i] += added[i]
