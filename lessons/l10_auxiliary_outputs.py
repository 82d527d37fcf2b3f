# %% [markdown]
"""
Lesson 10: no gradient at all, and auxiliary outputs
====================================================

Difference target propagation still takes its first target from a slope through W[L].  Bartunov et
al. 2018 removed that too: in *simplified* DTP the label is the target of the output, and inverses
carry it down, all the way.  But ten labels make ten templates (lesson 8), so they let the output
say more than the class: auxiliary outputs, random and never trained.

Reads ``minicredit/rules/sdtp.py`` and ``ao_sdtp.py``.  Takes three seconds.  Afterwards you know
how a label can teach without a slope, and what a few random numbers beside it are good for.
"""

# %%
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minicredit import ask, create, data, forward
from minicredit.figure import look
from minicredit.measure import diversity, error_percent, inverse_error, template_diversity
from minicredit.rules import AOSDTP, DTP, SDTP, Backprop

BACKEND = "numpy"                                   # or "numba"
plt.rcParams.update({**look(dark=False), "axes.titlepad": 8})
digits = data.load("digits")
x, y = digits.train.x[:400], digits.train.y[:400]

# %% [markdown]
# The label is the target
# -----------------------
#
# The top inverse g_L sees probabilities p = softmax(h[L]), and then what they should have been::
#
#     h_hat[L-1] = h[L-1] + (g_L(onehot(y)) - g_L(p))
#
# and the difference rule goes on from there.  No W is read on the way down, nor any slope of a
# loss.  The output layer itself still learns from its own error, which it has at hand.

# %%
net = create((64, 48, 32, 10), dtype="float64", backend=BACKEND)
x64, L = x.astype("float64"), 3
rule = SDTP(net)
answer = ask(rule, x64, y)
h, g_L = answer.h, rule.G[L].forward
p = np.exp(h[L]) / np.exp(h[L]).sum(axis=1, keepdims=True)
assert np.allclose(answer.h_hat[2], h[2] + (g_L(np.eye(10)[y]) - g_L(p)), rtol=0, atol=1e-12)
right = ask(SDTP(net, label_step=0.0), x64, y)      # if p is right (here: p is its own target),
assert all((right.delta[i] == 0).all() for i in (1, 2))         # nobody below need change

# %% [markdown]
# What the inverse cannot say
# ---------------------------
#
# g_L(onehot(y)) is one vector a class: a template.  Was this four wide or narrow?  p says little of
# it and the label nothing, so g_L, asked for 32 numbers, can only answer with the average four.
# Auxiliary outputs z, fixed random features of the layer below, tell it *which* four this was::
#
#     z          = tanh(h[L-1] Wz),                   Wz random, never trained
#     h_hat[L-1] = h[L-1] + (g_L([onehot(y), z]) - g_L([p, z]))
#
# The same z stands in both terms: the target asks for another class, not for another image.

# %%
ao = AOSDTP(net, n_aux=20)
z, g_L = np.tanh(h[2] @ ao.Z.W), ao.G[L].forward


def beside(o):
    """The whole output, [o, z]."""
    return np.concatenate([o, z], axis=1)


asked = ask(ao, x64, y)
assert np.allclose(asked.h_hat[2], h[2] + (g_L(beside(np.eye(10)[y])) - g_L(beside(p))), atol=1e-12)
assert np.allclose(asked.h_hat[L], beside(np.eye(10)[y]), atol=1e-12)
none, plain = ask(AOSDTP(net, n_aux=0), x64, y), ask(SDTP(net), x64, y)
assert all((none.delta[i] == plain.delta[i]).all() for i in (1, 2, 3))  # no z at all: SDTP, exactly

# %% [markdown]
# How many?
# ---------
#
# Train with more and more of them.  Three numbers, about the last hidden layer: what g_L gets wrong
# (1: it says the mean), how much of what it says about labels differs within a class, and, of
# course, the error.

# %%
def train(Rule, epochs=10, batch=32, **options):
    """A rule, trained."""
    rule = Rule(create((64, 64, 64, 10), backend=BACKEND), eta=1e-3, **options)
    for epoch in range(epochs):
        for learn in rule.passes:
            order = np.random.default_rng(epoch).permutation(len(digits.train.y))
            for n in range(0, len(order), batch):
                learn(digits.train.x[order[n:n + batch]], digits.train.y[order[n:n + batch]])
    return rule


counts = (0, 4, 16, 64, 256)
rules = {n: train(AOSDTP, n_aux=n) for n in counts}
errors = {n: error_percent(rule.net, *digits.test) for n, rule in rules.items()}
wrong = {n: inverse_error(rule, x)[L] for n, rule in rules.items()}
template = {n: template_diversity(rule, x, y)[2] for n, rule in rules.items()}
for n in counts:
    print(f"z of {n:3}: g_L wrong by {wrong[n]:.2f}, templates vary by "
          f"{100 * template[n].spread:2.0f} % within classes, in "
          f"{template[n].effective_rank:4.1f} directions; test error {errors[n]:.1f} %")
assert template[0].spread < 1e-6 and template[0].rank == 0      # one a class
assert all(wrong[b] < wrong[a] for a, b in zip(counts, counts[1:]))
assert all(template[b].spread > template[a].spread for a, b in zip(counts, counts[1:]))

# %% [markdown]
# So z does what it is for: the inverse says as much as there is to say.  It stops helping once z
# knows the layer below, whose activities themselves vary by so much and no more.

# %%
said = diversity(forward(rules[256].net, x)[2], y)
print(f"h[2] itself varies by {100 * said.spread:.0f} % within classes")
assert abs(template[256].spread - said.spread) < 0.1
assert wrong[64] - wrong[256] < 0.2 * (wrong[0] - wrong[64])

# %% [markdown]
# Does it lower the error?
# ------------------------
#
# On these digits, no: all of them are a few percent, DTP and backprop too, and differences of a
# percent are four images of 360.  Where classes vary more it does: Bartunov et al. found 54 % with
# no z and 45 % with 512, fully connected on CIFAR-10 (DTP: 42 %).  On MNIST, three epochs,
# ``python -m minicredit.experiments.templates --data mnist`` gives 6.6 % with no z, 4.7 % with 128,
# 4.0 % for DTP.  An easy task forgives poor targets: it is no test of a learning rule.

# %%
others = {name: error_percent(train(Rule).net, *digits.test)
          for name, Rule in (("bp", Backprop), ("dtp", DTP))}
print({name: f"{error:.1f} %" for name, error in others.items()})
assert max(*errors.values(), *others.values()) < 9

# %%
figure, axes = plt.subplots(1, 3, figsize=(10.2, 3.5), layout="constrained")
for place, n in ((0, 0), (1, 256)):
    rule = rules[n]
    h2, G = forward(rule.net, x)[2], rule.G[L]
    middle, (_, _, direction) = h2.mean(axis=0), np.linalg.svd(h2 - h2.mean(axis=0), False)
    says = G.forward(rule.feedback(forward(rule.net, x), y).h_hat[L])
    axes[place].plot(*(direction[:2] @ (h2 - middle).T), ".", color="0.85", markersize=4)
    axes[place].scatter(*(direction[:2] @ (says - middle).T), c=y, cmap="tab10", s=10)
    axes[place].set(title=f"What g_L says of labels, z of {n}", xticks=[], yticks=[],
                    xlabel="grey: the activities themselves")
axes[2].plot([100 * template[n].spread for n in counts], "o-", color="#D55E00",
             label="templates within classes")
axes[2].plot([100 * wrong[n] for n in counts], "s--", color="#0B58A8", label="g_L wrong")
axes[2].set(title="More auxiliary outputs", xlabel="size of z", ylabel="percent of variance",
            xticks=range(len(counts)), xticklabels=counts, ylim=(0, None))
axes[2].legend(frameon=False)
Path("figures").mkdir(exist_ok=True)
figure.savefig("figures/l10_auxiliary.png", dpi=150)

# %% [markdown]
# Break it
# --------
#
# In ``beside``, concatenate ``0 * z``, as if z were silent: the inverse is asked about a strange
# image, in both terms, and answers for that.  The comparison with the library fails.  Silence z in
# one term only and it is worse: then even a right answer would ask for a change.
