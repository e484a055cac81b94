"""Matrix products as lists of strips.

A strip is some rows of C, as wide as a tile: the same columns of B serve all of its rows. A `Plan`
lists the strips of a product; it depends on shapes alone and is made once for each.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import prange
from numpy.typing import NDArray

from tinynet.kernels.jit import jit, launch, worth_threads
from tinynet.kernels.memory import empty, zeros
from tinynet.kernels.reference import Array
from tinynet.kernels.tile import call_strip, strip_address


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
    parallel, complete = worth_threads(work), len(written) == len(strips)
    return Plan(table, items, groups, a_step, b_step, c_step, parallel, complete)


def new_result(plan: Plan, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """An array for `multiply` to fill."""
    return empty(shape, dtype) if plan.complete else zeros(shape, dtype)


def multiply(a: Array, b: Array, c: Array, plan: Plan) -> None:
    """Fill c, a new array, as the plan says; a, b and c are `plain`."""
    address = strip_address(c.dtype)
    strips, items, groups, a_step, b_step, c_step, parallel, _ = plan
    with launch:
        _run(
            address, a.reshape(-1), b.reshape(-1), c.reshape(-1), strips, items, groups,
            a_step, b_step, c_step, parallel and launch.threads,
        )  # fmt: skip


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
