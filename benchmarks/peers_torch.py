"""The contenders in PyTorch.

    Eager, EagerFused       one graph, autograd; the default optimiser, or the fused one
    Feedback, DirectFeedback    the backward pass of a layer replaced, by torch.autograd.Function
    LayerTargets            the target propagation family as public repositories write it: a graph,
                            a loss and an optimiser for each layer and each inverse
    LayerKickback           Kickback in that style
    SummedTargets           difference target propagation as tidy as it gets: all inverse losses are
                            one sum, all forward losses another, two fused optimisers
    CompiledTargets         the same, through torch.compile
    Unfold                  a locally connected layer: patches side by side, one product a place

Each takes a `benchmarks.tasks.Problem` and a device of torch's, and has what
`benchmarks.tasks.Ours` has, `step` and `arrays`.  Weights lie as nn.Linear has them, (n_out, n_in).
A step is `draw`, which hands over the noise of a problem that has some, and `work`, all of which
stays on the device; `benchmarks.peers_cuda` captures that.
"""
import os
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


def there(array, device):
    """A NumPy array on a device of torch's; on the CPU, the same memory."""
    return torch.from_numpy(array).to(device)


def here(tensor):
    """A NumPy array of one's own."""
    return tensor.detach().cpu().numpy().copy()


def linear(start, W, b, i, device):
    """A layer that starts with the arrays W[i] and b[i]."""
    n_in, n_out = start[f"{W}[{i}]"].shape
    layer = nn.Linear(n_in, n_out, device=device)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(start[f"{W}[{i}]"].T))
        layer.bias.copy_(torch.from_numpy(start[f"{b}[{i}]"]))
    return layer


def parameters(layers):
    """Those of several layers."""
    return [parameter for layer in layers for parameter in layer.parameters()]


def optimiser(problem, learned, fused=None):
    """SGD or Adam, as torch chooses to run it, or fused."""
    kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[problem.task.optimizer]
    return kind(learned, lr=problem.eta, fused=fused)


def layers_of(start, W, b, device):
    """{i: layer} of every i that `start` has."""
    numbers = sorted(int(name[2:-1]) for name in start if name.startswith(f"{W}["))
    return {i: linear(start, W, b, i, device) for i in numbers}


def named(layers, W, b):
    """The arrays of such layers, by our names, lying as ours do."""
    found = {f"{W}[{i}]": here(layer.weight.T) for i, layer in layers.items()}
    found.update({f"{b}[{i}]": here(layer.bias) for i, layer in layers.items()})
    return found


class Eager:
    """Backprop: a sequence of layers, autograd."""

    fused = None

    def __init__(self, problem, device="cpu"):
        self.f = ACTIVATIONS[problem.task.f]
        self.layers = layers_of(problem.start, "W", "b", device)
        self.x, self.y = there(problem.x, device), there(problem.y, device)
        self.B = {name: there(array, device) for name, array in problem.start.items()
                  if name[0] == "B"}
        self.L = len(self.layers)
        self.optimizer = optimiser(problem, parameters(self.layers.values()), self.fused)
        self.optimizers = [self.optimizer]

    def logits(self, h):
        """The forward pass."""
        for i in range(1, self.L):
            h = self.f(self.layers[i](h))
        return self.layers[self.L](h)

    def draw(self):
        """There is no noise."""

    def step(self):
        """One step; the batch's mean loss."""
        return self.work()

    def work(self):
        """One step; the batch's mean loss."""
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.logits(self.x), self.y)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    def arrays(self):
        """Every array by our name."""
        return named(self.layers, "W", "b")


class EagerFused(Eager):
    """The same with the fused optimiser."""

    fused = True


class ThroughB(torch.autograd.Function):
    """h W^T + b, whose error goes back through B."""

    @staticmethod
    def forward(ctx, h, W, b, B):
        ctx.save_for_backward(h, B)
        return F.linear(h, W, b)

    @staticmethod
    def backward(ctx, delta):
        h, B = ctx.saved_tensors
        return delta @ B.T, delta.T @ h, delta.sum(0), None


class Feedback(EagerFused):
    """Feedback alignment."""

    def logits(self, h):
        """The forward pass; layer 1 has no error to send."""
        h = self.f(self.layers[1](h))
        for i in range(2, self.L + 1):
            layer = self.layers[i]
            h = ThroughB.apply(h, layer.weight, layer.bias, self.B[f"B[{i}]"])
            h = self.f(h) if i < self.L else h
        return h


class Top(torch.autograd.Function):
    """The last layer: keeps its error for all the others, and sends none down."""

    @staticmethod
    def forward(ctx, h, W, b, kept):
        ctx.save_for_backward(h)
        ctx.kept = kept
        return F.linear(h, W, b)

    @staticmethod
    def backward(ctx, delta):
        h, = ctx.saved_tensors
        ctx.kept["delta"] = delta
        return None, delta.T @ h, delta.sum(0), None


class FromTop(torch.autograd.Function):
    """f(h W^T + b), taught by the top's error through B, whatever comes from above."""

    @staticmethod
    def forward(ctx, h, W, b, B, f, kept):
        ctx.set_materialize_grads(False)            # nothing comes from above: make no zeros of it
        a = f(F.linear(h, W, b))
        ctx.save_for_backward(h, a, B)
        ctx.f, ctx.kept = f, kept
        return a

    @staticmethod
    def backward(ctx, _):
        h, a, B = ctx.saved_tensors
        slope = 1 - a * a if ctx.f is torch.tanh else (a > 0).to(a.dtype)
        delta = (ctx.kept["delta"] @ B.T) * slope
        return None, delta.T @ h, delta.sum(0), None, None, None


class DirectFeedback(EagerFused):
    """Direct feedback alignment."""

    def logits(self, h):
        """The forward pass."""
        kept = {}
        for i in range(1, self.L):
            layer = self.layers[i]
            h = FromTop.apply(h, layer.weight, layer.bias, self.B[f"B[{i}]"], self.f, kept)
        top = self.layers[self.L]
        return Top.apply(h, top.weight, top.bias, kept)


class Targets:
    """What the contenders of the target propagation family share: layers, inverses, noise."""

    def __init__(self, problem, device="cpu"):
        start, self.rule, self.device = problem.start, problem.task.rule, device
        self.f, self.options, self.t = ACTIVATIONS[problem.task.f], problem.options, 0
        self.layers = layers_of(start, "W", "b", device)
        self.inverses = layers_of(start, "V", "c", device)
        self.L, self.N, self.top = len(self.layers), len(problem.x), max(self.inverses)
        self.x, self.y = there(problem.x, device), there(problem.y, device)
        self.onehot = F.one_hot(self.y, self.layers[self.L].out_features).float()
        self.noises = problem.noise
        self.given = {i: torch.empty(self.N, self.layers[i].in_features, device=device)
                      for i in range(2, self.top + 1) if self.noises}
        if self.rule == "ao-sdtp":
            self.W_z, self.b_z = there(start["Wz"], device), there(start["bz"], device)

    def draw(self):
        """The problem's own noise of this step, if it has any, to where `noise` finds it."""
        for i, where in self.given.items():
            where.copy_(torch.from_numpy(self.noises[self.t][i]))
        self.t += 1

    def noise(self, i):
        """Standard normal numbers in the shape of h[i-1]: new ones, or those of the problem."""
        if self.given:
            return self.given[i]
        return torch.randn(self.N, self.layers[i].in_features, device=self.device)

    def step(self):
        """One step; the batch's mean loss."""
        self.draw()
        return self.work()

    def forward(self, x):
        """h[0] .. h[L], with a graph for each layer alone."""
        h = [x]
        for i in range(1, self.L):
            h.append(self.f(self.layers[i](h[i - 1].detach())))
        return h + [self.layers[self.L](h[self.L - 1].detach())]

    def says(self, i, h):
        """What layer i says to its inverse: h[i]; of the output layer probabilities, and z."""
        a = self.layers[i](h)
        return self.f(a) if i < self.L else self.output(torch.softmax(a, 1), h)

    def output(self, p, h):
        """p, or [p, z] where there are auxiliary outputs."""
        if self.rule != "ao-sdtp":
            return p
        return torch.cat([p, self.f(torch.addmm(self.b_z, h, self.W_z))], 1)

    def undo(self, i, h):
        """g_i(h)."""
        return self.f(self.inverses[i](h))

    def inverse_loss(self, i, below, noise):
        """1/2 |g_i(f_i(h')) - goal|^2, the mean over the batch; h' = below + noise."""
        below = below.detach()
        start = below + self.options["sigma"] * noise
        with torch.no_grad():
            above = self.says(i, start)
        goal = start if self.rule == "dtp" else below
        return ((self.undo(i, above) - goal) ** 2).sum() / (2 * self.N)

    @torch.no_grad()
    def targets(self, h):
        """h_hat[1] .. h_hat[L-1]."""
        L, h_hat, p = self.L, [None] * self.L, torch.softmax(h[self.L], 1)
        error = p - self.onehot                                     # of one example's loss
        if self.rule == "dtp":
            e = error @ self.layers[L].weight
            h_hat[L - 1] = h[L - 1] - self.options["target_step"] * e
        else:
            wanted = self.output(p - self.options["label_step"] * error, h[L - 1])
            said = self.output(p, h[L - 1])
            h_hat[L - 1] = h[L - 1] + (self.undo(L, wanted) - self.undo(L, said))
        for i in range(L - 1, 1, -1):
            h_hat[i - 1] = h[i - 1] + (self.undo(i, h_hat[i]) - self.undo(i, h[i]))
        return h_hat

    def local_loss(self, h, h_hat):
        """1/2 |h - h_hat|^2, the mean over the batch."""
        return ((h - h_hat) ** 2).sum() / (2 * self.N)

    def arrays(self):
        """Every array by our name."""
        return {**named(self.layers, "W", "b"), **named(self.inverses, "V", "c")}


class LayerTargets(Targets):
    """DTP, SDTP or AO-SDTP: a graph, a loss and an optimiser for each layer and each inverse."""

    def __init__(self, problem, device="cpu"):
        super().__init__(problem, device)
        self.forward_optimizers = {i: optimiser(problem, layer.parameters())
                                   for i, layer in self.layers.items()}
        self.inverse_optimizers = {i: optimiser(problem, layer.parameters())
                                   for i, layer in self.inverses.items()}
        self.optimizers = [*self.forward_optimizers.values(), *self.inverse_optimizers.values()]

    def learn(self, optimizer, loss):
        """One step of one layer."""
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def work(self):
        """One step; the batch's mean loss."""
        h = self.forward(self.x)
        for i in range(2, self.top + 1):
            loss = self.inverse_loss(i, h[i - 1], self.noise(i))
            self.learn(self.inverse_optimizers[i], loss)
        h_hat = self.targets(h)
        for i in range(1, self.L):
            self.learn(self.forward_optimizers[i], self.local_loss(h[i], h_hat[i]))
        loss = F.cross_entropy(h[self.L], self.y)
        self.learn(self.forward_optimizers[self.L], loss)
        return loss.detach()


class SummedTargets(Targets):
    """DTP, SDTP or AO-SDTP: one sum of inverse losses, one of forward losses, fused optimisers."""

    def __init__(self, problem, device="cpu"):
        super().__init__(problem, device)
        self.optimizer = optimiser(problem, parameters(self.layers.values()), True)
        self.optimizer_inverse = optimiser(problem, parameters(self.inverses.values()), True)
        self.optimizers = [self.optimizer, self.optimizer_inverse]

    def inverse_losses(self, h, noise):
        """Of all inverses."""
        return sum(self.inverse_loss(i, h[i - 1], noise[i]) for i in range(2, self.top + 1))

    def forward_losses(self, h):
        """Of all layers; and the output's alone."""
        h_hat, loss = self.targets(h), F.cross_entropy(h[self.L], self.y)
        return loss + sum(self.local_loss(h[i], h_hat[i]) for i in range(1, self.L)), loss

    def work(self):
        """One step; the batch's mean loss."""
        h = self.forward(self.x)
        noise = {i: self.noise(i) for i in range(2, self.top + 1)}
        self.optimizer_inverse.zero_grad()
        self.inverse_losses(h, noise).backward()
        self.optimizer_inverse.step()
        total, loss = self.forward_losses(h)
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return loss.detach()


class CompiledTargets(SummedTargets):
    """The same; what makes the graphs is compiled, their backward passes with them."""

    mode = None

    def __init__(self, problem, device="cpu"):
        super().__init__(problem, device)
        self.forward = torch.compile(self.forward, mode=self.mode)
        self.inverse_losses = torch.compile(self.inverse_losses, mode=self.mode)
        self.forward_losses = torch.compile(self.forward_losses, mode=self.mode)


class LayerKickback:
    """Kickback: a graph and an optimiser for each layer; the K networks as one batched product."""

    def __init__(self, problem, device="cpu"):
        start = problem.start
        self.L = sum(name[0] == "W" for name in start)
        self.W, self.b = ([None] + [nn.Parameter(there(start[f"{name}[{i}]"].copy(), device))
                                    for i in range(1, self.L + 1)] for name in "Wb")
        self.sign = [None] + [1.0 - 2.0 * (torch.arange(W.shape[2], device=device) % 2)
                              for W in self.W[1:]]
        self.x, self.y = there(problem.x, device), there(problem.y, device)
        self.onehot = F.one_hot(self.y, len(self.W[1])).float()
        self.optimizers = [optimiser(problem, [W, b]) for W, b in zip(self.W[1:], self.b[1:])]

    @torch.no_grad()
    def deltas(self, h):
        """delta[i] = beta tau[i] s[i], and the batch's mean loss."""
        z, delta = h[self.L].sum(2).T, [None] * (self.L + 1)
        beta = (torch.softmax(z, 1) - self.onehot).T[:, :, None]            # (K, N, 1)
        s = [None] + [sign * (a != 0) for sign, a in zip(self.sign[1:], h[1:])]
        delta[self.L] = beta * s[self.L]
        for i in range(self.L, 1, -1):
            tau = torch.bmm(s[i], self.W[i].transpose(1, 2))
            delta[i - 1] = beta * tau * s[i - 1]
        return delta, F.cross_entropy(z, self.y)

    def draw(self):
        """There is no noise."""

    def step(self):
        """One step; the batch's mean loss."""
        return self.work()

    def work(self):
        """One step; the batch's mean loss."""
        h, a = [self.x.expand(len(self.W[1]), *self.x.shape)], [None]
        for i in range(1, self.L + 1):
            a.append(torch.baddbmm(self.b[i][:, None], h[i - 1].detach(), self.W[i]))
            h.append(self.sign[i] * torch.relu(a[i]))
        delta, loss = self.deltas(h)
        for i in range(1, self.L + 1):
            self.optimizers[i - 1].zero_grad()
            a[i].backward(delta[i] / len(self.x))
            self.optimizers[i - 1].step()
            if i > 1:
                with torch.no_grad():
                    self.W[i].copy_(self.sign[i] * torch.relu(self.sign[i] * self.W[i]))
        return loss

    def arrays(self):
        """Every array by our name."""
        return {f"{name}[{i}]": here(array[i])
                for name, array in (("W", self.W), ("b", self.b)) for i in range(1, self.L + 1)}


class Unfold:
    """A locally connected layer, forward and backward, in torch's own order (N, channels, r, c).

    Parameters
    ----------
    case : benchmarks.layers.Case
    einsum : bool
        How the product of each place is written.
    device : str
        Of torch's.
    """

    def __init__(self, case, einsum, device="cpu"):
        R, C, ch, k, self.s, top, left, R1, C1 = case.stencil
        bottom, right = ((n1 - 1) * self.s + k - n - before
                         for n, n1, before in ((R, R1, top), (C, C1, left)))
        self.k, self.einsum, self.N, P = k, einsum, len(case.h), R1 * C1
        self.pad, self.shape = (left, right, top, bottom), (R, C, ch, k, R1, C1)
        h = case.h.reshape(-1, R, C, ch).transpose(0, 3, 1, 2)
        W = case.W.reshape(P, k, k, ch, -1).transpose(0, 3, 1, 2, 4).reshape(P, k * k * ch, -1)
        self.h, self.W, self.b = (there(array.copy(), device).requires_grad_()
                                  for array in (h, W, case.b))
        self.delta = there(case.delta.reshape(self.N, P, -1).copy(), device)

    def forget(self):
        """What the last step found is not held beside what the next one finds."""
        self.h.grad = self.W.grad = self.b.grad = self.a = None

    def step(self):
        """Forward, pull back, gradient."""
        self.forget()
        left, right, top, bottom = self.pad
        if (left, top) == (right, bottom):                      # unfold's own zeros are cheaper
            seen = F.unfold(self.h, self.k, padding=(top, left), stride=self.s)
        else:
            seen = F.unfold(F.pad(self.h, self.pad), self.k, stride=self.s)     # (N, S, P)
        if self.einsum:
            a = torch.einsum("nsp,psf->npf", seen, self.W)
        else:
            a = torch.bmm(seen.permute(2, 0, 1), self.W).transpose(0, 1)
        a = a + self.b
        a.backward(self.delta)
        self.a = a.detach()

    def answer(self):
        """The layer's output, dloss/dh, dW and db, as ours lie."""
        R, C, ch, k, R1, C1 = self.shape
        dW = here(self.W.grad).reshape(R1 * C1, ch, k, k, -1).transpose(0, 2, 3, 1, 4)
        e = here(self.h.grad).transpose(0, 2, 3, 1).reshape(self.N, -1)
        return (here(self.a).reshape(self.N, -1), e,
                dW.reshape(R1 * C1, k * k * ch, -1) / self.N, here(self.b.grad) / self.N)


def layers(device="cpu"):
    """What builds a locally connected layer, by the name it has in the tables."""
    return {"torch unfold + bmm": partial(Unfold, einsum=False, device=device),
            "torch unfold + einsum": partial(Unfold, einsum=True, device=device)}


def contenders(task):
    """The contenders for a task, by the name they have in the tables."""
    if task.rule == "bp":
        return {"torch": Eager, "torch, fused optimiser": EagerFused}
    if task.rule == "fa":
        return {"torch autograd.Function": Feedback}
    if task.rule == "dfa":
        return {"torch autograd.Function": DirectFeedback}
    if task.rule == "kickback":
        return {"torch, a loss a layer": LayerKickback}
    both = {"torch, a loss a layer": LayerTargets, "torch, one loss": SummedTargets}
    return {**both, "torch.compile": CompiledTargets} if task.rule == "dtp" else both
