"""Target propagation (Bengio 2014; as discussed in Lee et al. 2015 and Bartunov et al. 2018).

A layer's target is what its inverse makes of the target above, and nothing corrects the inverse:

    first target    h_hat[L-1] = g_L(onehot(y))                           first_target="label"
                    h_hat[L-1] = h[L-1] - target_step * dloss/dh[L-1]     first_target="gradient"
    lower targets   h_hat[i-1] = g_i(h_hat[i])                            i = L-1 .. 2
    forward loss    1/2 |f_i(h[i-1]) - h_hat[i]|^2                        i = 1 .. L-1
    top layer       dloss/dh[L]                                           as in every rule
    inverse loss    1/2 |g_i(f_i(h')) - h'|^2,  h' = h[i-1] + noise       (goal="clean": - h[i-1])

What g_i gets wrong at h[i] becomes an error of layer i-1 even when all is well above.  inverse=
"exact" uses g_i = the true inverse, h -> (f^-1(h) - b[i]) W[i]^-1, where W[i] is square: then the
difference of DTP would change nothing, and this rule is DTP.
"""
from minicredit.keys import NOISE
from minicredit.network import descend, forward
from minicredit.optimizers import descend_all, make
from minicredit.rules.asking import Told
from minicredit.rules.inverses import exact_inverses, inverses, require
from minicredit.rules.options import choose, within


class TargetPropagation:
    """Trains `net` in place.

    Parameters
    ----------
    net : Network
        With at least one hidden layer; a classifier, if the first target is the label.
    eta, eta_inverse : float
        Learning rates of the forward maps (W, b) and of the inverses (V, c).
    optimizer, optimizer_inverse : str
        See `minicredit.optimizers`.
    first_target : {"label", "gradient"}
        The inverse of the label (Bartunov et al. 2018, section 2), or a gradient step at the last
        hidden layer as in DTP (Lee et al. 2015).
    target_step : float
        Length of that gradient step, on one example's loss; of first_target="gradient" alone.
    sigma : float
        Standard deviation of the noise the inverses learn under, in units of h.
    schedule : {"alternating", "parallel"}
        An epoch of inverses, then an epoch of forward maps; or both at every step.
    goal : {"noisy", "clean"}
        What the inverse must give back; see `DTP`.
    inverse : {"learned", "exact"}
        Exact inverses exist where W[i] is square and f is tanh or linear; they learn nothing, so
        sigma, goal, schedule and the options of the inverses do nothing then.
    init_inverse : {"glorot", "orthogonal"}
    seed : int
        Fixes the initial inverses and every noise draw.
    """

    title = "target propagation"
    paper = "Bengio 2014; Lee, Zhang, Fischer & Bengio 2015"
    idea = "a learned inverse says what each layer should have said"
    needs = "inverses that are nearly exact"
    cannot = "learn well when they are not: every layer is told the inverse's own mistakes"

    def __init__(self, net, eta=3e-3, eta_inverse=1e-3, optimizer="adam", optimizer_inverse="adam",
                 first_target="label", target_step=0.2, sigma=0.2, schedule="alternating",
                 goal="noisy", inverse="learned", init_inverse="glorot", seed=0):
        choose("first_target", first_target, ("label", "gradient"))
        within("sigma", sigma, 0)
        choose("schedule", schedule, ("alternating", "parallel"))
        choose("goal", goal, ("noisy", "clean"))
        choose("inverse", inverse, ("learned", "exact"))
        require(net, "tp", classifier=first_target == "label")
        self.net, self.seed, self.t, self.top = net, seed, 0, net.L
        self.target_step, self.sigma, self.goal = target_step, sigma, goal
        if first_target == "gradient":
            self.top = net.L - 1
        self.optimizer = make(optimizer, eta, net.ops)
        self.optimizer_inverse = make(optimizer_inverse, eta_inverse, net.ops)
        self.optimizers = [self.optimizer, self.optimizer_inverse]
        self.learned = inverse == "learned"
        if self.learned:
            self.G, self.arrays = inverses(net, self.top, seed, init_inverse)
        else:
            self.G, self.arrays = exact_inverses(net, self.top), {}
        alternating = self.learned and schedule == "alternating"
        self.passes = [self.learn_inverses, self.learn_forward] if alternating else [self.step]

    def feedback(self, h, y):
        """What each layer is told (`Told`), its target among it; changes nothing."""
        net, layers, G, L = self.net, self.net.layers, self.G, self.net.L
        delta, h_hat = [None] * (L + 1), [None] * (L + 1)
        loss, delta[L] = net.loss(h[L], y)
        if self.top == L:
            h_hat[L] = net.ops.softmax(h[L]) - delta[L]                     # onehot(y)
            h_hat[L - 1] = G[L].forward(h_hat[L])
        else:
            e = layers[L].pull_back(delta[L])                               # dloss/dh[L-1]
            h_hat[L - 1] = h[L - 1] - self.target_step * e
        for i in range(L - 1, 1, -1):
            h_hat[i - 1] = G[i].forward(h_hat[i])
        for i in range(1, L):
            delta[i] = layers[i].times_slope(h[i] - h_hat[i], h[i], h[i - 1])
        return Told(loss, delta, h_hat)

    def feedback_gradient(self, h, delta=None):
        """Gradient of every inverse loss, by name, under the noise of step t; needs no delta."""
        net, G, gradient = self.net, self.G, {}
        for i in range(2, self.top + 1 if self.learned else 0):
            start = net.ops.noisy(h[i - 1], self.sigma, (self.seed, NOISE, i, self.t))
            above = net.layers[i].forward(start)                            # f_i(h')
            above = net.ops.softmax(above) if i == net.L else above
            back = G[i].forward(above)                                      # g_i(f_i(h'))
            goal = start if self.goal == "noisy" else h[i - 1]
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
