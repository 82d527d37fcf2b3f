# %% [markdown]
"""
Lesson 4: direct feedback alignment
===================================

Nokland 2016 let the output's error skip every layer on its way down: one fixed random matrix from
the output straight to each layer.  No layer waits for another any more.

Reads ``minicredit/rules/direct_feedback_alignment.py``.  Takes two seconds.  Afterwards you know
what is gained by that, what it costs on large images, and which errors a layer can no longer hear.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import ask, create, data, forward
from minicredit.figure import look, pick_styles
from minicredit.measure import angle_to_backprop, error_percent
from minicredit.rules import Backprop, DirectFeedbackAlignment, FeedbackAlignment

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
digits = data.load("digits")
x, y = digits.train.x[:100], digits.train.y[:100]
styles = pick_styles(["bp", "fa", "dfa"], dark=False)

# %% [markdown]
# Straight down
# -------------
#
# Feedback alignment sends an error from layer to layer.  Here every layer hears the same one, the
# output's, through a matrix of its own, B[i] of shape (units of layer i, outputs)::
#
#     delta[L] = p - onehot(y)
#     delta[i] = (delta[L] B[i]^T) f'(a[i])           i = 1 .. L-1, in any order

# %%
net = create((64, 48, 40, 32, 10), backend=BACKEND)
rule, L = DirectFeedbackAlignment(net), net.L
h = forward(net, x)
p = np.exp(h[L]) / np.exp(h[L]).sum(axis=1, keepdims=True)
delta = {L: p - np.eye(10)[y]}
for i in (2, 1, 3):                                 # any order: nobody needs a neighbour's delta
    delta[i] = (delta[L] @ rule.B[i].T) * (1 - h[i]**2)
told = rule.feedback(h, y).delta
assert all(np.allclose(delta[i], told[i], atol=1e-6) for i in (1, 2, 3, 4))

# %% [markdown]
# With one hidden layer it is feedback alignment
# ----------------------------------------------
#
# Then the layer above the hidden one *is* the output, and there is nothing to skip.

# %%
small = create((64, 30, 10), backend=BACKEND)
fa, dfa = FeedbackAlignment(small), DirectFeedbackAlignment(small)
dfa.B[1][...] = fa.B[2]
assert (ask(fa, x, y).delta[1] == ask(dfa, x, y).delta[1]).all()

# %% [markdown]
# What a layer cannot hear
# ------------------------
#
# Ten outputs have ten errors, and those of a softmax sum to 0: nine numbers.  So before the slope,
# all that any layer can be told about an image lies in nine directions, always the same nine.
# Backprop's W^T, too, starts from nine numbers, but the slopes on the way differ from image to
# image, and with them the directions: together they fill all 40 that 40 units of layer 2 can reach.

# %%
def rank(e):
    """The number of directions in which the rows of e differ."""
    return int(np.linalg.matrix_rank(e, tol=1e-4 * np.linalg.norm(e, 2)))


def before_slope(rule):
    """delta[1] / f'(a[1]), what comes down to layer 1."""
    h = forward(rule.net, x)
    return rule.feedback(h, y).delta[1] / (1 - h[1]**2)


ranks = {"bp": rank(before_slope(Backprop(net))), "dfa": rank(before_slope(rule))}
print(f"directions in which layer 1 (48 units) is pulled by 100 digits: {ranks}")
assert ranks == {"bp": rank(before_slope(FeedbackAlignment(net))), "dfa": 9}
assert ranks["bp"] == net.sizes[2] == 40

# %% [markdown]
# What it costs
# -------------
#
# A connection from every output to every unit.  For the locally connected network that Bartunov
# et al. 2018 took to ImageNet, 224 x 224 pixels and 1,000 classes, that is a third more weights
# than the whole network has; they ran out of memory.  Since B never changes, it need not be kept:
# it can be drawn again, the same numbers, whenever an error comes down.

# %%
layers = ((9, 3, 48, 56), (3, 48, 48, 28), (5, 48, 96, 28), (3, 96, 96, 14), (3, 96, 192, 14),
          (3, 192, 192, 7), (3, 192, 384, 7))       # reach, channels in and out, side of the image
units = sum(n_out * side**2 for _, _, n_out, side in layers)
own = sum(reach**2 * n_in * n_out * side**2 for reach, n_in, n_out, side in layers)
own += 384 * 7**2 * 1000                            # the output's
print(f"feedback weights: {units:,} units x 1,000 outputs, {4 * units * 1000 / 2**30:.1f} GiB; "
      f"the network's own: {4 * own / 2**30:.1f} GiB")
assert 1.3 < units * 1000 / own < 1.4
drawn = DirectFeedbackAlignment(net, feedback="seeded")
assert drawn.B[1] is None and not drawn.arrays      # nothing is kept,
again = drawn.feedback(h, y).delta
assert all((again[i] == told[i]).all() for i in (1, 2, 3))      # and nothing is different

# %% [markdown]
# Deep
# ----
#
# Seven hidden layers of 64.  An error that travels through seven random matrices loses what W has
# learned on the way; one that comes straight down does not.  The layers far below the output show
# it: feedback alignment's lowest layers stay close to 90 degrees.

# %%
SAME = False                                        # does a unit hear every output alike?


def train(Rule, epochs=8, batch=32):
    """Test errors epoch by epoch, and the angles to backprop in the end."""
    net = create((64, *7 * [64], 10), backend=BACKEND)
    rule, errors = Rule(net, eta=1e-3), []
    if SAME and Rule is DirectFeedbackAlignment:
        for i in range(1, net.L):
            rule.B[i][...] = 0.125                  # any one number would do
    for epoch in range(epochs):
        order = np.random.default_rng(epoch).permutation(len(digits.train.y))
        for n in range(0, len(order), batch):
            rule.step(digits.train.x[order[n:n + batch]], digits.train.y[order[n:n + batch]])
        errors.append(error_percent(net, *digits.test))
    return errors, angle_to_backprop(rule, *digits.validation)


seen = {name: train(Rule) for name, Rule in
        (("bp", Backprop), ("fa", FeedbackAlignment), ("dfa", DirectFeedbackAlignment))}
for name, (errors, degrees) in seen.items():
    print(f"{name:3}  {errors[-1]:4.1f} % wrong; degrees to backprop by layer {np.round(degrees)}")
assert seen["bp"][0][-1] < 8 and max(seen[name][0][-1] for name in ("fa", "dfa")) < 25
assert np.mean(seen["dfa"][1][:4]) < np.mean(seen["fa"][1][:4])

# %% [markdown]
# Seen
# ----
#
# 90 degrees, the dotted line, is no information; the top layer hears its own error, at 0.

# %%
figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 3.1), layout="constrained")
for name, (errors, degrees) in seen.items():
    left.plot(range(1, 1 + len(errors)), errors, color=styles[name][0], label=name)
    if name != "bp":
        right.plot(range(1, 1 + len(degrees)), degrees, color=styles[name][0], marker="o")
left.set(title="Wrong on test digits", xlabel="epoch", ylabel="percent", ylim=(0, 90))
left.legend(frameon=False)
right.set(title="Angle to backprop", xlabel="layer (1 sees the input)", ylabel="degrees",
          ylim=(0, 120), yticks=[0, 30, 60, 90, 120])
right.axhline(90, color="0.6", linewidth=0.8, linestyle=":")
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l04_straight_down.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# Set ``SAME = True``.  Nothing about B was special, so why not take the simplest?  The errors of a
# softmax sum to 0, so a unit that hears all outputs alike hears 0, but for rounding.  The hidden
# layers learn nothing, the top layer makes do with features nobody chose, and the last assertions
# fail.  Remember that sum: in lesson 6 it decides which networks Kickback can teach.
