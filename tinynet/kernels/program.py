"""Playing what was recorded: a list of functions, and their arguments in memory.

The program of a recording is a table. Each row is one call, two addresses:

    function        arguments              in memory, integers of 64 bits
    unpack_take     ---------------------> pool | size, itemsize, place, shape, strides of x | ...
    unpack_dense    ---------------------> pool | ...
    ...

Compiled functions take their arguments in registers and on the stack, each in its own way. So for
each of them there is an unpacker, which takes the arguments from memory and calls the function.
An unpacker is a few instructions, made when a function is first played.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numpy.typing import NDArray

from tinynet.kernels import atomics
from tinynet.kernels.jit import ZERO, jit
from tinynet.kernels.outline import code_of, emit_call
from tinynet.kernels.recording import Call, Fill, Recording
from tinynet.kernels.threads import compiler_lock
from tinynet.kernels.vectors import cgutils

Words = NDArray[Any]  # of numbers of 64 bits

# At most so many steps are played at once where nothing has to be found in Python in between.
_MOST_STEPS = 256


def program_of(recording: Recording) -> "Program | None":
    """What makes the same calls again; None where it would leave something out."""
    return Program(recording) if recording.complete and recording.calls else None


class _Unpacker(NamedTuple):
    address: int
    library: Any  # which has the code


_unpackers: dict[tuple[Any, tuple[Any, ...]], _Unpacker] = {}


def is_warm() -> bool:
    """Whether something was recorded in this process: what playing needs is compiled, or most."""
    return bool(_unpackers)


class Program:
    """The calls of a recording, to be made again. It keeps the arrays that they work on."""

    def __init__(self, recording: Recording) -> None:
        self._fills = [(fill, array) for fill, array, _ in recording.fills]
        self.most_steps = _MOST_STEPS if all(early for *_, early in recording.fills) else 1
        self._calls = recording.calls  # which keep the arrays
        self._arrays: list[tuple[int, NDArray[Any]]] = []  # which word is the address of which
        rows: list[tuple[int, int]] = []
        words: list[int] = []
        for call in recording.calls:
            rows.append((_unpacker(call).address, 8 * len(words)))
            _pack(call.arguments, words, self._arrays)
        self._words = np.array(words, np.int64)
        self._table = np.array(rows, np.int64) + np.array([0, self._words.ctypes.data])

    def play(self, steps: int = 1, inputs: Sequence[tuple[Words, Words]] = ()) -> None:
        """Make all the calls again, so many times.

        steps: at most ``most_steps``.
        inputs: arrays, (...), and what is put into them before each step, (steps, ...); all of
            numbers of 64 bits.

        Raises RuntimeError, in the end, where a kernel fails.
        """
        if steps == 1:
            for fill, array in self._fills:
                fill(array[np.newaxis])
        else:
            filled = [(array, _filled(fill, array, steps)) for fill, array in self._fills]
            inputs = [*inputs, *filled]
        if _play(self._table, feeds_of(inputs), steps):
            raise RuntimeError("a kernel of a recorded step failed")

    def places_of(self, array: NDArray[Any]) -> list[Words]:
        """Where the arguments have the address of this array: each an array of one number.

        As an input of `play`, it lets the calls use other arrays of the same shape and dtype.
        """
        places = np.flatnonzero(self._words == array.ctypes.data)
        return [self._words[i : i + 1] for i in places]


def _filled(fill: Fill, array: Words, steps: int) -> Words:
    """What the function fills the array with for each of the steps."""
    values = np.empty((steps, *array.shape), array.dtype)
    fill(values)
    return values


def feeds_of(inputs: Sequence[tuple[Words, Words]]) -> NDArray[np.int64]:
    """What `feed` takes for these arrays, and what is put into them."""
    feeds = [(to.ctypes.data, values.ctypes.data, to.size) for to, values in inputs]
    return np.array(feeds, np.int64).reshape(-1, 3)


@jit(from_python=True)
def _play(table: NDArray[np.int64], feeds: NDArray[np.int64], steps: int) -> int:
    """All calls, for each step; whether one of them failed."""
    failed = 0
    for step in range(steps):
        feed(feeds, step)
        failed |= make_calls(table, ZERO, len(table))
    return failed


@jit()
def feed(feeds: NDArray[np.int64], step: int) -> None:
    """Put in place what this step is given; feeds are (to, from, how many)."""
    for i in range(len(feeds)):
        to, values, size = feeds[i]
        for j in range(size):
            atomics.store(to + 8 * j, atomics.load(values + 8 * (step * size + j)))


@jit()
def make_calls(table: NDArray[np.int64], first: int, last: int) -> int:
    """Some of the calls; whether one of them failed."""
    failed = 0
    for i in range(first, last):
        failed |= atomics.call(table[i, 0], table[i, 1], 0)
    return failed


# --- arguments in memory -------------------------------------------------------------------------


def _pack(
    arguments: tuple[Any, ...], words: list[int], arrays: list[tuple[int, NDArray[Any]]]
) -> None:
    """Append arguments as integers of 64 bits: an array as its size, place, shape and strides."""
    for argument in arguments:
        match argument:
            case np.ndarray():
                arrays.append((len(words) + 2, argument))
                words += argument.size, argument.itemsize, argument.ctypes.data
                words += argument.shape
                words += argument.strides
            case tuple():
                _pack(argument, words, arrays)
            case float() | np.floating():
                words.append(int(np.float64(argument).view(np.int64)))
            case _:
                words.append(int(argument))


_OWNDATA = 4  # of the flags of an array, as NumPy numbers them


def _unpacker(call: Call) -> _Unpacker:
    """A C function int64 (arguments, _) that makes this call, and others of the same types.

    It returns 0, or 1 where the function raised something.
    """
    key = call.function, tuple(map(_kind, call.arguments))
    if key not in _unpackers:
        with compiler_lock:
            if key not in _unpackers:
                signature = tuple(map(numba.typeof, call.arguments))
                _unpackers[key] = _compile_unpacker(call.function.overloads[signature])
    return _unpackers[key]


def _kind(argument: Any) -> Any:
    """All that the argument's type in numba follows from, which takes longer to make."""
    match argument:
        case np.ndarray():
            return argument.dtype, argument.ndim, argument.flags.num & ~_OWNDATA
        case tuple():
            return tuple(map(_kind, argument))
        case _:
            return type(argument)


def _compile_unpacker(compiled: Any) -> _Unpacker:
    context, signature = cpu_target.target_context, compiled.signature
    library = context.codegen().create_library("unpacker")
    module = library.create_ir_module("unpacker")
    word = ir.IntType(64)
    unpacker = ir.Function(module, ir.FunctionType(word, [word] * 2), "unpacker")
    builder = ir.IRBuilder(unpacker.append_basic_block())
    words = _Words(builder, builder.inttoptr(unpacker.args[0], word.as_pointer()))
    values = [words.read(context, kind) for kind in signature.args]

    kind = context.call_conv.get_function_type(signature.return_type, signature.args)
    function = builder.inttoptr(word(code_of(compiled)), kind.as_pointer())
    failed = emit_call(context, builder, function, signature, values)
    builder.ret(builder.zext(failed, word))

    library.add_ir_module(module)
    library.finalize()
    return _Unpacker(library.get_pointer_to_function("unpacker"), library)


class _Words:
    """Code that reads one argument after another, as `_pack` has put them there."""

    def __init__(self, builder: ir.IRBuilder, pointer: ir.Value) -> None:
        self._builder, self._pointer, self._next = builder, pointer, 0

    def _word(self) -> ir.Value:
        at = self._builder.gep(self._pointer, [ir.IntType(32)(self._next)])
        self._next += 1
        return self._builder.load(at)

    def read(self, context: Any, kind: Any) -> ir.Value:
        builder = self._builder
        if isinstance(kind, types.Array):
            array = context.make_array(kind)(context, builder)
            # No object of Python's or numba's owns the memory here: the program keeps the array.
            array.meminfo, array.parent = (
                ir.Constant(owner.type, None) for owner in (array.meminfo, array.parent)
            )
            array.nitems, array.itemsize = self._word(), self._word()
            array.data = builder.inttoptr(self._word(), array.data.type)
            array.shape = cgutils.pack_array(builder, [self._word() for _ in range(kind.ndim)])
            array.strides = cgutils.pack_array(builder, [self._word() for _ in range(kind.ndim)])
            return array._getvalue()
        if isinstance(kind, types.BaseTuple):
            parts: Any = kind
            values = [self.read(context, part) for part in parts]
            return context.make_tuple(builder, kind, values)
        target = context.get_value_type(kind)
        if isinstance(kind, types.Float):
            double = builder.bitcast(self._word(), ir.DoubleType())
            return double if target == double.type else builder.fptrunc(double, target)
        return builder.trunc(self._word(), target) if target.width < 64 else self._word()
