"""The contenders in PyTorch that are captured, so that a GPU need not wait for Python.

    Captured            steps captured by hand as one CUDA graph, and replayed
    Reduced             torch.compile(mode="reduce-overhead"), which captures by itself

The steps are those of `benchmarks.peers_torch`, the most careful ones.
"""
from functools import partial

import torch

from benchmarks import peers_torch

WARM = 3                        # steps before a capture: libraries choose and allocate in these
CAREFUL = {"bp": peers_torch.EagerFused, "fa": peers_torch.Feedback,
           "dfa": peers_torch.DirectFeedback, "kickback": peers_torch.LayerKickback}


class Captured:
    """Steps of another contender, as one CUDA graph.

    Parameters
    ----------
    problem : benchmarks.tasks.Problem
    kind : class, as in `benchmarks.peers_torch`
    at_once : int
        Steps in the graph; of a problem that brings its noise, one.
    """

    def __init__(self, problem, kind, at_once):
        self.at_once = 1 if problem.noise and problem.noise[0] else at_once
        self.inner = kind(problem, "cuda")
        for group in (group for one in self.inner.optimizers for group in one.param_groups):
            group["capturable"] = True              # Adam counts its steps on the device
        self.warm()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            for _ in range(self.at_once):
                self.loss = self.inner.work()

    def warm(self):
        """Some steps on another stream, as a capture needs; then everything as it was."""
        learned = [p for one in self.inner.optimizers for group in one.param_groups
                   for p in group["params"]]
        start, stream = [p.detach().clone() for p in learned], torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM):
                self.inner.work()
        torch.cuda.current_stream().wait_stream(stream)
        with torch.no_grad():
            for p, before in zip(learned, start):
                p.copy_(before)
                p.grad = None
            for one in self.inner.optimizers:
                for remembered in one.state.values():
                    for array in remembered.values():
                        array.zero_()

    def step(self):
        """The steps of one replay; the last one's mean loss."""
        self.inner.draw()
        self.graph.replay()
        return self.loss

    def arrays(self):
        """Every array by our name."""
        return self.inner.arrays()


class Reduced:
    """What torch.compile's contenders do before a step: what the last one returned may go."""

    mode = "reduce-overhead"

    def work(self):
        """One step; the batch's mean loss."""
        torch.compiler.cudagraph_mark_step_begin()
        return super().work().clone()


class ReducedTargets(Reduced, peers_torch.CompiledTargets):
    """DTP, SDTP or AO-SDTP: what makes the graphs, and their backward passes."""


class ReducedBackprop(Reduced, peers_torch.EagerFused):
    """Backprop: the forward pass, and its backward pass with it."""

    def __init__(self, problem, device="cpu"):
        super().__init__(problem, device)
        self.logits = torch.compile(self.logits, mode=self.mode)


def ready():
    """float32 is float32, and every contender may be compiled: each is a case of its own."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch._dynamo.config.recompile_limit = 256


def eager(task, at_once, device):
    """Those that Python drives, and on a GPU those that are captured; by their names.

    "torch" is how public repositories write a rule, "torch, careful" as fast as torch lets it be.
    """
    careful = CAREFUL.get(task.rule, peers_torch.SummedTargets)
    plain = {"bp": peers_torch.Eager}.get(task.rule, peers_torch.LayerTargets)
    found = {"torch, careful": partial(careful, device=device)}
    if task.rule not in ("fa", "dfa", "kickback"):
        found = {"torch": partial(plain, device=device), **found}
    if device == "cuda":
        found["torch, CUDA graph"] = partial(Captured, kind=careful, at_once=1)
        found["torch, CUDA graph x20"] = partial(Captured, kind=careful, at_once=at_once)
    return found


def compiled(task, at_once, device):
    """torch.compile's."""
    kind = ReducedBackprop if task.rule == "bp" else ReducedTargets
    return {"torch.compile": partial(kind, device=device)}


def product(side, device):
    """A function that multiplies two float32 matrices (side, side), on a GPU by cuBLAS."""
    A, B = (torch.randn(side, side, device=device) for _ in range(2))
    return partial(torch.mm, A, B, out=torch.empty_like(A))
