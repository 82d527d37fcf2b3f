"""Random numbers: `kernels.reference`'s, in Numba; the same integers, bit for bit.

A turn of a loop makes one philox block, four words, and uses all four: nothing is written down in
between, and vector instructions make eight blocks at a time.  That takes

    words in 64 bits        a 32 x 32 -> 64 bit product is then one instruction a lane
    ten rounds written out  LLVM vectorises innermost loops only
    unsigned indices        Numba lets a signed one count from the end, which takes a choice each
"""
import numpy as np
from numba import njit, prange

from minicredit.kernels.cpu.functions import log, turned
from minicredit.kernels.cpu.memory import flat
from minicredit.kernels.cpu.threads import FUSED, PARALLEL, PART, SERIAL, SMALL, several
from minicredit.kernels.reference import PHILOX_M, PHILOX_W

M0, M1, W0, W1, LOW, HALF, NINE = map(np.uint64, (*PHILOX_M, *PHILOX_W, 0xFFFFFFFF, 32, 9))
FOUR, I0, I1, I2, I3 = map(np.uint64, (4, 0, 1, 2, 3))
UNIFORM, NORMAL, NOISY = range(3)


@njit(**SERIAL)
def turn(s):
    """One round of philox4x32: four counter words and two key words in and out."""
    c0, c1, c2, c3, k0, k1 = s
    p0, p1 = M0 * c0, M1 * c2                       # 32 x 32 -> 64 bits
    return (p1 >> HALF ^ c1 ^ k0, p1 & LOW, p0 >> HALF ^ c3 ^ k1, p0 & LOW,
            k0 + W0 & LOW, k1 + W1 & LOW)


@njit(**SERIAL)
def block(i, name):
    """The four words of block i in the sequence that `name` names, in 64 bits each."""
    s = (np.uint64(i) & LOW, name[0], name[1], name[2], name[3], name[4])
    s = turn(turn(turn(turn(turn(s)))))
    s = turn(turn(turn(turn(turn(s)))))
    return s[0], s[1], s[2], s[3]


@njit(**SERIAL)
def words(name, out):
    """The first integers of the sequence."""
    whole = len(out) // 4
    for i in range(whole):
        a, b, c, d = block(i, name)
        at = FOUR * np.uint64(i)
        out[at], out[at + I1], out[at + I2], out[at + I3] = a, b, c, d
    last = block(whole, name)
    for w in range(len(out) % 4):
        out[4 * whole + w] = last[w]


@njit(**FUSED)
def four(what, i, name, real):
    """Four uniform or normal numbers from block i."""
    a, b, c, d = block(i, name)
    half, unit = real(0.5), real(2.0**-23)
    a, b = (real(np.int32(a >> NINE)) + half) * unit, (real(np.int32(b >> NINE)) + half) * unit
    c, d = (real(np.int32(c >> NINE)) + half) * unit, (real(np.int32(d >> NINE)) + half) * unit
    if what != UNIFORM:
        a, b = turned(np.sqrt(real(-2) * log(a)), b)
        c, d = turned(np.sqrt(real(-2) * log(c)), d)
    return a, b, c, d


@njit(**FUSED)
def draw(what, first, name, h, sigma, out):
    """Numbers from block `first` on, into out; if NOISY, sigma times them, added to h."""
    real, whole = out.dtype.type, len(out) // 4
    if what == UNIFORM:
        for i in range(whole):
            a, b, c, d = four(UNIFORM, first + i, name, real)
            at = FOUR * np.uint64(i)
            out[at], out[at + I1], out[at + I2], out[at + I3] = a, b, c, d
    elif what == NORMAL:
        for i in range(whole):
            a, b, c, d = four(NORMAL, first + i, name, real)
            at = FOUR * np.uint64(i)
            out[at], out[at + I1], out[at + I2], out[at + I3] = a, b, c, d
    else:
        s = real(sigma)
        for i in range(whole):
            a, b, c, d = four(NORMAL, first + i, name, real)
            at = FOUR * np.uint64(i)
            out[at], out[at + I1] = h[at] + s * a, h[at + I1] + s * b
            out[at + I2], out[at + I3] = h[at + I2] + s * c, h[at + I3] + s * d
    last = four(what, first + whole, name, real)
    for i in range(4 * whole, len(out)):
        z = last[i - 4 * whole]
        out[i] = h[i] + real(sigma) * z if what == NOISY else z


@njit(**PARALLEL)
def draw_at_once(what, name, h, sigma, out):
    """The same, part by part, each in some thread: any block can be made on its own."""
    for part in prange(-(-len(out) // PART)):
        i, j = part * PART, min(part * PART + PART, len(out))
        draw(what, i // 4, name, h[i:j], sigma, out[i:j])


def drawn(what, key, h, sigma, out):
    """`draw`, in several threads if it is worth it."""
    if 4 * len(out) > SMALL and several():          # a normal number takes as long as four others
        draw_at_once(what, named(key), h, sigma, out)
    else:
        draw(what, 0, named(key), h, sigma, out)


def named(key):
    """The counter's upper three words and the key's two, in 64 bits each."""
    seed, stream, layer, step = key
    return tuple(np.array((stream << 16 | layer, step & 0xFFFFFFFF, step >> 32,
                           seed & 0xFFFFFFFF, seed >> 32), np.uint64))


def philox(n, key):
    """See kernels.reference.philox."""
    out = np.empty(n, np.uint32)
    words(named(key), out)
    return out


def uniform(shape, key, dtype):
    """See kernels.reference.uniform.  One pass."""
    u = np.empty(shape, dtype)
    drawn(UNIFORM, key, u.reshape(-1), 1.0, u.reshape(-1))
    return u


def normal(shape, key, dtype):
    """See kernels.reference.normal.  One pass."""
    z = np.empty(shape, dtype)
    drawn(NORMAL, key, z.reshape(-1), 1.0, z.reshape(-1))
    return z


def noisy(h, sigma, key):
    """See kernels.reference.noisy.  One pass, if h lies in memory in the order of its numbers."""
    memory, transposed = flat(h)
    if transposed:
        return h + h.dtype.type(sigma) * normal(h.shape, key, h.dtype)
    out = np.empty(h.shape, h.dtype)
    drawn(NOISY, key, memory, sigma, out.reshape(-1))
    return out


def permutation(n, key):
    """See kernels.reference.permutation.  The integers are ours, and NumPy's sort is as fast."""
    return np.argsort(philox(n, key), kind="stable")
