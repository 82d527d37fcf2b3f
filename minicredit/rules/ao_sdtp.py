"""Auxiliary-output SDTP (Bartunov et al. 2018): a richer target for the top inverse.

Ten labels give the layer below the output ten targets.  So the output says more than the class:
h_L = [o, z], where o = softmax(h[L]) enters the loss and z = f(h[L-1] Wz + bz) are n_aux fixed
random features, never trained.  The target changes o and leaves z what it is, so z tells g_L
*which* example of the class this was.

    top target      o_hat      = o + label_step * (onehot(y) - o)         the paper: label_step = 1
    next target     h_hat[L-1] = h[L-1] + (g_L([o_hat, z]) - g_L([o, z])) the same z in both
    lower targets   h_hat[i-1] = h[i-1] + (g_i(h_hat[i]) - g_i(h[i]))     i = L-1 .. 2
    forward loss    1/2 |f_i(h[i-1]) - h_hat[i]|^2                        i = 1 .. L-1
    top layer       -log o[y]                                             as in every rule
    inverse loss    1/2 |g_i(f_i(h[i-1] + noise)) - goal|^2               goal = h[i-1] or h'

With n_aux = 0 this is SDTP.
"""
from minicredit.keys import AUXILIARY, FEEDBACK, NOISE
from minicredit.layers import Dense
from minicredit.network import descend, forward
from minicredit.optimizers import descend_all, make
from minicredit.rules.asking import Told
from minicredit.rules.inverses import inverses, require
from minicredit.rules.options import choose, within


class AOSDTP:
    """Trains `net` in place.

    Parameters
    ----------
    net : Network
        A classifier with at least one hidden layer.
    eta, eta_inverse : float
        Learning rates of the forward maps (W, b) and of the inverses (V, c).
    optimizer, optimizer_inverse : str
        See `minicredit.optimizers`.
    n_aux : int
        Number of auxiliary outputs z.  Bartunov et al.: 512 on CIFAR-10; not stated for MNIST.
    label_step : float in [0, 1]
        How far o_hat goes from o to the label.  1 is the published rule; less is an option of ours.
    sigma : float
        Standard deviation of the noise the inverses learn under, in units of h.
    schedule : {"alternating", "parallel"}
        An epoch of inverses, then one of forward maps; or both at every step (Bartunov et al.).
    goal : {"clean", "noisy"}
        What the inverse must give back: h[i-1], "de-noising" (Bartunov et al.), or h[i-1] + noise.
    init_inverse : {"glorot", "orthogonal"}
    seed : int
        Fixes the random features, the initial inverses and every noise draw.
    """

    title = "auxiliary-output SDTP"
    paper = "Bartunov et al. 2018"
    idea = "fixed random features beside the label tell the top inverse which example this was"
    needs = "a learned inverse a layer, and n_aux random output units that never learn"
    cannot = "reach backprop on CIFAR-10 or ImageNet"

    def __init__(self, net, eta=3e-3, eta_inverse=1e-3, optimizer="adam", optimizer_inverse="adam",
                 n_aux=128, label_step=1.0, sigma=0.2, schedule="alternating", goal="clean",
                 init_inverse="glorot", seed=0):
        require(net, "ao-sdtp", classifier=True)
        within("sigma", sigma, 0)
        choose("schedule", schedule, ("alternating", "parallel"))
        choose("goal", goal, ("clean", "noisy"))
        within("label_step", label_step, 0, 1)
        within("n_aux", n_aux, 0, whole=True)
        self.net, self.seed, self.t, self.n_aux = net, seed, 0, n_aux
        self.label_step, self.sigma, self.goal = label_step, sigma, goal
        self.optimizer = make(optimizer, eta, net.ops)
        self.optimizer_inverse = make(optimizer_inverse, eta_inverse, net.ops)
        self.optimizers = [self.optimizer, self.optimizer_inverse]
        self.G, self.arrays = inverses(net, net.L - 1, seed, init_inverse)  # G[i] undoes layer i
        self.add_top(init_inverse)
        alternating = [self.learn_inverses, self.learn_forward]
        self.passes = alternating if schedule == "alternating" else [self.step]

    def add_top(self, init_inverse):
        """The fixed features z, and the inverse G[L] of [o, z]."""
        net, L, n, below = self.net, self.net.L, self.net.sizes[-2], self.net.layers[-2]
        K, key = net.sizes[-1], (self.seed, FEEDBACK, L, 0)
        self.G[L] = Dense(K + self.n_aux, n, below.range, net.ops, net.dtype, key, init_inverse)
        self.Z = Dense(n, self.n_aux, below.f, net.ops, net.dtype, (self.seed, AUXILIARY, L, 0))
        self.arrays.update({f"V[{L}]": self.G[L].W, f"c[{L}]": self.G[L].b,
                            "Wz": self.Z.W, "bz": self.Z.b})

    def feedback(self, h, y):
        """What each layer is told (`Told`), its target among it; changes nothing.

        h_hat[L] is the target [o_hat, z] of the whole output, (N, K + n_aux).
        """
        net, ops, layers, G, L = self.net, self.net.ops, self.net.layers, self.G, self.net.L
        delta, h_hat = [None] * (L + 1), [None] * (L + 1)
        loss, delta[L] = net.loss(h[L], y)                  # delta[L] = o - onehot(y)
        o, z = ops.softmax(h[L]), self.Z.forward(h[L - 1])
        h_hat[L] = ops.join(o - self.label_step * delta[L], z)
        up, down = G[L].forward(h_hat[L]), G[L].forward(ops.join(o, z))
        h_hat[L - 1] = ops.difference(h[L - 1], up, down)
        for i in range(L - 1, 1, -1):
            up, down = G[i].forward(h_hat[i]), G[i].forward(h[i])
            h_hat[i - 1] = ops.difference(h[i - 1], up, down)
        for i in range(1, L):
            delta[i] = layers[i].times_slope(h[i] - h_hat[i], h[i], h[i - 1])
        return Told(loss, delta, h_hat)

    def feedback_gradient(self, h, delta=None):
        """Gradient of every inverse loss, by name, under the noise of step t; needs no delta."""
        net, ops, G, L, gradient = self.net, self.net.ops, self.G, self.net.L, {}
        for i in range(2, L + 1):
            start = ops.noisy(h[i - 1], self.sigma, (self.seed, NOISE, i, self.t))
            above = net.layers[i].forward(start)                            # f_i(h')
            if i == L:                                                      # [o, z], both noisy
                above = ops.join(ops.softmax(above), self.Z.forward(start))
            back = G[i].forward(above)                                      # g_i(f_i(h'))
            goal = h[i - 1] if self.goal == "clean" else start
            g = G[i].gradient(above, G[i].times_slope(back - goal, back, above))
            gradient[f"V[{i}]"], gradient[f"c[{i}]"] = g["W"], g["b"]
        return gradient

    def step(self, x, y):
        """Inverses, then forward maps, on one batch; returns each example's loss before."""
        h = forward(self.net, x)
        descend_all(self.optimizer_inverse, self.arrays, self.feedback_gradient(h))
        self.t += 1
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss

    def learn_inverses(self, x, y):
        """The inverses alone, on one batch; y is not looked at."""
        h = forward(self.net, x)
        descend_all(self.optimizer_inverse, self.arrays, self.feedback_gradient(h))
        self.t += 1

    def learn_forward(self, x, y):
        """The forward maps alone, on one batch; returns each example's loss before the update."""
        h = forward(self.net, x)
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss
