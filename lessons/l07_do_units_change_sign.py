# %% [markdown]
"""
Lesson 7: do units change sign?
===============================

Kickback (Balduzzi et al. 2015, lesson 6) asks every unit to keep its sign for life.  Do units of a
network that is free to choose ever change theirs, and how often?  The question is asked where
Kickback is discussed and answered nowhere, so here it is measured, on digits.

Reads ``minicredit/measure/signs.py`` and ``slopes.py``.  Takes two seconds.  Afterwards you can
tell a weight that changes sign from a unit that does.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import create, data, forward
from minicredit.figure import look, pick_styles
from minicredit.measure import SignWatch, effect_signs, error_percent, unit_effects
from minicredit.rules import DTP, Backprop, FeedbackAlignment, Kickback

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
digits = data.load("digits")

# %% [markdown]
# Two meanings
# ------------
#
# The sign of a *weight* is that of one number.  The sign of a *unit* is that of its effect: does
# more of unit j make class c more or less likely?  A softmax looks only at differences of the
# logits z_c, so what all classes get alike is taken away::
#
#     e_jc = dz_c/dh_j - mean over c' of dz_c'/dh_j
#
# In the last hidden layer that is W[L], whatever the image.  Further down there are units in
# between that are on for one image and off for another, and the sign may follow them.

# %%
net = create((64, 48, 48, 10), f="relu", backend=BACKEND)
h, W = forward(net, digits.test.x), net.W
effects = unit_effects(net, digits.test.x)          # effects[i] (classes, images, units)

gates = (h[2][3] > 0).astype(float)                 # image 3, by hand: which of layer 2 are on?
e = (W[2] * gates) @ W[3]                           # dz/dh[1]: (units of layer 1, classes)
assert np.allclose((e - e.mean(axis=1, keepdims=True)).T, effects[1][:, 3], atol=1e-6)
assert (effects[2] == effects[2][:, :1]).all()      # layer 2: the same for every image
both = (effects[1].min(axis=1) < 0) & (effects[1].max(axis=1) > 0)
print(f"before any training, {100 * both.mean():.0f} % of the (unit, class) effects of layer 1 "
      "have one sign for some digits and the other for others")
assert both.mean() > 0.8

# %% [markdown]
# Four rules, watched
# -------------------
#
# Every weight is looked at after every step, but for those from pixels that are never on; every
# unit after every epoch, on a hundred test digits at a time.  A weight is *big* if it began above
# the median size of its layer.  Kickback has its own network, one coherent one a class.

# %%
def watch(rule, epochs=12, batch=32):
    """Error, signs of weights and of units, before and after each epoch."""
    net, weights, seen = rule.net, SignWatch(rule, mask=(digits.train.x != 0).any(axis=0)), []
    for epoch in range(epochs + 1):
        seen.append((error_percent(net, *digits.test), weights.report(),
                     effect_signs(net, digits.test.x)))
        for learn in rule.passes:                   # DTP: its inverses first, then the rest
            order = np.random.default_rng(epoch).permutation(len(digits.train.y))
            for n in range(0, len(order), batch):
                learn(digits.train.x[order[n:n + batch]], digits.train.y[order[n:n + batch]])
                if learn == rule.passes[-1]:
                    weights.see()
    return seen


def free():
    """A network that may do what it likes with its signs."""
    return create((64, 48, 48, 10), f="relu", backend=BACKEND)


coherent = Kickback.create((64, 16, 8, 2), classes=10, backend=BACKEND)
seen = {"bp": watch(Backprop(free())), "fa": watch(FeedbackAlignment(free())),
        "dtp": watch(DTP(free())), "kickback": watch(Kickback(coherent))}

# %% [markdown]
# Weights: seldom
# ---------------
#
# Most weights die with the sign they were born with, and those that change were small: a weight
# near zero has a short way.  Feedback alignment turns more of them, because W[i] has to turn
# towards a B[i] that it was not drawn near to.

# %%
for name, rows in seen.items():
    error, weights, _ = rows[-1]
    print(f"{name:8}  {error:4.1f} % wrong; weights whose sign is not the first: "
          + ", ".join(f"{100 * w.changed:.0f} % of layer {w.layer} (big {100 * w.changed_big:.0f}, "
                      f"small {100 * w.changed_small:.0f})" for w in weights))
end = {name: rows[-1] for name, rows in seen.items()}
for name in ("bp", "fa", "dtp"):
    for w in end[name][1]:
        assert w.changed < 0.4 and w.changed_big < w.changed_small
assert all(fa.changed > bp.changed for fa, bp in zip(end["fa"][1][1:], end["bp"][1][1:]))
assert all(w.changed == 0 for w in end["kickback"][1][1:])      # by construction

# %% [markdown]
# Units: all the time
# -------------------
#
# A unit of layer 1 helps a class on one digit and hurts it on the next, before training and after.
# Learning makes that rarer, and does not end it.  No free network keeps what Kickback demands, and
# Kickback's network, which keeps it, answers digits about as well: changing sign is something that
# free networks do, not something that these digits need.

# %%
for name, rows in seen.items():
    print(f"{name:8}  effects of layer 1 that take both signs in 100 digits: "
          f"{100 * rows[0][2][0].both:.0f} % at the start, {100 * rows[-1][2][0].both:.0f} % in "
          f"the end; the rarer sign: {100 * rows[-1][2][0].minority:.0f} % of the digits")
for name in ("bp", "fa", "dtp"):
    first, last = seen[name][0][2], end[name][2]
    assert 0.2 < last[0].both < first[0].both       # fewer than before, and many
    assert last[1].both == 0                        # above the last hidden layer is no gate
assert all(units.both == units.minority == 0 for units in end["kickback"][2])
assert end["kickback"][0] < end["bp"][0] + 3

# %% [markdown]
# Seen
# ----
#
# On MNIST, longer, with more numbers: ``python -m minicredit.experiments.signs`` and
# ``docs/signs.md``.  The answers are the same; the sizes are not.  One seed, one small data set,
# rectifiers: that is all this lesson can speak for.

# %%
styles = pick_styles(seen, dark=False)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name, rows in seen.items():
    left.plot([100 * row[1][1].changed for row in rows], color=styles[name][0], label=name)
    right.plot([100 * row[2][0].both for row in rows], color=styles[name][0])
left.set(title="Weights of layer 2", xlabel="epoch", ylim=(-2, 100),
         ylabel="percent with another sign\nthan at the start")
right.set(title="Units of layer 1", xlabel="epoch", ylim=(-2, 100),
          ylabel="percent of effects with\nboth signs in 100 digits")
left.legend(frameon=False)
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l07_signs.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# In ``free``, write ``f="linear"``.  There are no gates then, so an effect is a product of weights,
# the same for all images: no unit changes sign from one digit to the next, and the assertion that
# many do fails.  It is not depth that makes units change sign; gates do.
