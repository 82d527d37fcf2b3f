# %% [markdown]
"""
Lesson 14: from three loops to the machine's ceiling
====================================================

Whatever a rule sends to its layers, it sends by products of matrices.  Goto & van de Geijn 2008
showed what makes one fast: not fewer multiplications, but fewer numbers fetched for each.  Here is
the same product six times, each with one idea more, and how a rule is given another one.

Reads ``kernels/cpu/ladder.py`` and ``kernels/reference.py``.  Takes three seconds, and half a
minute the first time, when kernels are compiled.  Afterwards you know where the time goes, and what
a backend is.
"""

# %%
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
from threadpoolctl import threadpool_limits

from minicredit import ask, create, data, forward
from minicredit.figure import look
from minicredit.kernels import load
from minicredit.kernels.cpu.ladder import RUNGS, along_rows
from minicredit.rules import DTP, Backprop

BACKEND = "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
random = np.random.default_rng(0)
COMPILED = hasattr(along_rows, "signatures")        # not so under NUMBA_DISABLE_JIT=1

# %% [markdown]
# The definition
# --------------
#
# Every number of C is a row of A times a column of B::
#
#     C[i, j] = sum over k of A[i, k] B[k, j]
#
# In Python that is three loops, tens of thousands of times slower than what the machine can do, and
# it is what every faster version is held to.

# %%
def product(A, B):
    """C = A B, as it stands."""
    C = np.zeros((len(A), B.shape[1]), A.dtype)
    for i in range(len(A)):
        for j in range(B.shape[1]):
            for k in range(len(B)):
                C[i, j] += A[i, k] * B[k, j]
    return C


A, B = (random.standard_normal((13, 13)).astype("float32") for _ in range(2))
want = product(A, B)
for rung in RUNGS:
    C = np.full((13, 13), np.nan, "float32")        # whoever leaves a number out is found
    rung(A, B, C)
    assert np.allclose(C, want, atol=1e-5), rung.__name__

# %% [markdown]
# One idea a rung
# ---------------
#
# Every rung does the same n^3 multiplications.  What changes is how far the numbers for them come:
#
# * ``three_loops``: the definition, compiled.  B is read down its columns: for every number a line
#   of memory comes, and 15 of the 16 on it are thrown away.
# * ``along_rows``: the same additions in another order; what is fetched lies side by side.
# * ``blocks`` of B stay in the cache until every row of A has used them.
# * ``plain_tile``: 4 rows and 4 steps at once, so 4 loads of B serve 16 multiplications.
# * ``plain_panels``: B is copied first, into the order in which the tile will read it.
# * ``vector_tile``: the sums never leave the processor's registers.
#
# Two of them carry nearly all: to read along rows, and to keep sums in registers.  The three
# between gain little by themselves and make the last one possible: a tile in registers is worth
# what it is only if its numbers come from near by, in order.

# %%
def speed(rung, n=320 if COMPILED else 12, rounds=4):
    """Billions of multiplications and additions a second; the best of a few rounds."""
    A, B = (random.standard_normal((n, n)).astype("float32") for _ in range(2))
    C, best = np.empty((n, n), "float32"), np.inf
    for _ in range(rounds):
        start = perf_counter()
        rung(A, B, C)
        best = min(best, perf_counter() - start)
    assert np.allclose(C, A @ B, atol=1e-3)         # checked before it is believed
    return 2 * n**3 / best / 1e9


start = perf_counter()
product(A, B)
speeds = {"Python": 2 * 13**3 / (perf_counter() - start) / 1e9}
with threadpool_limits(1):                          # one thread each, NumPy's too
    speeds.update({rung.__name__: speed(rung) for rung in RUNGS})
    speeds["NumPy"] = speed(lambda A, B, C: np.matmul(A, B, out=C))
for name, value in speeds.items():
    print(f"{name:12}  {value:8.3f} GFLOP/s")
assert not COMPILED or speeds["three_loops"] > 20 * speeds["Python"]
assert not COMPILED or speeds["vector_tile"] > 4 * speeds["three_loops"]

# %% [markdown]
# A backend is a module
# ---------------------
#
# A rule never multiplies.  It asks its network's operations, ``net.ops``, and those are a module
# with a name for each: ``dense``, ``pull_back``, ``dense_grad``, ...  ``kernels/reference.py`` has
# each as its equation, in NumPy; ``kernels/cpu`` has the same names in Numba.  Swapping them is an
# argument, and changes no number but by rounding.  Randomness is a pure function of a key, so even
# the noise under which inverses learn is the same.

# %%
digits = data.load("digits")
x, y = digits.train.x[:100], digits.train.y[:100]
answers = [ask(DTP(create((64, 48, 32, 10), backend=backend)), x, y)
           for backend in ("numpy", BACKEND)]
for name, gradient in answers[0].gradient.items():
    assert np.allclose(gradient, answers[1].gradient[name], atol=1e-5), name
draws = [load(backend).normal((3, 2), (7, 2, 1, 0), np.float32) for backend in ("numpy", BACKEND)]
assert np.allclose(*draws, rtol=1e-6)

# %% [markdown]
# So you can bring your own.  Here is one made of the reference, but for ``dense``, which climbs one
# rung of the ladder and counts how often it is asked.

# %%
reference, asked = load("numpy"), []


def dense(h, W, b, f):
    """f(h W + b), with a product of ours."""
    a = np.empty((len(h), W.shape[1]), h.dtype)
    along_rows(h, W, a)
    asked.append(W.shape)
    a += b
    return np.tanh(a) if f == "tanh" else a


mine = SimpleNamespace(**vars(reference))
mine.dense = dense
nets = [create((64, 48, 32, 10), backend=backend) for backend in (mine, "numpy")]
for step in range(20):
    for net in nets:
        Backprop(net, eta=0.1, optimizer="sgd").step(x, y)
assert all(np.allclose(*(net.W[i] for net in nets), atol=1e-4) for i in (1, 2, 3))
assert asked == 20 * [(64, 48), (48, 32), (32, 10)]             # three layers, once a step
assert np.allclose(*(forward(net, x)[3] for net in nets), atol=1e-3)

# %%
figure, axes = plt.subplots(figsize=(6.6, 3.4), layout="constrained")
axes.barh(list(speeds), list(speeds.values()), color=["0.6", *6 * ["#0092C4"], "0.2"])
ticks = [0.001, 0.01, 0.1, 1, 10, 100]
axes.set(xscale="log", title="The same product, one thread", xlabel="GFLOP/s", xticks=ticks,
         xticklabels=map(str, ticks))
axes.invert_yaxis()
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l14_ladder.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# In ``dense``, leave ``a += b`` out: a rule that runs on your backend is then wrong by what biases
# learn, and the assertion about W fails; after one step it would still hold, since biases begin at
# zero.  That is why every operation here is tested against the reference with numbers that are
# nowhere zero.  Then step into ``along_rows`` in a debugger, with ``NUMBA_DISABLE_JIT=1``.
