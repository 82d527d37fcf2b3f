"""One product of matrices: C = alpha op(A) op(B) + beta C, by the BLAS that Numba itself calls.

    A, B, C     flat memory, and where in it the matrix begins: a0, b0, c0
    lda, ...    elements from one row *of the memory* to the next, so a block of a larger matrix
                is a matrix, too
    ta, tb      whether the memory holds A, or A^T; op(A) is m x k and op(B) is k x n either way

np.dot takes no blocks, no alpha and no beta, and a ctypes pointer to BLAS cannot be kept in Numba's
cache on disk.  Numba's own helper `numba_xxgemm`, which np.dot ends in, can.  BLAS counts along
columns: what it takes for A is our B^T, so the two change places below.
"""
import numpy as np
import scipy.linalg.cython_blas                     # noqa: F401  where the helper finds BLAS
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.linalg import check_blas_return, get_blas_kind

CHAR, WORD, POINTER = ir.IntType(8), cgutils.intp_t, cgutils.voidptr_t
HELPER = ir.FunctionType(ir.IntType(32), [
    CHAR, CHAR, CHAR,                               # "s" or "d"; whether to transpose
    WORD, WORD, WORD, POINTER,                      # n, m, k, alpha
    POINTER, WORD, POINTER, WORD,                   # B, ldb, A, lda
    POINTER, POINTER, WORD])                        # beta, C, ldc


def plain_gemm(m, n, k, alpha, A, a0, lda, ta, B, b0, ldb, tb, beta, C, c0, ldc):
    """The same in NumPy: what runs when Numba compiles nothing."""
    A = matrix(A, a0, lda, k, m).T if ta else matrix(A, a0, lda, m, k)
    B = matrix(B, b0, ldb, n, k).T if tb else matrix(B, b0, ldb, k, n)
    C = matrix(C, c0, ldc, m, n)
    C[...] = alpha * (A @ B) + (beta * C if beta else 0)


def matrix(memory, start, step, rows, columns):
    """A block of flat memory, as a matrix."""
    one = memory.itemsize
    return np.lib.stride_tricks.as_strided(memory[start:], (rows, columns), (step * one, one))


@intrinsic
def compiled_gemm(typing, m, n, k, alpha, A, a0, lda, ta, B, b0, ldb, tb, beta, C, c0, ldc):
    """The call itself; alpha and beta are converted to the type of C."""
    size, real, yes = types.intp, C.dtype, types.boolean
    signature = types.void(size, size, size, real, A, size, size, yes, B, size, size, yes,
                           real, C, size, size)
    kind = ir.Constant(CHAR, ord(get_blas_kind(real)))

    def build(context, builder, signature, args):
        m, n, k, alpha, A, a0, lda, ta, B, b0, ldb, tb, beta, C, c0, ldc = args

        def at(array_type, array, start):
            data = context.make_array(array_type)(context, builder, array).data
            return builder.bitcast(builder.gep(data, [start]), POINTER)

        def passed(value):                          # BLAS takes its numbers by address
            return builder.bitcast(cgutils.alloca_once_value(builder, value), POINTER)

        def letter(transposed):
            yes, no = (ir.Constant(CHAR, ord(c)) for c in "tn")
            return builder.select(cgutils.as_bool_bit(builder, transposed), yes, no)

        helper = cgutils.get_or_insert_function(builder.module, HELPER, "numba_xxgemm")
        failed = builder.call(helper, (
            kind, letter(tb), letter(ta), n, m, k, passed(alpha),
            at(signature.args[8], B, b0), ldb, at(signature.args[4], A, a0), lda,
            passed(beta), at(signature.args[13], C, c0), ldc))
        check_blas_return(context, builder, failed)
        return context.get_dummy_value()

    return signature, build


gemm = plain_gemm if config.DISABLE_JIT else compiled_gemm
