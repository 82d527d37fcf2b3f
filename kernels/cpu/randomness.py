"""Random numbers: `kernels.reference`'s, in Numba; the same integers, bit for bit.

GROUP blocks of philox at a time, step by step, every step a loop over plain arrays that stay in the
core's first cache, so that all are vector instructions:

    words       four words a block, in four arrays; in 64 bits, where a 32 x 32 -> 64 bit product
                is one instruction a lane; ten rounds written out, for innermost loops only are
                vectorised
    uniform     (k + 1/2) / 2^23 of each
    normal      Box and Muller's two of each two
    out         side by side, as the sequence has them
"""
import numpy as np
from numba import njit, prange

from minicredit.kernels import reference
from minicredit.kernels.cpu.functions import log, turned
from minicredit.kernels.cpu.memory import alike
from minicredit.kernels.cpu.threads import FUSED, PARALLEL, PART, SERIAL, SMALL, several
from minicredit.kernels.cpu.tiles import transpose
from minicredit.kernels.reference import PHILOX_M, PHILOX_W

M0, M1, W0, W1, LOW, HALF = map(np.uint64, (*PHILOX_M, *PHILOX_W, 0xFFFFFFFF, 32))
UNIFORM, NORMAL, NOISY = range(3)
GROUP = 256                         # blocks; all that is kept of them takes 12 KiB
WHOLE = 16                          # blocks are whole vectors, on any processor
UNITS, EXAMPLES = 512, 64           # at a time, where they are turned round


@njit(**SERIAL)
def turn(s):
    """One round of philox4x32: four counter words and two key words in and out.

    Only the lower halves count, and what a multiplication takes is only these.
    """
    c0, c1, c2, c3, k0, k1 = s
    p0, p1 = M0 * (c0 & LOW), M1 * (c2 & LOW)       # 32 x 32 -> 64 bits
    return p1 >> HALF ^ c1 ^ k0, p1, p0 >> HALF ^ c3 ^ k1, p0, k0 + W0, k1 + W1


@njit(**SERIAL)
def words(first, name, n, w):
    """The four words of n blocks first, first + 1, .. of the sequence that `name` names."""
    a, b, c, d = w[0], w[1], w[2], w[3]
    for i in range(n):
        s = (np.uint64(first + i) & LOW, name[0], name[1], name[2], name[3], name[4])
        s = turn(turn(turn(turn(turn(s)))))
        s = turn(turn(turn(turn(turn(s)))))
        a[i], b[i], c[i], d[i] = s[0], s[1], s[2], s[3]


@njit(**FUSED)
def units(n, w, u):
    """u = (k + 1/2) / 2^23 of the upper 23 bits k of each of n words."""
    real = u.dtype.type
    half, unit = real(0.5), real(2.0**-23)
    for i in range(n):
        u[i] = (real(np.int32(w[i] >> np.uint32(9))) + half) * unit


@njit(**FUSED)
def gaussians(n, u, v):
    """sqrt(-2 log u) times the cosine and the sine of 2 pi v, in their places."""
    two = u.dtype.type(2)
    for i in range(n):
        u[i], v[i] = turned(np.sqrt(-two * log(u[i])), v[i])


@njit(**FUSED)
def group(what, first, name, n, w, z):
    """Uniform or normal numbers of n blocks: z[j, i] is number j of block first + i."""
    words(first, name, n, w)
    for j in range(4):
        units(n, w[j], z[j])
    if what != UNIFORM:
        gaussians(n, z[0], z[1])
        gaussians(n, z[2], z[3])


@njit(**FUSED)
def side_by_side(n, z, out):
    """All numbers of n blocks, one after the other."""
    a, b, c, d = z[0], z[1], z[2], z[3]
    for i in range(n):
        at = 4 * np.uint64(i)
        out[at], out[at + np.uint64(1)] = a[i], b[i]
        out[at + np.uint64(2)], out[at + np.uint64(3)] = c[i], d[i]


@njit(**FUSED)
def added(h, sigma, out):
    """out = h + sigma out."""
    s = out.dtype.type(sigma)
    for i in range(len(out)):
        out[i] = h[i] + s * out[i]


@njit(**FUSED)
def draw(what, first, name, h, sigma, out):
    """Numbers from number `first` on, into out; if NOISY, sigma times them, added to h."""
    w, z = np.empty((4, GROUP), np.uint32), np.empty((4, GROUP), out.dtype)
    row, begin, i = np.empty(4 * GROUP, out.dtype), first % 4, 0
    while i < len(out):
        n = min(4 * GROUP - begin, len(out) - i)
        blocks = -(-(begin + n) // (4 * WHOLE)) * WHOLE
        group(what, (first + i) // 4, name, blocks, w, z)
        part = out[i:i + n]
        if n == 4 * blocks:
            side_by_side(blocks, z, part)
        else:
            side_by_side(blocks, z, row)
            for j in range(n):
                part[j] = row[begin + j]
        if what == NOISY:
            added(h[i:i + n], sigma, part)          # while it is near
        i, begin = i + n, 0


@njit(**PARALLEL)
def draw_at_once(what, name, h, sigma, out):
    """The same, part by part, each in some thread: any block can be made on its own."""
    for part in prange(-(-len(out) // PART)):
        i, j = part * PART, min(part * PART + PART, len(out))
        draw(what, i, name, h[i:j], sigma, out[i:j])


@njit(**FUSED)
def draw_turned(n0, u0, name, N, U, h, sigma, out):
    """`draw`, noisy, where the N examples of a unit lie side by side, for EXAMPLES and UNITS.

    An example's numbers follow one another in the sequence: they are drawn so, then turned round.
    """
    n, u = min(EXAMPLES, N - n0), min(UNITS, U - u0)
    z = np.empty(n * u, out.dtype)
    for i in range(n):
        row = z[i * u:(i + 1) * u]
        draw(NORMAL, (n0 + i) * U + u0, name, row, 0, row)
    transpose(z, 0, u, u, n, out, u0 * N + n0, N)
    for first in range(u0 * N + n0, (u0 + u) * N + n0, N):
        added(h[first:first + n], sigma, out[first:first + n])


@njit(**SERIAL)
def turned_in_turn(name, N, U, h, sigma, out):
    """All of an array that lies so."""
    for u0 in range(0, U, UNITS):
        for n0 in range(0, N, EXAMPLES):
            draw_turned(n0, u0, name, N, U, h, sigma, out)


@njit(**PARALLEL)
def turned_at_once(name, N, U, h, sigma, out):
    """The same, part by part, each in some thread."""
    across = -(-N // EXAMPLES)
    for part in prange(-(-U // UNITS) * across):
        draw_turned(part % across * EXAMPLES, part // across * UNITS, name, N, U, h, sigma, out)


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
    w = np.empty((4, -(-n // 4)), np.uint32)
    words(0, named(key), w.shape[1], w)
    return w.T.reshape(-1)[:n]


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
    """See kernels.reference.noisy.  One pass; the result lies in memory as h does."""
    out, memory, (h,) = alike(h)
    if out.flags.c_contiguous:
        drawn(NOISY, key, h, sigma, memory)
    else:
        run = turned_at_once if 4 * len(memory) > SMALL and several() else turned_in_turn
        run(named(key), *out.shape, h, sigma, memory)
    return out


def permutation(n, key):
    """See kernels.reference.permutation.  The integers are ours, and NumPy's sort is as fast."""
    return np.argsort(philox(n, key), kind="stable")


class Host:
    """Draws weights, see `minicredit.kernels.host`: the same bits, whoever does.

    Initial ones (step 0 in their key) are NumPy's, for nothing has to be compiled then; those that
    a rule draws again in every step are made here.
    """

    normal = staticmethod(reference.normal)

    @staticmethod
    def uniform(shape, key, dtype):
        """See kernels.reference.uniform."""
        return (uniform if key[-1] else reference.uniform)(shape, key, dtype)
