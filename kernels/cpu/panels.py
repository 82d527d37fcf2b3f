"""A product of small matrices over panels of a batch, summed in registers, nothing copied.

    C[r, j] = start[r] + scale sum_i sum_k A[r, i, k] B[i, k, j]        r < m,  j < n
    C[r, j] += scale times the same sum                                 if `more`

    A       any strides: the number at (r, i, k) is A[a0 + r a_row + i a_i + k a_k]
    B       rows of n numbers side by side: B[b0 + i b_i + k b_k + j]
    start   start[s0 + r s_row]: a bias, or a nothing with s_row = 0
    C       C[c0 + r c_row + j]; no number beyond the n-th column is read or written

What a place of an image sees is one stretch of memory for each row of its kernel, if the batch is
innermost: i counts these rows, and k the units in them.  The tiles are those of `tiles`, with a
sum more, and the columns that are left in the end are done under a mask.  A tile is ROWS x 2
vectors at most, or half the rows and twice the vectors: 12 sums either way, which leaves an AVX2
processor's 16 registers enough for B and one A.
"""
import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from minicredit.kernels.cpu.threads import SERIAL
from minicredit.kernels.cpu.tiles import BYTES, INDEX, UNROLLED, WORD, Writer, lanes

ROWS = 6
SHAPES = ([(rows, 4) for rows in range(1, ROWS // 2 + 1)]
          + [(rows, 2) for rows in range(ROWS // 2, ROWS + 1)])
BIT = ir.IntType(1)
NOTHING = 0, 0, False                               # is wanted


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
                                               BIT, real, n, n, BIT])
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
         line, by, write) = self.function.args
        apart = self.multiples(a_row, self.rows)
        places = [self.further(self.further(C, times(r, c_row)), v * self.lanes)
                  for r in range(self.rows) for v in range(self.vectors)]
        masks, nothing = self.masks(columns), ir.Constant(self.vector, [0.0] * self.lanes)
        line, ask_for_it = self.meanwhile(line, by, (), write)

        def row(i, values):
            line, *sums = values
            column, row = (self.further(M, builder.mul(i, by)) for M, by in ((A, a_i), (B, b_i)))

            def step(k, values):
                line, here, there, *sums = values
                b, new = [self.read(self.further(there, v * self.lanes), masks[v])
                          for v in range(self.vectors)], []
                for r in range(self.rows):
                    a = self.everywhere(builder.load(self.beside(here, apart[r])))
                    new += [self.multiplied(a, b[v], sums[r * self.vectors + v])
                            for v in range(self.vectors)]
                return [line, self.onward(here, a_k), self.onward(there, b_k), *new]

            line, _, _, *sums = self.all_of(n_k, [line, column, row, *sums], step, ask_for_it)
            return [line, *sums]

        _, *sums = self.loop(ir.Constant(WORD, 0), n_i, 1, [line, *[nothing] * len(places)], row)
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
def compiled_tile(typing, rows, vectors, columns, A, a0, a_row, a_k, a_i, B, b0, b_k, b_i, n_k, n_i,
                  start, s0, s_row, C, c0, c_row, more, scale, line, by, write):
    """One tile: a switch over all sizes that it may have, with a mask and without."""
    n = types.intp
    signature = types.void(n, n, n, A, n, n, n, n, B, n, n, n, n, n, start, n, n, C, n, n,
                           types.boolean, C.dtype, n, n, types.boolean)

    def build(context, builder, signature, args):
        there = Writer(context, builder, signature, args)
        passed = [args[2], there.at(3, 4), *args[5:8], there.at(8, 9), *args[10:14],
                  there.at(14, 15), args[16], there.at(17, 18), args[19],
                  cgutils.as_bool_bit(builder, args[20]), *args[21:24],
                  cgutils.as_bool_bit(builder, args[24])]
        after = builder.append_basic_block("written")
        width = builder.mul(args[1], ir.Constant(WORD, there.lanes))
        whole = builder.icmp_signed("==", args[2], width)
        key = builder.add(builder.mul(args[1], ir.Constant(WORD, ROWS + 1)), args[0])
        key = builder.add(builder.mul(key, ir.Constant(WORD, 2)), builder.zext(whole, WORD))
        switch = builder.switch(key, after)
        for masked in (False, True):
            for rows, vectors in SHAPES:
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

def plain_tile(rows, vectors, columns, A, a0, a_row, a_k, a_i, B, b0, b_k, b_i, n_k, n_i,
               start, s0, s_row, C, c0, c_row, more, scale, *wanted):
    """See `compiled_tile`."""
    def view(memory, first, steps, sizes):
        steps = [step * memory.itemsize for step in steps]
        return np.lib.stride_tricks.as_strided(memory[first:], sizes, steps)

    A = view(A, a0, (a_row, a_i, a_k), (rows, n_i, n_k))
    B = view(B, b0, (b_i, b_k, 1), (n_i, n_k, columns))
    C = view(C, c0, (c_row, 1), (rows, columns))
    begin = C if more else view(start, s0, (s_row, 0), (rows, columns))
    C[...] = begin + scale * np.tensordot(A, B, 2)


tile = plain_tile if config.DISABLE_JIT else compiled_tile


# What kernels call --------------------------------------------------------------------------------

@njit(**SERIAL)
def product(m, n, A, a0, a_row, a_k, a_i, B, b0, b_k, b_i, n_k, n_i, start, s0, s_row,
            C, c0, c_row, more, scale, wanted):
    """C = start + scale A B, or C += scale A B if `more`; see above.

    In tiles of ROWS rows, or nearly, all alike.

    wanted : tuple of int
        An address and how many bytes from there are asked for meanwhile, as in `tiles`; and whether
        to write there, or else to read.
    """
    line, span, write = wanted
    # Numbers of one type: a 0 in a call would be a type of its own, with tiles of its own.
    in_tiles(np.int64(m), np.int64(n), A, np.int64(a0), np.int64(a_row), np.int64(a_k),
             np.int64(a_i), B, np.int64(b0), np.int64(b_k), np.int64(b_i), np.int64(n_k),
             np.int64(n_i), start, np.int64(s0), np.int64(s_row), C, np.int64(c0),
             np.int64(c_row), np.int64(more), scale, np.int64(line), np.int64(span),
             np.int64(write))


@njit(**SERIAL)
def in_tiles(m, n, A, a0, a_row, a_k, a_i, B, b0, b_k, b_i, n_k, n_i, start, s0, s_row,
             C, c0, c_row, more, scale, line, span, write):
    """`product`."""
    tiles, vectors = -(-m // ROWS), 4 if m <= ROWS // 2 else 2
    width = vectors * lanes(A)
    turns = n_i * (n_k // UNROLLED)                 # of a tile's loop
    by = span // max(1, turns * tiles * -(-n // width))
    if by == 0:                                     # nothing: what is read is near anyway
        line, write = np.int64(B.ctypes.data) + b0 * B.itemsize, np.int64(0)
    for j in range(0, n, width):
        r = 0
        for left in range(tiles, 0, -1):
            rows = -(-(m - r) // left)
            tile(rows, vectors, min(width, n - j), A, a0 + r * a_row, a_row, a_k, a_i,
                 B, b0 + j, b_k, b_i, n_k, n_i, start, s0 + r * s_row, s_row,
                 C, c0 + r * c_row + j, c_row, more != 0, scale, line, by, write != 0)
            r, line = r + rows, line + by * turns
