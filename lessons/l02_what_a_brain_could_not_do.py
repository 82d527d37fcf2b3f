# %% [markdown]
"""
Lesson 2: backprop written out, and what a brain could not do in it
===================================================================

Rumelhart, Hinton & Williams 1986 taught networks of any depth with the slope of lesson 1.  Here it
is for L layers in a dozen lines.  Then three of those lines are held against what a neuron has:
its own synapses, its own activity, and rates that are never negative (Crick 1989).

Reads ``minicredit/rules/backprop.py``.  Takes two seconds.  Afterwards you know what every other
rule of this course tries to do without.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import ask, create, data
from minicredit.figure import look
from minicredit.measure import angle
from minicredit.rules import Backprop

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
digits = data.load("digits", "float64")             # 8 x 8 handwritten digits, pixels in 0..1
x, y = digits.train.x[:100], digits.train.y[:100]
net = create((64, 48, 32, 10), f="relu", dtype="float64", backend=BACKEND)
W, L = net.W, net.L

# %% [markdown]
# All of it
# ---------
#
# Up: h[0] is x, a[i] = h[i-1] W[i] is rectified, h[i] = f(a[i]), but at the top h[L] = a[L]: the
# logits, for softmax.  Down: delta[L] is what softmax said less what is true; every other
# delta is pulled back through the weights above it, and passes only where the unit was on, for
# there the slope f' is 1, and elsewhere 0::
#
#     delta[i-1] = (delta[i] W[i]^T) f'(a[i-1])
#     dW[i]      = h[i-1]^T delta[i] / N
#
# Only ``B`` is not in the paper: the weights on the way down have a name of their own.  Backprop
# is the case B = W.

# %%
def upwards(W, x):
    """h[0] .. h[L]."""
    h = [x]
    for i in range(1, L + 1):
        a = h[i - 1] @ W[i]
        h.append(np.maximum(a, 0) if i < L else a)
    return h


def downwards(B, h, y):
    """delta[1] .. delta[L]."""
    p = np.exp(h[L] - h[L].max(axis=1, keepdims=True))
    delta = [None] * L + [p / p.sum(axis=1, keepdims=True) - np.eye(10)[y]]
    for i in range(L, 1, -1):
        delta[i - 1] = (delta[i] @ B[i].T) * (h[i - 1] > 0)
    return delta


h = upwards(W, x)
delta = downwards(W, h, y)
dW = [None] + [h[i - 1].T @ delta[i] / len(x) for i in range(1, L + 1)]

answer = ask(Backprop(net), x, y)                   # the library's, which changes nothing
for i in range(1, L + 1):
    assert np.allclose(dW[i], answer.gradient[f"W[{i}]"], rtol=0, atol=1e-12)

# %% [markdown]
# First: the weights are transported
# ----------------------------------
#
# ``B`` must be W: the synapses that carry activity up would have to be read backwards, or copied
# to other synapses that point down, after every change.  Leave B where W began, let W learn as
# backprop wants, and look how soon the copy is out of date.  How far is measured as the angle
# between two deltas, each read as one long vector: at 0 they agree, at 90 they have nothing in
# common.

# %%
B = [None] + [W[i].copy() for i in range(1, L + 1)]
stale = []
for step in range(200):
    rows = np.arange(100 * step, 100 * step + 100) % len(digits.train.y)
    h = upwards(W, digits.train.x[rows])
    true, old = (downwards(M, h, digits.train.y[rows]) for M in (W, B))
    stale.append([angle(old[i], true[i]) for i in (1, 2)])
    for i in range(1, L + 1):
        W[i] -= 0.5 * h[i - 1].T @ true[i] / 100
print(f"angle of the old copy's delta[1] to the true one: {stale[0][0]:.0f} degrees at the start, "
      f"{stale[-1][0]:.0f} after 200 steps")
assert stale[0][0] == 0 and stale[-1][0] > 15
assert stale[-1][0] > stale[-1][1]                  # two layers of old copies are worse than one

# %% [markdown]
# Second: the phases are locked
# -----------------------------
#
# dW[1] needs delta[1], which needs the way up to the top and the way down again.  Until it comes,
# layer 1 must hold on to the h[0] that caused it.  Two networks that start alike: one holds on, in
# the other the next batch has arrived at layer 1 before the blame for the last one does.

# %%
def error(W):
    """Wrong answers on digits that nobody trained on, in percent."""
    return 100 * (upwards(W, digits.test.x)[L].argmax(axis=1) != digits.test.y).mean()


start, waits = [None, *B[1:]], [2 * (L - i) for i in range(1, L + 1)]
errors = {}
for late in (False, True):
    W = [None] + [M.copy() for M in start[1:]]
    for step in range(200):
        rows, following = (np.arange(100 * t, 100 * t + 100) % len(digits.train.y)
                           for t in (step, step + 1))
        h = upwards(W, digits.train.x[rows])
        delta = downwards(W, h, digits.train.y[rows])
        if late:
            h[0] = digits.train.x[following]
        for i in range(1, L + 1):
            W[i] -= 0.5 * h[i - 1].T @ delta[i] / 100
    errors[late] = error(W)
print(f"layers passed before layers 1, 2, 3 may learn: {waits}")
print(f"test error {errors[False]:.1f} %, and {errors[True]:.1f} % if layer 1 did not hold on")
assert waits == [4, 2, 0] and errors[True] > 2 * errors[False]

# %% [markdown]
# Third: the errors have a sign
# -----------------------------
#
# What goes up, h, is never negative and could be a rate of spikes.  What comes down, delta, has
# both signs, at the same units.  If a rate carried it, its negative half would be lost; then every
# unit can be told to say less and none to say more.

# %%
h = upwards(net.W, x)                             # trained, by the first loop
delta = downwards(net.W, h, y)
assert (h[1] >= 0).all() and (delta[1] < 0).any() and (delta[1] > 0).any()
negative = (delta[1] < 0).sum() / (delta[1] != 0).sum()
half = np.maximum(delta[1], 0)
cut = angle(x.T @ half, x.T @ delta[1])
print(f"{100 * negative:.0f} % of what layer 1 is told is negative; without it: {cut:.0f} degrees")
assert 0.3 < negative < 0.7 and cut > 45
heard = (delta[1] != 0).any(axis=0)                 # units that were on for some of 100 digits
both = ((delta[1] > 0).any(axis=0) & (delta[1] < 0).any(axis=0))[heard].mean()
print(f"{100 * both:.0f} % of the units that hear anything hear both signs")
assert both > 0.7

# %% [markdown]
# Seen
# ----
#
# Left, how an old copy of the weights points ever more elsewhere; right, the rates that go up and
# the errors that come down.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.2), layout="constrained")
left.plot(stale, label=["layer 1", "layer 2"])
left.set(xlabel="step", ylabel="degrees to backprop", title="An old copy of W", ylim=(0, None))
left.legend(frameon=False)
for values, name in ((h[1], "h[1], up"), (delta[1], "delta[1], down")):
    values = values[values != 0] / abs(values).max()
    right.hist(values, 60, range=(-1, 1), histtype="step", linewidth=1.5, label=name)
right.set(xlabel="relative to the largest", ylabel="units, all examples", yscale="log",
          title="Rates have no sign, errors do", yticks=[1, 10, 100, 1000],
          yticklabels=["1", "10", "100", "1000"], xticks=[-1, 0, 1])
right.legend(frameon=False)
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l02_three_things.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# In ``downwards``, take ``* (h[i - 1] > 0)`` away, the slope.  The comparison with the library
# fails at once: layers that were silent are blamed as well.  And in the loop, teach W by ``old``
# in the place of ``true``: layer 1 ends at 40 degrees and not at 59, because now W learns to suit
# the copy.  That is lesson 3.
