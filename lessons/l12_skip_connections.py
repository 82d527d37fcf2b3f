# %% [markdown]
"""
Lesson 12: skip connections, seen from credit
=============================================

He, Zhang, Ren & Sun 2016 let every layer add a correction to what came in, h + f(h W), and very
deep networks began to learn.  The usual reason: the error, too, can skip.  That is a statement
about backprop.  What do skips do for rules whose errors come down through random or learned
weights?

Reads ``minicredit/layers/residual.py``.  Takes four seconds.  Afterwards you know what a skip does
to a teaching signal, exactly, and which part of its success that does *not* explain.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import create, data, forward
from minicredit.figure import look, pick_styles
from minicredit.layers import Residual
from minicredit.measure import angle_to_backprop, error_percent
from minicredit.presets import make
from minicredit.rules import DTP, Backprop, FeedbackAlignment

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
digits = data.load("digits")
random = np.random.default_rng(0)
ops = create((1, 1), backend=BACKEND).ops           # the backend's operations

# %% [markdown]
# Past the weights
# ----------------
#
# The layer says h[i] = u + f(a), with u = h[i-1] and a = u W + b, all of one size.  An error e at
# what it said comes to u by two ways, and the second is not weighed by anything::
#
#     dloss/du = (e f'(a)) W^T + e
#
# In the library the two halves stay together until the pull back: delta = [e f'(a), e].

# %%
layer = Residual(6, 6, "tanh", ops, "float64", (0, 0, 1, 0))
u, e = random.standard_normal((4, 6)), random.standard_normal((4, 6))
h = layer.forward(u)
assert np.allclose(h, u + np.tanh(u @ layer.W), rtol=0, atol=1e-14)
delta = layer.times_slope(e, h, u)
slope = 1 - np.tanh(u @ layer.W)**2
assert np.allclose(layer.pull_back(delta), (e * slope) @ layer.W.T + e, rtol=0, atol=1e-12)

# %% [markdown]
# Feedback alignment changes the first way, and cannot touch the second.  So in a network with skips
# even random weights deliver part of the truth, from the first step on: put B = 0, the worst that
# could be, and the error arrives as it was.

# %%
B = random.standard_normal((6, 6))
assert np.allclose(layer.pull_back(delta, B) - (e * slope) @ B.T, e, rtol=0, atol=1e-12)
assert (layer.pull_back(delta, 0 * B) == e).all()

# %% [markdown]
# A dozen layers
# --------------
#
# Twelve hidden layers of 48, tanh, with skips and without.  *Signal* is the size of what the lowest
# hidden layer's weights are told, over that of the highest.

# %%
NETS = {False: "64-12x48-10", True: "64-48-11xres48-10"}       # res: a skip, 48 numbers to 48


def signal(rule):
    """How loud layer 1 is told anything, relative to the top hidden layer."""
    x, y = digits.validation
    delta = rule.feedback(forward(rule.net, x), y).delta
    return np.linalg.norm(delta[1][:, :48]) / np.linalg.norm(delta[rule.net.L - 1][:, :48])


def train(Rule, skips, epochs=6, batch=32, only_top=False):
    """A rule after training, and the signal before."""
    net = make(NETS[skips], backend=BACKEND)
    rule = Rule(net)
    before, kept = signal(rule), {name: a.copy() for name, a in net.parameters().items()}
    for epoch in range(epochs):
        for learn in rule.passes:
            order = np.random.default_rng(epoch).permutation(len(digits.train.y))
            for n in range(0, len(order), batch):
                learn(digits.train.x[order[n:n + batch]], digits.train.y[order[n:n + batch]])
                for name in kept if only_top else ():
                    if f"[{net.L}]" not in name:
                        net.parameters()[name][...] = kept[name]
    return rule, before


rules, wrong, signals, degrees = {}, {}, {}, {}
for Rule in (Backprop, FeedbackAlignment, DTP):
    for skips in (False, True):
        name = Rule.__name__, skips
        rules[name], before = train(Rule, skips)
        wrong[name] = error_percent(rules[name].net, *digits.test)
        signals[name] = before, signal(rules[name])
        degrees[name] = angle_to_backprop(rules[name], *digits.validation)[:-1]
        print(f"{Rule.__name__:17} {'skips' if skips else '     '}  {wrong[name]:4.1f} % wrong; "
              f"signal {signals[name][0]:.2f} at the start, {signals[name][1]:.2f} in the end; "
              f"layer 1 {degrees[name][0]:.0f} degrees from backprop")
for Rule in ("Backprop", "FeedbackAlignment", "DTP"):
    assert wrong[Rule, True] < wrong[Rule, False]               # skips help every rule
    assert signals[Rule, False][0] < 1 < signals[Rule, True][0]     # and every error arrives
assert signals["FeedbackAlignment", False][1] < 0.2             # without, random feedback fades

# %% [markdown]
# Do the layers know better?
# --------------------------
#
# If the error arriving were the reason, layers should be told something nearer to the truth.  For
# feedback alignment, here, they are.  For difference target propagation they are not: its lowest
# layer ends *further* from backprop with skips than without, and the network is better all the
# same.

# %%
def low(rule, skips):
    """Mean angle of the four lowest layers."""
    return np.mean(degrees[rule, skips][:4])


print({rule: f"{low(rule, False):.0f} without, {low(rule, True):.0f} with skips"
       for rule in ("FeedbackAlignment", "DTP")}, "degrees, mean of layers 1 to 4")
assert low("FeedbackAlignment", True) < low("FeedbackAlignment", False) - 5
assert low("DTP", True) > low("DTP", False) and wrong["DTP", True] < 0.7 * wrong["DTP", False]

# %% [markdown]
# What is on the way up
# ---------------------
#
# So teach *nothing* below the top: twelve layers as they were drawn, and an output that learns to
# read them.  With skips it reads far better.  Whatever the layers have added, what came in is
# still there to be seen, while a dozen random layers without a skip have scrambled it.  A good part
# of what skips do has nothing to do with credit.

# %%
top = {skips: error_percent(train(Backprop, skips, only_top=True)[0].net, *digits.test)
       for skips in (False, True)}
print(f"only the output learns: {top[False]:.0f} % wrong without skips, {top[True]:.0f} % with")
assert top[True] < 0.8 * top[False]
assert wrong["FeedbackAlignment", True] < top[True]             # credit is worth something, too

# %%
styles = pick_styles(["bp", "fa", "dtp"], dark=False)
short = {"Backprop": "bp", "FeedbackAlignment": "fa", "DTP": "dtp"}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for (Rule, skips), error in wrong.items():
    colour, line = styles[short[Rule]][0], "-" if skips else "--"
    place = list(short).index(Rule) + (0.2 if skips else -0.2)
    left.bar(place, error, 0.36, color=colour if skips else "none", edgecolor=colour)
    if Rule != "Backprop":
        right.plot(range(1, 13), degrees[Rule, skips], line, color=colour,
                   label=f"{short[Rule]}, {'with skips' if skips else 'without'}")
left.bar([2.8, 3.2], [top[False], top[True]], 0.36, color=["none", "0.6"], edgecolor="0.6")
left.set(title="Wrong, without and with skips", ylabel="percent", xticks=range(4),
         xticklabels=[*short.values(), "only output\nlearns"])
right.set(title="Angle to backprop, in the end", xlabel="layer (1 sees the input)",
          ylabel="degrees", ylim=(0, 120), yticks=[0, 30, 60, 90, 120], xticks=[1, 4, 8, 12])
right.legend(frameon=False, ncols=2, loc="upper left", fontsize=8)
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l12_skips.png", dpi=150)

# %% [markdown]
# Deeper and longer: ``python -m minicredit.experiments.skips``, and ``docs/skips.md``.  There the
# angles of feedback alignment do not improve either, and the reason is still open.
#
# Break it
# --------
#
# In ``NETS``, write ``"64-12xres48-10"`` for the network with skips.  Now the first layer has one
# as well, but from 64 numbers to 48, so it cannot hand on what came in: it needs a matrix P beside
# W.  Feedback alignment is told about both through weights it drew at random, and with skips it is
# no better than without: the first of the assertions about errors fails.  Backprop and DTP, which
# can learn what P should be, keep most of the gain.
