"""exp, tanh, log, sin and cos as arithmetic that a compiler can vectorise.

Numba's own call the C library number by number, 10 to 50 times slower than these.  Each is an exact
reduction to a short interval, and a series there:

    exp(x)      x = k log 2 + r, |r| < 0.35     2^k + 2^k p,  p = r + r^2/2! + r^3/3! + ...
    tanh(x)     E = e^(2|x|) - 1 in that way    E / (E + 2), with the sign of x
    log(x)      x = 2^k m, s = (m-1) / (m+1)    k log 2 + 2 (s + s^3/3 + s^5/5 + ...)
    sin, cos    of 2 pi u, 4 u = q + f          sin and cos of f pi/2, changed and signed by q

float64 takes the longer series; either is right to a few units in the last place.  NaN goes in and
comes out: a comparison with it is false, so nothing replaces it.  The functions are their
definitions, in NumPy, which is also what runs without the compiler; `overload` tells Numba what to
compile in their place.
"""
from decimal import Decimal
from math import factorial, pi

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

COMPILED = {"jit_options": {"fastmath": {"contract"}, "error_model": "numpy"}}


def exp(x):
    """e^x for x <= 0; 0 where that is no normal number."""
    return np.exp(x)


def tanh(x):
    """(e^2x - 1) / (e^2x + 1)."""
    return np.tanh(x)


def log(x):
    """Natural logarithm of a normal number above 0."""
    return np.log(x)


def plain_fused(a, b, c):
    """a b + c."""
    return a * b + c


def turned(r, u):
    """r cos(2 pi u) and r sin(2 pi u), for 0 <= u <= 1."""
    return r * np.cos(2 * np.pi * u), r * np.sin(2 * np.pi * u)


class Constants:
    """What the bits of a number type mean, and the coefficients of the series in that type."""

    def __init__(self, real, whole, places, bias):
        log2 = Decimal(2).ln()                      # to more digits than any float has
        high = np.float16(log2) if places == 23 else np.float32(log2)       # k high is exact
        self.long = places == 52
        self.round = real(1.5 * 2.0**places)        # x + round - round is x without its fraction
        self.zero = int(self.round.view(whole))     # the bits of round + k are these, plus k
        self.places, self.bias = places, bias
        self.log2 = real(1 / log2), real(high), real(log2 - Decimal(float(high)))
        self.least, self.top = real(-87.3 if places == 23 else -708.3), real(20)
        self.exp = tuple(real(1 / factorial(n)) for n in range(14))
        self.odd = tuple(real(2 / (2 * n + 1)) for n in range(11))
        self.sin = tuple(real((-1)**n / factorial(2 * n + 1)) for n in range(9))
        self.cos = tuple(real((-1)**n / factorial(2 * n)) for n in range(9))
        self.one, self.quarter = real(1), real(pi / 2)


OF = {types.float32: Constants(np.float32, np.int32, 23, 127),
      types.float64: Constants(np.float64, np.int64, 52, 1023)}


@intrinsic
def compiled_fused(typing, a, b, c):
    """a b + c in one rounding, where the processor can.

    The compiler does that of itself, but of a b + c d it may fuse either product, and takes
    another in its vectors than in what is left over: a number would depend on where its array is
    cut.
    """
    def build(context, builder, signature, args):
        real = context.get_value_type(c)
        name = f"llvm.fmuladd.f{c.bitwidth}"
        kind = ir.FunctionType(real, [real] * 3)
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)

    return c(c, c, c), build


@intrinsic
def bits(typing, x):
    """The bits of a number, as an integer of its width."""
    def build(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(x.bitwidth))

    return (types.int32 if x == types.float32 else types.int64)(x), build


@intrinsic
def number(typing, i):
    """The number that has these bits."""
    def build(context, builder, signature, args):
        return builder.bitcast(args[0], context.get_value_type(signature.return_type))

    return (types.float32 if i == types.int32 else types.float64)(i), build


def split(x):
    """2^k and p with e^x = 2^k (1 + p), for x within what has a normal result."""
    raise NotImplementedError("compiled only")


@overload(split, **COMPILED)
def compiled_split(x):
    """What Numba compiles for `split`."""
    C = OF[x]
    c, long, rounder, zero = C.exp, C.long, C.round, C.zero
    places, bias, (per_log2, high, low) = C.places, C.bias, C.log2
    whole = np.int64 if long else np.int32

    def body(x):
        k = x * per_log2 + rounder
        scale = number(whole((bits(k) - (zero - bias)) << places))
        k -= rounder
        r = x - k * high - k * low
        p = c[7]
        if long:
            p = c[7] + r*(c[8] + r*(c[9] + r*(c[10] + r*(c[11] + r*(c[12] + r*c[13])))))
        p = r + r*r*(c[2] + r*(c[3] + r*(c[4] + r*(c[5] + r*(c[6] + r*p)))))
        return scale, p

    return body


@overload(exp, **COMPILED)
def compiled_exp(x):
    """What Numba compiles for `exp`."""
    least, nothing = OF[x].least, 0 * OF[x].one

    def body(x):
        scale, p = split(least if x < least else x)
        return nothing if x < least else scale + scale * p

    return body


@overload(tanh, **COMPILED)
def compiled_tanh(x):
    """What Numba compiles for `tanh`."""
    top, one = OF[x].top, OF[x].one

    def body(x):
        twice = abs(x + x)
        scale, p = split(top + top if twice > top + top else twice)
        E = (scale - one) + scale * p
        t = E / (E + (one + one))
        return -t if x < 0 else t

    return body


@overload(log, **COMPILED)
def compiled_log(x):
    """What Numba compiles for `log`."""
    C = OF[x]
    c, long, one = C.odd, C.long, C.one
    (_, high, low), whole = C.log2, np.int64 if C.long else np.int32
    real, places = np.float64 if long else np.float32, C.places
    root = int(np.sqrt(real(0.5)).view(whole))      # m runs from sqrt(1/2) to sqrt(2)

    def body(x):
        k = whole(whole(bits(x) - root) >> places)
        f = number(whole(bits(x) - (k << places))) - one
        k = real(k)
        s = f / (f + one + one)
        z = s * s
        p = c[5]
        if long:
            p = c[5] + z*(c[6] + z*(c[7] + z*(c[8] + z*(c[9] + z*c[10]))))
        p = z * (c[1] + z*(c[2] + z*(c[3] + z*(c[4] + z*p))))
        return k * high + (s + s + (fused(s, p, k * low)))

    return body


@overload(turned, **COMPILED)
def compiled_turned(r, u):
    """What Numba compiles for `turned`."""
    C = OF[u]
    sin, cos, long, rounder, zero = C.sin, C.cos, C.long, C.round, C.zero
    quarter, four = C.quarter, 4 * C.one

    def body(r, u):
        q = four * u + rounder
        turns = bits(q) & 3                         # whole quarters of a turn
        x = (four * u - (q - rounder)) * quarter
        z = x * x
        s, c = sin[5], cos[5]
        if long:
            s = sin[5] + z*(sin[6] + z*(sin[7] + z*sin[8]))
            c = cos[5] + z*(cos[6] + z*(cos[7] + z*cos[8]))
        s = x + x*z*(sin[1] + z*(sin[2] + z*(sin[3] + z*(sin[4] + z*s))))
        c = cos[0] + z*(cos[1] + z*(cos[2] + z*(cos[3] + z*(cos[4] + z*c))))
        if turns & 1:
            s, c = c, s
        if turns & 2:
            s = -s
        if (turns + 1) & 2:
            c = -c
        return r * c, r * s

    return body


fused = plain_fused if config.DISABLE_JIT else compiled_fused
