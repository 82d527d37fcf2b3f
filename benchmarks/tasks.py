"""What is measured: a rule on a network with a batch, and how many operations its products have.

A product of (N, n) with (n, m) counts as 2 N n m operations, and nothing else counts: not the
nonlinearities, not the optimiser, not the random numbers.  With A_i = 2 N n_(i-1) n_i,

    bp, fa      sum_i 2 A_i  +  sum_(i>1) A_i                   forward, gradient; pull back
    dfa         sum_i 2 A_i  +  sum_(i<L) 2 N n_L n_i
    kickback    as bp, of each of the K networks
    dtp         sum_i 2 A_i  +  sum_(1<i<L) 5 A_i  +  A_L       an inverse: f_i, g_i, its gradient,
    sdtp        sum_i 2 A_i  +  sum_(i>1) 5 A_i                 and g_i twice for a target
    ao-sdtp     as sdtp, and 2 N n_(L-1) n_aux (2 + 4)          z twice; g_L is wider by n_aux
"""
from typing import NamedTuple

import numpy as np

from minicredit.compare import build
from minicredit.keys import NOISE
from minicredit.kernels import reference
from minicredit.presets import sizes_of
from minicredit.settings import hyperparameters

INVERSE = "dtp", "sdtp", "ao-sdtp"      # rules with learned inverses
ETA = {"sgd": 0.05, "adam": 1e-3}       # for the check: updates far above their rounding
STILL = {"sgd": 1e-5, "adam": 1e-6}     # for the timing: after a thousand steps, the same network


class Task(NamedTuple):
    """A rule, a network as `minicredit.presets` writes it, its nonlinearity, batch and optimiser.

    optimizer : "sgd" or "adam"
    """

    rule: str
    net: str
    f: str
    batch: int
    optimizer: str

    def name(self):
        """As it stands in a table."""
        how = {"sgd": "SGD", "adam": "Adam"}[self.optimizer]
        return f"{self.rule} {self.net} {self.f}, batch {self.batch}, {how}"


class Problem(NamedTuple):
    """What every contender starts from.

    task : Task
    start : dict; every array of the rule and its network, by name, (n_in, n_out) as ours are
    x : float32 array (N, n_0)
    y : int64 array (N,)
    eta : float
        Of everything that learns.
    noise : list of dicts, or None
        noise[t][i] (N, n_(i-1)), standard normal, for the inverse of layer i in step t.  None: each
        contender draws its own, as it does while it is timed.
    options : dict of float
        target_step, sigma, label_step, of the rules that have them.
    """

    task: Task
    start: dict
    x: np.ndarray
    y: np.ndarray
    eta: float
    noise: list
    options: dict


def rule_of(task, backend="numpy", dtype="float32", eta=None):
    """Our rule, on a network of its own."""
    eta = ETA[task.optimizer] if eta is None else eta
    given = {"eta": str(eta), "optimizer": task.optimizer}
    if task.rule in INVERSE:
        given.update(eta_inverse=str(eta), optimizer_inverse=task.optimizer)
    config = {"net": task.net, "activation": task.f, "init": "glorot", "backend": backend,
              "dtype": dtype, "rules": {task.rule: hyperparameters(task.rule, given)}}
    return build(task.rule, config, sizes_of(task.net)[-1], seed=0)


def arrays_of(rule):
    """Every array of a rule and its network, by name; copies, on the host."""
    found = {**rule.net.parameters(), **rule.arrays}
    return {name: np.array(rule.net.ops.to_numpy(array)) for name, array in found.items()}


def problem(task, steps=0, eta=None, seed=0):
    """A batch, which a seed fixes, and a start; and the noise of so many steps, if any."""
    rule, random = rule_of(task), np.random.default_rng(seed)
    n, K = sizes_of(task.net)[0], sizes_of(task.net)[-1]
    start = arrays_of(rule)
    for name in start:
        if name[0] in "bc":             # at 0, as they start, a mistake in a bias could hide
            start[name] += 0.1 * random.standard_normal(start[name].shape).astype("float32")
    noise = [noise_of(rule, task, t) for t in range(steps)] if steps else None
    x, y = random.random((task.batch, n), np.float32), random.integers(0, K, task.batch)
    options = {name: getattr(rule, name) for name in ("target_step", "sigma", "label_step")
               if hasattr(rule, name)}
    eta = ETA[task.optimizer] if eta is None else eta
    return Problem(task, start, x, y, eta, noise, options)


def noise_of(rule, task, t):
    """What our rule draws in step t."""
    if task.rule not in INVERSE:
        return {}
    sizes, top = rule.net.sizes, rule.net.L - (task.rule == "dtp")
    return {i: reference.normal((task.batch, sizes[i - 1]), (rule.seed, NOISE, i, t), "float32")
            for i in range(2, top + 1)}


class Ours:
    """minicredit, on one of its backends.

    Parameters
    ----------
    problem : Problem
        Its noise is what the rule draws by itself.
    backend : str
    dtype : "float32" or "float64"
    """

    def __init__(self, problem, backend, dtype="float32"):
        self.rule = rule_of(problem.task, backend, dtype, problem.eta)
        ops = self.rule.net.ops
        for name, array in {**self.rule.net.parameters(), **self.rule.arrays}.items():
            array[...] = ops.asarray(problem.start[name].astype(dtype))
        self.x, self.y = ops.asarray(problem.x.astype(dtype)), ops.asarray(problem.y)

    def step(self):
        """One step of the inverses, if any, and of the forward maps; each example's loss."""
        return self.rule.net.ops.take(self.rule.step, self.x, self.y)

    def arrays(self):
        """Every array by name, as NumPy has it."""
        return arrays_of(self.rule)


def operations(task):
    """Operations of one step's matrix products; see this module."""
    rule = rule_of(task)
    n, N, K = rule.net.sizes, task.batch, getattr(rule.net, "K", 1)
    L = len(n) - 1
    A = [0] + [2 * N * n[i - 1] * n[i] for i in range(1, L + 1)]
    total = 2 * sum(A)
    if task.rule in ("bp", "fa", "kickback"):
        return K * (total + sum(A[2:]))
    if task.rule == "dfa":
        return total + sum(2 * N * n[L] * n[i] for i in range(1, L))
    if task.rule == "dtp":
        return total + 5 * sum(A[2:L]) + A[L]
    aux = getattr(rule, "n_aux", 0)
    return total + 5 * sum(A[2:]) + 2 * N * n[L - 1] * aux * 6
