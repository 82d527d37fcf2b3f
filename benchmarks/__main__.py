"""Measure, show, save.

    python -m benchmarks [--only dtp,lc] [--threads 1] [--rounds 7] [--readme]

Rows with two threads are measured on a quiet machine only, or with --busy, which the tables tell.
Results go to benchmarks/results/, as Markdown and CSV.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from datetime import datetime
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn
from rich.text import Text

from benchmarks import machine, tables
from benchmarks.worker import MODULES, SAYS, environment
from minicredit.screen import clock

ROOT = Path(__file__).parents[1]
BOTH_COUNTS = "dtp", "bp", "fa", "targets", "lc"
ALONE = "ladder",                           # one thread is what they are about


def listed(known):
    """A parser of a comma-separated list of known words."""
    def parse(text):
        words = [word for word in text.split(",") if word]
        wrong = [word for word in words if known and word not in known]
        if wrong:
            raise argparse.ArgumentTypeError(f"wanted some of {', '.join(known)}; got {wrong[0]}")
        return words
    return parse


def parser():
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--only", type=listed(MODULES), default=list(MODULES), metavar="GROUP,...",
        help=f"some of {', '.join(MODULES)}")
    add("--threads", type=listed(("1", "2")), default=["1", "2"], metavar="1,2")
    add("--rounds", type=int, default=7, help="every contender's turns (default: 7)")
    add("--burst", type=float, default=0.12, help="seconds of a turn (default: 0.12)")
    add("--without", type=listed(()), default=[], metavar="NAME,...",
        help="leave out: torch, jax, numpy, numba, or a contender by its name in the tables")
    add("--busy", action="store_true", help="two threads even if the machine is not quiet")
    add("--small", action="store_true", help="tiny networks: does everything run?  No numbers")
    add("--readme", action="store_true", help="write the tables into README.md, too")
    add("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    return parser


def planned(args, threads):
    """What a process with so many threads measures.

    Rules and starts are measured once, with the most threads there are; the ladder with one.

    Returns
    -------
    options : dict, as the groups' modules take it
    jobs : list of ((group, number), seconds that it will take, roughly)
    """
    options = {"rounds": args.rounds, "burst": args.burst, "small": args.small,
               "without": args.without, "threads": threads}
    jobs = []
    for group in args.only:
        if group in BOTH_COUNTS or threads == (1 if group in ALONE else max(args.counts)):
            module = import_module(f"benchmarks.{MODULES[group]}")
            jobs += [((group, number), seconds)
                     for number, (_, seconds) in enumerate(module.jobs(group, options))]
    return options, jobs


class Left(ProgressColumn):
    """The time left: what was foreseen, corrected by how far off that was until now."""

    def render(self, task):
        """In minutes and seconds."""
        elapsed, since = task.elapsed or 0.0, task.fields["since"]
        correction = since / task.completed if task.completed else 1.0
        foreseen = correction * (task.total - task.completed) - (elapsed - since)
        return Text("" if task.finished else f"left {clock(max(foreseen, 1.0))}")


class Measurement:
    """Rows as they come in, and what is shown meanwhile."""

    def __init__(self, total, console):
        self.rows, self.versions, self.console = [], {}, console
        self.bar = Progress(TextColumn("{task.description}"), BarColumn(), Left(),
                            console=console, disable=not console.is_terminal,
                            refresh_per_second=1)               # drawn beside what is measured
        self.task = self.bar.add_task("", total=total, since=0.0)

    def listen(self, threads, options, jobs):
        """Start a process, hear all that it says.

        Raises
        ------
        ChildProcessError
            If it ends before it has measured everything.
        """
        left = [seconds for _, seconds in jobs]
        question = json.dumps({"options": options, "jobs": [job for job, _ in jobs]})
        with tempfile.TemporaryFile("w+") as complaints:
            worker = subprocess.Popen([sys.executable, "-m", "benchmarks.worker"], text=True,
                                      cwd=ROOT, env=environment(threads), stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, stderr=complaints)
            try:
                worker.stdin.write(question)
                worker.stdin.close()
                for line in worker.stdout:
                    if line.startswith(SAYS):
                        self.heard(json.loads(line[len(SAYS):]), threads, left)
            finally:
                if left:                                # stopped before the end
                    worker.terminate()
                worker.wait()
            if worker.returncode:
                complaints.seek(0)
                raise ChildProcessError("".join(complaints.readlines()[-15:]))

    def heard(self, said, threads, left):
        """One line of a worker: it starts something, has a row, or tells versions."""
        if "start" in said:
            about = f"{said['start']} {tables.threads(threads)}"
            self.bar.update(self.task, description=about)
            if self.bar.disable:
                self.console.print(f"about {sum(left, 0.0) / 60:.1f} minutes of this process left: "
                                   f"{about}", markup=False)
        elif "row" in said:
            self.rows.append(said["row"])
            self.bar.advance(self.task, left.pop(0))
            self.bar.update(self.task, since=self.bar.tasks[0].elapsed or 0.0)
        else:
            self.versions = said["versions"]


def allowed(args, others):
    """The numbers of threads to measure with, and lines that say what is left out."""
    counts, told = [int(count) for count in args.threads], []
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if cores < 2 and 2 in counts:
        counts.remove(2)
        told.append("Left out: two threads, because there is one processor.")
    elif not machine.is_quiet(others) and 2 in counts and not args.busy:
        counts.remove(2)
        told.append(f"Left out: two threads, because other processes kept {others:.2f} processors "
                    "busy; --busy measures all the same.")
    return counts, told


def about(args, command, versions, others, told):
    """When, where and how; lines of Markdown."""
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    load = "unknown" if others is None else f"{others:.2f} processors busy with other things"
    small = " **Tiny networks: these are no measurements.**" if args.small else ""
    quiet = "" if machine.is_quiet(others) else " **The machine was not quiet.**"
    return [f"`{command}`, {datetime.now():%Y-%m-%d}, {machine.processor()}; {names}. "
            f"{args.rounds} rounds; load before: {load}.{quiet}{small}", *told]


def main(argv=None):
    """Run the command line; the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    args, console = parser().parse_args(argv), Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    others = machine.load()
    args.counts, told = allowed(args, others)
    for line in told:
        console.print(line, markup=False)
    if not args.counts:
        return 1
    plans = [(threads, *planned(args, threads)) for threads in args.counts]
    total = sum(seconds for _, _, jobs in plans for _, seconds in jobs)
    measured, code = Measurement(total, console), 0
    with measured.bar:
        try:
            for threads, options, jobs in plans:
                measured.listen(threads, options, jobs)
        except (KeyboardInterrupt, ChildProcessError) as stopped:
            told.append(f"Stopped before the end: {type(stopped).__name__}.")
            console.print(f"{told[-1]}\n{stopped}", markup=False)
            code = 130 if isinstance(stopped, KeyboardInterrupt) else 1
    if measured.rows:
        command = shlex.join(["python", "-m", "benchmarks", *argv])
        finish(args, measured, about(args, command, measured.versions, others, told), console, code)
    reasons = [why for row in measured.rows for why in row["left_out"].values()]
    return code or int(any(why.startswith(("WRONG", "FAILED")) for why in reasons))


def finish(args, measured, heading, console, code):
    """Save and show what was measured; the README gets a complete run only."""
    written = tables.write(measured.rows, heading, args.out, f"{datetime.now():%Y-%m-%d-%H%M%S}")
    tables.show(measured.rows, console)
    console.print("results: " + " ".join(map(str, written)), markup=False, soft_wrap=True)
    if args.readme and not code and not args.small:
        page = ROOT / "README.md"
        text = tables.markdown(measured.rows, heading)
        page.write_text(tables.between_markers(page.read_text(encoding="utf-8"), text),
                        encoding="utf-8")
        console.print("written into README.md")


if __name__ == "__main__":
    sys.exit(main())
