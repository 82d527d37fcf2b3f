"""Weight mirror (Akrout, Wilson, Humphreys, Lillicrap & Tweed 2019).

    delta[i-1] = (delta[i] B[i]^T) f'(a[i-1])                i = L .. 2,  as feedback alignment
    dW[i]      = h[i-1]^T delta[i] / N

and B[i] watches what layer i does with noise, with no error in sight:

    s ~ N(0, sigma^2)   in the place of h[i-1]
    r = f_i(s) - f_i(0)
    dB[i]      = decay_mirror B[i] - s^T r / (N sigma^2)     a mean over places too, where shared

The mean of s^T r / sigma^2 is W[i] times the mean slope, so B[i] turns towards W[i] and, with
decay_mirror 1, grows to its length.  Where many places share a weight, those at a zero border hear
less noise, and B stays a little short there.
"""
from minicredit.errors import UserError
from minicredit.keys import FEEDBACK, MIRROR
from minicredit.network import descend, forward
from minicredit.optimizers import descend_all, make
from minicredit.rules.asking import Told
from minicredit.rules.options import within


class WeightMirror:
    """Trains `net` in place, one batch per `step`.

    Parameters
    ----------
    net : Network
    eta : float
        Learning rate of W and b.
    eta_mirror : float
        Rate of the plain step of B; its reciprocal is the number of batches B looks back.
    decay_mirror : float
        Leak of B at rate eta_mirror; 1 makes B as long as W.
    sigma : float
        Standard deviation of the noise, in units of h: small enough that f is nearly linear.
    optimizer : str
        See `minicredit.optimizers`.
    seed : int
        Fixes the initial B and every noise draw.
    """

    title = "weight mirror"
    paper = "Akrout, Wilson, Humphreys, Lillicrap & Tweed 2019"
    idea = "noise sent up teaches the feedback weights what the forward weights are"
    needs = "a phase without input or error, in which a layer hears noise"
    cannot = "follow when weights change faster than noise reveals them (Kunin et al. 2020)"

    def __init__(self, net, eta=3e-3, eta_mirror=0.02, decay_mirror=1.0, sigma=0.2,
                 optimizer="adam", seed=0):
        within("sigma", sigma, 1e-6)                            # r is divided by its square
        if any(layer.skips for layer in net.layers[1:]):
            raise UserError("weight-mirror: a residual layer answers noise with the noise itself; "
                            "wanted layers whose answer tells W alone")
        self.net, self.seed, self.t = net, seed, 0
        self.decay_mirror, self.sigma = decay_mirror, sigma
        self.optimizer = make(optimizer, eta, net.ops)
        self.optimizer_mirror = make("sgd", eta_mirror, net.ops)
        self.B = [None, None] + [net.layers[i].random_weights((seed, FEEDBACK, i, 0))
                                 for i in range(2, net.L + 1)]
        self.arrays = {f"B[{i}]": self.B[i] for i in range(2, net.L + 1)}
        # B's rate is no part of a schedule: B must look back equally far however slow W becomes
        self.passes, self.optimizers = [self.step], [self.optimizer]

    def feedback(self, h, y):
        """What each layer is told (`Told`); changes nothing."""
        layers, B, L = self.net.layers, self.B, self.net.L
        delta = [None] * (L + 1)
        loss, delta[L] = self.net.loss(h[L], y)
        for i in range(L, 1, -1):
            e = layers[i].pull_back(delta[i], B[i])                 # delta[i] B[i]^T
            delta[i - 1] = layers[i - 1].times_slope(e, h[i - 1], h[i - 2])
        return Told(loss, delta)

    def feedback_gradient(self, h, delta=None):
        """dB[i] by name, under the noise of step t; h lends only its shape, delta nothing."""
        net, gradient = self.net, {}
        for i in range(2, net.L + 1):
            noise = net.ops.normal(h[i - 1].shape, (self.seed, MIRROR, i, self.t), net.dtype)
            s = self.sigma * noise
            r = net.layers[i].forward(s) - net.layers[i].forward(0 * s)
            layer = net.layers[i]
            seen = layer.gradient(s, r)["W"]                        # s^T r / N, summed over the
            seen = seen * (layer.b.size / layer.n_out)              # places that share a weight
            gradient[f"B[{i}]"] = self.decay_mirror * self.B[i] - seen / self.sigma**2
        return gradient

    def step(self, x, y):
        """Mirror, then learn from one batch; returns each example's loss before the update."""
        h = forward(self.net, x)
        descend_all(self.optimizer_mirror, self.arrays, self.feedback_gradient(h))
        self.t += 1
        told = self.feedback(h, y)
        descend(self.net, h, told.delta, self.optimizer)
        return told.loss
