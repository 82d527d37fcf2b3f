"""Difference target propagation (Lee, Zhang, Fischer & Bengio 2015; Bartunov et al. 2018).

Backprop tells a layer how to change; target propagation tells it what it should have said.
Layer i computes h[i] = f_i(h[i-1]) and owns a learned inverse g_i back to h[i-1].

    top target      h_hat[L-1] = h[L-1] - target_step * dloss/dh[L-1]
    lower targets   h_hat[i-1] = h[i-1] + (g_i(h_hat[i]) - g_i(h[i]))     i = L-1 .. 2
    forward loss    1/2 |f_i(h[i-1]) - h_hat[i]|^2                        i = 1 .. L-1
    inverse loss    1/2 |g_i(f_i(h')) - goal|^2,  h' = h[i-1] + noise     goal = h' or h[i-1]

The bracket cancels what g_i gets wrong at h[i]: on target above means on target below.
first_target="output" begins one layer higher, h_hat[L] = h[L] - target_step * dloss/dh[L], with an
inverse g_L and a forward loss for the top layer too.  bridge = m slides to backprop, whose
"inverse" is the transposed Jacobian J_i of f_i (Bartunov et al., appendix 5.6):

    h_hat[i-1] = h[i-1] + (1 - m) (g_i(h_hat[i]) - g_i(h[i])) + m J_i^T (h_hat[i] - h[i])
"""
from minicredit.keys import NOISE
from minicredit.network import descend, forward
from minicredit.optimizers import descend_all, make
from minicredit.rules.asking import Told
from minicredit.rules.inverses import inverses, require
from minicredit.rules.options import choose, within


class DTP:
    """Trains `net` in place.

    Parameters
    ----------
    net : Network
        With at least one hidden layer.
    eta, eta_inverse : float
        Learning rates of the forward maps (W, b) and of the inverses (V, c).
    optimizer, optimizer_inverse : str
        See `minicredit.optimizers`.  Lee et al.: rmsprop-centred for both.
    target_step : float
        How far the first target moves down the gradient of *one example's* loss.  Lee et al. write
        0.3277 of a batch mean, batch 100: 0.003277 in our units.  Bartunov et al.: 0.01 to 0.31.
    sigma : float
        Standard deviation of the noise the inverses learn under, in units of h.
    schedule : {"alternating", "parallel"}
        An epoch of inverses, then an epoch of forward maps (Lee et al.; Bartunov et al. find it
        more stable); or both at every step (Bartunov et al.).
    first_target : {"penultimate", "output"}
        Lee et al. and Bartunov et al.; or Meulemans et al. 2020.
    goal : {"noisy", "clean"}
        What the inverse must give back: h[i-1] + noise, "noise-preserving" (Lee et al.'s script,
        Bartunov et al. for DTP), or h[i-1], "de-noising" (Bartunov et al. for SDTP).
    inverse_steps : int
        Steps of the inverses on each batch (several: Meulemans et al. 2020, Ernoult et al. 2022).
    bridge : float in [0, 1]
        0 is difference target propagation; 1 is backprop's own direction.
    init_inverse : {"glorot", "orthogonal"}
    seed : int
        Fixes the initial inverses and every noise draw.
    """

    title = "difference target propagation"
    paper = "Lee, Zhang, Fischer & Bengio 2015"
    idea = "learned inverses say what each layer should have said; a difference cancels their error"
    needs = "a learned inverse a layer, and backprop through the top layer for the first target"
    cannot = "train a network without a hidden layer, or reach backprop on ImageNet"

    def __init__(self, net, eta=3e-3, eta_inverse=1e-3, optimizer="adam", optimizer_inverse="adam",
                 target_step=0.2, sigma=0.2, schedule="alternating", first_target="penultimate",
                 goal="noisy", inverse_steps=1, bridge=0.0, init_inverse="glorot", seed=0):
        require(net, "dtp")
        within("sigma", sigma, 0)
        choose("schedule", schedule, ("alternating", "parallel"))
        choose("first_target", first_target, ("penultimate", "output"))
        choose("goal", goal, ("noisy", "clean"))
        within("bridge", bridge, 0, 1)
        within("inverse_steps", inverse_steps, 1, whole=True)
        self.net, self.seed, self.t = net, seed, 0
        self.target_step, self.sigma, self.goal = target_step, sigma, goal
        self.inverse_steps, self.bridge = inverse_steps, bridge
        self.top = net.L if first_target == "output" else net.L - 1
        self.optimizer = make(optimizer, eta, net.ops)
        self.optimizer_inverse = make(optimizer_inverse, eta_inverse, net.ops)
        self.optimizers = [self.optimizer, self.optimizer_inverse]
        self.G, self.arrays = inverses(net, self.top, seed, init_inverse)   # G[i] undoes layer i
        alternating = [self.learn_inverses, self.learn_forward]
        self.passes = alternating if schedule == "alternating" else [self.step]

    def feedback(self, h, y):
        """What each layer is told (`Told`), its target among it; changes nothing."""
        net, layers, G, L, m = self.net, self.net.layers, self.G, self.net.L, self.bridge
        delta, h_hat = [None] * (L + 1), [None] * (L + 1)
        loss, delta[L] = net.loss(h[L], y)
        e = delta[L] if self.top == L else layers[L].pull_back(delta[L])    # dloss/dh[top]
        h_hat[self.top] = h[self.top] - self.target_step * e
        for i in range(self.top, 1, -1):
            up, down = G[i].forward(h_hat[i]), G[i].forward(h[i])
            h_hat[i - 1] = net.ops.difference(h[i - 1], up, down)
            if m:
                back = layers[i].times_slope(h_hat[i] - h[i], h[i], h[i - 1])
                back = layers[i].pull_back(back)                            # J_i^T (h_hat - h)
                h_hat[i - 1] = h[i - 1] + ((1 - m) * (up - down) + m * back)
        for i in range(1, self.top + 1):
            delta[i] = layers[i].times_slope(h[i] - h_hat[i], h[i], h[i - 1])
        return Told(loss, delta, h_hat)

    def feedback_gradient(self, h, delta=None):
        """Gradient of every inverse loss, by name, under the noise of step t; needs no delta."""
        net, G, gradient = self.net, self.G, {}
        for i in range(2, self.top + 1):
            start = net.ops.noisy(h[i - 1], self.sigma, (self.seed, NOISE, i, self.t))
            above = net.layers[i].forward(start)                            # f_i(h')
            back = G[i].forward(above)                                      # g_i(f_i(h'))
            goal = start if self.goal == "noisy" else h[i - 1]
            g = G[i].gradient(above, G[i].times_slope(back - goal, back, above))
            gradient[f"V[{i}]"], gradient[f"c[{i}]"] = g["W"], g["b"]
        return gradient

    def step(self, x, y):
        """Inverses, then forward maps, on one batch; returns each example's loss before."""
        h = forward(self.net, x)
        for _ in range(self.inverse_steps):
            descend_all(self.optimizer_inverse, self.arrays, self.feedback_gradient(h))
            self.t += 1
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss

    def learn_inverses(self, x, y):
        """The inverses alone, on one batch; y is not looked at."""
        h = forward(self.net, x)
        for _ in range(self.inverse_steps):
            descend_all(self.optimizer_inverse, self.arrays, self.feedback_gradient(h))
            self.t += 1

    def learn_forward(self, x, y):
        """The forward maps alone, on one batch; returns each example's loss before the update."""
        h = forward(self.net, x)
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss
