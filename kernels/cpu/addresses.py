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


@intrinsic
def pointer(typing, address):
    """The address, as a pointer."""
    def build(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), build


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
