"""Arrays by the address of their memory: how a compiled program reaches what Python holds.

A list of arrays of many shapes is slow to hand to a compiled function; a table of integers is not.
Whoever writes an address into a table keeps its array alive.
"""
import ctypes

import numpy as np
from numba import carray, config, njit, types
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
