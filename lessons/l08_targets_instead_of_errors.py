# %% [markdown]
"""
Lesson 8: targets instead of errors
===================================

Bengio 2014 (and LeCun 1986) turned the question round.  Not: how should layer i change?  But: what
should it have *said*?  A learned inverse g_i says so: what below would have made what was wanted
above.  No slope comes down, no sign, no W^T.  And yet it learns badly, for two reasons.

Reads ``minicredit/rules/target_propagation.py``.  Takes two seconds.  Afterwards you know what a
target is, why the inverse's own mistakes are taught, and why ten labels make ten templates.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import ask, create, data, forward
from minicredit.figure import look
from minicredit.measure import (angle_to_backprop, diversity, error_percent, inverse_error,
                                target_diversity)
from minicredit.rules import Backprop, TargetPropagation

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
digits = data.load("digits")
random = np.random.default_rng(0)

# %% [markdown]
# What should it have said?
# -------------------------
#
# Layer i computes f_i(h) = tanh(h W).  Where W is square it can be undone, g_i(h) = tanh^-1(h)
# W^-1, and then a target above is met by meeting the target below, exactly::
#
#     h_hat[i-1] = g_i(h_hat[i])        so that f_i(h_hat[i-1]) = h_hat[i]

# %%
def f(h, W):
    """A layer."""
    return np.tanh(h @ W)


def g(h, W):
    """Its inverse."""
    return np.arctanh(h) @ np.linalg.inv(W)


W = [None] + [0.5 * np.linalg.qr(random.standard_normal((8, 8)))[0] for _ in range(3)]
h = [random.uniform(-0.8, 0.8, (5, 8))]
for i in (1, 2, 3):
    h.append(f(h[i - 1], W[i]))
h_hat = [None, None, None, h[3] + 0.01 * random.standard_normal((5, 8))]
for i in (3, 2):
    h_hat[i - 1] = g(h_hat[i], W[i])
assert np.allclose(f(f(h_hat[1], W[2]), W[3]), h_hat[3])

# %% [markdown]
# Then each layer learns alone.  It wants ``1/2 |f_i(h[i-1]) - h_hat[i]|^2`` to be small, which is
# the delta rule of 1960, on its own weights::
#
#     delta[i] = (h[i] - h_hat[i]) f'(a[i]),      dW[i] = h[i-1]^T delta[i] / N
#
# One step of every layer, and what the network says is nearer to what was wanted at the top.

# %%
before = np.linalg.norm(h[3] - h_hat[3])
for i in (1, 2, 3):
    W[i] = W[i] - 0.3 * h[i - 1].T @ ((h[i] - h_hat[i]) * (1 - h[i]**2)) / 5
after = np.linalg.norm(f(f(f(h[0], W[1]), W[2]), W[3]) - h_hat[3])
print(f"distance from the target at the top: {before:.4f}, after one step {after:.4f}")
assert after < before

# %% [markdown]
# First: what the inverse gets wrong is taught
# --------------------------------------------
#
# Most layers have no inverse: 64 numbers that become 32 cannot come back.  So g_i is a layer of its
# own, from h[i] down to h[i-1], and learns to give back what went in (lesson 9 says how); it errs.
# Say the network is *right*: the target of the top hidden layer is what it said, less a step of 0.
# Nothing should change.  But the layer below is asked to become g_i(h[i]), which is not what it
# was: it is taught the inverse's mistake.

# %%
net = create((64, 48, 32, 10), backend=BACKEND)
rule = TargetPropagation(net, first_target="gradient", target_step=0.0)     # all is well
x, y = digits.train.x[:200], digits.train.y[:200]
answer = ask(rule, x, y)
assert (answer.h_hat[2] == answer.h[2]).all()       # layer 2: on target
wrong = np.linalg.norm(answer.delta[1]) / np.linalg.norm(answer.h[1])
print(f"layer 2 is on target; layer 1 is told to move by {100 * wrong:.0f} % of what it says")
assert wrong > 0.3

# %% [markdown]
# Second: ten labels, ten templates
# ---------------------------------
#
# Where does the first target come from?  From the label: h_hat[L-1] = g_L(onehot(y)).  There are
# ten labels, so however g_L was learned, the layer can be given ten targets and no more, whatever
# the image was.  Let it learn for ten epochs, inverses first and then forward maps in each.

# %%
def train(Rule, epochs=10, batch=32, **options):
    """A rule after training, and its test errors."""
    rule, errors = Rule(create((64, 48, 32, 10), backend=BACKEND), eta=1e-3, **options), []
    for epoch in range(epochs):
        for learn in rule.passes:
            order = np.random.default_rng(epoch).permutation(len(digits.train.y))
            for n in range(0, len(order), batch):
                learn(digits.train.x[order[n:n + batch]], digits.train.y[order[n:n + batch]])
        errors.append(error_percent(rule.net, *digits.test))
    return rule, errors


FIRST_TARGET = "label"
(tp, errors), (bp, errors_bp) = train(TargetPropagation, first_target=FIRST_TARGET), train(Backprop)
answer = ask(tp, x, y)
templates = np.array([answer.h_hat[2][y == c][0] for c in range(10)])   # of the first of each class
apart = abs(answer.h_hat[2] - templates[y]).max()
print(f"{len(x)} digits, {len(templates)} targets: within a class they differ by {apart:.0e}")
assert apart < 1e-4

# %% [markdown]
# The share of variance that lies *within* classes says the same in a number: none of the targets',
# some of the activities'.  To the network, the way a four was written is a mistake to be unlearned.
# What comes of it, beside backprop on the same network:

# %%
told, said = target_diversity(tp, x, y)[2], diversity(answer.h[2], y)
print(f"within classes: {100 * told.spread:.0f} % of the variance of targets, "
      f"{100 * said.spread:.0f} % of that of what was said")
print(f"inverse errors (1 is no better than the mean): "
      f"{ {i: round(float(e), 2) for i, e in inverse_error(tp, x).items()} }")
print(f"test error: tp {errors[-1]:.1f} %, bp {errors_bp[-1]:.1f} %; degrees to backprop "
      f"{np.round(angle_to_backprop(tp, x, y))}")
assert told.spread < 1e-3 < 0.1 < said.spread       # none, beside a good deal
assert errors[-1] > 2 * errors_bp[-1]

# %% [markdown]
# Seen
# ----
#
# The last hidden layer of both networks, test digits, in the two directions in which it varies
# most; a colour is a class.  The stars are all the targets there are.

# %%
figure, axes = plt.subplots(1, 2, figsize=(8.4, 3.9), layout="constrained")
for place, rule, name in ((0, tp, "target propagation"), (1, bp, "backprop")):
    h2 = forward(rule.net, digits.test.x)[2]
    _, _, direction = np.linalg.svd(h2 - h2.mean(axis=0), full_matrices=False)
    flat = (h2 - h2.mean(axis=0)) @ direction[:2].T
    axes[place].scatter(*flat.T, c=digits.test.y, cmap="tab10", s=9, alpha=0.8)
    if rule is tp:
        stars = (templates - h2.mean(axis=0)) @ direction[:2].T
        axes[place].plot(*stars.T, "k*", markersize=11)
    wrong = error_percent(rule.net, *digits.test)
    axes[place].set(title=f"{name}, {wrong:.1f} % wrong", xticks=[], yticks=[])
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l08_templates.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# Set ``FIRST_TARGET = "gradient"``: the first target is now a small step from what *this* image
# made the layer say.  Two hundred digits have two hundred targets, and the assertion fails.  But
# below it all is as before, the inverse's mistakes are still taught.  That is lesson 9.
