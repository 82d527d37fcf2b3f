"""What a step of a rule costs: ours, torch's and JAX's, side by side.

Four groups of rows: "dtp", "bp", "fa" (with dfa), and "targets" (Kickback, SDTP, AO-SDTP).  Every
contender is checked before it is timed; see `benchmarks.check`.
"""
from importlib import import_module

from benchmarks.check import Judge, Wrong
from benchmarks.tasks import STILL, Ours, Task, operations, problem
from benchmarks.timing import SIDE, Others, rounds
from minicredit.kernels import BackendError, load

LEE, NET_256, NET_1024 = "784-7x240-10", "784-5x256-10", "784-3x1024-10"
OURS = {"numba": "minicredit numba", "numpy": "minicredit numpy"}
BOTH = "sgd", "adam"
TASKS = {
    "dtp": [Task("dtp", LEE, "tanh", 100, kind) for kind in BOTH],
    "bp": [Task("bp", net, f, N, kind) for net, f, N in ((LEE, "tanh", 100), (NET_256, "relu", 128),
                                                         (NET_1024, "relu", 256)) for kind in BOTH],
    "fa": [Task(rule, LEE, "tanh", 100, "sgd") for rule in ("fa", "dfa")],
    "targets": [Task(rule, LEE, "tanh", 100, "sgd") for rule in ("kickback", "sdtp", "ao-sdtp")],
}
SMALL = "16-3x8-4"                              # to see that everything runs, not to measure
COMPILES = {"dtp": 15, "bp": 4, "fa": 4, "targets": 4}          # seconds, roughly, with the check


def tasks(group, options):
    """The tasks of a group, on a small network if that is asked for."""
    found = TASKS[group]
    return [task._replace(net=SMALL, batch=20) for task in found] if options["small"] else found


def side(options):
    """Of the matrices whose product is the ceiling."""
    return 64 if options["small"] else SIDE


def jobs(group, options):
    """(name, seconds it will take, roughly) of each row."""
    expected = COMPILES[group] * (not options["small"])
    expected += options["rounds"] * (5 * 1.3 * options["burst"] + 0.15)
    return [(task.name(), expected) for task in tasks(group, options)]


def goals(task, threads):
    """How many times as fast as each contender ours is meant to be on two cores."""
    adam = task.optimizer == "adam"
    if task.rule == "dtp" and threads == 1:
        return {"jax.jit": 1.1}
    if threads != 2:
        return {}
    if task.rule == "dtp":
        return {"torch, a loss a layer": 3.4 if adam else 3.2, "torch, one loss": 2.2,
                "jax.jit": 1.5}
    if task.rule == "bp":
        torch = {LEE: (1.5, 1.7), NET_256: (1.4, 1.8)}.get(task.net, (1.15, 1.15))
        return {"torch": torch[adam], "jax.jit": 1.0 if task.net == NET_1024 else 1.15}
    if task.rule in ("fa", "dfa"):
        return {"torch autograd.Function": 1.5, "jax.jit": 1.1}
    return {"torch, a loss a layer": 2.5}


def peers(without):
    """The modules of the other libraries' contenders; and why others are left out.

    Parameters
    ----------
    without : list of str
        Libraries that are not wanted.

    Returns
    -------
    modules : list
    left_out : dict of str
    """
    modules, left_out = [], {}
    for library in ("torch", "jax"):
        if library in without:
            left_out[library] = "not wanted (--without)"
            continue
        try:
            modules.append(import_module(f"benchmarks.peers_{library}"))
        except ModuleNotFoundError as missing:
            left_out[library] = f"{missing.name} is not installed"
        except ImportError as broken:
            left_out[library] = f"cannot be imported: {broken}"
    return modules, left_out


def backends(without, left_out):
    """{name in the tables: backend} of ours that load; why others do not goes to `left_out`."""
    found = {}
    for backend, name in OURS.items():
        if backend in without or name in without:
            continue
        try:
            load(backend)
            found[name] = backend
        except BackendError as missing:
            left_out[name] = str(missing)
    return found


class Backend:
    """Builds our contender on a backend."""

    def __init__(self, name):
        self.name = name

    def __call__(self, problem):
        return Ours(problem, self.name)


def contenders(task, without):
    """What builds each contender from a problem, by its name in the tables; and who is left out."""
    modules, left_out = peers(without)
    found = {name: Backend(backend) for name, backend in backends(without, left_out).items()}
    for module in modules:
        found.update(module.contenders(task))
    return {name: make for name, make in found.items() if name not in without}, left_out


def admitted(found, judge, left_out):
    """Those that are right, and how far off they were; the others go to `left_out`, in place.

    Any failure is told in the table: one library that cannot compile here must not stop the others.
    """
    errors = {}
    for name, make in found.items():
        try:
            errors[name] = judge.check(make)
        except Wrong as wrong:
            left_out[name] = f"WRONG, not timed: {wrong}"
        except Exception as failed:
            left_out[name] = brief(failed)
    return errors


def brief(failed):
    """What went wrong, in a line."""
    lines = str(failed).strip().splitlines()
    return f"{type(failed).__name__}: {lines[0][:120] if lines else 'no message'}"


def measure(group, number, options):
    """One row; dict, see `benchmarks.tables`."""
    task = tasks(group, options)[number]
    found, left_out = contenders(task, options["without"])
    errors = admitted(found, Judge(task), left_out)
    still = problem(task, eta=STILL[task.optimizer])
    ready = {name: found[name](still).step for name in errors}
    others = Others()
    times, ceilings = rounds(ready, options["rounds"], options["burst"], side(options))
    return {"group": group, "what": task.name(), "times": times, "ceilings": ceilings,
            "operations": operations(task), "errors": errors, "left_out": left_out,
            "goals": {} if options["small"] else goals(task, options["threads"]),
            "others": others.processors()}
