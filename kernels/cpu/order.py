"""In which order instructions are done, where all wait, and what is fetched meanwhile.

    wait      between two instructions that touch an array, at least one of them to write, unless
              both go through it row by row, each thread its own rows
    beside    products with one matrix come one after the other, while it is near
    ahead     a product fetches the matrix of the next one
"""
from minicredit.kernels.cpu import program as do

ROWS, ALL = "rows", "all"               # what one thread touches of an array
RIGHT, TURNED, NEXT = 1, 8, 9           # of a product's integers: B, whether it is B^T, the next B
WHAT, GIVEN, OUT = 0, slice(3, 6), 6    # of those of an operation number by number


class Instruction:
    """One row of the table.

    Parameters
    ----------
    op : int
    ints : list of int or array; of an array its address goes into the table
    floats : list of float
    reads, writes : lists of (array, ROWS or ALL)
    """

    def __init__(self, op, ints, floats=(), reads=(), writes=()):
        self.op, self.ints, self.floats = op, list(ints), list(floats)
        self.accesses = [(id(a), how, False) for a, how in reads]
        self.accesses += [(id(a), how, True) for a, how in writes]

    def touch(self, touched):
        """Add what this reads and writes to a dict of such, by array; in place."""
        for key, how, write in self.accesses:
            touched.setdefault(key, []).append((how, write))

    def clashes(self, touched, sharing):
        """Whether this touches what has been touched, one of the two to write.

        sharing: threads that go through an array row by row do not meet there.
        """
        return any((write or wrote) and not (sharing and how == was == ROWS)
                   for key, how, write in self.accesses for was, wrote in touched.get(key, ()))

    def gives(self, what, out):
        """Whether it is this operation number by number, and makes that array."""
        return self.op == do.EACH and self.ints[WHAT] == what and self.ints[OUT] is out

    def matrix(self):
        """What a product has on its right, and which way round; None of anything else."""
        return (id(self.ints[RIGHT]), self.ints[TURNED]) if self.op == do.PRODUCT else None


def stages(instructions):
    """The instructions, in an order in which all wait as seldom as this finds.

    A stage takes whatever need not wait for anything in it, and need not follow anything that has
    to.

    Returns
    -------
    list of lists of Instruction
    """
    found, left = [], list(instructions)
    while left:
        touched, passed, later, stage = {}, {}, [], []
        for one in left:
            if one.clashes(touched, sharing=True) or one.clashes(passed, sharing=False):
                later.append(one)
                one.touch(passed)
            else:
                stage.append(one)
                one.touch(touched)
        left = later
        found.append(beside(stage))
    return found


def beside(stage):
    """The same, but after a product those with the same matrix, and what these need first."""
    ordered, left = [], list(stage)
    while left:
        one = left.pop(0)
        ordered.append(one)
        alike = [other for other in left if one.matrix() and other.matrix() == one.matrix()]
        for other in alike:
            first = before(other, left)
            ordered += first
            left = [x for x in left if x not in first]
    return ordered


def before(last, left):
    """Those of `left` that have to be done before `last`, and it; in their order."""
    touched, needed = {}, []
    for one in reversed(left[:left.index(last) + 1]):
        if one is last or one.clashes(touched, sharing=False):
            one.touch(touched)
            needed.insert(0, one)
    return needed


def ahead(stage):
    """Tell every product of a stage which matrix it has to fetch, if any; in place."""
    following = None
    for one in reversed(stage):
        if one.op == do.PRODUCT:
            if following is not None and following.matrix() != one.matrix():
                B = following.ints[RIGHT]
                one.ints[NEXT:NEXT + 2] = B, B.nbytes
            following = one
