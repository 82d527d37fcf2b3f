"""RESULTS.md, written from the results that are kept in docs/results.

    python -m minicredit.experiments.record

A folder there that is named like a published table holds what `minicredit reproduce` left of it, a
results.json for each row, and may hold a note.md: on what it was run, and what was tried.  Any
other folder holds Markdown and pictures that an experiment left, shown with what is noted of each.

Beside the published figures stands by how much ours are above or below.  Two rows are told apart
when their means differ by more than three standard errors of the difference,

    sqrt(s_a^2 / n_a + s_b^2 / n_b)         s, n: standard deviation and number of seeds

which says that another seed would hardly turn them round, and nothing of other settings or data.
"""
import argparse
import statistics
import sys
from pathlib import Path

from minicredit import results
from minicredit.errors import UserError
from minicredit.files import put
from minicredit.reproduce import COLUMNS, TABLES, markdown, measured, read

HERE = Path("docs/results")
HEAD = """# Results

Written by `python -m minicredit.experiments.record` from [{here}]({here}); tables that were kept by
hand are in [docs/results.md](docs/results.md). *Test error* is taken at the epoch with the lowest
validation error; *best on test* is the lowest of all epochs, which is how the published figures
were chosen (the best of 60 settings too, after 500 epochs).
"""
APART = 3                       # standard errors
FEW = 20                        # epochs; published figures are the best of hundreds


def errors(folder):
    """The test errors of a row's finished runs, in percent; empty where there is none.

    Raises
    ------
    UserError
        If the file is not what minicredit writes.
    """
    path = folder / "results.json"
    runs = results.read(path)["runs"] if path.exists() else []
    return [run["test_error"] for run in runs if "failed" not in run]


def difference(a, b):
    """The mean of b less that of a, and its standard error; None for the error of one seed."""
    far = statistics.fmean(b) - statistics.fmean(a)
    if min(len(a), len(b)) < 2:
        return far, None
    return far, (statistics.variance(a) / len(a) + statistics.variance(b) / len(b))**0.5


def apart(a, b):
    """Whether two rows are told apart; None if one of them has one seed."""
    far, error = difference(a, b)
    return None if error is None else abs(far) > APART * error


def order(found):
    """The rows, best first, each with what separates it from the one before, and with all that it
    is not told apart from; list of lines.

    Parameters
    ----------
    found : dict of lists, row -> test errors
    """
    names = sorted(found, key=lambda row: statistics.fmean(found[row]))
    lines = ["| row | test error % | above the row before it | standard error | told apart | not "
             "told apart from |", "|---|---|---|---|---|---|"]
    for before, row in zip([None, *names], names):
        cells = ["", "", ""]
        if before:
            far, error = difference(found[before], found[row])
            yes = {None: "one seed", True: "yes", False: "**no**"}[apart(found[before], found[row])]
            cells = [f"{far:.2f}", "–" if error is None else f"{error:.2f}", yes]
        same = [other for other in names if apart(found[row], found[other]) is False
                and other != row]
        lines.append(f"| {row} | {statistics.fmean(found[row]):.2f} | {' | '.join(cells)} | "
                     f"{', '.join(same)} |")
    return lines


def beside(table, found, epochs):
    """How far each row is from its published figure; list of lines.

    Parameters
    ----------
    found : dict of lists, row -> test errors
    epochs : dict of int
        A row of few has no need of another explanation.
    """
    lines = []
    for row, spec in table["rows"].items():
        if row in found and "published" in spec:
            far = statistics.fmean(found[row]) - spec["published"]
            short = f"above it, after {epochs[row]} epochs"
            why = ("at or below it" if far <= 0 else
                   short if epochs[row] < FEW else "above it, unexplained")
            lines.append(f"- {row}: {far:+.2f} points to {spec['published']} % ({why})")
    return lines


def section(name, folder):
    """A published table, with what is kept of it; list of lines.

    Raises
    ------
    UserError
        If a row was run with other options than the table has now.
    """
    table, spent = read(name), 0.0
    lines, found, epochs, platforms, commands = [], {}, {}, set(), []
    for row, spec in table["rows"].items():
        line = measured(row, spec, folder / row)
        if line is None:
            continue
        kept = results.read(folder / row / "results.json")
        if spec["options"] not in kept["config"]["command"]:
            raise UserError(f"{folder / row}: wanted a row run with {spec['options']}; got "
                            f"{kept['config']['command']}")
        lines.append(line)
        commands.append(kept["config"]["command"])
        found[row], epochs[row] = errors(folder / row), kept["config"]["epochs"]
        platforms.add(f"{kept['config']['backend']}, Python {kept['versions']['python']}, NumPy "
                      f"{kept['versions']['numpy']}")
        spent += sum(run.get("seconds", 0.0) for run in kept["runs"])
    if not lines:
        raise UserError(f"{folder}: wanted results.json of a row of {name}; got none")
    found = {row: values for row, values in found.items() if values}
    columns = [c for c in COLUMNS if any(line.get(c, "") != "" for line in lines)]
    missing = [row for row in table["rows"] if row not in found]
    return [f"## {name}: {table['title']}", "", *note(folder), "Each row as the first:", "",
            f"    {commands[0]}", "",
            f"{'; '.join(sorted(platforms))}. {spent / 60:.1f} minutes of training in all.", "",
            *markdown(lines, columns), "", "**Beside the published figures**, "
            f"of {table['source']}:", "", *beside(table, found, epochs), "",
            f"**Not run here**: {', '.join(missing) or 'nothing'}.", "",
            f"## {name}: the order, and which differences the seeds support", "",
            f"Told apart: by more than {APART} standard errors of the difference.", "",
            *order(found), ""]


def note(folder):
    """The folder's note, if it has one; list of lines."""
    path = folder / "note.md"
    return [path.read_text(encoding="utf-8").strip(), ""] if path.exists() else []


def others(folder):
    """What an experiment left: its Markdown, each file under its name, with its note and picture.

    `sweep.md` stands with `sweep.png` and `sweep-note.txt`.
    """
    lines = []
    for path in sorted(folder.glob("*.md")):
        note, picture = path.with_name(f"{path.stem}-note.txt"), path.with_suffix(".png")
        lines += [f"## {folder.name}: {path.stem}", ""]
        lines += [path.read_text(encoding="utf-8").strip(), ""]
        lines += [note.read_text(encoding="utf-8").strip(), ""] if note.exists() else []
        lines += [f"![{path.stem}]({picture.as_posix()})", ""] if picture.exists() else []
    return lines


def text(here):
    """The whole of RESULTS.md.

    Raises
    ------
    UserError
    """
    folders = sorted(path for path in here.iterdir() if path.is_dir()) if here.is_dir() else []
    lines = [HEAD.format(here=here.as_posix())]
    for folder in folders:
        lines += section(folder.name, folder) if folder.name in TABLES else others(folder)
    absent = [name for name in TABLES if not (here / name).is_dir()]
    lines += ["## Not here", "", "Published tables of which nothing is kept in this form: "
              f"{', '.join(absent) or 'none'}.", ""]
    return "\n".join(lines)


def main(arguments=None):
    """Write RESULTS.md; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m minicredit.experiments.record",
                                     description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="here", type=Path, default=HERE, help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("RESULTS.md"), help="(%(default)s)")
    args = parser.parse_args(arguments)
    try:
        put(args.out, text(args.here).encode())
    except UserError as error:
        print(f"record: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"record: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
