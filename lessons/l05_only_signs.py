# %% [markdown]
"""
Lesson 5: only signs, mirrors, and weights that grow together
=============================================================

How much of W must the way down know?  Liao, Leibo & Poggio 2016: only the signs.  And could a brain
find W out by itself?  Two ways: listen to what noise does (the weight mirror), or let both
directions make the same steps and forget alike (Kolen & Pollack 1994).  Both in Akrout et al. 2019.

Reads ``minicredit/rules/sign_symmetry.py``, ``weight_mirror.py``, ``kolen_pollack.py``.  Takes two
seconds.  Afterwards you know three ways for B to suit W, and what each needs.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import create, data, forward
from minicredit.figure import look, pick_styles
from minicredit.measure import angle, error_percent, weight_alignment
from minicredit.rules import (Backprop, FeedbackAlignment, KolenPollack, UniformSignSymmetry,
                              WeightMirror)

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
digits = data.load("digits")
random = np.random.default_rng(0)

# %% [markdown]
# What a sign is worth
# --------------------
#
# B = M sign(W), all equally strong.  Weights that are uniform in +-r have a mean size r / 2 and a
# root mean square r / sqrt(3), so the cosine between W and its signs is sqrt(3) / 2::
#
#     cos = sum |W| / (sqrt(sum W^2) sqrt(n)) = (r / 2) / (r / sqrt(3)),     30 degrees
#
# Gaussian weights make it sqrt(2 / pi), 37 degrees.  So one bit a weight, and the teaching signal
# is two thirds of the way from no information to the truth.

# %%
uniform, normal = random.uniform(-1, 1, (300, 300)), random.standard_normal((300, 300))
print(f"W to sign(W): {angle(uniform, np.sign(uniform)):.1f} degrees if uniform, "
      f"{angle(normal, np.sign(normal)):.1f} if normal")
assert abs(angle(uniform, np.sign(uniform)) - 30) < 0.5
assert abs(angle(normal, np.sign(normal)) - np.degrees(np.arccos(np.sqrt(2 / np.pi)))) < 0.5

# %% [markdown]
# In a rule it is one line: the pull back goes through M sign(W), with M, one number for a layer, as
# large as its weights are drawn.  This is *uniform* sign symmetry, ``usf``.

# %%
net = create((64, 32, 16, 10), dtype="float64", backend=BACKEND)
usf, x, y = UniformSignSymmetry(net), digits.train.x[:50].astype("float64"), digits.train.y[:50]
h = forward(net, x)
told = usf.feedback(h, y).delta
ours = (told[3] @ (usf.M[3] * np.sign(net.W[3])).T) * (1 - h[2]**2)
assert np.allclose(ours, told[2], rtol=0, atol=1e-12)
assert (usf.M[3] == usf.M[3][0, 0]).all()           # one number for the whole layer

# %% [markdown]
# A mirror
# --------
#
# Let nothing come in but noise s, of size sigma, and look at what the layer makes of it, r = s W.
# Both are at hand where B is, and their product is W on average::
#
#     E[s^T r] / sigma^2 = E[s^T s] W / sigma^2 = W
#
# A rule, whose layers bend, takes r = f(s W + b) - f(b), s so small that f is nearly straight.  No
# error, no teacher, no labels; only patience.  What is wrong falls with the root of the number
# of noises heard: four times as long, half the error.

# %%
W, sigma, heard, wrong, B = random.uniform(-1, 1, (30, 20)), 0.2, 0, {}, np.zeros((30, 20))
for step in range(1, 4001):
    s = sigma * random.standard_normal((10, 30))
    B += s.T @ (s @ W) / sigma**2
    heard += 10
    if step in (10, 40, 160, 640, 2560):
        wrong[heard] = np.linalg.norm(B / heard - W) / np.linalg.norm(W)
print("relative error of the mirror image:", {n: round(float(e), 3) for n, e in wrong.items()})
ratios = [a / b for a, b in zip([*wrong.values()][:-1], [*wrong.values()][1:])]
assert all(1.5 < ratio < 2.7 for ratio in ratios)
assert angle(s.T @ np.tanh(0.1 * s @ W), s.T @ s @ W) < 2  # small s: f bends little

# %% [markdown]
# Growing together
# ----------------
#
# Both ends of a connection see h[i-1] and delta[i].  So both can make the same step u, whatever it
# is, and if both then lose the same share, what is between them is all that is lost::
#
#     W <- (1 - leak) (W + u)
#     B <- (1 - leak) (B + u)         W - B <- (1 - leak) (W - B)

# %%
leak = 0.01
kp = KolenPollack(net, eta=0.1, leak=leak, optimizer="sgd")
apart = [net.W[2] - kp.B[2]]
for step in range(100):
    kp.step(x, y)
    apart.append(net.W[2] - kp.B[2])
assert np.allclose(apart[-1], (1 - leak)**100 * apart[0], rtol=0, atol=1e-12)
assert np.linalg.norm(apart[-1]) < 0.4 * np.linalg.norm(apart[0])

# %% [markdown]
# All of them
# -----------
#
# Two hidden layers, 15 epochs of digits.  Every rule learns; they differ in how near their B comes
# to W.  The mirror follows closely and costs noise at every step; signs stay where they began, at
# some 30 degrees; Kolen-Pollack comes from 90 and closes in; feedback alignment leaves it to W.

# %%
def train(Rule, epochs=15, batch=32, **options):
    """Test error and mean angle of feedback to forward weights, epoch by epoch."""
    net = create((64, 64, 64, 10), backend=BACKEND)
    rule, seen = Rule(net, **options), []
    for epoch in range(epochs + 1):
        if epoch:
            order = np.random.default_rng(epoch).permutation(len(digits.train.y))
            for n in range(0, len(order), batch):
                rule.step(digits.train.x[order[n:n + batch]], digits.train.y[order[n:n + batch]])
        angles = [a.angle for a in weight_alignment(rule).values()]
        seen.append((error_percent(net, *digits.test), np.mean(angles) if angles else 0))
    return np.array(seen)


seen = {"bp": train(Backprop), "usf": train(UniformSignSymmetry),
        "weight-mirror": train(WeightMirror), "kolen-pollack": train(KolenPollack, leak=1e-3),
        "fa": train(FeedbackAlignment)}
for name, rows in seen.items():
    print(f"{name:13}  {rows[-1, 0]:4.1f} % wrong; B to W: {rows[0, 1]:.0f} degrees at the start, "
          f"{rows[-1, 1]:.0f} in the end")
end = {name: rows[-1, 1] for name, rows in seen.items()}
assert max(rows[-1, 0] for rows in seen.values()) < 8
assert end["weight-mirror"] < 30 and end["kolen-pollack"] < 45 < end["fa"]
assert 28 < seen["usf"][0, 1] < 32 and 25 < end["usf"] < 45

# %% [markdown]
# Seen
# ----
#
# All of them learn; on the right, how far each is from knowing W.

# %%
styles = pick_styles(seen, dark=False)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name, rows in seen.items():
    left.plot(rows[:, 0], color=styles[name][0], linestyle=styles[name][1], label=name)
    if name != "bp":
        right.plot(rows[:, 1], color=styles[name][0], linestyle=styles[name][1])
left.set(title="Wrong on test digits", xlabel="epoch", ylabel="percent", ylim=(0, 20))
left.legend(frameon=False)
right.set(title="Feedback to forward weights", xlabel="epoch", ylabel="degrees", ylim=(0, 100),
          yticks=[0, 30, 60, 90])
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l05_suits.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# Set ``leak = 0``: the two still make the same steps, but what was between them stays for ever, and
# the assertion that it shrank fails.  (Their *angle* falls all the same, as what they share
# outgrows what they do not.)  And with ``np.sign(-net.W[3])`` every unit would be told the opposite
# of the truth, at 150 degrees; the comparison with the library fails.
