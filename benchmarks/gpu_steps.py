"""What a step of a rule costs on a GPU: ours, torch's and JAX's.

    ours        operation by operation; recorded, one launch a step; a pass, MANY steps a launch
    torch       as public repositories write it; as carefully as it gets; that as a CUDA graph
    compile     that by torch.compile(mode="reduce-overhead")
    jax         one jax.jit; MANY steps in one, by lax.scan

Same precision for all: float32 products without TF32.  Each is checked against the NumPy reference,
as on the CPU (`benchmarks.check`), before it is timed.  Batches and weights lie on the GPU, and
nothing is read back; what `take` does of a step, it does here too: a batch is copied to where the
recorded step reads it, and the losses to an array of their own.
"""
from functools import partial

import numpy as np

from benchmarks.check import Judge
from benchmarks.steps import LEE, NET_1024, SMALL, admitted, brief
from benchmarks.tasks import STILL, Ours, Task, operations, problem
from minicredit.data import Split

MANY = 20                       # steps in a launch, of those called x20
PASS = 100                      # and in a pass of ours
GENTLE = 0.01                   # a learning rate at which wide rectifiers forgive rounding
SETTLE = 4                      # calls in which libraries record what they repeat later
OURS, AT_ONCE = "minicredit", "minicredit x20"
CEILING, SIDE = "ceiling", 4096
TASKS = [
    Task("dtp", LEE, "tanh", 100, "sgd"), Task("dtp", LEE, "tanh", 100, "adam"),
    Task("bp", LEE, "tanh", 100, "sgd"), Task("bp", LEE, "tanh", 100, "adam"),
    Task("bp", NET_1024, "relu", 1024, "sgd"), Task("bp", NET_1024, "relu", 256, "sgd"),
    *(Task(rule, LEE, "tanh", 100, "sgd") for rule in ("fa", "dfa", "sdtp", "ao-sdtp", "kickback")),
]
COMPILED = 0, 1, 2, 4           # a process each: a compilation takes half a minute
JAX = (0, 7), (1, 6), (2, 3, 4, 5)


def tasks(options):
    """The rows."""
    small = {"net": SMALL, "batch": 20} if options["small"] else {}
    return [task._replace(**small) for task in TASKS]


def name(number, options):
    """Of a row, as it stands in the table."""
    return tasks(options)[number].name()


def processes(options):
    """(library, rows) of each process: libraries do not meet, and compile side by side."""
    wanted = [row for row, task in enumerate(TASKS) if task.rule in options["rules"]]
    found = [("ours", wanted), ("torch", wanted)]
    if not options["small"]:
        found += [("compile", [row]) for row in COMPILED]
    found += [("jax", rows) for rows in JAX]
    found = [(library, [row for row in rows if row in wanted]) for library, rows in found
             if library not in options["without"]]
    return [(library, rows) for library, rows in found if rows]


class Eagerly(Ours):
    """Operation by operation."""

    def step(self):
        """One step."""
        return self.rule.step(self.x, self.y)


def alike(x, y, n):
    """n batches that are this one."""
    return Split(np.concatenate([x] * n), np.concatenate([y] * n))


class Pass(Ours):
    """A pass over a few batches, as training does it: MANY steps a launch, losses read at the end.

    Parameters
    ----------
    problem : Problem
    backend : str
    at_once : int
        Batches, all alike.
    """

    def __init__(self, problem, backend, at_once):
        super().__init__(problem, backend)
        self.at_once, self.split = at_once, alike(problem.x, problem.y, at_once)

    def step(self):
        """The steps of a pass."""
        run_over(self.rule.net.ops, self.rule.step, self.split, len(self.x))


def run_over(ops, learn, split, batch):
    """Every batch of a split, in order."""
    for _ in ops.epoch(learn, split, np.arange(split.n), batch, [1.0] * (split.n // batch)):
        pass


def contenders(library, task, at_once, device):
    """What builds each contender of a library from a problem, by its name in the tables."""
    if library == "ours":
        backend = "cuda" if device == "cuda" else "emulated"
        return {OURS: partial(Ours, backend=backend),
                AT_ONCE: partial(Pass, backend=backend, at_once=at_once),
                "minicredit, eager": partial(Eagerly, backend=backend)}
    if library == "jax":
        from benchmarks import peers_jax
        if not peers_jax.contenders(task):
            return {}
        return {"jax.jit": peers_jax.Jit,
                "jax.jit x20": partial(peers_jax.Scan, at_once=at_once)}
    from benchmarks import peers_cuda
    peers_cuda.ready()
    chosen = peers_cuda.compiled if library == "compile" else peers_cuda.eager
    return chosen(task, at_once, device)


def is_recorded(ops):
    """Whether a recorder has recorded a step."""
    return any(step.launches for step in ops.seen.values())


def finisher(library, contender, device):
    """What waits until all is done that a contender has begun."""
    if library == "ours":
        return contender.rule.net.ops.device.synchronize
    if library == "jax":
        return contender.finish
    import torch
    return torch.cuda.synchronize if device == "cuda" else int


def prepare(library, number, options):
    """A row's contenders that are right, ready to be timed.

    Returns
    -------
    ready : dict of (function, function that waits for it, how many steps it takes)
    said : dict
        errors and left_out, as `benchmarks.tables` has them; operations.
    """
    task, device, left_out = tasks(options)[number], options["device"], {}
    # ours is first taken as it is, then recorded, then replayed
    checked, many = (4, PASS) if library == "ours" else (3, MANY)
    judge = Judge(task, checked, GENTLE if task.net == NET_1024 else None)
    errors = admitted(contenders(library, task, checked, device), judge, left_out)
    still, ready = problem(task, eta=STILL[task.optimizer]), {}
    makers = contenders(library, task, checked if options["small"] else many, device)
    for name in errors:
        try:
            one = makers[name](still)
            begin, finish = getattr(one, "launch", one.step), finisher(library, one, device)
            for _ in range(2 if options["small"] else SETTLE):
                begin()
            finish()
            ready[name] = begin, finish, getattr(one, "at_once", 1)
            if name == OURS and not is_recorded(one.rule.net.ops):
                left_out["a launch a step"] = f"not recorded: {one.rule.net.ops.why}"
        except Exception as failed:
            left_out[name] = brief(failed)
    if library == "torch":
        from benchmarks.peers_cuda import product
        ready[CEILING] = product(side(options), device), finisher(library, None, device), 1
    return ready, {"errors": errors, "left_out": left_out, "operations": operations(task)}


def side(options):
    """Of the matrices whose product is the ceiling."""
    return 64 if options["small"] else SIDE


def compared_with(name):
    """Whose time is set against a contender's: ours that takes as many steps in a launch."""
    return AT_ONCE if name.endswith("x20") else OURS
