# %% [markdown]
"""
Lesson 1: who gets the credit
=============================

A network was wrong.  Which of its weights should change, and which way?  Rumelhart, Hinton &
Williams 1986 gave the answer that all others are measured by.  Here the question is put to one
hidden layer, answered by hand, and the answer is checked by wiggling every weight.

Reads ``minicredit/rules/backprop.py``.  Takes a second.  Afterwards you know what *delta* is.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import ask, create
from minicredit.figure import look
from minicredit.rules import Backprop

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
random = np.random.default_rng(0)
x = random.standard_normal((5, 4))                  # five examples of four numbers
y = np.array([0, 2, 1, 1, 0])                       # and what they are called

# %% [markdown]
# A network by hand
# -----------------
#
# The hidden layer adds up a1 = x W1 and says h1 = tanh(a1), the output says a2 = h1 W2, and
# softmax turns that into probabilities p.  The loss of an example is minus the natural logarithm
# of what its true class got; its unit is called a nat.

# %%
W1 = 0.5 * random.standard_normal((4, 6))
W2 = 0.5 * random.standard_normal((6, 3))


def loss_of(W1, W2):
    """Mean loss over the five examples, in nats."""
    a2 = np.tanh(x @ W1) @ W2
    p = np.exp(a2) / np.exp(a2).sum(axis=1, keepdims=True)
    return -np.log(p[np.arange(5), y]).mean()


print(f"loss {loss_of(W1, W2):.4f} nats; pure guessing has {np.log(3):.4f}")
assert abs(loss_of(0 * W1, W2) - np.log(3)) < 1e-12     # a network that says nothing guesses

# %% [markdown]
# The answer by hand
# ------------------
#
# Let delta be the slope of an example's loss in what a layer adds up, a1 or a2.  At the output it
# is what softmax said, less what was true::
#
#     delta2 = p - onehot(y)
#
# A hidden unit is to blame for the output's delta as much as its weights carried there, and only
# as far as it could still move: 1 - h1^2 is the slope of tanh::
#
#     delta1 = (delta2 W2^T) (1 - h1^2)
#
# And a weight is to blame for what came in times what went wrong, the mean over N examples::
#
#     dW = h_below^T delta / N

# %%
h1 = np.tanh(x @ W1)
p = np.exp(h1 @ W2) / np.exp(h1 @ W2).sum(axis=1, keepdims=True)
delta2 = p - np.eye(3)[y]
delta1 = (delta2 @ W2.T) * (1 - h1**2)
dW2, dW1 = h1.T @ delta2 / 5, x.T @ delta1 / 5

# %% [markdown]
# Wiggle every weight
# -------------------
#
# Nobody has to believe this.  Move one weight a little up and a little down, and see what the loss
# does; that needs two forward passes for *each* weight, but no idea at all.

# %%
def wiggled(W, step=1e-5):
    """The slope of the loss in every entry of W, by central differences."""
    slope = np.zeros_like(W)
    for place in np.ndindex(W.shape):
        kept = W[place]
        W[place] = kept + step
        above = loss_of(W1, W2)
        W[place] = kept - step
        slope[place] = (above - loss_of(W1, W2)) / (2 * step)
        W[place] = kept
    return slope


worst = max(abs(wiggled(W1) - dW1).max(), abs(wiggled(W2) - dW2).max())
print(f"largest difference between the hand and the wiggle: {worst:.1e}")
assert worst < 1e-9

# %% [markdown]
# The same from the library
# -------------------------
#
# ``ask`` puts one batch to a rule and changes nothing.  h[1] is the hidden layer, delta[2] the
# output's error.

# %%
net = create((4, 6, 3), dtype="float64", backend=BACKEND)
net.W[1][...], net.W[2][...] = W1, W2           # its biases start at 0, so this is our network
answer = ask(Backprop(net), x, y)
assert abs(answer.loss.mean() - loss_of(W1, W2)) < 1e-14
for ours, its in ((delta1, answer.delta[1]), (delta2, answer.delta[2]),
                  (dW1, answer.gradient["W[1]"]), (dW2, answer.gradient["W[2]"])):
    assert np.allclose(its, ours, rtol=0, atol=1e-14)

# %% [markdown]
# Credit, seen
# ------------
#
# One row an example, one column a hidden unit: red units should have said less, blue ones more.
# Look at a column: the same unit is blamed by one example and asked for more by the next.

# %%
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
size = abs(delta1).max()
shown = axes.imshow(delta1, cmap="RdBu_r", vmin=-size, vmax=size)
axes.set(xlabel="hidden unit", ylabel="example", title="delta[1]: who is told what")
figure.colorbar(shown, label="slope of the loss")
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l01_credit.png", dpi=150)
print(np.round(delta1, 2))
both = ((delta1 > 0).any(axis=0) & (delta1 < 0).any(axis=0)).mean()
print(f"{100 * both:.0f} % of the hidden units are told both signs by five examples")
assert both > 0.5
a1 = x @ W1 - 1e-3 * delta1                     # every unit heeds: red ones down, blue ones up
heeded = np.tanh(a1) @ W2
heeded = -np.log((np.exp(heeded) / np.exp(heeded).sum(axis=1, keepdims=True))[np.arange(5), y])
assert (heeded < answer.loss).all()             # and every example's loss falls

# %% [markdown]
# Break it
# --------
#
# The line ``delta1 = (delta2 @ W2.T) * ...`` reads the outgoing weights backwards, and no synapse
# can do that.  Put a fixed random matrix in the place of ``W2.T``, ``random.standard_normal((3,
# 6))``: the assertion after the wiggling fails, because that is no longer the slope.  And yet a
# network taught that way learns: see lesson 3, or try ``minicredit train fa``.
