"""The register tile: a few rows of a product, by a few vectors of columns, summed in registers.

    T[r, j] = sum_k A[r, k] B[k, j]         r < rows <= MR,  j < columns <= NR

One step of k loads VECTORS vectors of B and multiplies each by `rows` numbers of A: rows x VECTORS
sums that do not wait for one another, which is what hides how long one multiplication takes.

    A       any strides: the number at (r, k) is A[a0 + r a_row + k a_k].  So A, or A^T.
    B       rows of NR numbers side by side, the next row b_k further on.  `pack` and
            `pack_transposed` copy B, or B^T, so: panels of NR columns, zeros beyond the last.
    T       the next row t_row further on; whole vectors are written, so up to NR - 1 numbers
            beyond the last column
    wanted  what is asked for meanwhile, to be near when its turn comes: with every UNROLLED steps
            of k the lines of memory at three addresses, `by` bytes further on every time, to be
            read, or to be written.  Many at once would keep what the tile itself reads waiting.

All in flat memory.  The sums are vectors, which Numba's loops cannot be made to keep in registers,
so the tile is written in the compiler's own language; each such function has a plain twin, which is
what runs when Numba compiles nothing.  Tile and vector are this processor's.  There is a tile for
every number of rows and halves of a vector, which takes the compiler seconds: so all are one
function, called by its `address`, and compiled once, not again into whoever calls it.
"""
import platform
from functools import cache

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from minicredit.kernels.cpu.addresses import address_of, call, memory
from minicredit.kernels.cpu.compiling import features
from minicredit.kernels.cpu.threads import SERIAL

WORD, INDEX = cgutils.intp_t, ir.IntType(32)
UNROLLED = 4                                        # steps of k in one turn of the loop
NOTHING = 0, 0, 0, 0, 0                              # is wanted


def processor():
    """Bytes of a vector, rows of a tile, vectors of a tile: sums, B and one A fill the registers.

    512-bit vectors and ARM's have 32 registers, the others 16.  Of tiles as large a wide one takes
    fewer instructions, and a high one reads less of B, of which more stays in the first cache then.
    AMD's take two turns for a vector of 512 bits, and have the time for the instructions.
    """
    has, name = features(), llvmlite.binding.get_host_cpu_name()
    if has.get("avx512f"):
        return (64, 12, 2) if name.startswith("znver") else (64, 6, 4)
    if has.get("avx2") and has.get("fma"):
        return 32, 6, 2
    return (16, 6, 4) if platform.machine() in ("arm64", "aarch64") else (16, 4, 2)


BYTES, MR, VECTORS = processor()
NR = {name: VECTORS * BYTES // np.dtype(name).itemsize for name in ("float32", "float64")}


def lanes(A):
    """Numbers in a vector of A's type."""
    return BYTES // A.itemsize


@overload(lanes)
def compiled_lanes(A):
    """The same, a constant."""
    n = BYTES * 8 // A.dtype.bitwidth
    return lambda A: n


# What the compiler writes -------------------------------------------------------------------------

class Writer:
    """Writes vector code: a builder, what its numbers are, and how many fit in a vector."""

    def __init__(self, context, builder, signature, args):
        self.context, self.builder, self.types = context, builder, signature.args
        self.args = args
        self.real = context.get_value_type(signature.args[self.first_array()].dtype)
        size = 4 if isinstance(self.real, ir.FloatType) else 8
        self.lanes, self.align = BYTES // size, size
        self.vector = ir.VectorType(self.real, self.lanes)

    def first_array(self):
        """Which argument is an array."""
        return next(i for i, t in enumerate(self.types) if isinstance(t, types.Array))

    def at(self, array, start=None):
        """Where an argument's memory begins, or the number that argument `start` tells."""
        kind = self.context.make_array(self.types[array])
        data = kind(self.context, self.builder, self.args[array]).data
        return data if start is None else self.builder.gep(data, [self.args[start]])

    def further(self, pointer, count):
        """The address so many numbers on; a count known beforehand may be a Python int."""
        count = ir.Constant(WORD, count) if isinstance(count, int) else count
        return self.builder.gep(pointer, [count])

    def hidden(self, x):
        """The same, but the compiler does not know where it is from."""
        return self.builder.asm(ir.FunctionType(x.type, [x.type]), "", "=r,0", [x], False)

    def onward(self, pointer, count):
        """The address so many numbers on, for the next turn of a loop."""
        return self.hidden(self.further(pointer, count))

    def multiples(self, step, count):
        """0, step, 2 step, .. in bytes, `count` of them, for `beside`.

        The odd ones are hidden, each in a register of its own, and the others are these times 2, 4
        or 8, which is part of an address.  Or else the compiler would walk from row to row of A,
        and add as often as it reads: half as many instructions again in the innermost loop.
        """
        builder, odd = self.builder, {}
        for n in range(1, count, 2):
            odd[n] = self.hidden(builder.mul(step, ir.Constant(WORD, n * self.align)))
        twos = [(n & -n).bit_length() - 1 for n in range(1, count)]
        return [ir.Constant(WORD, 0), *(builder.shl(odd[n >> two], ir.Constant(WORD, two))
                                        for n, two in enumerate(twos, 1))]

    def beside(self, pointer, step):
        """The address so many bytes on."""
        byte = self.builder.bitcast(pointer, ir.IntType(8).as_pointer())
        return self.builder.bitcast(self.builder.gep(byte, [step]), pointer.type)

    def ask(self, pointer, write):
        """Ask for the line of memory at a pointer; that waits for nothing.

        write : 1 if it is to be written to soon, and so to be taken from other cores; or else 0
        """
        data = cgutils.voidptr_t
        kind = ir.FunctionType(ir.VoidType(), [data, *[INDEX] * 3])
        prefetch = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0")
        how = (ir.Constant(INDEX, n) for n in (write, 2, 1))                # second cache
        self.builder.call(prefetch, [self.builder.bitcast(pointer, data), *how])

    def load(self, pointer, lanes=None):
        """A vector from memory, or one of fewer lanes."""
        kind = ir.VectorType(self.real, lanes or self.lanes)
        found = self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()))
        found.align = self.align
        return found

    def store(self, vector, pointer):
        """A vector to memory."""
        there = self.builder.bitcast(pointer, vector.type.as_pointer())
        self.builder.store(vector, there).align = self.align

    def shuffle(self, x, y, lanes):
        """A vector of x's lanes 0, 1, .. and y's, which count on from there."""
        mask = ir.Constant(ir.VectorType(INDEX, len(lanes)), lanes)
        return self.builder.shuffle_vector(x, y, mask)

    def everywhere(self, number, lanes):
        """A vector whose lanes are all one number."""
        none = ir.Constant(ir.VectorType(self.real, lanes), ir.Undefined)
        one = self.builder.insert_element(none, number, ir.Constant(INDEX, 0))
        return self.shuffle(one, none, [0] * lanes)

    def multiplied(self, x, y, z):
        """x y + z, in one rounding where the processor can."""
        name = f"llvm.fmuladd.v{x.type.count}f{8 * self.align}"
        kind = ir.FunctionType(x.type, [x.type] * 3)
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return self.builder.call(function, [x, y, z])

    def loop(self, begin, end, step, values, body):
        """values = body(i, values) for i in range(begin, end, step): vectors, addresses."""
        builder, before = self.builder, self.builder.block
        turn, after = builder.append_basic_block("turn"), builder.append_basic_block("after")
        builder.cbranch(builder.icmp_signed("<", begin, end), turn, after)
        builder.position_at_end(turn)
        i = builder.phi(WORD)
        inside = [builder.phi(v.type) for v in values]
        new = body(i, inside)
        then, last = builder.add(i, ir.Constant(WORD, step)), builder.block
        for phi, first, again in zip([i, *inside], [begin, *values], [then, *new]):
            phi.add_incoming(first, before), phi.add_incoming(again, last)
        builder.cbranch(builder.icmp_signed("<", then, end), turn, after)
        builder.position_at_end(after)
        outside = [builder.phi(v.type) for v in values]
        for phi, first, again in zip(outside, values, new):
            phi.add_incoming(first, before), phi.add_incoming(again, last)
        return outside

    def all_of(self, n, values, body, first=None):
        """The loop over range(n), UNROLLED at a time and then one by one; body(i, values).

        first : what comes before every UNROLLED, of the values too, if anything
        """
        def several(i, values):
            values = first(values) if first else values
            for u in range(UNROLLED):
                values = body(self.builder.add(i, ir.Constant(WORD, u)), values)
            return values

        whole = self.builder.and_(n, ir.Constant(WORD, -UNROLLED))
        values = self.loop(ir.Constant(WORD, 0), whole, UNROLLED, values, several)
        return self.loop(whole, n, 1, values, body)

    def meanwhile(self, *streams):
        """For `all_of`: the first of its values, and what is done with them; see `wanted` above.

        streams : (address, way to the next one, ways to those that are asked for with it, write)
        """
        builder = self.builder
        writes = [builder.icmp_signed("!=", s[3], ir.Constant(s[3].type, 0)) for s in streams]

        def first(values):
            lines = []
            for line, (_, by, others, _), write in zip(values, streams, writes):
                with builder.if_else(write) as both:
                    for branch, how in zip(both, (1, 0)):
                        with branch:
                            for far in (ir.Constant(WORD, 0), *others):
                                self.ask(builder.gep(line, [far]), how)
                lines.append(self.hidden(builder.gep(line, [by])))
            return [*lines, *values[len(lines):]]

        return [builder.inttoptr(line, cgutils.voidptr_t) for line, *_ in streams], first


def write_tile(writer, rows, halves):
    """The tile of one size, so many rows and halves of a vector; arguments as `compiled_tile`'s."""
    builder, L = writer.builder, writer.lanes
    _, _, _, _, a_row, a_k, _, _, b_k, k, _, _, t_row, more, line, by, *others, write = writer.args
    A, B, T = (writer.at(*where) for where in ((2, 3), (6, 7), (10, 11)))
    parts = [(v * L, L) for v in range(halves // 2)] + [(halves // 2 * L, L // 2)] * (halves % 2)
    places = [(writer.further(writer.further(T, builder.mul(t_row, ir.Constant(WORD, r))), at), n)
              for r in range(rows) for at, n in parts]
    for place, _ in places:             # by the time the sums are there, what they go to is near
        writer.ask(place, 1)
    apart = writer.multiples(a_row, rows)
    begin = builder.block
    with builder.if_then(cgutils.as_bool_bit(builder, more)):
        there, onward = [writer.load(*place) for place in places], builder.block
    sums = []
    for old in there:
        sums.append(builder.phi(old.type))
        sums[-1].add_incoming(ir.Constant(old.type, [0.0] * old.type.count), begin)
        sums[-1].add_incoming(old, onward)

    def step(i, values):
        line, row, column, *sums = values
        b, new = [writer.load(writer.further(row, at), n) for at, n in parts], []
        for r in range(rows):
            a = builder.load(writer.beside(column, apart[r]))
            everywhere = {n: writer.everywhere(a, n) for _, n in parts}
            new += [writer.multiplied(everywhere[n], b[v], sums[r * len(parts) + v])
                    for v, (_, n) in enumerate(parts)]
        return [line, writer.onward(row, b_k), writer.onward(column, a_k), *new]

    lines, ask = writer.meanwhile((line, by, others, write))
    _, _, _, *sums = writer.all_of(k, [*lines, B, A, *sums], step, ask)
    for (place, _), found in zip(places, sums):
        writer.store(found, place)


def write_all(context, builder, signature, args, sizes):
    """A switch over all tiles: so many rows, and a number for each of some sizes, in halves."""
    writer = Writer(context, builder, signature, args)
    after = builder.append_basic_block("written")
    which = builder.add(builder.mul(args[1], ir.Constant(WORD, MR)), args[0])
    switch = builder.switch(which, after)
    for number, halves in sizes.items():
        for rows in range(1, MR + 1):
            block = builder.append_basic_block(f"tile{rows}x{halves}")
            switch.add_case(ir.Constant(WORD, number * MR + rows), block)
            builder.position_at_end(block)
            write_tile(writer, rows, halves)
            builder.branch(after)
    builder.position_at_end(after)
    return context.get_dummy_value()


@intrinsic
def compiled_tile(typing, rows, vectors, A, a0, a_row, a_k, B, b0, b_k, k, T, t0, t_row, more,
                  line, by, second, third, write):
    """One tile, of whole vectors."""
    n, yes = types.intp, types.boolean
    signature = types.void(n, n, A, n, n, n, B, n, n, n, T, n, n, yes, n, n, n, n, yes)

    def build(context, builder, signature, args):
        sizes = {vectors: 2 * vectors for vectors in range(1, VECTORS + 1)}
        return write_all(context, builder, signature, args, sizes)

    return signature, build


@intrinsic
def compiled_odd_tile(typing, rows, halves, A, a0, a_row, a_k, B, b0, b_k, k, T, t0, t_row, more,
                      line, by, second, third, write):
    """One tile that ends with half a vector, and so has an odd number of halves."""
    n, yes = types.intp, types.boolean
    signature = types.void(n, n, A, n, n, n, B, n, n, n, T, n, n, yes, n, n, n, n, yes)

    def build(context, builder, signature, args):
        sizes = {halves: halves for halves in range(1, 2 * VECTORS, 2)}
        return write_all(context, builder, signature, args, sizes)

    return signature, build


@intrinsic
def compiled_copy(typing, panels, vectors, B, b0, b_k, k, P, p0, p_k):
    """P[p0 + (q k + i) p_k + j] = B[b0 + i b_k + q p_k + j], for i < k and j < some vectors.

    How many panels q there are, and how many vectors, are literal numbers.
    """
    n = types.intp
    signature = types.void(panels, vectors, B, n, n, n, P, n, n)

    def build(context, builder, signature, args):
        writer = Writer(context, builder, signature, args)
        there, here, p_k, L = writer.at(2, 3), writer.at(6, 7), args[8], writer.lanes
        across = builder.mul(args[5], p_k)          # from panel to panel

        def row(i, values):
            read, write = (writer.further(M, builder.mul(i, by))
                           for M, by in ((there, args[4]), (here, p_k)))
            for q in range(panels.literal_value):
                for v in range(vectors.literal_value):
                    writer.store(writer.load(writer.further(read, v * L)),
                                 writer.further(write, v * L))
                read, write = writer.further(read, p_k), writer.further(write, across)
            return values

        writer.all_of(args[5], [], row)
        return context.get_dummy_value()

    literal = all(isinstance(x, types.IntegerLiteral) for x in (panels, vectors))
    return (signature, build) if literal else None


def turned(writer, block):
    """The transposes of squares in vectors that lie below one another, each square as wide as high.

    Squares of half, a quarter, .. of it change places.
    """
    n, half = writer.lanes, len(block) // 2
    while half:
        new = list(block)
        for i in (i for i in range(len(block)) if not i & half):
            x, y = block[i], block[i + half]
            new[i] = writer.shuffle(x, y, [j + n - half if j & half else j for j in range(n)])
            new[i + half] = writer.shuffle(x, y, [j + n if j & half else j + half
                                                  for j in range(n)])
        block, half = new, half // 2
    return block


def joined(writer, pieces):
    """One vector of several short ones."""
    while len(pieces) > 1:
        both = [*range(2 * pieces[0].type.count)]
        pieces = [writer.shuffle(x, y, both) for x, y in zip(pieces[::2], pieces[1::2])]
    return pieces[0]


def write_turn(writer, summed):
    """Turns squares of `lanes` rows, and sums what become columns, if `summed`.

    In vectors of a few 128-bit pieces from rows that lie apart, which become the lanes' own squares
    on the way from memory; only within such a piece numbers change places.
    """
    builder, lanes, few = writer.builder, writer.lanes, 16 // writer.align
    _, _, b_row, blocks, _, _, p_k, *_ = writer.args
    there, here = writer.at(0, 1), writer.at(4, 5)

    def square(i, sums):
        first = builder.mul(i, ir.Constant(WORD, lanes))
        read = writer.further(there, first)
        write = writer.further(here, builder.mul(first, p_k))
        rows = [writer.further(read, builder.mul(b_row, ir.Constant(WORD, j)))
                for j in range(lanes)]
        for q in range(0, lanes, few):
            found = turned(writer, [
                joined(writer, [writer.load(writer.further(row, q), few) for row in rows[r::few]])
                for r in range(few)])
            for i, row in enumerate(found, q):
                writer.store(row, writer.further(write, builder.mul(p_k, ir.Constant(WORD, i))))
            while summed and len(found) > 1:
                found = [builder.fadd(x, y) for x, y in zip(found[::2], found[1::2])]
            sums = [builder.fadd(sum_, found[0]) for sum_ in sums]
        return sums

    nothing = ir.Constant(writer.vector, [0.0] * lanes)
    for sum_ in writer.loop(ir.Constant(WORD, 0), blocks, 1, [nothing] * summed, square):
        writer.store(sum_, writer.at(7, 8))


@intrinsic
def compiled_turn(typing, B, b0, b_row, blocks, P, p0, p_k):
    """P[p0 + i p_k + j] = B[b0 + j b_row + i], for j < lanes and i < blocks lanes."""
    n = types.intp

    def build(context, builder, signature, args):
        write_turn(Writer(context, builder, signature, args), False)
        return context.get_dummy_value()

    return types.void(B, n, n, n, P, n, n), build


@intrinsic
def compiled_turn_and_sum(typing, B, b0, b_row, blocks, P, p0, p_k, S, s0):
    """The same, and S[s0 + j] = the sum of B[b0 + j b_row + i] over i."""
    n = types.intp

    def build(context, builder, signature, args):
        write_turn(Writer(context, builder, signature, args), True)
        return context.get_dummy_value()

    return types.void(B, n, n, n, P, n, n, S, n), build


# The same in NumPy --------------------------------------------------------------------------------

def plain_matrix(memory, start, steps, sizes):
    """Numbers of flat memory as a matrix, with these steps along its sides."""
    one = memory.itemsize
    return np.lib.stride_tricks.as_strided(memory[start:], sizes, (steps[0] * one, steps[1] * one))


def plain_tile(rows, vectors, A, a0, a_row, a_k, B, b0, b_k, k, T, t0, t_row, more, *wanted):
    """See `compiled_tile`."""
    plain_odd_tile(rows, 2 * vectors, A, a0, a_row, a_k, B, b0, b_k, k, T, t0, t_row, more)


def plain_odd_tile(rows, halves, A, a0, a_row, a_k, B, b0, b_k, k, T, t0, t_row, more, *wanted):
    """See `compiled_odd_tile`."""
    n = halves * lanes(A) // 2
    A, B = plain_matrix(A, a0, (a_row, a_k), (rows, k)), plain_matrix(B, b0, (b_k, 1), (k, n))
    T = plain_matrix(T, t0, (t_row, 1), (rows, n))
    T[...] = T + A @ B if more else A @ B


def plain_copy(panels, vectors, B, b0, b_k, k, P, p0, p_k):
    """See `compiled_copy`."""
    sizes = k, vectors * lanes(B)
    for q in range(panels):
        there = plain_matrix(B, b0 + q * p_k, (b_k, 1), sizes)
        plain_matrix(P, p0 + q * k * p_k, (p_k, 1), sizes)[...] = there


def plain_turn(B, b0, b_row, blocks, P, p0, p_k):
    """See `compiled_turn`."""
    sizes = blocks * lanes(B), lanes(B)
    plain_matrix(P, p0, (p_k, 1), sizes)[...] = plain_matrix(B, b0, (1, b_row), sizes)


def plain_turn_and_sum(B, b0, b_row, blocks, P, p0, p_k, S, s0):
    """See `compiled_turn_and_sum`."""
    plain_turn(B, b0, b_row, blocks, P, p0, p_k)
    sizes = blocks * lanes(B), lanes(B)
    S[s0:s0 + lanes(B)] = plain_matrix(P, p0, (p_k, 1), sizes).sum(axis=0)


one_tile, odd_tile, copy, turn, turn_and_sum = (
    (plain_tile, plain_odd_tile, plain_copy, plain_turn, plain_turn_and_sum) if config.DISABLE_JIT
    else (compiled_tile, compiled_odd_tile, compiled_copy, compiled_turn, compiled_turn_and_sum))


# What kernels call --------------------------------------------------------------------------------

@njit(**SERIAL)
def panels(k, n, P):
    """Room that `pack` needs for a matrix k x n of P's type."""
    NR = VECTORS * lanes(P)
    return -(-n // NR) * NR * k


@njit(**SERIAL)
def pack(B, b0, b_k, k, n, P, p0):
    """Copy a matrix k x n, its rows b_k apart, to P: panels of NR columns, one after the other.

    Four panels at a time: a wide matrix has a row in every page, and is read along its rows.
    """
    L = lanes(P)
    NR = VECTORS * L
    whole, first = n // NR * NR, 0
    while first < whole:
        if whole - first >= 4 * NR:
            copy(4, VECTORS, B, b0 + first, b_k, k, P, p0 + first * k, NR)
            first += 4 * NR
        else:
            copy(1, VECTORS, B, b0 + first, b_k, k, P, p0 + first * k, NR)
            first += NR
    if whole == n:
        return
    here, whole = p0 + first * k, n // L * L
    P[here:here + k * NR] = 0
    for j in range(first, whole, L):
        copy(1, 1, B, b0 + j, b_k, k, P, here + j - first, NR)
    for i in range(k):
        for j in range(whole, n):
            P[here + i * NR + j - first] = B[b0 + i * b_k + j]


@njit(**SERIAL)
def transpose(B, b0, b_row, k, n, P, p0, p_k):
    """P[p0 + i p_k + j] = B[b0 + j b_row + i] for i < k and j < n: n rows become n columns.

    In squares of vectors; the last ones overlap with those before, and write the same again.
    """
    L = lanes(P)
    if k < L or n < L:
        for j in range(n):
            for i in range(k):
                P[p0 + i * p_k + j] = B[b0 + j * b_row + i]
        return
    for first in range(0, n, L):
        j = min(first, n - L)
        turn(B, b0 + j * b_row, b_row, k // L, P, p0 + j, p_k)
        if k % L:
            turn(B, b0 + j * b_row + k - L, b_row, 1, P, p0 + (k - L) * p_k + j, p_k)


@njit(**SERIAL)
def transpose_and_sum(B, b0, b_row, k, n, P, p0, p_k, S, s0):
    """`transpose`, and S[s0 + j] = the sum of row j."""
    L, whole = lanes(P), 0
    if k < L or n < L:
        transpose(B, b0, b_row, k, n, P, p0, p_k)
        S[s0:s0 + n] = 0
    else:
        whole = k // L * L
        for first in range(0, n, L):
            j = min(first, n - L)
            turn_and_sum(B, b0 + j * b_row, b_row, k // L, P, p0 + j, p_k, S, s0 + j)
            if k % L:
                turn(B, b0 + j * b_row + k - L, b_row, 1, P, p0 + (k - L) * p_k + j, p_k)
    for j in range(n):
        for i in range(whole, k):
            S[s0 + j] += B[b0 + j * b_row + i]


@njit(**SERIAL)
def pack_transposed(B, b0, b_row, k, n, P, p0):
    """`pack` for a matrix that lies transposed: n rows of k numbers, b_row apart."""
    NR = VECTORS * lanes(P)
    for first in range(0, n, NR):
        here, width = p0 + first * k, min(NR, n - first)
        if width < NR:
            P[here:here + k * NR] = 0
        transpose(B, b0 + first * b_row, b_row, k, width, P, here, NR)


def by_address(real):
    """The tile as C sees it: everything by address.  Numbers of type `real`."""
    like = np.empty(0, real)

    def tile_at(rows, halves, a, a_row, a_k, b, b_k, k, t, t_row, more,
                line, by, second, third, write):
        A, B, T = memory(a, 1, like), memory(b, 1, like), memory(t, 1, like)
        if halves % 2:
            odd_tile(rows, halves, A, 0, a_row, a_k, B, 0, b_k, k, T, 0, t_row, more != 0,
                     line, by, second, third, write != 0)
        else:
            one_tile(rows, halves // 2, A, 0, a_row, a_k, B, 0, b_k, k, T, 0, t_row, more != 0,
                     line, by, second, third, write != 0)

    return tile_at


@cache
def address(real):
    """Where the tile of a type is: what the functions below take as `how`."""
    return address_of(by_address(real), 16)


@njit(**SERIAL)
def place(A, a0):
    """The address of number a0 of flat memory."""
    return np.int64(A.ctypes.data) + a0 * A.itemsize


@njit(**SERIAL)
def halves(n, like):
    """How many halves of a vector n columns are; whole vectors."""
    return 2 * -(-n // lanes(like))


@njit(**SERIAL)
def strip(how, m, halves, A, a0, a_row, a_k, B, b0, b_k, k, T, t0, t_row, more, wanted):
    """T = A B, or T += A B if `more`, for m rows and so many halves of a vector; see above.

    In tiles of MR rows, or nearly, all alike.

    wanted : tuple of int
        Address, way to the next one, to the second and the third; and whether to write there.
    """
    a, b, t, tiles, r = place(A, a0), place(B, b0), place(T, t0), -(-m // MR), 0
    line, by, second, third, write = wanted
    if by == 0:                                     # nothing: what is read is near anyway
        line, second, third, write = b, 0, 0, 0
    for left in range(tiles, 0, -1):
        rows = -(-(m - r) // left)
        call(how, (rows, halves, a + r * a_row * A.itemsize, a_row, a_k, b, b_k, k,
                   t + r * t_row * A.itemsize, t_row, np.int64(more),
                   line, by, second, third, np.int64(write)))
        r, line = r + rows, line + by * (k // UNROLLED)


@njit(**SERIAL)
def product(how, m, n, k, A, a0, a_row, a_k, P, p0, T, t0, t_row, more, t):
    """T = A B, or T += A B, m x n, for a B in the panels of `pack`; writes no more than T.

    t : room for m NR numbers
    """
    NR = VECTORS * lanes(A)
    for first in range(0, n, NR):
        width, here = min(NR, n - first), p0 + first * k
        if width == NR:
            strip(how, m, 2 * VECTORS, A, a0, a_row, a_k, P, here, NR, k, T, t0 + first, t_row,
                  more, NOTHING)
            continue
        strip(how, m, halves(width, A), A, a0, a_row, a_k, P, here, NR, k, t, 0, NR, False,
              NOTHING)
        for r in range(m):
            for j in range(width):
                at = t0 + r * t_row + first + j
                T[at] = T[at] + t[r * NR + j] if more else t[r * NR + j]


@njit(**SERIAL)
def unpack(m, n, T, t_row, C, c0, c_row):
    """C = T, m x n, the rows of T whole vectors."""
    L, NR = lanes(T), VECTORS * lanes(T)
    panels, whole = n // NR * NR, n // L * L
    for j in range(0, panels, NR):
        copy(1, VECTORS, T, j, t_row, m, C, c0 + j, c_row)
    for j in range(panels, whole, L):
        copy(1, 1, T, j, t_row, m, C, c0 + j, c_row)
    for r in range(m):
        for j in range(whole, n):
            C[c0 + r * c_row + j] = T[r * t_row + j]
