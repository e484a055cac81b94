"""The few CPU instructions by which threads agree, as functions that numba can compile.

Each works on a 64-bit integer at an address. All but `publish` are "sequentially consistent": every
thread sees all of them happen in one and the same order.
"""

import platform
from typing import Any

from llvmlite import ir
from numba import types

from tinynet.kernels.vectors import declare, intrinsic

_ORDER = "seq_cst"
_BYTES = 8


def _pointer(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    return builder.inttoptr(address, ir.IntType(64).as_pointer())


@intrinsic
def load(typingctx: Any, address: Any) -> Any:
    """The integer."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.load_atomic(_pointer(builder, values[0]), _ORDER, _BYTES)

    return types.int64(types.int64), generate


@intrinsic
def store(typingctx: Any, address: Any, value: Any) -> Any:
    """Make the integer ``value``."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        builder.store_atomic(values[1], _pointer(builder, values[0]), _ORDER, _BYTES)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def publish(typingctx: Any, address: Any, value: Any) -> Any:
    """Make the integer ``value``, for other threads to see soon.

    Who loads the value sees all that this thread has written before ("release"). On x86 this is an
    ordinary store, and the thread goes on. After `store` it waits until this core has got, from the
    others, every cache line that it has written to.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        builder.store_atomic(values[1], _pointer(builder, values[0]), "release", _BYTES)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


@intrinsic
def add(typingctx: Any, address: Any, value: Any) -> Any:
    """Add ``value``; the integer after that."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        old = builder.atomic_rmw("add", _pointer(builder, values[0]), values[1], _ORDER)
        return builder.add(old, values[1])

    return types.int64(types.int64, types.int64), generate


@intrinsic
def replace(typingctx: Any, address: Any, old: Any, new: Any) -> Any:
    """Make the integer ``new`` if it is ``old``; whether it was."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        address, old, new = values
        pair = builder.cmpxchg(_pointer(builder, address), old, new, _ORDER)
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64, types.int64, types.int64), generate


@intrinsic
def pause(typingctx: Any) -> Any:
    """Tell the CPU that this is a loop which waits, so that it need not hurry."""
    machine = platform.machine().lower()

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        if machine in ("x86_64", "amd64"):
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(declare(builder.module, kind, "llvm.x86.sse2.pause"), [])
        elif machine in ("arm64", "aarch64"):
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(32)])
            builder.call(declare(builder.module, kind, "llvm.aarch64.hint"), [ir.IntType(32)(1)])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def call(typingctx: Any, function: Any, first: Any, second: Any) -> Any:
    """Call the C function at an address: int64 (int64, int64)."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return _call(builder, values)

    return types.int64(*[types.int64] * 3), generate


@intrinsic
def call3(typingctx: Any, function: Any, a: Any, b: Any, c: Any) -> Any:
    """The same for one of three arguments."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return _call(builder, values)

    return types.int64(*[types.int64] * 4), generate


@intrinsic
def call4(typingctx: Any, function: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """The same for one of four arguments."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return _call(builder, values)

    return types.int64(*[types.int64] * 5), generate


def _call(builder: ir.IRBuilder, values: Any) -> ir.Value:
    function, *arguments = values
    word = ir.IntType(64)
    kind = ir.FunctionType(word, [word] * len(arguments))
    return builder.call(builder.inttoptr(function, kind.as_pointer()), arguments)
