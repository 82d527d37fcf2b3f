"""Arrays in, arrays out: the operations that every rule is made of, once per backend.

A backend is a module, or an object that has the same names.  `reference` is the definition, in
NumPy; every other backend has its names in its order with its signatures, so two backends are
compared by laying two files side by side.  Nothing here knows a network or a rule.
"""
from importlib import import_module

BACKENDS = {
    "numpy": "minicredit.kernels.reference",
    "numba": "minicredit.kernels.cpu",
    "cuda": "minicredit.kernels.cuda.gpu:operations",
    "emulated": "minicredit.kernels.cuda.emulator:operations",
}


class BackendError(ImportError):
    """A backend cannot be loaded here; the message says why."""


def load(name):
    """A backend.  There is no fall-back: what is asked for loads, or says why not.

    Parameters
    ----------
    name : str
        A key of `BACKENDS`; what is no text is taken for a backend as it stands.

    Raises
    ------
    BackendError
        If there is no such backend, or this machine or this version lacks what it needs.
    """
    if not isinstance(name, str):
        return name
    if name not in BACKENDS:
        raise BackendError(f"backend: wanted one of {', '.join(BACKENDS)}; got {name!r}")
    module, _, attribute = BACKENDS[name].partition(":")
    try:
        loaded = import_module(module)
        return getattr(loaded, attribute) if attribute else loaded
    except ModuleNotFoundError as missing:
        if missing.name and module.startswith(missing.name):
            why = "this version of minicredit does not have it"
        else:
            why = f"it needs the package {missing.name!r}, which is not installed"
        raise BackendError(f"backend {name!r} cannot be loaded: {why}") from missing
    except ImportError as broken:
        raise BackendError(f"backend {name!r} cannot be loaded: {broken}") from broken


def recording(ops):
    """The backend for a rule that will take many steps: its recorder of steps, if it has one.

    A recorder has the same operations; its `take` plays a step back as one compiled program.
    """
    return ops.Recorder() if hasattr(ops, "Recorder") else ops


def host(ops):
    """Where random weights for a backend are drawn: by the reference, so that all start alike.

    `shapes`, whose arrays have no numbers to agree on, draws its own, and so does `cpu` what is
    drawn in every step, to the same bits.
    """
    return getattr(ops, "host", None) or load("numpy")
