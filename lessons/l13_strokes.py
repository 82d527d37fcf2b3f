# %% [markdown]
"""
Lesson 13: strokes, and layers that need no teacher
===================================================

In an autoencoder the decoder is the inverse of the encoder, and the encoder that of the decoder.
So difference target propagation needs nothing more than the two, and Lee et al. 2015 found that the
first layer then learns pen strokes.  Are such features, or those of other rules that see no label
(Sanger 1989; Vincent et al. 2008), a good first layer *below* target propagation?

Reads ``minicredit/rules/dtp.py``.  Takes three seconds.  Afterwards you know three ways for a layer
to learn from images alone, and what they were worth here.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import create, data
from minicredit.figure import look
from minicredit.measure import error_percent
from minicredit.rules import DTP

BACKEND = "numpy"                                   # or "numba"
DATA, UNITS = "digits", 48                          # or "mnist", 100: better strokes, a minute
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
images = data.load(DATA)
X, Y, side = images.train.x[:5000], images.train.y[:5000], images.shape[0]

# %% [markdown]
# An autoencoder taught by targets
# --------------------------------
#
# The encoder says h = f(x), the decoder z = g(h), with the same weights transposed.  The target of
# z is x.  What should h have been?  By the difference rule, with f as the inverse of g::
#
#     z     = g(f(x))
#     h_hat = h + (f(x) - f(z)) = 2 h - f(z)
#
# If what comes out is what went in, nothing changes.  The decoder moves z towards x, the encoder
# moves f(x + noise) towards h_hat.  No slope of one reaches the other.

# %%
def f(x, W, b):
    """Encode."""
    return 1 / (1 + np.exp(-np.clip(x @ W + b, -30, 30)))


def autoencoder(taught_by, epochs=40, batch=50, eta=0.05, sigma=0.5):
    """W and b of an encoder, and how wrong what comes back is (1: as wrong as the mean)."""
    random = np.random.default_rng(0)
    r = np.sqrt(6 / (X.shape[1] + UNITS))
    W = random.uniform(-r, r, (X.shape[1], UNITS)).astype("float32")
    b, c = np.zeros(UNITS, "float32"), np.zeros(X.shape[1], "float32")
    for _ in range(epochs):
        order = random.permutation(len(X))
        for n in range(0, len(X), batch):
            x = X[order[n:n + batch]]
            noisy = x + sigma * random.standard_normal(x.shape, "float32")
            h, h_noisy = f(x, W, b), f(noisy, W, b)
            if taught_by == "targets":
                z = f(h, W.T, c)
                h_hat = 2 * h - f(z, W, b)
                assert np.allclose(h_hat, h + (f(x, W, b) - f(z, W, b)), atol=1e-5)
                wrong = h_noisy - h_hat
            else:                                   # a denoising autoencoder, taught by slopes
                h, z = h_noisy, f(h_noisy, W.T, c)
                wrong = (z - x) @ W
            delta, e = wrong * h_noisy * (1 - h_noisy), z - x
            W -= eta * (noisy.T @ delta + e.T @ h) / len(x)
            b, c = b - eta * delta.mean(axis=0), c - eta * e.mean(axis=0)
    z = f(f(X, W, b), W.T, c)
    return W, b, ((z - X)**2).sum() / ((X - X.mean(axis=0))**2).sum()


strokes, b_strokes, wrong = autoencoder("targets")
denoising, b_denoising, wrong_denoising = autoencoder("slopes")
print(f"what comes back is wrong by {wrong:.2f} (targets), {wrong_denoising:.2f} (slopes)")
assert wrong < 0.6 and wrong_denoising < 0.6

# %% [markdown]
# Sanger's rule
# -------------
#
# Older, and simpler: a linear unit y = x w that strengthens what it answers to, dw = x y, grows
# without end.  Oja 1982 let it forget in proportion, dw = y (x - y w), and it finds the direction
# in which inputs vary most.  Sanger let every unit look only at what the units before it have left
# over, and they find the principal components, the strongest first.

# %%
def sanger(epochs=60, batch=50, eta=0.1):
    """Principal components, by a local rule; one a column."""
    random = np.random.default_rng(0)
    W = 0.1 * random.standard_normal((X.shape[1], UNITS), "float32")
    for epoch in range(epochs):
        order = random.permutation(len(X))
        for n in range(0, len(X), batch):
            x = X[order[n:n + batch]] - X.mean(axis=0)
            y = x @ W
            W += eta * (1 - epoch / epochs) * (x.T @ y - W @ np.triu(y.T @ y)) / len(x)
    return W


components = sanger()
_, _, true = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
found = abs(np.sum(components[:, :4] * true[:4].T, axis=0))
print("cosine of the first four units with the principal components:", np.round(found, 2))
assert found[0] > 0.85 and found.mean() > 0.8

# %% [markdown]
# What they look like
# -------------------
#
# A feature is smooth if neighbouring pixels have like weights.  Random ones are not; strokes are.

# %%
def smoothness(W):
    """The correlation of a weight with that of the pixel to the right."""
    W = W.reshape(side, side, -1)
    return np.corrcoef(W[:, 1:].ravel(), W[:, :-1].ravel())[0, 1]


r = np.sqrt(6 / (X.shape[1] + UNITS))
chance = np.random.default_rng(5).uniform(-r, r, strokes.shape).astype("float32")
layers = {"random": chance, "Sanger": components, "denoising": denoising, "strokes": strokes}
print("smoothness:", {name: round(float(smoothness(W)), 2) for name, W in layers.items()})
assert abs(smoothness(chance)) < 0.1 < 0.2 < smoothness(strokes)

# %%
figure, axes = plt.subplots(1, 4, figsize=(10.4, 3), layout="constrained")
for place, (name, W) in zip(axes, layers.items()):
    W = W[:, :UNITS // 6 * 6][:, :36]
    tiles = np.full((6, side + 1, 6, side + 1), np.nan)
    tiles[:, :side, :, :side] = (W / abs(W).max(axis=0)).T.reshape(6, 6, side, side).transpose(
        0, 2, 1, 3)
    place.imshow(tiles.reshape(6 * (side + 1), -1), cmap="gray")
    place.set_title(name)
    place.axis("off")
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l13_strokes.png", dpi=150)

# %% [markdown]
# Does it help?
# -------------
#
# A first layer of each kind, fixed, with difference target propagation above; and for comparison
# one that target propagation teaches itself (``none`` is fixed).  Once with a hundred labels, once
# with all.

# %%
largest = ((X - X.mean(axis=0)) @ components).std(axis=0).max()
says = {"random": lambda x: np.tanh(x @ chance),
        "Sanger": lambda x: np.tanh((x - X.mean(axis=0)) @ components / largest),
        "denoising": lambda x: f(x, denoising, b_denoising),
        "strokes": lambda x: f(x, strokes, b_strokes), "none": None}


def error(name, labels, epochs, seed):
    """Test error of DTP above a fixed layer; of DTP on all layers, above none."""
    x, x_test, sizes = X, images.test.x, (X.shape[1], UNITS, 48, images.K)
    if says[name]:
        h, h_test, sizes = says[name](X), says[name](x_test), sizes[1:]
        x, x_test = ((g - h.mean(axis=0)) / h.std() for g in (h, h_test))
    rule = DTP(create(sizes, seed=seed, backend=BACKEND))
    for epoch in range(epochs):
        for learn in rule.passes:
            order = np.random.default_rng((seed, epoch)).permutation(labels)
            for n in range(0, labels, 32):
                learn(x[order[n:n + 32]], Y[order[n:n + 32]])
    return error_percent(rule.net, x_test, images.test.y)


few = {name: np.mean([error(name, 100, 60, seed) for seed in range(3)]) for name in says}
many = {name: error(name, len(X), 12, 0) for name in says}
for name in says:
    print(f"{name:10} {few[name]:4.1f} % wrong with 100 labels, {many[name]:4.1f} % with all")

# %% [markdown]
# With few labels a denoising layer helps: it has seen all the images.  With all labels it does not,
# but principal components, which no label has touched, serve as well as a layer that targets teach,
# or a little better (a percent is four images).  And the prettiest features, the strokes, are no
# better than random ones: what looks like a good feature and what serves a task are two questions.
# On 5,000 images of MNIST (change DATA), with 100 labels: 26 % denoising, 32 none, 34 strokes, 36
# random, 40 Sanger.

# %%
if DATA == "digits":
    assert few["denoising"] < few["none"] - 1 and few["strokes"] > few["random"]
    assert abs(many["Sanger"] - many["none"]) < 2.5

# %% [markdown]
# Break it
# --------
#
# In ``sanger``, leave ``np.triu`` out: all units forget by all others alike, nobody is first, and
# they share the space of the principal components without finding any one of them.  That is Oja's
# subspace rule; the assertion about the cosines fails.
