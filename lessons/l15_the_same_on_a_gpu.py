# %% [markdown]
"""
Lesson 15: the same on a GPU, without one
=========================================

A GPU runs one program in thousands of threads, 32 of them (a warp) in step; a block of warps shares
a small fast memory and may wait for itself at a barrier.  Volkov & Demmel 2008 showed how to make a
product fast there; who forgets a barrier on the way gets numbers that are right nearly always.  The
kernels of this project run on a CPU too, thread by thread, and every access is looked at.

Reads ``kernels/cuda/matmul.cu``.  Needs a C++ compiler, no GPU.  Takes three seconds, and ten the
first time, when kernels are compiled.  Afterwards you can read a kernel, and find a race.
"""

# %%
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import ask, create, data
from minicredit.figure import look
from minicredit.kernels.cuda import source
from minicredit.kernels.cuda.emulator.device import Device
from minicredit.kernels.cuda.emulator.reports import KernelError
from minicredit.rules import FeedbackAlignment

BACKEND = "emulated"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
text = source.flatten("matmul")                     # the file, with its headers in place
device = Device(checked=True)

# %% [markdown]
# One thread, one number
# ----------------------
#
# The first rung of the ladder.  Every thread finds out which number of C is its own, and adds it up
# from its definition.  A launch says how many blocks there are, and how many threads in each.

# %%
def kernel(name):
    """The text of one kernel of the file, from its comment to its last brace."""
    return re.search(rf'(?:^//[^\n]*\n)+extern "C"[^;{{]*\b{name}\(.*?^}}', text, re.M | re.S)[0]


print(kernel("naive"))
m, n, k = 130, 132, 40                              # edges: no tile fits these
random = np.random.default_rng(0)
A, B = (device.asarray(random.standard_normal(shape).astype("float32"))
        for shape in ((m, k), (k, n)))
want = device.to_numpy(A).astype("float64") @ device.to_numpy(B)


def launch(name, rows, columns, threads, on=device):
    """C = A B by a kernel whose blocks make rows x columns numbers of C each."""
    C = on.empty((m, n), "float32")                 # NaN: whoever forgets one is found
    grid = -(-n // columns), -(-m // rows)
    grid = grid[0] * grid[1] if name == "warps" else grid[::-1] if name == "naive" else grid
    on.launch("matmul", name, (("real", "float"),), grid, threads, [A, B, C, m, n, k])
    return on.to_numpy(C)


assert np.allclose(launch("naive", 32, 8, (32, 8)), want, atol=1e-4)

# %% [markdown]
# The ladder
# ----------
#
# Memory comes in sectors of 32 bytes.  If the 32 threads of a warp read 32 numbers side by side,
# four or five sectors serve them all; if they read down a column, each fetches a sector of its own.
# So the second rung only lets the other index count along the warp.  The third copies tiles into
# the block's own memory, where all its threads use each number 32 times.  The fourth and fifth keep
# 4 x 4 sums a thread in registers, the fifth reads four numbers at a time, the last keeps 8 x 8.
#
# The device counts what block 0 does.  *Sectors a product*: how much comes from far away for each
# multiplication.  *Turns a product*: how often the block's own memory is asked, by a whole warp.

# %%
RUNGS = {"naive": (32, 8, (32, 8)), "coalesced": (8, 32, (32, 8)), "shared": (32, 32, (32, 32)),
         "registers": (64, 64, 256), "quads": (64, 64, 256), "warps": (128, 128, 256)}
device.counted, sectors, turns = 0, {}, {}
for name, (rows, columns, threads) in RUNGS.items():
    assert np.allclose(launch(name, rows, columns, threads), want, atol=1e-4)
    counts, products = device.accesses[name], min(rows, m) * min(columns, n) * k
    sectors[name] = sum(c["cost"] for c in counts
                        if c["space"] == "global" and c["op"] == "load") / products
    turns[name] = sum(c["cost"] for c in counts if c["space"] == "shared") / products
    print(f"{name:10}  {sectors[name]:.4f} sectors and {turns[name]:.4f} turns a product")
assert sectors["naive"] > 4 * sectors["coalesced"] > 16 * sectors["shared"]
assert turns["shared"] > 2 * turns["registers"] > 3 * turns["quads"] and turns["naive"] == 0

# %% [markdown]
# Plant a race
# ------------
#
# In ``shared``, a block waits twice: until the tiles are there, and until they are no longer read.
# Take the second wait away.  A fast warp may then fetch the next tile over one that a slow warp is
# still reading.  On a GPU that shows once in a while.  Here it is found for certain, whatever order
# the threads ran in, because what is checked is whether a barrier lies between.

# %%
MISSING = 2                                         # which of the two barriers is taken away


def without(text, name, number):
    """The file without the number-th barrier of a kernel; 0 takes none."""
    start = text.index(f"void {name}(")
    waits = [match.span() for match in re.finditer(r"__syncthreads\(\);", text[start:])]
    first, last = waits[number - 1] if number else (0, 0)
    return text[:start + first] + text[start + last:]


def found(number, schedule="up"):
    """What the device reports: a list of sentences, empty if all is well."""
    broken = Device(checked=True, schedule=schedule)
    broken.replace("matmul", without(text, "shared", number))
    try:
        launch("shared", *RUNGS["shared"], on=broken)
    except KernelError as error:
        return str(error).splitlines()
    return []


reports = found(MISSING)
print("\n".join(reports))
assert any("race" in report and "matmul.cu" in report for report in reports)
assert all(found(MISSING, schedule) for schedule in ("down", "random"))
assert not found(0)                                 # and no false alarm

# %% [markdown]
# The first wait missing is worse: numbers are used that nobody has written.  Then the device has
# two words for it, for the read that came too early and for the write that came too late.

# %%
kinds = {report.split(": ")[1] for report in found(1)}
print("without the first wait:", kinds)
assert kinds >= {"race", "uninit"}

# %% [markdown]
# A rule on it
# ------------
#
# The backend ``emulated`` is these kernels on that device, and ``cuda`` is these kernels on a GPU:
# the same files, the same Python around them.  A rule does not notice.

# %%
digits = data.load("digits")
x, y = digits.train.x[:40], digits.train.y[:40]
answers = {}
for backend in ("numpy", BACKEND):
    net = create((64, 24, 10), backend=backend)
    rule = FeedbackAlignment(net)
    rule.step(net.ops.asarray(x), net.ops.asarray(y))           # a step, and then a question
    gradient = ask(rule, net.ops.asarray(x), net.ops.asarray(y)).gradient
    answers[backend] = {name: net.ops.to_numpy(g) for name, g in gradient.items()}
for name, g in answers["numpy"].items():
    assert np.allclose(g, answers[BACKEND][name], atol=1e-5), name

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.8, 3), layout="constrained")
for place, counted, title in ((axes[0], sectors, "Far away: sectors a product"),
                              (axes[1], turns, "Close by: turns a product")):
    place.barh(list(counted), list(counted.values()), color="#0092C4")
    place.set_title(title)
    place.invert_yaxis()
axes[0].set(xscale="log", xlim=(0.001, 2), xticks=[0.001, 0.01, 0.1, 1],
            xticklabels=["0.001", "0.01", "0.1", "1"])
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l15_ladder.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# Set ``MISSING = 0``, as if someone had mended the kernel: nothing is reported any more, and the
# first assertion about a race fails.  Or copy ``matmul.cu``, take a barrier of ``registers`` or
# ``quads`` away, and ask ``minicredit kernels check matmul --source FILE``.
