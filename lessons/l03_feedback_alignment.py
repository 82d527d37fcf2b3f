# %% [markdown]
"""
Lesson 3: feedback alignment
============================

Lillicrap, Cownden, Tweed & Akerman 2016 put fixed random weights in the place of W^T, on the way
down, and the network learned.  One symbol changes.  Why that works is the surprise: nobody tells
the error to suit the weights; the weights turn until they suit the error.

Reads ``minicredit/rules/feedback_alignment.py``.  Takes two seconds.  Afterwards you can say why a
random matrix can teach.
"""

# %%
import difflib
import inspect
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import ask, create, data
from minicredit.figure import look, pick_styles
from minicredit.measure import angle, angle_to_backprop, error_percent, weight_alignment
from minicredit.rules import Backprop, FeedbackAlignment

BACKEND = "numpy"                                   # or "numba", "cuda", "emulated"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
digits = data.load("digits")

# %% [markdown]
# One symbol
# ----------
#
# What the two rules do to a teaching signal, line by line, and where they differ::
#
#     backprop            delta[i-1] = (delta[i] W[i]^T) f'(a[i-1])
#     feedback alignment  delta[i-1] = (delta[i] B[i]^T) f'(a[i-1])     B[i] random, fixed

# %%
bp, fa = (inspect.getsource(rule.feedback).splitlines()
          for rule in (Backprop, FeedbackAlignment))
diff = [line for line in difflib.unified_diff(bp, fa, "bp", "fa", lineterm="", n=0)
        if not line.startswith("@@")]
print("\n".join(diff))
new = [line for line in diff[2:] if line[0] == "+"]
assert len(new) == 2 and all("B" in line for line in new)       # B is fetched, and B is used

# %% [markdown]
# If B is W, nothing has changed
# ------------------------------
#
# So backprop is one case of feedback alignment.  The question is what happens in all the others.

# %%
net = create((64, 32, 16, 10), backend=BACKEND)
ops, rule = net.ops, FeedbackAlignment(net)
x, y = ops.asarray(digits.train.x[:50]), ops.asarray(digits.train.y[:50])
for i in (2, 3):
    rule.B[i][...] = net.W[i]
true, ours = (ask(one, x, y).delta for one in (Backprop(net), rule))
for i in (1, 2, 3):
    assert (ops.to_numpy(true[i]) == ops.to_numpy(ours[i])).all()       # to the last bit

# %% [markdown]
# Why W turns towards B
# ---------------------
#
# Take two linear layers that start at zero, targets t, and two steps of gradient descent.  At the
# start both say 0, the error is -t, and W2, to which h[1] = 0 comes, cannot learn.  W1 becomes what
# came in times what was heard::
#
#     W1 = eta x^T (t B^T)                    heard: the error -t, through B
#
# Now h[1] = x W1 is a copy of t B^T, mixed over examples.  W2 is still 0, the error still -t, and
# W2's first step is::
#
#     W2 = eta h[1]^T t = eta^2 B (t^T x x^T t) = eta^2 B S,    S = (x^T t)^T (x^T t)
#
# S has no negative direction, so W2 and B agree: the sum of their products is a sum of squares.
# *The layer below learned to say what B would like to hear about, and the layer above listens.*

# %%
random = np.random.default_rng(0)
x, t = random.standard_normal((50, 20)), random.standard_normal((50, 5))
B = random.standard_normal((30, 5))                 # of the shape of W2
W1, W2, eta, agreement = np.zeros((20, 30)), np.zeros((30, 5)), 1e-3, []
for step in range(300):
    h1 = x @ W1
    e = h1 @ W2 - t
    dW1, dW2 = x.T @ (e @ B.T), h1.T @ e
    W1, W2 = W1 - eta * dW1, W2 - eta * dW2
    agreement.append(angle(W2, B) if step else 90)
    if step == 1:
        S = (x.T @ t).T @ (x.T @ t)
        assert np.allclose(W2, eta**2 * B @ S) and (np.linalg.eigvalsh(S) > 0).all()
        assert np.isclose((W2 * B).sum(), (eta * x.T @ t @ B.T).ravel() @ (eta * x.T @ t @ B.T)
                          .ravel())
print(f"angle of W2 to B: 90 at the start, {agreement[1]:.0f} degrees after two steps, "
      f"{agreement[-1]:.0f} in the end")
assert agreement[1] < 60

# %% [markdown]
# On digits
# ---------
#
# Three layers, tanh, plain gradient descent.  B never moves; the angle between W[i] and B[i] begins
# at a right angle, which is no information, and falls.  With it falls the angle between what the
# layers are told and the truth.  It need not reach 0: anything below 90 degrees goes downhill.

# %%
FRESH = False                                       # True: draw B anew before every step


def train(Rule, epochs=12, batch=32):
    """Test error, angles of W to B and of the updates to backprop's, after every epoch."""
    net = create((64, 64, 64, 10), backend=BACKEND, seed=1)
    rule, seen = Rule(net, eta=0.1, optimizer="sgd"), []
    for epoch in range(epochs + 1):
        if epoch:
            order = np.random.default_rng(epoch).permutation(len(digits.train.y))
            for n in range(0, len(order), batch):
                if FRESH and Rule is FeedbackAlignment:
                    for i in (2, 3):
                        rule.B[i][...] = net.layers[i].random_weights((9, epoch, n, i))
                rule.step(*(ops.asarray(a[order[n:n + batch]]) for a in digits.train))
        watched = [ops.asarray(a) for a in digits.validation]
        seen.append({"error": error_percent(net, *digits.test),
                     "W to B": [a.angle for a in weight_alignment(rule).values()],
                     "to backprop": angle_to_backprop(rule, *watched)[:2]})
    return seen


seen = {"bp": train(Backprop), "fa": train(FeedbackAlignment)}
for rule, rows in seen.items():
    print(f"{rule}: {rows[0]['error']:.0f} % wrong at the start, {rows[-1]['error']:.1f} % in the "
          f"end; degrees to backprop {np.round(rows[-1]['to backprop'])}")
start, end = seen["fa"][0], seen["fa"][-1]
print("W to B:", np.round(start["W to B"]), "degrees, then", np.round(end["W to B"]))
assert all(abs(a - 90) < 5 for a in start["W to B"])
assert all(a < 85 for a in end["W to B"]) and max(end["to backprop"]) < 75
assert end["error"] < seen["bp"][-1]["error"] + 3   # and the answers are nearly as good

# %% [markdown]
# Seen
# ----
#
# As W[i] turns towards B[i], what the layers are told turns towards the truth.

# %%
styles = pick_styles(["bp", "fa"], dark=False)
figure, axes = plt.subplots(1, 3, figsize=(10, 3.1), layout="constrained")
for rule, rows in seen.items():
    axes[0].plot([row["error"] for row in rows], color=styles[rule][0], label=rule)
axes[0].set(title="Wrong on test digits", xlabel="epoch", ylabel="percent", ylim=(0, 50))
axes[0].legend(frameon=False)
for place, key, title in ((1, "W to B", "W[i] turns towards B[i]"),
                          (2, "to backprop", "What layers are told")):
    for column, line in ((0, "-"), (1, "--")):
        layer = column + (2 if place == 1 else 1)
        axes[place].plot([row[key][column] for row in seen["fa"]], line, color=styles["fa"][0],
                         label=f"layer {layer}")
    axes[place].set(title=title, xlabel="epoch", ylabel="degrees", ylim=(0, 100),
                    yticks=[0, 30, 60, 90])
    axes[place].legend(frameon=False)
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l03_alignment.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# Set ``FRESH = True``: B is random as before, but another one at every step.  Now there is nothing
# to turn towards.  W stays at right angles to B, the layers below hear noise, and the last
# assertions fail.  It is not randomness that teaches, it is that B keeps its word.
