# %% [markdown]
"""
Lesson 6: Kickback
==================

Balduzzi, Vanchinathan & Buhmann 2015 cut backprop short.  Every unit hears one scalar, how wrong
the answer was, and multiplies it by how the layer *directly* above answers to it: its influence.
Nothing comes from further up.  That points the right way if every unit keeps its sign.

Reads ``minicredit/rules/kickback.py`` and ``minicredit/coherent.py``.  Takes two seconds.
Afterwards you know what coherence is, what it guarantees, and what it forbids.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import data, forward
from minicredit.coherent import clip, opposite_signs
from minicredit.figure import look, pick_styles
from minicredit.measure import error_percent
from minicredit.rules import Backprop, Kickback

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
random = np.random.default_rng(0)

# %% [markdown]
# Units with a sign
# -----------------
#
# Every unit is positive or negative, for life: it says sign * max(0, a).  The network answers with
# one number z, the sum of its two output units, one of each sign.  Let s be the sign of a unit that
# is on, 0 of one that is off: the slope of h in a.  Two ways to say what unit j does to z::
#
#     backprop    pi_j  = sum_k W_jk s_k pi_k         all paths up to z; pi = 1 at the output
#     Kickback    tau_j = sum_k W_jk s_k              the layer directly above, and no further
#
# A unit is told beta pi s, or beta tau s; beta = dloss/dz is one number for all.

# %%
sizes = (10, 40, 40, 40, 2)
signs = [None] + [1 - 2 * (np.arange(n) % 2) for n in sizes[1:]]        # +1, -1, +1, ...
L = len(sizes) - 1


def network(coherent):
    """W[1] free; W[2..L] with the sign of the unit they lead to, or with any sign."""
    W = [None] + [random.standard_normal(shape) * 2 / shape[0] for shape in zip(sizes, sizes[1:])]
    for i in range(2, L + 1):
        W[i] = signs[i] * abs(W[i]) if coherent else W[i]
    return W


def upwards(W, h, start=0):
    """h[start] .. h[L] from h = h[start], and s[i]."""
    h, s = [None] * start + [h], [None] * (start + 1)
    for i in range(start + 1, L + 1):
        a = h[i - 1] @ W[i]
        h.append(signs[i] * np.maximum(0, a))
        s.append(signs[i] * (a > 0))
    return h, s


def influences(W, s):
    """tau[i] and pi[i], each (N, sizes[i])."""
    tau, pi = ([None] * L + [np.ones_like(s[L])] for _ in range(2))
    for i in range(L, 1, -1):
        tau[i - 1] = s[i] @ W[i].T
        pi[i - 1] = (s[i] * pi[i]) @ W[i].T
    return tau, pi


x = random.standard_normal((200, 10))
W = network(coherent=False)
h, s = upwards(W, x)
tau, pi = influences(W, s)
nudge = 1e-7 * np.eye(40)[7]                        # wiggle a unit: pi is the slope of z
up, down = (upwards(W, h[1] + way, 1)[0][L].sum(axis=1) for way in (nudge, -nudge))
assert np.median(abs((up - down) / 2e-7 - pi[1][:, 7])) < 1e-6
assert (tau[L - 1] == pi[L - 1]).all() and (tau[1] != pi[1]).any()      # one layer above: alike

# %% [markdown]
# Why nothing changes sign
# ------------------------
#
# In tau, W_jk always comes with s_k.  Let every weight have the sign of the unit it leads to, or be
# zero: then each W_jk s_k is the size of W_jk or 0, every sum of such is positive or 0, and so is
# every sum of products of such.  That is *coherence*: more of any unit always means more of the
# answer, for every input.  Kickback then gets the size of pi wrong, and its sign never.

# %%
seen = {}
for coherent in (False, True):
    W = network(coherent)
    h, s = upwards(W, x)
    tau, pi = influences(W, s)
    seen[coherent] = tau[1][h[1] != 0], pi[1][h[1] != 0]
    shares = [float((tau[i] * pi[i] < 0)[h[i] != 0].mean()) for i in range(1, L)]
    print(f"{'coherent' if coherent else 'any sign'}: told the opposite of what pi would say, "
          f"layers 1..3: {np.round(shares, 2)}")
    assert max(shares) == 0 if coherent else shares[0] > 0.2
    assert not coherent or all((tau[i] >= 0).all() for i in range(1, L))

# %% [markdown]
# What coherent nets cannot represent
# -----------------------------------
#
# The answer grows with every unit.  So what is above a hidden layer can compute no exclusive or of
# two groups of its units: z(1, 1) is never below z(1, 0).  Try two thousand networks.  What helps
# is the first layer, whose weights are free: there the units that are needed can be made.

# %%
corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], float)
for _ in range(2000):
    W = network(coherent=True)
    h1 = np.zeros((4, 40))
    h1[:, 0::4], h1[:, 2::4] = corners[:, :1], corners[:, 1:]       # positive units: on, or not
    z = upwards(W, h1, 1)[0][L].sum(axis=1)
    assert z[3] >= max(z[1], z[2]) and min(z[1], z[2]) >= z[0]

net = Kickback.create((2, 16, 2), loss="squared", dtype="float64", first_scale=2**0.5)
rule = Kickback(net, eta=0.02)
for _ in range(300):
    rule.step(corners, np.array([[0.], [1], [1], [0]]))
z = net.output(forward(net, corners)[2])[:, 0]
print("exclusive or, from a free first layer:", np.round(z, 2))
assert abs(z - [0, 1, 1, 0]).max() < 0.1

# %% [markdown]
# The second thing they cannot do is share.  Say unit j pushes class c up or down with sign g_jc,
# for ever.  A weight from j to k keeps that promise for every class only if g_j is g_k, or its
# opposite: all units of a connected network push the classes alike, up to a sign.  Further down,
# tau is one number for all classes, a unit hears the sum of all beta, and for a softmax that is 0.

# %%
promises = [2 * np.array(g) - 1 for g in np.ndindex(2, 2, 2)]   # up (1) or down, of three classes
for g_j in promises:
    kept = [g_k for g_k in promises if any((g_j == w * g_k).all() for w in (1, -1))]
    assert len(kept) == 2                           # it may lead to two of eight kinds of units
p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
assert abs((p - np.eye(10)[3]).sum(axis=1)).max() < 1e-12

# %% [markdown]
# So ten classes need ten networks, side by side, with a scalar each.  Here 64-16-8-2, on digits:
# Kickback, backprop on the very same networks, and Kickback where weights may have any sign.

# %%
digits = data.load("digits")


def train(Rule, epochs=12, batch=32, **options):
    """Test errors, and the share that is told the opposite, after every epoch."""
    net = Kickback.create((64, 16, 8, 2), classes=10, backend=BACKEND, **options)
    rule, errors, wrong = Kickback(net, coherence="off") if options else Rule(net), [], []
    for epoch in range(epochs + 1):
        errors.append(error_percent(net, *digits.test))
        wrong.append(opposite_signs(net, forward(net, digits.test.x))[1])
        order = np.random.default_rng(epoch).permutation(len(digits.train.y))
        for n in range(0, len(order), batch):
            rule.step(digits.train.x[order[n:n + batch]], digits.train.y[order[n:n + batch]])
            if not options:
                clip(net)                           # wrong signs become 0, as in Kickback's step
    return errors, wrong


runs = {"bp": train(Backprop), "kickback": train(Kickback),
        "kickback, any sign": train(Kickback, signs="random")}
for name, (errors, wrong) in runs.items():
    print(f"{name:18}  {errors[-1]:4.1f} % wrong; told the opposite: {100 * wrong[0]:.0f} % at the "
          f"start, {100 * wrong[-1]:.0f} % in the end")
assert runs["kickback"][1] == [0] * 13              # never, not once
assert runs["kickback"][0][-1] < runs["bp"][0][-1] + 3
assert runs["kickback, any sign"][0][-1] > 3 * runs["kickback"][0][-1]

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 3.2), layout="constrained")
for place, title in enumerate(("Any sign", "Coherent")):
    axes[place].plot(*seen[bool(place)], ".", markersize=2, color="0.45")
    axes[place].grid(color="0.85", linewidth=0.6)
    axes[place].set(title=title, xlabel="influence tau", ylabel="slope pi (backprop)")
axes[1].set(xlim=(0, None), ylim=(0, None))
styles = pick_styles(runs, dark=False)
for name, (errors, _) in runs.items():
    axes[2].plot(errors, color=styles[name][0], linestyle="--" if "any" in name else "-",
                 label=name)
axes[2].set(title="Wrong on test digits", xlabel="epoch", ylabel="percent", ylim=(0, 100))
axes[2].legend(frameon=False)
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l06_influence.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# In ``network``, write ``range(2, L)``, one less: the weights of the output units now have any
# sign.  Only one layer is incoherent, and yet units two layers below it are told the opposite, more
# than half of them: tau looks one layer up and does not see it, pi does.  The assertion fails.
