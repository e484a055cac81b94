"""Vectors: the registers of this CPU, and the instructions that other files emit for them.

numba compiles Python functions to LLVM's instructions, and where it does not find the good ones by
itself, `tile` and `transform` write them down through llvmlite. What they have in common is here.
"""

import platform
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, TypeVar

import llvmlite.binding as llvm
from llvmlite import ir
from numba import extending, types
from numba.core import cgutils as untyped_cgutils

from tinynet.kernels.jit import config

# numba says in part only which types its own functions take.
intrinsic: Callable[[object], Any] = extending.intrinsic
cgutils: Any = untyped_cgutils  # numba's help with emitting code
declare: Any = cgutils.get_or_insert_function
pointer_to: Any = types.CPointer

P = ParamSpec("P")
R = TypeVar("R")


def in_either(function: Callable[P, R]) -> Callable[P, R]:
    """A function for Python and for compiled code alike."""
    usable: Callable[P, R] = extending.register_jitable(function)
    return usable


class Registers(NamedTuple):
    """The registers of this machine, as far as the tile depends on them."""

    vector_bytes: int
    rows: tuple[int, ...]  # how many a tile has at most that is 1, 2, ... vectors wide
    has_fma: bool
    has_masks: bool


def _registers() -> Registers:
    """Those of the CPU that numba compiles for: this one, or what NUMBA_CPU_NAME names.

    What it has is read off the code that LLVM makes for it of one multiplication and addition.
    """
    if platform.machine().lower() in ("arm64", "aarch64"):
        return Registers(16, (12, 12), has_fma=True, has_masks=False)
    code = _example()
    has_fma = "vfmadd" in code
    if "zmm" in code:
        return Registers(64, (14, 14, 9), has_fma, has_masks=True)
    if "ymm" in code:
        return Registers(32, (6, 6), has_fma, has_masks=False)
    return Registers(16, (6, 6), has_fma, has_masks=False)


def _example() -> str:
    """The assembler code of a * b + c for 16 floats, as this CPU does it best."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    vector = "<16 x float>"
    module = llvm.parse_assembly(f"""
        define {vector} @f({vector} %a, {vector} %b, {vector} %c) {{
            %1 = fmul contract {vector} %a, %b
            %2 = fadd contract {vector} %1, %c
            ret {vector} %2
        }}""")
    target = llvm.Target.from_triple(llvm.get_process_triple())
    name = config.CPU_NAME or llvm.get_host_cpu_name()
    machine = target.create_target_machine(cpu=name, features=_features(), opt=2)
    code: str = machine.emit_assembly(module)
    return code


def _features() -> str:
    """What numba tells LLVM to use beyond, or without, what the CPU's name says."""
    if config.CPU_FEATURES is not None:
        named: str = config.CPU_FEATURES
        return named
    try:
        features = llvm.get_host_cpu_features()
    except RuntimeError:  # LLVM does not know this machine
        return ""
    for feature in features:
        if feature.startswith("avx") and not config.ENABLE_AVX:
            features[feature] = False
    flat: str = features.flatten()
    return flat


REGISTERS = _registers()


def splat(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> ir.Value:
    """A vector with the same value in every lane."""
    nothing = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    one = builder.insert_element(nothing, value, ir.IntType(32)(0))
    pick = ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes)
    return builder.shuffle_vector(one, one, pick)


def opaque(builder: ir.IRBuilder, value: ir.Value, stays: bool = False) -> ir.Value:
    """The same integer or pointer, of which LLVM no longer knows where it comes from; it may have
    found that out before a loop, unless this stays.

    It goes through a piece of assembler that is empty.
    """
    kind = ir.FunctionType(value.type, [value.type])
    return builder.asm(kind, "", "=r,0", [value], stays)


def prefetch(builder: ir.IRBuilder, pointer: ir.Value, offset: int) -> None:
    """Begin to fetch what is so many bytes behind the pointer into the cache, to be read soon.

    It may lie past the end of an array: nothing is read.
    """
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    fetch = declare(builder.module, kind, "llvm.prefetch.p0")
    to_read, into_all_caches, data = number(0), number(3), number(1)
    address = builder.gep(builder.bitcast(pointer, byte), [number(offset)])
    builder.call(fetch, [address, to_read, into_all_caches, data])


def first_lanes(builder: ir.IRBuilder, vector: ir.VectorType, count: ir.Value) -> ir.Value:
    """A mask of the first lanes of such a vector, so many of them."""
    lanes = vector.count
    if REGISTERS.has_masks:
        # LLVM would repeat a comparison wherever its result is used, in the innermost loops.
        bits = builder.sub(builder.shl(count.type(1), count), count.type(1))
        few = builder.trunc(opaque(builder, bits), ir.IntType(lanes))
        return builder.bitcast(few, ir.VectorType(ir.IntType(1), lanes))
    lane = ir.IntType(_bits(vector))
    numbers = ir.Constant(ir.VectorType(lane, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, splat(builder, builder.trunc(count, lane), lanes))


def multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c, lane by lane."""
    # Without the instruction, LLVM's fma is a call of a C function for each lane.
    if REGISTERS.has_fma:
        return _call(builder, "llvm.fma", a.type, a.type, [a, b, c])
    return builder.fadd(builder.fmul(a, b), c)


def divide(builder: ir.IRBuilder, a: ir.Value, b: ir.Value) -> ir.Value:
    """a / b, lane by lane, for b >= 0; the last bit may be another one.

    Dividing takes a CPU as long as a dozen multiplications. With AVX-512 it has an estimate of 1/b
    of 14 bits, and ``r * (2 - b * r)`` has twice as many (Newton's method).
    """
    if not (REGISTERS.has_masks and _bits(b.type) == 32 and b.type.count == 16):
        return builder.fdiv(a, b)
    one, largest, nothing = (
        ir.Constant(b.type, [number] * 16) for number in (1.0, 3.4028234663852886e38, 0.0)
    )
    # The estimate of 1/infinity is 0, and infinity times 0 is NaN.
    b = builder.select(builder.fcmp_ordered(">", b, largest), largest, b)
    mask = ir.IntType(16)(-1)
    kind = ir.FunctionType(b.type, [b.type, b.type, mask.type])
    estimate = declare(builder.module, kind, "llvm.x86.avx512.rcp14.ps.512")
    r = builder.call(estimate, [b, nothing, mask])
    error = multiply_add(builder, builder.fneg(b), r, one)
    return builder.fmul(a, multiply_add(builder, r, error, r))


def square_root(builder: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """The square root, lane by lane."""
    return _call(builder, "llvm.sqrt", x.type, x.type, [x])


def load_vector(
    builder: ir.IRBuilder, vector: ir.VectorType, pointer: ir.Value, mask: ir.Value | None
) -> ir.Value:
    """One vector from memory. Lanes that the mask leaves out are 0, their memory is not touched."""
    pointer = builder.bitcast(pointer, vector.as_pointer())
    align = _bits(vector) // 8
    if mask is None:
        return builder.load(pointer, align=align)
    arguments = [pointer, ir.IntType(32)(align), mask, ir.Constant(vector, None)]
    return _call(builder, "llvm.masked.load", vector, vector, arguments, ".p0")


def store_vector(
    builder: ir.IRBuilder, value: ir.Value, pointer: ir.Value, mask: ir.Value | None
) -> None:
    """One vector to memory, in the lanes of the mask."""
    pointer = builder.bitcast(pointer, value.type.as_pointer())
    align = _bits(value.type) // 8
    if mask is None:
        builder.store(value, pointer, align=align)
        return
    arguments = [value, pointer, ir.IntType(32)(align), mask]
    _call(builder, "llvm.masked.store", value.type, ir.VoidType(), arguments, ".p0")


def _call(
    builder: ir.IRBuilder,
    name: str,
    vector: ir.VectorType,
    result: ir.Type,
    arguments: list[ir.Value],
    suffix: str = "",
) -> ir.Value:
    """Call the variant of an LLVM function for this vector type, such as llvm.fma.v16f32."""
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    number = "i" if isinstance(vector.element, ir.IntType) else "f"
    name = f"{name}.v{vector.count}{number}{_bits(vector)}{suffix}"
    return builder.call(declare(builder.module, kind, name), arguments)


def _bits(vector: ir.VectorType) -> int:
    return 64 if isinstance(vector.element, ir.DoubleType) else 32


def array_data(
    context: Any, builder: ir.IRBuilder, signature: Any, values: Any, position: int
) -> ir.Value:
    """The pointer to the first entry of the array that is the argument at this position."""
    array = context.make_array(signature.args[position])(context, builder, values[position])
    return array.data


def channel_loops(
    context: Any, builder: ir.IRBuilder, dtype: Any, channels: ir.Value, registers: int = 1
) -> Iterator[tuple[ir.VectorType, ir.Value]]:
    """Emit what the caller emits for each pair of a vector type and the first of its channels.

    It goes into loops over vectors of so many registers, over vectors of one, and over the
    channels left, one by one.
    """
    index = channels.type
    first: ir.Value = index(0)
    full = REGISTERS.vector_bytes * 8 // dtype.bitwidth
    for lanes in dict.fromkeys((registers * full, full, 1)):
        entry = builder.block
        head, body, end = (
            builder.append_basic_block(f"channels.{part}") for part in ("head", "body", "end")
        )
        builder.branch(head)
        builder.position_at_end(head)
        channel = builder.phi(index)
        channel.add_incoming(first, entry)
        following = builder.add(channel, index(lanes))
        builder.cbranch(builder.icmp_signed("<=", following, channels), body, end)
        builder.position_at_end(body)
        yield ir.VectorType(context.get_data_type(dtype), lanes), channel
        channel.add_incoming(following, builder.block)
        builder.branch(head)
        builder.position_at_end(end)
        first = channel


def masked_channel_loops(
    context: Any, builder: ir.IRBuilder, dtype: Any, channels: ir.Value
) -> Iterator[tuple[ir.VectorType, ir.Value, ir.Value | None]]:
    """The same, with a mask of the lanes: one loop does for all where masks have registers.

    It takes half the time to compile, and for 20 channels 20% less to run.
    """
    if not REGISTERS.has_masks:
        for vector, channel in channel_loops(context, builder, dtype, channels):
            yield vector, channel, None
        return
    index = channels.type
    vector = ir.VectorType(
        context.get_data_type(dtype), REGISTERS.vector_bytes * 8 // dtype.bitwidth
    )
    lanes = index(vector.count)
    with cgutils.for_range_slice(builder, index(0), channels, lanes, index) as (channel, _):
        left = builder.sub(channels, channel)
        here = builder.select(builder.icmp_signed("<", left, lanes), left, lanes)
        yield vector, channel, first_lanes(builder, vector, here)


# How many channels `channels_at_once` needs: a vector of them, in single precision, the longer one.
LEAST_CHANNELS = 1 if REGISTERS.has_masks else REGISTERS.vector_bytes // 4


class Channels(NamedTuple):
    """A vector of channels as LLVM values."""

    vector: ir.VectorType
    first: ir.Value
    mask: ir.Value | None  # the lanes that there are channels for, or all
    fresh: ir.Value | None  # those that no vector before had, or all


def channels_at_once(
    context: Any, builder: ir.IRBuilder, dtype: Any, channels: ir.Value
) -> Iterator[Channels]:
    """As `masked_channel_loops`, for at least `LEAST_CHANNELS` of them: a single loop for any CPU.

    Where masks have no registers, the last vector is a whole one, too, and has some of the channels
    of that before it once more. It takes an EPYC half the time to compile, and as long to run.
    """
    if REGISTERS.has_masks:
        for vector, channel, mask in masked_channel_loops(context, builder, dtype, channels):
            yield Channels(vector, channel, mask, None)
        return
    index = channels.type
    count = REGISTERS.vector_bytes * 8 // dtype.bitwidth
    vector = ir.VectorType(context.get_data_type(dtype), count)
    lanes, lane = index(count), ir.IntType(_bits(vector))
    last = builder.sub(channels, lanes)
    with cgutils.for_range_slice(builder, index(0), channels, lanes, index) as (channel, _):
        first = builder.select(builder.icmp_signed("<", channel, last), channel, last)
        again = splat(builder, builder.trunc(builder.sub(channel, first), lane), count)
        numbers = ir.Constant(ir.VectorType(lane, count), list(range(count)))
        yield Channels(vector, first, None, builder.icmp_signed(">=", numbers, again))
