"""`minicredit kernels`: the CUDA kernels, and what finds a fault in one of them.  No GPU needed.

    minicredit kernels                              what there is, what the compiler makes of it
    minicredit kernels check dense --size 33x18x21  one kernel under the checks
    minicredit kernels check dense --barriers       where it waits
    minicredit kernels check dense --delete-barrier 2       without the second of these: a race
    minicredit kernels check dense --source my.cu           with a file of your own in its place
"""
import re
from pathlib import Path

from minicredit.errors import UserError


def add(commands, parser_class):
    """The words of this command.

    Parameters
    ----------
    commands : what argparse's add_subparsers returns
    parser_class : type
    """
    kernels = commands.add_parser("kernels", help="the CUDA kernels, checked without a GPU")
    which = kernels.add_subparsers(dest="what", metavar="WHAT", parser_class=parser_class)
    check = which.add_parser("check", help="run one kernel and look at every access to memory")
    check.add_argument("name", metavar="NAME", help="as `minicredit kernels` lists them")
    check.add_argument("--size", default="33x18x21", metavar="MxNxK",
                       help="a product of m x k and k x n; others have m rows of n (33x18x21)")
    check.add_argument("--dtype", default="float32", metavar="NAME", help="float32, float64")
    check.add_argument("--schedule", default="up", metavar="NAME",
                       help="the order in which threads run: up, down, random (up)")
    check.add_argument("--barriers", action="store_true", help="only list where the kernel waits")
    check.add_argument("--delete-barrier", type=int, metavar="N", help="without the N-th of these")
    check.add_argument("--source", type=Path, metavar="FILE", help="in the place of the kernel's")


def run(args):
    """Do what was asked for; the exit code: 1 if a check has found something."""
    return check(args) if args.what == "check" else overview()


# The table ----------------------------------------------------------------------------------------

def overview():
    """Print a row for each kernel."""
    from rich.markup import escape
    from rich.table import Table

    from minicredit.kernels.cuda import compiled, source
    from minicredit.kernels.cuda.faults import waits
    from minicredit.kernels.cuda.trials import TRIALS
    from minicredit.screen import console
    usages, why = measured(compiled)
    table = Table("kernel", "what it does", "threads", "variants", "registers", "shared", "spilled",
                  "barriers", "tests of its own")
    for file in TRIALS:
        text = source.flatten(file)
        for kernel in source.kernels(text):
            mine = [one for one in compiled.variants() if (one.file, one.kernel) == (file, kernel)]
            used = [usages[key][kernel] for one in mine
                    if (key := (file, one.defines, compiled.ARCHITECTURES[-1])) in usages]
            name = kernel if kernel == file else f"{file}: {kernel}"
            table.add_row(name, escape(first_line(text)), span(one.threads for one in mine),
                          str(len(mine)), span(one.registers for one in used),
                          span(one.shared for one in used), span(one.spills for one in used),
                          str(len(waits(file))), tested(file, kernel))
    console().print(table)
    print("every kernel is compared with its definition, and loses each barrier and meets planted "
          "faults, in tests/test_kernel_audit.py")
    print(why or f"bytes and registers as NVIDIA's compiler counts them for "
          f"sm_{compiled.ARCHITECTURES[-1]}, least to most over the variants")
    return 0


def tested(file, kernel):
    """Which files of tests name a kernel, where there are any beside this package."""
    wanted = re.compile(rf"\b({file}|{kernel})\b")
    files = sorted((Path(__file__).parents[1] / "tests").glob("test_cuda_*.py"))
    named = [path.stem.removeprefix("test_cuda_") for path in files
             if wanted.search(path.read_text(encoding="utf-8"))]
    return ", ".join(named) or "-"


def measured(compiled):
    """What the compiler says, for the newest architecture, or nothing and why."""
    try:
        return compiled.all_usages(compiled.ARCHITECTURES[-1:]), ""
    except ImportError as missing:
        return {}, f"registers, shared memory and spills need cupy-cuda13x and nvrtc: {missing}"


def first_line(text):
    """What the header of a file says first: the sentence behind "name.cu -- "."""
    header = re.match(r"((?://[^\n]*\n)*)", text)[1]
    sentence = " ".join(line.lstrip("/ ") for line in header.splitlines())
    sentence = re.sub(r"^\S+\.cu -- ", "", sentence)
    return re.split(r"(?<=[.:]) (?=[A-Z]|\s)|\s{2,}", sentence)[0]


def span(numbers):
    """Numbers as "least-most"."""
    numbers = sorted(set(numbers))
    return "-".join(map(str, dict.fromkeys((numbers[0], numbers[-1])))) if numbers else "?"


# One kernel ---------------------------------------------------------------------------------------

def check(args):
    """Run one kernel under the checks; print what is found, or how it reads and writes."""
    from minicredit.kernels.cuda import faults
    size, text = checked(args)
    if args.barriers:
        for i, line in enumerate(faults.listed(args.name), 1):
            print(f"{i:3}  {line}")
        return 0
    try:
        found, accesses = faults.findings(args.name, size, text, args.dtype, args.schedule, 0)
    except RuntimeError as broken:                      # it does not compile, or is no such kernel
        raise UserError(f"{args.source or args.name}: {broken}") from broken
    for line in found:
        print(line)
    if not found:
        print("nothing found; this is how block 0 reads and writes:")
        print_accesses(accesses)
    return 1 if found else 0


def checked(args):
    """The sizes and the text that were asked for.

    Raises
    ------
    UserError
    """
    from minicredit.kernels.cuda import faults
    if args.name not in faults.TRIALS:
        raise UserError(f"kernels check: wanted one of {', '.join(faults.TRIALS)}; got "
                        f"{args.name!r}")
    size = re.fullmatch(r"(\d+)x(\d+)x(\d+)", args.size)
    if not size or not all(0 < int(number) <= 4096 for number in size.groups()):
        raise UserError(f"--size: wanted three numbers from 1 to 4096, like 33x18x21; got "
                        f"{args.size!r}")
    for option, wanted in (("dtype", ("float32", "float64")), ("schedule", ("up", "down",
                                                                            "random"))):
        if getattr(args, option) not in wanted:
            raise UserError(f"--{option}: wanted one of {', '.join(wanted)}; got "
                            f"{getattr(args, option)!r}")
    if args.source and args.delete_barrier:
        raise UserError("--source, --delete-barrier: wanted one of them; got both")
    return tuple(map(int, size.groups())), replaced(args, faults)


def replaced(args, faults):
    """The text in the place of the kernel's; None is the kernel as it is."""
    if args.delete_barrier is not None:
        count = len(faults.waits(args.name))
        if not 1 <= args.delete_barrier <= count:
            raise UserError(f"--delete-barrier: {args.name} waits {count} times, see --barriers; "
                            f"got {args.delete_barrier}")
        return faults.without(args.name, args.delete_barrier)
    try:
        return args.source.read_text() if args.source else None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--source: {args.source}: {error}") from None


def print_accesses(accesses):
    """A row for each line of a kernel that reads or writes memory."""
    from rich.table import Table

    from minicredit.screen import console
    table = Table("kernel", "line", "memory", "access", "bytes", "requests", "cost", "least")
    for kernel, rows in accesses.items():
        for row in rows:
            table.add_row(kernel, row["where"], row["space"], row["op"], str(row["bytes"]),
                          str(row["requests"]), str(row["cost"]), str(row["best"]))
    console().print(table)
    print("cost: turns of the banks of shared memory, sectors of 32 bytes of global memory")
