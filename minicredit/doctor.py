"""What this machine can do: backends, linear algebra, cores, devices, data."""
import importlib.util
import os
import platform

import numpy as np
from rich.table import Table
from threadpoolctl import threadpool_info

from minicredit import __version__, data
from minicredit.kernels import BACKENDS, BackendError, load
from minicredit.screen import console


def backend(name):
    """"loads", or why it does not."""
    try:
        load(name)
    except BackendError as error:
        return f"no: {error}".replace(f"backend {name!r} cannot be loaded: ", "")
    return "loads"


def blas():
    """The linear algebra library under NumPy, its version and its threads."""
    np.ones((2, 2)) @ np.ones((2, 2))               # loaded on first use with some builds
    found = [f"{info['internal_api']} {info['version']}, {info['num_threads']} threads"
             for info in threadpool_info() if info["user_api"] == "blas"]
    return "; ".join(found) or "not found"


def devices():
    """The GPUs that CuPy sees, or why none is seen."""
    if importlib.util.find_spec("cupy") is None:
        return "none seen: CuPy is not installed"
    import cupy
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"none seen: {error}"
    return ", ".join(cupy.cuda.runtime.getDeviceProperties(i)["name"].decode()
                     for i in range(count))


def cores():
    """Cores this process may run on, and cores there are."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{usable} usable of {os.cpu_count()}"


def show():
    """Print it as a table."""
    table = Table("what", "found", show_header=False)
    table.add_row("minicredit", __version__)
    table.add_row("Python", f"{platform.python_version()} on {platform.platform()}")
    table.add_row("NumPy", np.__version__)
    table.add_row("BLAS", blas())
    table.add_row("cores", cores())
    table.add_row("GPUs", devices())
    for name in BACKENDS:
        table.add_row(f"backend {name}", backend(name))
    for row in data.table():
        found = row["found"] or f"no: minicredit data get {row['name']}"
        table.add_row(f"data {row['name']}", str(found))
    console().print(table)
