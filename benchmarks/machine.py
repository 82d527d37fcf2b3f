"""What the numbers depend on: processor, versions, threads of the linear algebra, load."""
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import sleep

from threadpoolctl import threadpool_info

from benchmarks.timing import QUIET, Others


def processor():
    """Its name, as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} processors" if names else platform.machine()


def versions():
    """Of everything that is measured; dict of str, without what is not installed."""
    found = {"Python": sys.version.split()[0]}
    for package in ("numpy", "numba", "torch", "jax"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return {**found, **linear_algebra()}


def linear_algebra():
    """The libraries loaded for it and their threads, in this process; {"BLAS": str} or nothing."""
    found = sorted({f"{info['internal_api']} {info['version']} ({info.get('architecture')})"
                    for info in threadpool_info() if info["user_api"] == "blas"})
    return {"BLAS": " and ".join(found)} if found else {}


def changed_threads(threads):
    """If NumPy's linear algebra no longer has its threads, because somebody took them: who says so.

    A backend that bounds the threads of every library in the process slows NumPy and the ceiling,
    and so looks faster than it is.

    Returns
    -------
    dict, {"ceiling": why it is not to be trusted} or nothing
    """
    found = {info["num_threads"] for info in threadpool_info()
             if info["user_api"] == "blas" and "numpy" in info["filepath"]}
    if found <= {threads}:
        return {}
    return {"ceiling": f"NumPy's BLAS had {found} threads afterwards; wanted {threads}"}


def load(seconds=2.0):
    """Processors that others keep busy while we sleep; None where the system does not tell."""
    others = Others()
    sleep(seconds)
    return others.processors()


def is_quiet(others):
    """Whether two threads can be timed; where the system does not tell, they can."""
    return others is None or others <= QUIET
