"""A product of small matrices over panels of a batch, summed in registers, nothing copied.

    C[g, r, j] = start[r] + sum_i sum_k A[g, r, i, k] B[i, k, j] / over     r < m,  j < n
    C[g, r, j] += the same sum / over                                       if `more`

    A       any strides: A[a0 + g a_group + r a_row + i a_i + k a_k]
    B       rows of n numbers side by side: B[b0 + i b_i + k b_k + j]
    start   start[s0 + r s_row]: a bias, or a nothing with s_row = 0
    C       C[c0 + g c_group + r c_row + j]; no number beyond the n-th column is read or written
    wanted  two stretches of memory that are asked for meanwhile, as in `tiles`: each an address,
            how many bytes from there, and whether to be written, or else to be read

What a place of an image sees is one stretch of memory for each row of its kernel, if the batch is
innermost.  For what the place says i counts these rows, and k the units in them; for what is told
to the units it sees, g counts the rows.

The tiles are those of `tiles`, with a sum more, and the columns that are left in the end are done
under a mask.  A tile has up to ROWS rows, 4 vectors wide where there are as many columns, and where
`tiles` finds room for 24 sums; otherwise 12 sums leave an AVX2 processor's 16 registers enough for
B and one A.
"""
from functools import cache

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from minicredit.kernels.cpu.addresses import address_of, call, memory
from minicredit.kernels.cpu.threads import SERIAL
from minicredit.kernels.cpu.tiles import (BYTES, INDEX, MR, UNROLLED, VECTORS, WORD, Writer, lanes,
                                          place)

ROWS = 6
WIDE = ROWS if MR * VECTORS >= 4 * ROWS else ROWS // 2      # rows of a tile of 4 vectors
SHAPES = [(rows, 2) for rows in range(1, ROWS + 1)] + [(rows, 4) for rows in range(1, WIDE + 1)]
BIT = ir.IntType(1)
NOTHING = (0, 0, False), (0, 0, False)              # is wanted


# What the compiler writes -------------------------------------------------------------------------

class Panels(Writer):
    """Writes the tile of one size, with a mask or without, as a function of its own.

    A function of its own, because the compiler runs out of registers where it sees more at once.
    """

    def __init__(self, module, real, rows, vectors, masked):
        self.real, self.align = real, 4 if isinstance(real, ir.FloatType) else 8
        self.lanes = BYTES // self.align
        self.vector = ir.VectorType(real, self.lanes)
        self.rows, self.vectors, self.masked = rows, vectors, masked
        name = f"panel{rows}x{vectors}{'masked' * masked}_{8 * self.align}"
        data, n = real.as_pointer(), WORD
        kind = ir.FunctionType(ir.VoidType(), [n, data, n, n, n, data, n, n, n, n, data, n, data, n,
                                               BIT, real, *[n, n, BIT] * 2])
        self.function = module.globals.get(name)
        if self.function is None:
            self.function = ir.Function(module, kind, name)
            self.function.linkage = "internal"
            self.function.attributes.add("noinline")
            self.builder = ir.IRBuilder(self.function.append_basic_block("entry"))
            self.body()

    def name(self, verb):
        """Of the compiler's own function that does it under a mask."""
        return f"llvm.masked.{verb}.v{self.lanes}f{8 * self.align}.p0"

    def masks(self, columns):
        """A bit for every column of each vector: whether it is one of the first `columns`."""
        many = ir.VectorType(INDEX, self.lanes)
        if not self.masked:
            return [None] * self.vectors
        one = self.builder.insert_element(ir.Constant(many, ir.Undefined),
                                          self.builder.trunc(columns, INDEX), ir.Constant(INDEX, 0))
        all_ = self.shuffle(one, ir.Constant(many, ir.Undefined), [0] * self.lanes)
        return [self.builder.icmp_signed("<", ir.Constant(many, [
            v * self.lanes + j for j in range(self.lanes)]), all_) for v in range(self.vectors)]

    def read(self, pointer, mask):
        """A vector from memory, zeros where it is not to be read."""
        if mask is None:
            return self.load(pointer)
        there = self.builder.bitcast(pointer, self.vector.as_pointer())
        nothing = ir.Constant(self.vector, [0.0] * self.lanes)
        kind = ir.FunctionType(self.vector, [there.type, INDEX, mask.type, self.vector])
        function = cgutils.get_or_insert_function(self.builder.module, kind, self.name("load"))
        return self.builder.call(function, [there, ir.Constant(INDEX, self.align), mask, nothing])

    def write(self, vector, pointer, mask):
        """A vector to memory, but for what is not to be written."""
        if mask is None:
            return self.store(vector, pointer)
        there = self.builder.bitcast(pointer, self.vector.as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [self.vector, there.type, INDEX, mask.type])
        function = cgutils.get_or_insert_function(self.builder.module, kind, self.name("store"))
        return self.builder.call(function, [vector, there, ir.Constant(INDEX, self.align), mask])

    def everywhere(self, number):
        """A vector whose lanes are all this number."""
        none = ir.Constant(self.vector, ir.Undefined)
        one = self.builder.insert_element(none, number, ir.Constant(INDEX, 0))
        return self.shuffle(one, none, [0] * self.lanes)

    def times(self, count, by):
        """count by, for a count known beforehand."""
        return self.builder.mul(by, ir.Constant(WORD, count))

    def body(self):
        """All of the tile; arguments as `compiled_tile` has them, each array where it begins."""
        builder, times = self.builder, self.times
        (columns, A, a_row, a_k, a_i, B, b_k, b_i, n_k, n_i, start, s_row, C, c_row, more, scale,
         *wanted) = self.function.args
        apart = self.multiples(a_row, self.rows)
        places = [self.further(self.further(C, times(r, c_row)), v * self.lanes)
                  for r in range(self.rows) for v in range(self.vectors)]
        masks, nothing = self.masks(columns), ir.Constant(self.vector, [0.0] * self.lanes)
        lines, ask = self.meanwhile(*((line, builder.mul(by, ir.Constant(WORD, 2)), [by], write)
                                      for line, by, write in (wanted[:3], wanted[3:])))

        def row(i, values):
            one, two, *sums = ask(values)
            column, row = (self.further(M, builder.mul(i, by)) for M, by in ((A, a_i), (B, b_i)))

            def step(k, values):
                one, two, here, there, *sums = values
                b, new = [self.read(self.further(there, v * self.lanes), masks[v])
                          for v in range(self.vectors)], []
                for r in range(self.rows):
                    a = self.everywhere(builder.load(self.beside(here, apart[r])))
                    new += [self.multiplied(a, b[v], sums[r * self.vectors + v])
                            for v in range(self.vectors)]
                return [one, two, self.onward(here, a_k), self.onward(there, b_k), *new]

            one, two, _, _, *sums = self.all_of(n_k, [one, two, column, row, *sums], step, ask)
            return [one, two, *sums]

        _, _, *sums = self.loop(ir.Constant(WORD, 0), n_i, 1, [*lines, *[nothing] * len(places)],
                                row)
        scale = self.everywhere(scale)
        for i, old in enumerate(self.before(more, start, s_row, places, masks)):
            found = self.multiplied(sums[i], scale, old)
            self.write(found, places[i], masks[i % self.vectors])
        builder.ret_void()

    def before(self, more, start, s_row, places, masks):
        """What the sums are added to: `start`, or what is in C if there is `more` to add to it."""
        builder = self.builder
        fresh, onward, after = (builder.append_basic_block(name)
                                for name in ("fresh", "onward", "after"))
        builder.cbranch(more, onward, fresh)
        builder.position_at_end(fresh)
        first = [self.everywhere(builder.load(self.further(start, self.times(r, s_row))))
                 for r in range(self.rows)]
        builder.branch(after)
        builder.position_at_end(onward)
        there = [self.read(place, masks[i % self.vectors]) for i, place in enumerate(places)]
        builder.branch(after)
        builder.position_at_end(after)
        found = [builder.phi(self.vector) for _ in places]
        for i, phi in enumerate(found):
            phi.add_incoming(first[i // self.vectors], fresh), phi.add_incoming(there[i], onward)
        return found


@intrinsic
def compiled_tile(typing, rows, vectors, columns, A, a_row, a_k, a_i, B, b_k, b_i, n_k, n_i,
                  start, s_row, C, c_row, more, scale, line, by, write, line2, by2, write2):
    """One tile: a switch over all sizes that it may have, with a mask and without."""
    n, yes = types.intp, types.boolean
    signature = types.void(n, n, n, A, n, n, n, B, n, n, n, n, start, n, C, n, yes, C.dtype,
                           *[n, n, yes] * 2)

    def build(context, builder, signature, args):
        there = Writer(context, builder, signature, args)
        passed = [*args[2:]]
        for i, kind in enumerate(there.types[2:]):
            if isinstance(kind, types.Array):
                passed[i] = there.at(i + 2)
            elif kind == yes:
                passed[i] = cgutils.as_bool_bit(builder, passed[i])
        after = builder.append_basic_block("written")
        width = builder.mul(args[1], ir.Constant(WORD, there.lanes))
        whole = builder.icmp_signed("==", args[2], width)
        key = builder.add(builder.mul(args[1], ir.Constant(WORD, ROWS + 1)), args[0])
        key = builder.add(builder.mul(key, ir.Constant(WORD, 2)), builder.zext(whole, WORD))
        switch = builder.switch(key, after)
        for rows, vectors in SHAPES:
            for masked in (False, True)[:4 // vectors]:         # a wide one is whole
                block = builder.append_basic_block(f"tile{rows}x{vectors}")
                case = 2 * (vectors * (ROWS + 1) + rows) + (not masked)
                switch.add_case(ir.Constant(WORD, case), block)
                builder.position_at_end(block)
                one = Panels(builder.module, there.real, rows, vectors, masked)
                builder.call(one.function, passed)
                builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return signature, build


# The same in NumPy --------------------------------------------------------------------------------

def plain_tile(rows, vectors, columns, A, a_row, a_k, a_i, B, b_k, b_i, n_k, n_i,
               start, s_row, C, c_row, more, scale, *wanted):
    """See `compiled_tile`."""
    def view(memory, steps, sizes):
        steps = [step * memory.itemsize for step in steps]
        return np.lib.stride_tricks.as_strided(memory, sizes, steps)

    A = view(A, (a_row, a_i, a_k), (rows, n_i, n_k))
    B = view(B, (b_i, b_k, 1), (n_i, n_k, columns))
    C = view(C, (c_row, 1), (rows, columns))
    begin = C if more else view(start, (s_row, 0), (rows, columns))
    C[...] = begin + scale * np.tensordot(A, B, 2)


tile = plain_tile if config.DISABLE_JIT else compiled_tile


# What kernels call --------------------------------------------------------------------------------

@njit(**SERIAL)
def wide(m, columns, like):
    """How many vectors wide the tiles of m rows are, where so many columns are left."""
    return 4 if columns >= 4 * lanes(like) and (WIDE == ROWS or m <= WIDE) else 2


def by_address(real):
    """The product as C sees it: everything by address.  Numbers of type `real`."""
    like = np.empty(0, real)

    def product_at(groups, m, n, a, a_group, a_row, a_k, a_i, b, b_k, b_i, n_k, n_i, s, s_row,
                   c, c_group, c_row, more, over, line, span, write, line2, span2, write2):
        tiles, vectors = -(-m // ROWS), wide(m, n, like)
        size, scale = like.itemsize, like.dtype.type(1 / over)
        turns = n_i * (1 + n_k // UNROLLED)                 # of a tile's loop
        asked = max(1, 2 * turns * groups * tiles * -(-n // (vectors * lanes(like))))
        by, by2 = span // asked, span2 // asked
        line, write = (line, write) if by else (b, 0)       # nothing: what is read is near anyway
        line2, write2 = (line2, write2) if by2 else (b, 0)
        j = 0
        while j < n:
            vectors = wide(m, n - j, like)
            columns = min(vectors * lanes(like), n - j)
            for g in range(groups):
                r = 0
                for left in range(tiles, 0, -1):
                    rows = -(-(m - r) // left)
                    A = memory(a + (g * a_group + r * a_row) * size, 1, like)
                    B, start = memory(b + j * size, 1, like), memory(s + r * s_row * size, 1, like)
                    C = memory(c + (g * c_group + r * c_row + j) * size, 1, like)
                    tile(rows, vectors, columns, A, a_row, a_k, a_i, B, b_k, b_i, n_k, n_i,
                         start, s_row, C, c_row, more != 0, scale,
                         line, by, write != 0, line2, by2, write2 != 0)
                    r, line, line2 = r + rows, line + 2 * by * turns, line2 + 2 * by2 * turns
            j += columns

    return product_at


@cache
def address(real):
    """Where the product of a type is: what `product` takes as `how`."""
    return address_of(by_address(real), 26)


@njit(**SERIAL)
def product(how, groups, m, n, A, a0, a_group, a_row, a_k, a_i, B, b0, b_k, b_i, n_k, n_i,
            start, s0, s_row, C, c0, c_group, c_row, more, over, wanted):
    """C = start + A B / over, or C += A B / over if `more`; see above."""
    (line, span, write), (line2, span2, write2) = wanted
    call(how, (np.int64(groups), np.int64(m), np.int64(n),
               place(A, a0), np.int64(a_group), np.int64(a_row), np.int64(a_k), np.int64(a_i),
               place(B, b0), np.int64(b_k), np.int64(b_i), np.int64(n_k), np.int64(n_i),
               place(start, s0), np.int64(s_row),
               place(C, c0), np.int64(c_group), np.int64(c_row), np.int64(more), np.int64(over),
               np.int64(line), np.int64(span), np.int64(write),
               np.int64(line2), np.int64(span2), np.int64(write2)))
