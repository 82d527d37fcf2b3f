"""Simplified difference target propagation (Bartunov et al. 2018).

No gradient leaves the output layer: its target is the label itself, as a distribution, and the
difference rule carries it down.  p = softmax(h[L]) is what the top inverse g_L sees.

    top target      p_hat      = p + label_step * (onehot(y) - p)         the paper: label_step = 1
    next target     h_hat[L-1] = h[L-1] + (g_L(p_hat) - g_L(p))
    lower targets   h_hat[i-1] = h[i-1] + (g_i(h_hat[i]) - g_i(h[i]))     i = L-1 .. 2
    forward loss    1/2 |f_i(h[i-1]) - h_hat[i]|^2                        i = 1 .. L-1
    top layer       -log p[y]                                             as in every rule
    inverse loss    1/2 |g_i(f_i(h[i-1] + noise)) - goal|^2               goal = h[i-1] or h'

The default goal is the clean h[i-1]: a brain adds its noise downstream and can only learn to take
it away ("de-noising").
"""
from minicredit.keys import NOISE
from minicredit.network import descend, forward
from minicredit.optimizers import descend_all, make
from minicredit.rules.asking import Told
from minicredit.rules.inverses import inverses, require
from minicredit.rules.options import choose, within


class SDTP:
    """Trains `net` in place.

    Parameters
    ----------
    net : Network
        A classifier with at least one hidden layer.
    eta, eta_inverse : float
        Learning rates of the forward maps (W, b) and of the inverses (V, c).
    optimizer, optimizer_inverse : str
        See `minicredit.optimizers`.
    label_step : float in [0, 1]
        How far p_hat goes from p to the label.  1 is the published rule; less is an option of ours,
        under which the inverses stay where they are linear.
    sigma : float
        Standard deviation of the noise the inverses learn under, in units of h.
    schedule : {"alternating", "parallel"}
        An epoch of inverses, then one of forward maps; or both at every step (Bartunov et al.).
    goal : {"clean", "noisy"}
        What the inverse must give back: h[i-1], "de-noising" (Bartunov et al. for SDTP), or
        h[i-1] + noise, "noise-preserving" (Lee et al.'s script).
    init_inverse : {"glorot", "orthogonal"}
    seed : int
        Fixes the initial inverses and every noise draw.
    """

    title = "simplified difference target propagation"
    paper = "Bartunov et al. 2018"
    idea = "the label is the output's target; no gradient leaves the output layer"
    needs = "a learned inverse a layer, the top one from class probabilities"
    cannot = "give one class more than one target at the top: ten labels, ten templates"

    def __init__(self, net, eta=3e-3, eta_inverse=1e-3, optimizer="adam", optimizer_inverse="adam",
                 label_step=1.0, sigma=0.2, schedule="alternating", goal="clean",
                 init_inverse="glorot", seed=0):
        require(net, "sdtp", classifier=True)
        within("sigma", sigma, 0)
        choose("schedule", schedule, ("alternating", "parallel"))
        choose("goal", goal, ("clean", "noisy"))
        within("label_step", label_step, 0, 1)
        self.net, self.seed, self.t = net, seed, 0
        self.label_step, self.sigma, self.goal = label_step, sigma, goal
        self.optimizer = make(optimizer, eta, net.ops)
        self.optimizer_inverse = make(optimizer_inverse, eta_inverse, net.ops)
        self.optimizers = [self.optimizer, self.optimizer_inverse]
        self.G, self.arrays = inverses(net, net.L, seed, init_inverse)      # G[i] undoes layer i
        alternating = [self.learn_inverses, self.learn_forward]
        self.passes = alternating if schedule == "alternating" else [self.step]

    def feedback(self, h, y):
        """What each layer is told (`Told`), its target among it; changes nothing.

        h_hat[L] is the target p_hat of the probabilities.
        """
        net, ops, layers, G, L = self.net, self.net.ops, self.net.layers, self.G, self.net.L
        delta, h_hat = [None] * (L + 1), [None] * (L + 1)
        loss, delta[L] = net.loss(h[L], y)                  # delta[L] = p - onehot(y)
        p = ops.softmax(h[L])
        h_hat[L] = p - self.label_step * delta[L]
        h_hat[L - 1] = ops.difference(h[L - 1], G[L].forward(h_hat[L]), G[L].forward(p))
        for i in range(L - 1, 1, -1):
            up, down = G[i].forward(h_hat[i]), G[i].forward(h[i])
            h_hat[i - 1] = ops.difference(h[i - 1], up, down)
        for i in range(1, L):
            delta[i] = layers[i].times_slope(h[i] - h_hat[i], h[i], h[i - 1])
        return Told(loss, delta, h_hat)

    def feedback_gradient(self, h, delta=None):
        """Gradient of every inverse loss, by name, under the noise of step t; needs no delta."""
        net, G, L, gradient = self.net, self.G, self.net.L, {}
        for i in range(2, L + 1):
            start = net.ops.noisy(h[i - 1], self.sigma, (self.seed, NOISE, i, self.t))
            above = net.layers[i].forward(start)                            # f_i(h')
            above = net.ops.softmax(above) if i == L else above
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
