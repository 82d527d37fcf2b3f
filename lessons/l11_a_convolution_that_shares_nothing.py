# %% [markdown]
"""
Lesson 11: a convolution that shares nothing
============================================

A convolution uses the same weights at every place of an image, and each place tells them what to
do.  No brain can do that: synapses at two places are two synapses.  Bartunov et al. 2018 therefore
tested learning rules on *locally connected* layers: the same reach, but every place on its own.

Reads ``minicredit/layers/locally_connected.py``.  Takes three seconds.  Afterwards you know exactly
what sharing is, what it gives, and how to get some of it by looking around.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import create, data
from minicredit.figure import look
from minicredit.layers import Convolution, LocallyConnected
from minicredit.measure import angle_to_backprop, error_percent
from minicredit.presets import make
from minicredit.rules import DTP, Backprop, FeedbackAlignment

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
digits = data.load("digits")
random = np.random.default_rng(0)
ops = create((1, 1), backend=BACKEND).ops           # the backend's operations

# %% [markdown]
# Place by place
# --------------
#
# At each of 64 places p a layer sees 3 x 3 pixels (zeros beyond the edge) and has 5 units there.
# The weights W[p] are 9 x 5 numbers of its own::
#
#     h[i][p] = f(h[i-1][what p sees] W[p] + b[p])

# %%
key, shape = (0, 0, 1, 0), (8, 8, 1)                # key: what the weights are drawn from
local = LocallyConnected(shape, 3, 5, 1, "tanh", ops, "float64", key)   # reach, units, stride
x = digits.train.x[:20].astype("float64")


def seen_from(x, row, column):
    """The 3 x 3 pixels around a place; (N, 9)."""
    padded = np.pad(x.reshape(-1, 8, 8), ((0, 0), (1, 1), (1, 1)))
    return padded[:, row:row + 3, column:column + 3].reshape(len(x), 9)


by_hand = [np.tanh(seen_from(x, p // 8, p % 8) @ local.W[p] + local.b[p]) for p in range(64)]
assert np.allclose(np.concatenate(by_hand, axis=1), local.forward(x), rtol=0, atol=1e-12)
assert local.W.shape == (64, 9, 5)

# %% [markdown]
# Sharing is adding up
# --------------------
#
# Give all places the same weights and it *is* a convolution, on the way up and on the way down.
# What differs is who is told what: a convolution's weights hear the sum of what all places would
# like.  So a convolution is a locally connected layer whose places begin alike and are made to
# agree at every step.

# %%
shared = Convolution(shape, 3, 5, 1, "tanh", ops, "float64", key)
local.W[...] = shared.W                             # the same at every place
assert np.allclose(local.forward(x), shared.forward(x), rtol=0, atol=1e-12)
delta = random.standard_normal((20, 64 * 5))
assert np.allclose(local.pull_back(delta), shared.pull_back(delta), rtol=0, atol=1e-12)
dW = local.gradient(x, delta)["W"]
assert np.allclose(dW.sum(axis=0), shared.gradient(x, delta)["W"], rtol=0, atol=1e-12)
apart = np.linalg.norm(dW - dW.mean(axis=0)) / np.linalg.norm(dW)
print(f"of what places would like, {100 * apart:.0f} % is not what they would like on average")
assert apart > 0.9

# %% [markdown]
# What sharing gives: if the image moves, what is seen moves with it, and nothing else happens.

# %%
def moved(x, columns):
    """Images moved to the right (or left, below 0), zeros moving in."""
    image = np.roll(x.reshape(-1, 8, 8), columns, axis=2)
    image[:, :, :columns] *= columns <= 0
    image[:, :, columns or 8:] *= columns >= 0
    return image.reshape(x.shape)


local = LocallyConnected(shape, 3, 5, 1, "tanh", ops, "float64", key)
inside = {}
for layer in (shared, local):
    before, after = (layer.forward(x_).reshape(20, 8, 8, 5) for x_ in (x, moved(x, 1)))
    inside[layer] = abs(after[:, :, 2:7] - before[:, :, 1:6]).max()
assert inside[shared] < 1e-12 and inside[local] > 0.1

# %% [markdown]
# The way back of a rule with inverses has the same reach the other way round: each place speaks to
# what it saw.  That is the ``mirror``, and its zeros are those of W^T.  So every rule of this
# course runs on such layers without knowing it.

# %%
g = local.mirror("tanh", (0, 1, 1, 0))
says = g.forward(np.eye(320)[[0]]) != g.forward(np.zeros((1, 320)))     # unit 0 of place (0, 0)
assert says.reshape(8, 8)[:2, :2].all() and says.sum() == 4     # at a corner, 4 of 9 are there

# %% [markdown]
# Rules on both
# -------------
#
# Two such layers, then a dense one, on digits; ``lc3x16s2`` is locally connected, reach 3, 16 units
# a place, at every second row and column.  Without sharing there are three times as many
# weights, and on images this small every rule learns either way.  On CIFAR-10 Bartunov et al. found
# 32 % wrong for backprop without sharing, and 37 to 47 % for all others.

# %%
def train(Rule, kind, epochs=5, batch=32, look_around=False):
    """A rule after training."""
    rule = Rule(make(f"8x8x1-{kind}3x8s1-{kind}3x16s2-32-10", backend=BACKEND))
    for epoch in range(epochs):
        for learn in rule.passes:
            order = np.random.default_rng(epoch).permutation(len(digits.train.y))
            for n in range(0, len(order), batch):
                x, y = digits.train.x[order[n:n + batch]], digits.train.y[order[n:n + batch]]
                learn(moved(x, (n // batch + epoch) % 3 - 1) if look_around else x, y)
    return rule


rules = {(Rule.__name__, kind): train(Rule, kind) for kind in ("conv", "lc")
         for Rule in (Backprop, FeedbackAlignment, DTP)}
errors = {name: error_percent(rule.net, *digits.test) for name, rule in rules.items()}
for (rule, kind), error in errors.items():
    print(f"{rule:17} {kind:4}  {error:.1f} % wrong; degrees to backprop "
          f"{np.round(angle_to_backprop(rules[rule, kind], *digits.validation))}")
weights = {kind: sum(W.size for W in rules["Backprop", kind].net.W[1:]) for kind in ("conv", "lc")}
print(f"weights: {weights}")
assert weights["lc"] > 3 * weights["conv"] and max(errors.values()) < 10

# %% [markdown]
# Looking around
# --------------
#
# Move the test digits by one column and half of them are wrong, with or without sharing: the dense
# layer above shares nothing either.  But eyes move.  If training digits come one column to the left
# or right as well, every place sees what its neighbours see, and no weight had to be shared.

# %%
around = train(Backprop, "lc", epochs=8, look_around=True)
moved_error = {name: error_percent(rule.net, moved(digits.test.x, 1), digits.test.y)
               for name, rule in (("conv", rules["Backprop", "conv"]),
                                  ("lc", rules["Backprop", "lc"]), ("lc, around", around))}
print({name: f"{error:.0f} %" for name, error in moved_error.items()}, "of moved digits wrong")
assert min(moved_error["conv"], moved_error["lc"]) > 30 and moved_error["lc, around"] < 15

# %%
figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.8), layout="constrained")
W = rules["Backprop", "lc"].net.W[1]
start = make("8x8x1-lc3x8s1-lc3x16s2-32-10").W[1]
pictures = {"Convolution": np.broadcast_to(rules["Backprop", "conv"].net.W[1], W.shape),
            "Locally connected": W, "What it has learned": W - start}
for place, (title, weights) in zip(axes, pictures.items()):
    tiles = np.zeros((8, 4, 8, 4)) * np.nan                     # a 3 x 3 kernel at each of 8 x 8
    tiles[:, :3, :, :3] = weights[:, :, 0].reshape(8, 8, 3, 3).transpose(0, 2, 1, 3)
    size = abs(weights[:, :, 0]).max()
    place.imshow(tiles.reshape(32, 32), cmap="RdBu_r", vmin=-size, vmax=size)
    place.set_title(title)
    place.axis("off")
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l11_places.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# Where the places are made alike, ``local.W[...] = shared.W``, leave the last one out:
# ``local.W[:-1] = shared.W``.  63 of 64 places still agree, but it is no convolution any more, and
# the assertion below fails.
