"""Arrays and functions by their address: how a compiled program reaches what Python holds.

A list of arrays of many shapes is slow to hand to a compiled function; a table of integers is not.
Whoever writes an address into a table keeps its array alive.  And a function that is called by its
address is compiled once, by itself: Numba would compile all of it again into whoever calls it.
"""
import ctypes

import numpy as np
from llvmlite import ir
from numba import carray, cfunc, config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LINE = 64                                           # bytes of a line of memory


@intrinsic
def pointer(typing, address):
    """The address, as a pointer."""
    def build(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), build


def ask(builder, pointer, write):
    """Write what asks for the line of memory at a pointer; it waits for nothing.

    write : 1 if it is to be written to soon, and so to be taken from other cores; or else 0
    """
    kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, *[ir.IntType(32)] * 3])
    prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    how = (ir.Constant(ir.IntType(32), n) for n in (write, 2, 1))           # second cache
    builder.call(prefetch, [builder.bitcast(pointer, cgutils.voidptr_t), *how])


def asking(write):
    """What an intrinsic that asks for a line needs: its signature, and who writes it."""
    def build(context, builder, signature, args):
        ask(builder, builder.inttoptr(args[0], cgutils.voidptr_t), write)
        return context.get_dummy_value()

    return types.void(types.int64), build


@intrinsic
def compiled_claim(typing, address):
    """Ask for a line of memory to write to."""
    return asking(1)


@intrinsic
def compiled_fetch(typing, address):
    """Ask for a line of memory to read."""
    return asking(0)


def plain_ask(address):
    """Nothing: whoever steps through this has the time."""


claim, fetch = ((plain_ask, plain_ask) if config.DISABLE_JIT else
                (compiled_claim, compiled_fetch))


def plain_memory(address, n, like):
    """n numbers of the type of `like`'s, from an address on."""
    block = (ctypes.c_char * (int(n) * like.itemsize)).from_address(int(address))
    return np.frombuffer(block, like.dtype)


@njit(cache=True, error_model="numpy", nogil=True)
def compiled_memory(address, n, like):
    """The same, compiled."""
    return carray(pointer(address), n, like.dtype)


memory = plain_memory if config.DISABLE_JIT else compiled_memory


@intrinsic
def compiled_call(typing, address, numbers):
    """Call the C function at an address, which takes so many integers and returns nothing."""
    n = len(numbers)

    def build(context, builder, signature, args):
        word = cgutils.intp_t
        kind = ir.FunctionType(ir.VoidType(), [word] * n)
        function = builder.inttoptr(args[0], kind.as_pointer())
        builder.call(function, cgutils.unpack_tuple(builder, args[1], n))
        return context.get_dummy_value()

    return types.void(types.int64, types.UniTuple(types.int64, n)), build


PLAIN = []              # functions; where nothing is compiled, the place here is the address


def plain_call(address, numbers):
    """The same."""
    PLAIN[address](*numbers)


call = plain_call if config.DISABLE_JIT else compiled_call


def address_of(function, n):
    """What `call` takes for a function of n integers that is given its memory by address."""
    if config.DISABLE_JIT:
        PLAIN.append(function)
        return len(PLAIN) - 1
    compiled = cfunc(types.void(*[types.int64] * n), cache=True, error_model="numpy")(function)
    PLAIN.append(compiled)                          # kept alive
    return compiled.address
