"""Compiled functions that others call by name, as they would call one of a C library.

numba puts a copy of a compiled function into each compiled function that calls it, and a copy of
that into the next, and LLVM works on all of them. A long function is quicker to compile by itself;
others then know nothing but its name, and LLVM knows where the code with that name is.

It is elsewhere in each process, and what the others are compiled to is kept on disk. So `cache`
keeps a `_Definition` there, too, which numba calls in another process before it loads the rest.

What it bought an EPYC: of a first fit of a CNN, everything compiled, 3 seconds of 20 where
Winograd's maps are called so, and 4 of 27 where the tasks are that threads share out.
"""

import sys
from importlib import import_module
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types

from tinynet.kernels import cache
from tinynet.kernels.vectors import cgutils, intrinsic


@intrinsic
def outlined(typingctx: Any, function: Any, arguments: Any) -> Any:
    """``function(*arguments)``, for a `jit` function without a result."""
    compiled = compiled_for(typingctx, function, arguments.types)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        unpacked = cgutils.unpack_tuple(builder, values[1])
        failed = emit_named_call(context, builder, function, compiled, unpacked)
        with builder.if_then(failed, likely=False):
            message = (f"{function.dispatcher.py_func.__qualname__} failed",)
            context.call_conv.return_user_exc(builder, RuntimeError, message)
        return context.get_dummy_value()

    return types.void(function, arguments), generate


def compiled_for(typingctx: Any, function: Any, arguments: tuple[Any, ...]) -> Any:
    """What numba has compiled a function to for arguments of these types, or compiles it to now."""
    signature = typingctx.resolve_function_type(function, arguments, {})
    return function.dispatcher.get_compile_result(signature)


def code_of(compiled: Any) -> int:
    """Where the code is of what numba has compiled."""
    code: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return code


def emit_named_call(
    context: Any, builder: ir.IRBuilder, function: Any, compiled: Any, values: Any
) -> ir.Value:
    """Emit a call of a compiled function, for its effect, by its name; whether it failed."""
    python, signature = function.dispatcher.py_func, compiled.signature
    definition = _Definition(python.__module__, python.__qualname__, signature.args)
    definition.define(compiled)
    kind = context.call_conv.get_function_type(signature.return_type, signature.args)
    named = cgutils.get_or_insert_function(builder.module, kind, definition.symbol())
    return emit_call(context, builder, named, signature, values)


def emit_call(
    context: Any, builder: ir.IRBuilder, function: ir.Value, signature: Any, values: Any
) -> ir.Value:
    """Emit a call of what numba has compiled, for its effect; whether it failed."""
    kind = context.call_conv.get_function_type(signature.return_type, signature.args)
    arguments = context.get_arg_packer(signature.args).as_arguments(builder, values)
    result, error = (cgutils.alloca_once(builder, pointer.pointee) for pointer in kind.args[:2])
    status = builder.call(function, [result, error, *arguments])
    return builder.icmp_signed("!=", status, status.type(0))


class _Definition(NamedTuple):
    """Makes a name known to LLVM in this process: that of a global of a module, compiled."""

    module: str
    name: str
    arguments: tuple[Any, ...]  # their types

    def symbol(self) -> str:
        """The name."""
        return f"{self.module}.{self.name}{self.arguments}"

    def define(self, compiled: Any) -> None:
        """Say where the code is."""
        cache.named[self.symbol()] = self
        llvm.add_symbol(self.symbol(), code_of(compiled))

    def __call__(self) -> None:
        """Load the code, or compile it, and say where it is."""
        function = getattr(sys.modules.get(self.module) or import_module(self.module), self.name)
        dispatcher = getattr(function, "_dispatcher", function)
        dispatcher.compile(self.arguments)
        self.define(dispatcher.overloads[self.arguments])
