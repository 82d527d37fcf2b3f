"""What the runtime found, as an exception, with the lines of the kernel that it is about."""
import re
import shutil
import subprocess

HEADERS = ("device.cuh", "cuda_on_cpu.h")       # the line that calls what is in there is meant


class KernelError(RuntimeError):
    """A kernel broke a rule of CUDA.

    Parameters
    ----------
    kinds : set of str
        {"race"}, {"bounds", "uninit"}, ...; see checks.cpp and threads.cpp.
    text : str
        One line for each thing that was found.
    """

    def __init__(self, kinds, text):
        super().__init__(text)
        self.kinds = kinds


def lines(library, addresses):
    """The source line, as "file:line", of each address in a library; dict."""
    addresses = sorted(set(addresses) - {"0"})
    if not addresses or not shutil.which("addr2line"):
        return {}
    ran = subprocess.run(["addr2line", "-a", "-i", "-e", str(library), *addresses],
                         capture_output=True, text=True)
    found = {}
    for line in ran.stdout.splitlines():
        if re.fullmatch(r"0x[0-9a-f]+", line):
            address, found[f"{int(line, 16):x}"] = f"{int(line, 16):x}", "?"
            continue
        place = re.sub(r" \(discriminator \d+\)", "", line.rpartition("/")[2])
        if found[address].startswith(("?", *HEADERS)):      # innermost first, then its callers
            found[address] = place
    return found


def error(kernel, library, text):
    """The exception for the runtime's reports, one a line."""
    rows = [row.split("|", 3) for row in text.splitlines()]
    where = lines(library, [address for row in rows for address in row[1:3]])
    said = {}                           # once for each pair of lines, which loops unrolled repeat
    for kind, pc, other, what in rows:
        place = f"{where[pc]} " if pc in where else ""
        second = f", at {where[other]}" if other in where else ""
        key = (kind, place, second) if place else what
        said.setdefault(key, f"{kernel}: {kind}: {place}{what}{second}")
    return KernelError({row[0] for row in rows}, "\n".join(said.values()))
