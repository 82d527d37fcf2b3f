"""The contenders in JAX: a whole step, optimiser and random numbers included, is one jax.jit.

What a step changes is donated to it, so nothing is copied.  Random numbers are JAX's default
(threefry).  Derivatives are jax.grad's; of feedback alignment too, with a layer whose backward pass
is replaced.  `contenders` says which rules there
are; SDTP, AO-SDTP and Kickback are not among them.
"""
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.tasks import Problem

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu}
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


# One step, as a function: p are the arrays by name, s is what the optimiser remembers -------------

def descend(p, s, gradient, t, problem):
    """Every array of `gradient`, one step down; new p and s."""
    p, s, eta = dict(p), dict(s), problem.eta
    for name, g in gradient.items():
        if problem.task.optimizer == "sgd":
            p[name] = p[name] - eta * g
            continue
        m, v = BETA1 * s[name][0] + (1 - BETA1) * g, BETA2 * s[name][1] + (1 - BETA2) * g * g
        s[name], root = (m, v), jnp.sqrt(v / (1 - BETA2**t)) + EPS
        p[name] = p[name] - eta / (1 - BETA1**t) * m / root
    return p, s


def part(p, letters):
    """The arrays whose names start with one of these letters."""
    return {name: array for name, array in p.items() if name[0] in letters}


def layer(p, i, h):
    """h W[i] + b[i]."""
    return h @ p[f"W[{i}]"] + p[f"b[{i}]"]


def depth(p):
    """L."""
    return len(part(p, "W"))


def cross_entropy(logits, y):
    """The mean over the batch."""
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1).mean()


def backprop_loss(w, fixed, x, y, f):
    """The network's loss."""
    h, L = x, depth(w)
    for i in range(1, L):
        h = f(layer(w, i, h))
    return cross_entropy(layer(w, L, h), y)


@jax.custom_vjp
def through_b(h, W, b, B):
    """h W + b, whose error goes back through B."""
    return h @ W + b


def through_b_forward(h, W, b, B):
    """What the backward pass needs: h and B."""
    return h @ W + b, (h, B)


def through_b_backward(kept, delta):
    """The errors of h, W, b; B has none."""
    h, B = kept
    return delta @ B.T, h.T @ delta, delta.sum(0), jnp.zeros_like(B)


through_b.defvjp(through_b_forward, through_b_backward)


def feedback_loss(w, fixed, x, y, f):
    """The loss of a network whose errors go back through B."""
    h, L = f(layer(w, 1, x)), depth(w)
    for i in range(2, L + 1):
        h = through_b(h, w[f"W[{i}]"], w[f"b[{i}]"], fixed[f"B[{i}]"])
        h = f(h) if i < L else h
    return cross_entropy(h, y)


def direct_loss(w, fixed, x, y, f):
    """A sum whose gradient is what direct feedback alignment tells: <h[i], what B[i] says>.

    Its value is the network's loss, because each other part is taken away again.
    """
    h, L, total = [x], depth(w), 0.0
    for i in range(1, L):
        h.append(f(layer(w, i, lax.stop_gradient(h[i - 1]))))
    logits = layer(w, L, lax.stop_gradient(h[L - 1]))
    error = lax.stop_gradient(jax.nn.softmax(logits) - jax.nn.one_hot(y, logits.shape[1])) / len(x)
    for i in range(1, L):
        said = ((error @ fixed[f"B[{i}]"].T) * h[i]).sum()
        total = total + said - lax.stop_gradient(said)
    return cross_entropy(logits, y) + total


LOSSES = {"bp": backprop_loss, "fa": feedback_loss, "dfa": direct_loss}


def gradient_step(p, s, t, noise, x, y, problem):
    """One step of a rule that is the gradient of something."""
    f, loss = ACTIVATIONS[problem.task.f], LOSSES[problem.task.rule]
    value, g = jax.value_and_grad(loss)(part(p, "Wb"), part(p, "B"), x, y, f)
    return *descend(p, s, g, t, problem), value


def draw(noise, t, i, shape):
    """Standard normal numbers: those given for layer i, or new ones from a key."""
    if isinstance(noise, dict):
        return noise[i]
    return jax.random.normal(jax.random.fold_in(jax.random.fold_in(noise, t), i), shape)


def undo(v, i, h, f):
    """g_i(h)."""
    return f(h @ v[f"V[{i}]"] + v[f"c[{i}]"])


def inverse_losses(v, w, h, t, noise, f, sigma):
    """sum_i 1/2 |g_i(f_i(h')) - h'|^2, h' = h[i-1] + noise; the mean over the batch."""
    total = 0.0
    for i in range(2, depth(w)):
        start = h[i - 1] + sigma * draw(noise, t, i, h[i - 1].shape)
        total += ((undo(v, i, f(layer(w, i, start)), f) - start) ** 2).sum()
    return total / (2 * len(h[0]))


def local_losses(w, h, h_hat, y, f):
    """sum_i 1/2 |f_i(h[i-1]) - h_hat[i]|^2, and the output's loss; and that loss alone."""
    L, total = depth(w), 0.0
    for i in range(1, L):
        total += ((f(layer(w, i, h[i - 1])) - h_hat[i]) ** 2).sum()
    loss = cross_entropy(layer(w, L, h[L - 1]), y)
    return loss + total / (2 * len(y)), loss


def dtp_step(p, s, t, noise, x, y, problem):
    """One step of difference target propagation.

    The forward pass is written twice, here and in `local_losses`; the compiler keeps one.
    """
    f, L, options = ACTIVATIONS[problem.task.f], depth(p), problem.options
    w, h, h_hat = part(p, "Wb"), [x], [None] * depth(p)
    for i in range(1, L):
        h.append(f(layer(w, i, h[i - 1])))
    g = jax.grad(inverse_losses)(part(p, "Vc"), w, h, t, noise, f, options["sigma"])
    p, s = descend(p, s, g, t, problem)
    logits = layer(w, L, h[L - 1])
    error = jax.nn.softmax(logits) - jax.nn.one_hot(y, logits.shape[1])
    h_hat[L - 1] = h[L - 1] - options["target_step"] * (error @ w[f"W[{L}]"].T)
    for i in range(L - 1, 1, -1):
        h_hat[i - 1] = h[i - 1] + (undo(p, i, h_hat[i], f) - undo(p, i, h[i], f))
    g, loss = jax.grad(local_losses, has_aux=True)(w, h, h_hat, y, f)
    return *descend(p, s, g, t, problem), loss


@cache
def compiled(task, options, at_once):
    """The steps of a task as one function: p, s, t, noise, x, y, eta -> p, s, t, the mean losses.

    p, s and t are given away and come back: nothing is copied, and no number comes from the host.

    Parameters
    ----------
    task : benchmarks.tasks.Task
    options : tuple of (name, value)
    at_once : int or None
        How many steps; None is one, without a loop around it.
    """
    function = dtp_step if task.rule == "dtp" else gradient_step

    def one(p, s, t, noise, x, y, eta):
        p, s, loss = function(p, s, t, noise, x, y, Problem(task, None, None, None, eta, None,
                                                            dict(options)))
        return p, s, t + 1, loss

    def several(p, s, t, noise, x, y, eta):
        def following(state, _):
            *state, loss = one(*state, noise, x, y, eta)
            return tuple(state), loss
        state, losses = lax.scan(following, (p, s, t), None, length=at_once)
        return *state, losses

    return jax.jit(several if at_once else one, donate_argnums=(0, 1, 2))


class Jit:
    """A step, compiled; the arrays stay with JAX.

    Parameters
    ----------
    problem : benchmarks.tasks.Problem
    """

    at_once = 1

    def __init__(self, problem):
        self.function = compiled(problem.task, tuple(problem.options.items()), None)
        self.p = {name: jnp.array(array) for name, array in problem.start.items()}
        self.s = {name: (jnp.zeros_like(a), jnp.zeros_like(a)) for name, a in self.p.items()
                  if problem.task.optimizer == "adam" and name[0] != "B"}
        self.x, self.y = jnp.array(problem.x), jnp.array(problem.y)
        self.t, self.eta = jnp.array(1.0), jnp.array(problem.eta, jnp.float32)
        self.noise, self.taken, self.key = problem.noise, 0, jax.random.key(0)

    def step(self):
        """One step, finished; the batch's mean loss."""
        loss = self.launch()
        self.finish()
        return loss

    def launch(self):
        """One step, begun; the batch's mean loss."""
        noise = self.noise[self.taken] if self.noise and self.noise[0] else self.key
        self.p, self.s, self.t, loss = self.function(self.p, self.s, self.t, noise, self.x, self.y,
                                                     self.eta)
        self.taken += self.at_once
        return loss

    def finish(self):
        """Wait until the steps that were begun are done."""
        jax.block_until_ready((self.p, self.s))

    def arrays(self):
        """Every array by our name."""
        return {name: np.array(array) for name, array in self.p.items()}


class Scan(Jit):
    """Several steps in one call, a loop that is compiled with them.

    Parameters
    ----------
    problem : benchmarks.tasks.Problem
    at_once : int
        Steps in a call; of a problem that brings its noise, one.
    """

    def __init__(self, problem, at_once):
        super().__init__(problem)
        self.at_once = 1 if self.noise and self.noise[0] else at_once
        self.function = compiled(problem.task, tuple(problem.options.items()), self.at_once)


class Local:
    """A locally connected layer by `conv_general_dilated_local`, forward and backward, compiled.

    Parameters
    ----------
    case : benchmarks.layers.Case
    """

    def __init__(self, case):
        R, C, ch, k, s, top, left, R1, C1 = case.stencil
        pad = [(before, (n1 - 1) * s + k - n - before)
               for n, n1, before in ((R, R1, top), (C, C1, left))]
        F, self.N, self.shape = case.W.shape[2], len(case.h), (R1, C1, k, ch)
        W = case.W.reshape(R1, C1, k, k, ch, F).transpose(0, 1, 4, 2, 3, 5)  # channels before taps
        self.h, self.b = jnp.array(case.h.reshape(-1, R, C, ch)), jnp.array(case.b)
        self.W = jnp.array(W.reshape(R1, C1, ch * k * k, F))
        self.delta = jnp.array(case.delta.reshape(-1, R1, C1, F))

        def forward(h, W, b):
            a = lax.conv_general_dilated_local(h, W, (s, s), pad, (k, k),
                                               dimension_numbers=("NHWC", "HWIO", "NHWC"))
            return a + b.reshape(R1, C1, F)

        def both(h, W, b, delta):
            a, back = jax.vjp(forward, h, W, b)
            return a, *back(delta)

        self.function = jax.jit(both)

    def forget(self):
        """What the last step found is not held beside what the next one finds."""
        self.found = None

    def step(self):
        """Forward, pull back, gradient; finished."""
        self.forget()
        self.found = jax.block_until_ready(self.function(self.h, self.W, self.b, self.delta))

    def answer(self):
        """The layer's output, dloss/dh, dW and db, as ours lie."""
        a, e, dW, db = map(np.asarray, self.found)
        R1, C1, k, ch = self.shape
        dW = dW.reshape(R1 * C1, ch, k, k, -1).transpose(0, 2, 3, 1, 4)
        return (a.reshape(self.N, -1), e.reshape(self.N, -1),
                dW.reshape(R1 * C1, k * k * ch, -1) / self.N, db.reshape(R1 * C1, -1) / self.N)


def layers():
    """What builds a locally connected layer, by the name it has in the tables."""
    return {"jax conv_general_dilated_local": Local}


def contenders(task):
    """The contenders for a task, by the name they have in the tables."""
    return {"jax.jit": Jit} if task.rule in ("dtp", *LOSSES) else {}
