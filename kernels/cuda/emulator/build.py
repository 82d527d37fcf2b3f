"""CUDA C to a shared library for the CPU, with an ordinary C++ compiler.

Of a kernel's file two things are rewritten: a `__shared__` variable becomes memory that the block
owns, and a kernel gets an entry that takes its arguments as a launch hands them in.  Everything
else is as it stands, in the lines in which it stands, behind cuda_on_cpu.h.

What was compiled is kept in the user's cache folder (MINICREDIT_CACHE names another), under a name
made from everything that went in.
"""
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from minicredit.kernels.cuda import source

HERE = Path(__file__).parent
RUNTIME = ("stacks.cpp", "threads.cpp")
CHECKS = ("checks.cpp", "counts.cpp")
COMMON = ("-std=c++17", "-fPIC", "-ffp-contract=off", "-fno-math-errno")
FAST = ("-O2",)
CHECKED = ("-O1", "-g", "-fno-tree-sra", "-fsanitize=thread", "-DEMULATED_CHECKED")
QUIET = ("-Wno-unknown-pragmas", "-Wno-attributes")
SHARED = re.compile(r"(extern\s+)?__shared__\s+((?:__align__|alignas)\s*\(\s*\d+\s*\)\s*)?"
                    r"([A-Za-z_][\w:<>]*(?:\s+[A-Za-z_]\w*)*?)\s+(\w+)\s*((?:\[[^\]]*\]\s*)*);")
UNINSTRUMENTED = '__attribute__((no_sanitize("thread")))'


@cache
def compiler():
    """The command of the C++ compiler, and whether it is Clang.

    Raises
    ------
    ImportError
        If there is none.
    """
    if sys.platform != "linux":
        raise ImportError(f"it runs on Linux; this is {sys.platform}")
    asked = os.environ.get("CXX")
    for command in [shlex.split(asked)] if asked else [["g++"], ["clang++"], ["c++"]]:
        if command and shutil.which(command[0]):
            told = subprocess.run([*command, "--version"], capture_output=True, text=True)
            return command, "clang" in told.stdout
    what = f"CXX={asked}" if asked else "g++ or clang++"
    raise ImportError(f"it needs a C++ compiler, and {what} is not there")


def folder():
    """Where libraries are kept."""
    named = os.environ.get("MINICREDIT_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named or Path(home) / "minicredit") / "kernels"


# Text ---------------------------------------------------------------------------------------------

def translate(text, file):
    """CUDA C as C++, line by line."""
    slots = iter(range(1 << 16))

    def put(match):
        dynamic, _, kind, name, dims = match.groups()
        if dynamic:
            return f"{kind}* {name} = static_cast<{kind}*>(emulated_dynamic_shared());"
        own = f"emulated_type_{name}"
        return (f"using {own} = {kind}{dims.strip()}; {own}& {name} = *static_cast<{own}*>("
                f"emulated_shared({next(slots)}, sizeof({own}), "
                f'sizeof({kind}) < 4 ? int(sizeof({kind})) : 4, "{name}"));')

    body = SHARED.sub(put, text)
    rest = re.search(r"^.*\b__shared__\b.*$", source.without_comments(body), re.M)
    if rest:
        raise ValueError(f"{file}: wanted one __shared__ variable a statement; got "
                         f"{rest[0].strip()!r}")
    body = re.sub(r"(\(\s*const\s+(?:__grid_constant__\s+)?Group\s*<\s*\w+\s*>)\s+(\w+\s*\))",
                  r"\1& \2", body)                  # 4 KB that every thread would copy
    entries = [entry(name, parameters) for name, parameters in source.kernels(text).items()]
    return f'#line 1 "{file}"\n{body}\n' + "\n".join(entries) + "\n"


def entry(name, parameters):
    """The function that a launch calls: the kernel, its arguments read through pointers."""
    args = ", ".join(f"*({'const ' if p.const else ''}{p.type}{'*' if p.pointer else ''}*)a[{i}]"
                     for i, p in enumerate(parameters))
    return (f'extern "C" {UNINSTRUMENTED} void emulated_entry_{name}(void** a) '
            f"{{ {name}({args}); }}")


# Libraries ----------------------------------------------------------------------------------------

@cache
def tell():
    """The first time something is compiled in a process, say so."""
    print("minicredit: compiling kernels, once: they are kept for the next time",
          file=sys.stderr, flush=True)


def made(name, parts, make):
    """The path of a library in the cache, made if it is not there.

    Parameters
    ----------
    name : str
    parts : list of str
        Everything it depends on.
    make : callable
        Called with a folder to work in; returns the library, in there.
    """
    command, _ = compiler()
    key = hashlib.sha256("\0".join([*command, version(), *parts]).encode()).hexdigest()[:20]
    path = folder() / f"{name}-{key}.so"
    if not path.exists():
        tell()
        with working_folder(path.parent) as work:
            os.replace(make(Path(work)), path)      # at once, whoever else makes the same
    return path


def working_folder(inside):
    """A new folder, removed when it is left.

    Raises
    ------
    ImportError
        If none can be made there.
    """
    try:
        inside.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=inside)
    except OSError as error:
        raise ImportError(f"compiled kernels are kept in {inside}, and that cannot be written to: "
                          f"{error.strerror}; MINICREDIT_CACHE names another folder") from None


@cache
def version():
    """What the compiler says about itself."""
    return subprocess.run([*compiler()[0], "--version"], capture_output=True, text=True).stdout


def compiled(args, work):
    """Run the compiler.

    Raises
    ------
    RuntimeError
        With what it says, if it does not compile.
    """
    command = [*compiler()[0], *args]
    ran = subprocess.run(command, cwd=work, capture_output=True, text=True)
    if ran.returncode:
        raise RuntimeError(f"{shlex.join(command)}\n{ran.stderr}")


def mode_flags(checked):
    """What a kernel is compiled with."""
    if not checked:
        return FAST
    entry_and_exit = "tsan-instrument-func-entry-exit=0"
    less = ["-mllvm", f"-{entry_and_exit}"] if compiler()[1] else [f"--param={entry_and_exit}"]
    return (*CHECKED, *less)


@cache
def runtime(checked):
    """The library that runs threads, and checks them if asked."""
    files = [HERE / name for name in (*RUNTIME, *CHECKS * checked)]
    flags = [*COMMON, "-O2", *["-DEMULATED_CHECKED"] * checked]
    texts = [path.read_text() for path in (*files, HERE / "runtime.h")]

    def make(work):
        try:
            compiled([*flags, "-shared", *map(str, files), "-o", "made.so", "-ldl"], work)
        except RuntimeError as failed:
            why = next((line for line in str(failed).splitlines() if "error" in line),
                       "it gives no reason")
            raise ImportError(f"{shlex.join(compiler()[0])} does not compile it: {why}") from failed
        return work / "made.so"

    return made("checked" if checked else "fast", [*texts, *flags], make)


def library(text, file, defines, checked):
    """A kernel's file as a library.

    Parameters
    ----------
    text : str
        Flattened.
    file : str
        Its name, for reports.
    defines : tuple of (name, value)
    checked : bool
    """
    header, translated, threads = HERE / "cuda_on_cpu.h", translate(text, file), runtime(checked)
    flags = [*COMMON, *mode_flags(checked), *QUIET, *(f"-D{n}={v}" for n, v in defines)]

    def make(work):
        (work / file).write_text(translated)        # the name that reports give
        compiled([*flags, "-include", str(header), "-x", "c++", "-c", file, "-o", "made.o"], work)
        compiled(["-shared", "made.o", f"-L{threads.parent}", f"-l:{threads.name}",
                  "-Wl,-rpath,$ORIGIN", "-o", "made.so"], work)
        return work / "made.so"

    parts = [translated, file, header.read_text(), threads.name, *flags]
    return made(Path(file).stem, parts, make)
