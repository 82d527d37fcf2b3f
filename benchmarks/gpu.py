"""minicredit against PyTorch and JAX on a GPU.

    python -m benchmarks.gpu [--only steps,epochs] [--seconds 220] [--readme]

    products    the ladder and the products of layers, against cuBLAS
    images      locally connected and convolutional layers
    steps       whole steps of rules
    epochs      every rule on four networks

Results go to benchmarks/results/ as they come, as Markdown and CSV.
"""
import argparse
import json
import queue
import shlex
import subprocess
import sys
import tempfile
from datetime import datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Thread
from time import monotonic

from benchmarks import gpu_tables
from benchmarks.__main__ import listed
from benchmarks.gpu_steps import CEILING, side
from benchmarks.gpu_worker import PARTS, SAYS, environment
from minicredit.rules import RULES

ROOT = Path(__file__).parents[1]
LIBRARIES = "ours", "torch", "compile", "jax"
ALONE = "products", "images"    # parts that measure by themselves
SHARES = {"products": 0.15, "images": 0.15, "prepare": 0.4, "steps": 0.2, "epochs": 0.1}
PATIENCE = 15.0                 # seconds that an answer may take beyond what it should
LEAST = 3                       # rounds of a row, however late it is
GRACE = 30.0                    # and the last one of what is prepared
PACKAGES = "numpy", "cupy-cuda13x", "cupy-cuda12x", "torch", "triton", "jax"


def parser():
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", type=listed(PARTS), default=list(PARTS), metavar="PART,...",
        help=f"some of {', '.join(PARTS)}")
    add("--seconds", type=float, default=220.0, help="of everything, roughly (default: 220)")
    add("--rounds", type=int, default=5, help="every contender's turns (default: 5)")
    add("--burst", type=float, default=0.06, help="seconds of a turn (default: 0.06)")
    add("--rules", type=listed(RULES), default=list(RULES), metavar="RULE,...",
        help="of steps and epochs, those of some rules alone")
    add("--without", type=listed(LIBRARIES), default=[], metavar="LIBRARY,...",
        help=f"leave out some of {', '.join(LIBRARIES)}")
    add("--small", action="store_true",
        help="tiny networks, on the CPU: does everything run?  No numbers")
    add("--readme", action="store_true", help="write the tables into README.md, too")
    add("--readme-from", type=Path, metavar="PAGE.md",
        help="measure nothing: write the tables of an earlier run into README.md")
    add("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    return parser


class Silent(ChildProcessError):
    """A process has died, or says nothing for too long."""


class Process:
    """A `benchmarks.gpu_worker`, and the questions to it.

    Parameters
    ----------
    library : str
    rows : list of int
        What it is asked to prepare.
    device : "cuda" or "cpu"
    """

    def __init__(self, library, rows, device):
        self.library, self.rows, self.said, self.asked = library, rows, {}, 0
        self.complaints = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen([sys.executable, "-m", "benchmarks.gpu_worker"], cwd=ROOT,
                                        text=True, env=environment(device), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.complaints)
        self.answers = queue.Queue()
        Thread(target=self.listen, daemon=True).start()

    def listen(self):
        """Every line of ours, as it comes; None at the end."""
        for line in self.process.stdout:
            if line.startswith(SAYS):
                self.answers.put(json.loads(line[len(SAYS):]))
        self.answers.put(None)

    def ask(self, **question):
        """Say something."""
        try:
            print(json.dumps(question), file=self.process.stdin, flush=True)
        except OSError as gone:
            raise Silent(self.last_words()) from gone

    def answer(self, seconds):
        """What it says next.

        Raises
        ------
        Silent
        """
        try:
            said = self.answers.get(timeout=max(seconds, 0.01))
        except queue.Empty:
            raise Silent(f"said nothing for {seconds:.0f} s") from None
        if said is None:
            raise Silent(self.last_words())
        return said

    def timed(self, number, name, seconds):
        """What a burst of a contender's took: {"seconds"}, or {"failed"}.

        Raises
        ------
        Silent
        """
        self.asked += 1
        self.ask(time=[number, name], seconds=seconds, id=self.asked)
        until = monotonic() + PATIENCE
        while (said := self.answer(until - monotonic())).get("id") != self.asked:
            pass                                    # it answers what it was late with
        return said

    def hear(self, until):
        """What it has prepared until then, a dict a row; who is late is ended."""
        self.said = {}
        try:
            while len(self.said) < len(self.rows):
                said = self.answer(until - monotonic())
                self.said[said.pop("row")] = said
        except Silent as why:
            self.end()
            self.said = {row: {"names": [], "left_out": {self.library: str(why)}}
                         for row in self.rows}

    def last_words(self):
        """How a process died, and the last line that it complained with."""
        code = self.process.wait(PATIENCE)
        self.complaints.seek(0)
        lines = self.complaints.read().strip().splitlines() or ["not a word"]
        return f"died with {code}: {lines[-1][:200]}"

    def end(self):
        """It is not needed any more."""
        self.process.kill()
        self.process.wait()


class Session:
    """Rows as they come in; every one is written at once.

    Parameters
    ----------
    args : namespace
    command : str
    """

    def __init__(self, args, command):
        self.args, self.rows, self.titles = args, [], {}
        self.device = "cpu" if args.small else "cuda"
        self.options = {"small": args.small, "device": self.device, "rounds": args.rounds,
                        "burst": args.burst, "rules": args.rules, "without": args.without}
        self.heading = about(args, command)
        self.name = f"gpu-{datetime.now():%Y-%m-%d-%H%M%S}"

    def add(self, row):
        """A row; what is known is written down."""
        self.rows.append(row)
        self.written = gpu_tables.write(self.rows, self.heading, self.args.out, self.name,
                                        self.titles)
        print(gpu_tables.line(row), flush=True)

    def alone(self, part):
        """A part that measures by itself."""
        seconds = SHARES[part] * self.args.seconds
        process, until = Process(part, [], self.device), monotonic() + seconds + 2 * PATIENCE
        try:
            process.ask(measure=part, options={**self.options, "seconds": seconds})
            while "done" not in (said := process.answer(until - monotonic())):
                self.add({"group": part, "left_out": {}, **said["row"]})
            self.titles[part] = said["title"]
        except Silent as why:
            self.add({"group": part, "what": part, "times": {}, "left_out": {"all": str(why)}})
        finally:
            process.end()

    def together(self, parts):
        """Parts whose contenders are prepared side by side, and then timed in turns."""
        modules = {part: import_module(f"benchmarks.{PARTS[part]}") for part in parts}
        processes = {part: [Process(*how, self.device) for how in module.processes(self.options)]
                     for part, module in modules.items()}
        every = [(part, one) for part, found in processes.items() for one in found]
        seconds = SHARES["prepare"] * self.args.seconds
        try:
            for part, one in every:
                one.ask(prepare=one.rows, part=part, library=one.library, options=self.options,
                        seconds=seconds)
            until = monotonic() + seconds + GRACE
            for _, one in every:
                one.hear(until)
            for part, module in modules.items():
                self.time(part, module, processes[part])
        finally:
            for _, one in every:
                one.end()

    def time(self, part, module, processes):
        """All rows of a part, one after the other."""
        numbers = sorted({row for one in processes for row in one.rows})
        until = monotonic() + SHARES[part] * self.args.seconds
        for n, number in enumerate(numbers):
            left = max(until - monotonic(), 0) / (len(numbers) - n)
            own = [one for one in processes if number in one.rows]
            self.add(self.row(part, module, number, own, left))

    def row(self, part, module, number, processes, seconds):
        """One row, in so many seconds, roughly."""
        row = {"group": part, "what": module.name(number, self.options), "times": {},
               "ceilings": [], "errors": {}, "left_out": {}}
        for one in processes:
            said = dict(one.said[number])
            said.pop("names", None)
            for key in ("errors", "left_out"):
                row[key].update(said.pop(key, {}))
            row.update(said)
        turns = [(one, name) for one in processes for name in one.said[number]["names"]]
        burst = min(self.args.burst, seconds / (1.6 * (self.args.rounds + 1) * max(len(turns), 1)))
        until = monotonic() + 2 * seconds
        for turn in range(self.args.rounds):
            if turn >= LEAST and monotonic() > until:
                break
            first = turn % max(len(turns), 1)
            for one, name in turns[first:] + turns[:first]:
                self.turn(row, number, one, name, burst)
        row["ceilings"] = [2 * side(self.options)**3 / t for t in row["times"].pop(CEILING, ())]
        return row

    def turn(self, row, number, process, name, burst):
        """One burst of one contender; one that fails is left out from then on."""
        if name in row["left_out"]:
            return
        try:
            said = process.timed(number, name, burst)
        except Silent as why:
            said = {"failed": str(why)}
        if "failed" in said:
            row["left_out"][name] = said["failed"]
            row["times"].pop(name, None)
        else:
            row["times"].setdefault(name, []).append(said["seconds"])


def card():
    """The GPU and its driver, as the driver tells it."""
    asked = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "no GPU"
    name, driver, memory = found.stdout.strip().splitlines()[0].split(", ")
    return f"{name}, {memory}, driver {driver}"


def versions():
    """Of everything that is measured; text."""
    found = {"Python": sys.version.split()[0]}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            pass
    return ", ".join(f"{name} {number}" for name, number in found.items())


def about(args, command):
    """When, where and how; a line of Markdown."""
    small = " **Tiny networks, on a CPU: these are no measurements.**" if args.small else ""
    return (f"`{command}`, {datetime.now():%Y-%m-%d}, {card()}; {versions()}. "
            f"{args.rounds} rounds.{small}")


def main(argv=None):
    """Run the command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args = parser().parse_args(argv)
    if args.readme_from:
        text = args.readme_from.read_text(encoding="utf-8").partition("\n\n")[2]
        gpu_tables.into_readme(ROOT / "README.md", text)
        return 0
    shown = [word for n, word in enumerate(argv) if "--out" not in argv[max(n - 1, 0):n + 1]]
    session = Session(args, shlex.join(["python", "-m", "benchmarks.gpu", *shown]))
    for part in (part for part in ALONE if part in args.only):
        session.alone(part)
    together = [part for part in PARTS if part in args.only and part not in ALONE]
    if together:
        session.together(together)
    print(f"results: {session.written}")
    if args.readme and not args.small:
        gpu_tables.into_readme(ROOT / "README.md", gpu_tables.markdown(
            session.rows, session.heading, session.titles))
    reasons = [why for row in session.rows for why in row["left_out"].values()]
    return int(any(why.startswith(("WRONG", "FAILED", "died", "said nothing")) for why in reasons))


if __name__ == "__main__":
    sys.exit(main())
